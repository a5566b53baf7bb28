"""Who competes for each target: naive rules, models, and the plain reference beside them."""

from dataclasses import replace

from features.table import MODEL_COLUMNS
from training.config import TrainConfig
from training.forecasts import Candidate
from training.models.blend import Blend
from training.models.churn import CHURN_TREES, ChurnModel, reference_churn
from training.models.churn_mean import ChurnMean
from training.models.classical import COUNTING, ClassicChurn, ClassicValue
from training.models.explore import EASE, Popularity
from training.models.habit import Habit, RepeatRanker
from training.models.hazard import HAZARD_TREES, Hazard, HazardChurn
from training.models.histories import DAYS_PER_WEEK
from training.models.neighbours import MemberNeighbours
from training.models.order_rules import ClassicOrder, GapRule, PaceRule
from training.models.ranker import ExploreRanker
from training.models.repeat import PersonalFrequency, RepeatPopularity
from training.models.rules import ColumnRule, PastSpend
from training.models.signals import Recipe
from training.models.value_gbm import Objective, ValueGBM
from training.models.value_lstm import ValueLSTM
from training.models.value_mean import ValueMean
from training.models.value_stack import ValueStack

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
# Two networks are enough to see what the network is worth beside the others.
SEEDS_FOR_WEIGHTS = 2
# What a stack of value models is made of: a rule, the classical models, trees and the network.
STACKED = (
    "past_spend_84d",
    "bgnbd_gamma_gamma",
    "pareto_nbd_gamma_gamma",
    "value_gbm",
    "value_gbm_l2",
    "value_lstm",
)

# Rhythm by day, and what moves it: what a hazard reads. Its many rows make each column dear, and
# all columns together were no better than these.
HAZARD_COLUMNS = (
    "recency_days", "tenure_days", "purchase_days",
    "purchase_days_28d", "purchase_days_56d", "purchase_days_84d", "purchase_days_182d",
    "active_weeks_364d", "purchase_days_trend_28d", "purchase_days_trend_84d",
    "gap_days_mean", "gap_days_sd", "gap_days_median", "gap_days_last", "gap_days_max",
    "gap_days_mean_recent", "gap_trend", "gap_days_shrunk", "overdue_ratio", "longer_gap_share",
    "next_gap_days", "next_purchase_due_days", "clumpiness_364d", "recency_trend_84d",
    "orders_28d", "orders_per_day_182d", "spend_cents_28d", "spend_cents_84d",
    "spend_cents_182d", "spend_cents_mean_84d", "spend_trend_84d", "season_ratio_84d",
    "basket_lines_mean_84d", "small_basket_share_182d", "discount_share_84d",
    "category_count_84d", "category_entropy", "home_store_share_182d",
    "weekend_share_182d", "weekday_entropy_182d",
    "monday_share_182d", "tuesday_share_182d", "wednesday_share_182d", "thursday_share_182d",
    "friday_share_182d", "saturday_share_182d", "sunday_share_182d",
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
        Candidate(
            "hazard",
            "reference",
            lambda: HazardChurn(
                horizon_days, seed=config.seed, columns=HAZARD_COLUMNS, num_threads=threads
            ),
            outcome="next_days",
        ),
    )


def next_order(config: TrainConfig, horizon_days: int, threads: int) -> tuple[Candidate, ...]:
    """Return the candidates for the next order; all answer with a curve of silence by day."""
    trees = HAZARD_TREES
    if config.next_order.n_trees is not None:
        trees = replace(HAZARD_TREES, n_trees=config.next_order.n_trees)
    return (
        Candidate("own_mean_gap", "rule", lambda: GapRule(horizon_days, "gap_days_mean")),
        Candidate("own_median_gap", "rule", lambda: GapRule(horizon_days, "gap_days_median")),
        Candidate("usual_gap", "rule", lambda: GapRule(horizon_days)),
        # A date has no doubt in it; the pace is the rule that does, so that the grade is honest.
        Candidate("own_pace", "rule", lambda: PaceRule(horizon_days)),
        # Pareto/NBD says the same as BG/NBD here (0.9243 and 0.9242 on Complete Journey) and takes
        # twenty times as long.
        Candidate(
            "bgnbd", "reference", lambda: ClassicOrder("bgnbd", horizon_days, seed=config.seed)
        ),
        Candidate(
            "hazard",
            "model",
            lambda: Hazard(
                horizon_days,
                seed=config.seed,
                trees=trees,
                columns=HAZARD_COLUMNS,
                num_threads=threads,
            ),
        ),
    )


def value(
    config: TrainConfig,
    horizon_days: int,
    threads: int,
    columns: tuple[str, ...] = MODEL_COLUMNS,
) -> tuple[Candidate, ...]:
    """Return the candidates for value; all answer in cents of one horizon.

    Parameters
    ----------
    columns : what trees and networks may read
    """

    def past_spend(days: int) -> Candidate:
        column, share = f"spend_cents_{days}d", horizon_days / days
        return Candidate(f"past_spend_{days}d", "rule", lambda: PastSpend(column, share=share))

    def boosted(name: str, objective: Objective) -> Candidate:
        return Candidate(
            name,
            "model",
            lambda: ValueGBM(
                seed=config.seed, objective=objective, columns=columns, num_threads=threads
            ),
        )

    def recurrent(n_seeds: int) -> ValueLSTM:
        return ValueLSTM(
            seed=config.seed,
            n_seeds=n_seeds,
            columns=columns,
            horizons_days=(*shorter_horizons(config, horizon_days), horizon_days),
            rows_max=config.value.lstm_rows_max,
            num_threads=threads,
            device=config.value.device,
        )

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
        boosted("value_gbm", "tweedie"),
        boosted("value_gbm_l2", "l2"),
        Candidate(
            "value_lstm",
            "model",
            lambda: recurrent(config.value.lstm_seeds),
            all_horizons=True,
            lighter=lambda: recurrent(SEEDS_FOR_WEIGHTS),
        ),
        Candidate(
            "value_mean", "model", ValueMean, parts=("past_spend_84d", "value_gbm", "value_lstm")
        ),
        Candidate(
            "value_stack",
            "model",
            lambda models, weights: ValueStack(models, weights=weights, seed=config.seed),
            parts=STACKED,
            weighed=True,
        ),
    )


def shorter_horizons(config: TrainConfig, horizon_days: int) -> tuple[int, ...]:
    """Return the horizons a network of value learns on the way to the one it answers for."""
    wanted = config.value.shorter_horizons_days
    return tuple(sorted({days for days in wanted if days < horizon_days}))


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
