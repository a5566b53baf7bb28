"""Who competes for each target: naive rules, models, and the plain reference beside them."""

from dataclasses import replace

from features.table import MODEL_COLUMNS
from training.config import TrainConfig
from training.forecasts import Candidate
from training.models.churn import CHURN_TREES, ChurnModel, reference_churn
from training.models.churn_mean import ChurnMean
from training.models.classical import COUNTING, ClassicChurn, ClassicValue
from training.models.explore import EASE, Popularity
from training.models.histories import DAYS_PER_WEEK
from training.models.repeat import PersonalFrequency, RepeatPopularity
from training.models.rules import ColumnRule, PastSpend
from training.models.value_gbm import ValueGBM
from training.models.value_lstm import ValueLSTM
from training.models.value_mean import ValueMean

# Recency, frequency, value and rhythm: what an analyst's first model reads.
REFERENCE_COLUMNS = (
    "recency_days", "tenure_days", "purchase_days",
    "purchase_days_28d", "purchase_days_56d", "purchase_days_84d", "purchase_days_182d",
    "orders_28d", "orders_84d", "orders_182d",
    "spend_cents_28d", "spend_cents_84d", "spend_cents_182d", "spend_cents_life",
    "spend_cents_mean", "spend_cents_mean_84d", "basket_lines_mean_84d",
    "purchase_days_trend_28d", "spend_trend_84d",
    "gap_days_mean", "gap_days_sd", "gap_days_cv", "gap_days_max", "gap_days_last",
    "overdue_ratio", "overdue_score",
)  # fmt: skip


def churn(config: TrainConfig, horizon_days: int, threads: int) -> tuple[Candidate, ...]:
    """Return the candidates for churn; all answer in log-odds that columns add up to."""
    trees = CHURN_TREES
    if config.churn.n_trees is not None:
        trees = replace(CHURN_TREES, n_trees=config.churn.n_trees)

    def boosted(name: str, label_days: int) -> Candidate:
        def make() -> ChurnModel:
            return ChurnModel(
                seed=config.seed,
                monotone=("recency_days",),
                trees=trees,
                columns=MODEL_COLUMNS,
                n_seeds=config.churn.n_seeds,
                num_threads=threads,
            )

        return Candidate(name, "model", make, label_days=label_days)

    short = max(DAYS_PER_WEEK, horizon_days // (2 * DAYS_PER_WEEK) * DAYS_PER_WEEK)
    return (
        Candidate("recency_rule", "rule", lambda: ColumnRule("recency_days", 1)),
        Candidate("frequency_rule", "rule", lambda: ColumnRule("purchase_days_56d", -1)),
        # Silent for longer than is her own habit: what many call churn, and a weak order.
        Candidate("rhythm_rule", "rule", lambda: ColumnRule("overdue_ratio", 1)),
        *(
            Candidate(
                name,
                "reference",
                lambda counting=name: ClassicChurn(counting, horizon_days, seed=config.seed),
            )
            for name in COUNTING
        ),
        boosted("lightgbm", horizon_days),
        boosted("lightgbm_sooner", short),
        Candidate("churn_mean", "model", ChurnMean, parts=("lightgbm", "lightgbm_sooner")),
        Candidate(
            "churn_mean_bgnbd", "model", ChurnMean, parts=("lightgbm", "lightgbm_sooner", "bgnbd")
        ),
        Candidate(
            "lightgbm_reference",
            "reference",
            lambda: reference_churn(
                seed=config.seed, columns=REFERENCE_COLUMNS, num_threads=threads
            ),
        ),
    )


def value(config: TrainConfig, horizon_days: int, threads: int) -> tuple[Candidate, ...]:
    """Return the candidates for value; all answer in cents of one horizon."""

    def past_spend(days: int) -> Candidate:
        column, share = f"spend_cents_{days}d", horizon_days / days
        return Candidate(f"past_spend_{days}d", "rule", lambda: PastSpend(column, share=share))

    return (
        past_spend(84),
        past_spend(182),
        *(
            Candidate(
                f"{name}_gamma_gamma",
                "reference",
                lambda counting=name: ClassicValue(counting, horizon_days, seed=config.seed),
            )
            for name in COUNTING
        ),
        Candidate(
            "value_gbm",
            "model",
            lambda: ValueGBM(seed=config.seed, columns=MODEL_COLUMNS, num_threads=threads),
        ),
        Candidate(
            "value_lstm",
            "model",
            lambda: ValueLSTM(
                seed=config.seed,
                n_seeds=config.value.lstm_seeds,
                columns=MODEL_COLUMNS,
                num_threads=threads,
            ),
            rows_max=config.value.lstm_rows_max,
        ),
        Candidate(
            "value_mean", "model", ValueMean, parts=("past_spend_84d", "value_gbm", "value_lstm")
        ),
    )


def repeat(config: TrainConfig) -> tuple[Candidate, ...]:
    """Return the candidates for products bought before."""
    half_life = config.recommend.half_life_days
    return (
        Candidate("repeat_popularity", "rule", RepeatPopularity),
        Candidate("personal_frequency", "model", lambda: PersonalFrequency(half_life)),
    )


def explore(config: TrainConfig) -> tuple[Candidate, ...]:
    """Return the candidates for products never bought."""
    n_items = config.recommend.n_items
    return (
        Candidate("popularity", "rule", lambda: Popularity(n_items)),
        Candidate("ease", "model", lambda: EASE(n_items)),
    )
