"""Who competes for each target: naive rules, models, and the plain reference beside them."""

from dataclasses import replace

from features.table import MODEL_COLUMNS
from training.config import TrainConfig
from training.forecasts import Candidate
from training.models.blend import Blend
from training.models.churn import CHURN_TREES, ChurnModel, reference_churn
from training.models.classical import COUNTING, ClassicChurn, ClassicValue
from training.models.explore import EASE, Popularity
from training.models.habit import Habit, RepeatRanker
from training.models.neighbours import MemberNeighbours
from training.models.ranker import ExploreRanker
from training.models.repeat import PersonalFrequency, RepeatPopularity
from training.models.rules import ColumnRule, PastSpend
from training.models.signals import Recipe
from training.models.value_gbm import ValueGBM
from training.models.value_lstm import ValueLSTM
from training.models.value_mean import ValueMean

# Days: so long that an age of years changes no count of purchase days by a thousandth.
NEVER_FADES = 1e7
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
    return (
        Candidate("recency_rule", "rule", lambda: ColumnRule("recency_days", 1)),
        Candidate("frequency_rule", "rule", lambda: ColumnRule("purchase_days_56d", -1)),
        *(
            Candidate(
                name,
                "reference",
                lambda counting=name: ClassicChurn(counting, horizon_days, seed=config.seed),
            )
            for name in COUNTING
        ),
        Candidate(
            "lightgbm",
            "model",
            lambda: ChurnModel(
                seed=config.seed,
                monotone=("recency_days",),
                trees=trees,
                columns=MODEL_COLUMNS,
                num_threads=threads,
            ),
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


def repeat(config: TrainConfig, threads: int = 1) -> tuple[Candidate, ...]:
    """Return the candidates for products bought before."""
    asked = config.recommend
    return (
        Candidate("repeat_popularity", "rule", RepeatPopularity),
        Candidate("purchase_days", "rule", lambda: PersonalFrequency(NEVER_FADES)),
        Candidate("personal_frequency", "model", lambda: PersonalFrequency(asked.half_life_days)),
        Candidate("habit", "model", lambda: Habit(asked.habit_half_life_days, asked.letting_go)),
        Candidate(
            "repeat_ranker",
            "model",
            lambda: RepeatRanker(
                seed=config.seed,
                half_life_days=asked.habit_half_life_days,
                members_max=asked.members_max,
                num_threads=threads,
            ),
        ),
    )


def explore(config: TrainConfig, threads: int = 1) -> tuple[Candidate, ...]:
    """Return the candidates for products never bought."""
    asked = config.recommend
    recipe = Recipe(n_items=asked.n_items)

    def ranker() -> ExploreRanker:
        return ExploreRanker(
            seed=config.seed,
            recipe=recipe,
            members_max=asked.members_max,
            draws=asked.draws,
            num_threads=threads,
        )

    return (
        Candidate("popularity", "rule", lambda: Popularity(asked.n_items)),
        Candidate("ease", "model", lambda: EASE(asked.n_items)),
        Candidate("member_neighbours", "model", lambda: MemberNeighbours(asked.n_items)),
        Candidate(
            "blend", "model", lambda: Blend(recipe=recipe, draws=asked.draws, seed=config.seed)
        ),
        Candidate("explore_ranker", "model", ranker),
    )
