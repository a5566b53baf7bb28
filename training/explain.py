"""Contributions of columns -> a dozen business reasons with the raw facts behind them."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from training.scores import (
    CONTRIBUTION_DECIMALS,
    IMPORTANCE_HIGH,
    IMPORTANCE_MEDIUM,
    Driver,
    Importance,
)

# The recent window and the one before it, in days: a trend compares their daily rates.
RECENT_DAYS, BOTH_DAYS = 84, 182
# A smaller change is not worth a sentence.
TREND_MIN = 0.01
FACT_DECIMALS = 6


@dataclass(frozen=True)
class DriverRule:
    """A business reason: the columns it gathers and the facts its sentence may use.

    Parameters
    ----------
    code : the driver's name in a score; `driver.<code>` in the word books
    patterns : regular expressions over whole column names; no column matches two drivers
    facts : columns or trend facts, the first known one being the driver's value
    """

    code: str
    patterns: tuple[str, ...]
    facts: tuple[str, ...] = ()


OTHER = "other"

DRIVERS: tuple[DriverRule, ...] = (
    DriverRule(
        "recency",
        (
            r"recency_.*",
            r"overdue_.*",
            r"longer_gap_.*",
            r"gap_days_last",
            r"next_purchase_.*",
        ),
        ("recency_days", "gap_days_mean"),
    ),
    DriverRule(
        "rhythm",
        (
            r"purchase_days(_\d+d)?",
            r"orders_(\d+d|life)",
            r"orders_per_day_.*",
            r"active_weeks_.*",
            r"gap_days_(mean|sd|cv|max|mean_recent|median|shrunk)",
            r"gap_count",
            r"next_gap_days",
            r"clumpiness_.*",
        ),
        ("purchase_days_84d", "gap_days_mean"),
    ),
    DriverRule(
        "visit_trend",
        (r"(purchase_days|orders|gap)_trend(_.*)?", r"season_ratio_.*"),
        ("visits_down", "visits_up"),
    ),
    DriverRule(
        "spend_level",
        (r"spend_cents_(\d+d|mean.*|max.*|sd.*)", r"(small_|large_)?basket_.*", r"price_index_.*"),
        ("spend_cents_84d", "spend_cents_mean"),
    ),
    DriverRule(
        "spend_trend",
        (r"spend(_cents|_mean)?_trend_.*", r"spend_season_.*", r"price_trend_.*"),
        ("spend_down", "spend_up"),
    ),
    DriverRule(
        "breadth",
        (
            r"category_.*",
            r"top_category.*",
            r"(loyal|one_off|premium|economy)_category_.*",
            r"(top_)?brand_.*",
            r"private_label_.*",
            r"package_size_.*",
        ),
        ("category_count_364d", "top_category"),
    ),
    DriverRule(
        "category_change",
        (r"(new|lost)_category_.*", r"novelty_.*", r"new_brand_.*"),
        ("lost_category_share_84d",),
    ),
    DriverRule(
        "promotion",
        (
            r"(deep_)?discount_.*",
            r"full_price_.*",
            r"coupon_.*",
            r"days_since_coupon",
            r"promotion_.*",
        ),
        ("discount_share_84d",),
    ),
    DriverRule(
        "returns",
        (
            r"return(s|ed)?_.*",
            r"days_since_return",
            r"(complaints|services)_.*",
        ),
        ("return_share_364d",),
    ),
    DriverRule("tenure", (r"tenure_.*", r"spend_cents_life"), ("tenure_days", "spend_cents_life")),
    DriverRule("channel", (r"(home_)?store_.*", r"(top_)?channel_.*"), ("store_count_182d",)),
    DriverRule(
        "timing",
        (
            r"weekend_.*",
            r"hour_.*",
            r"season_distance_.*",
            r"month_(start|end)_.*",
            r"weekday_.*",
            r"(early|lunch|afternoon|evening|night|[a-z]+day)_share_.*",
        ),
        ("weekend_share_182d",),
    ),
    DriverRule(
        "engagement",
        (
            r"events?_.*",
            r"days_since_event",
            r"(views|searches|carts|check_ins|visits)_28d",
            r"(favourites|shares|live_streams)_84d",
            r"(reviews|referrals|surveys)_364d",
            r"session_seconds_.*",
        ),
        ("events_28d",),
    ),
    DriverRule(
        "contact",
        (
            r"contacts?_.*",
            r"days_since_(contact|redemption)",
            r"(open|click|redeem)_rate_.*",
            r"redemptions_.*",
            r"opens_last_5",
            r"opted_out_.*",
            r"bounces_.*",
        ),
        ("contacts_84d",),
    ),
    DriverRule("points", (r"points_.*", r"days_(to|since)_points_.*"), ("points_balance",)),
    DriverRule(OTHER, ()),
)
CODES: tuple[str, ...] = tuple(rule.code for rule in DRIVERS)
TREND_FACTS = {"visits": "purchase_days", "spend": "spend_cents"}
# Everything a sentence can need, of all the columns a snapshot has.
FACT_COLUMNS: tuple[str, ...] = (
    *dict.fromkeys(fact for rule in DRIVERS for fact in rule.facts),
    *(f"{stem}_{BOTH_DAYS}d" for stem in TREND_FACTS.values()),
)


@dataclass(frozen=True)
class Explanation:
    """Why one raw score is what it is: `base` + contributions == `raw_score`, as written."""

    base: float
    raw_score: float
    drivers: tuple[Driver, ...]


@cache
def driver_of(column: str) -> str:
    """Return the code of the one driver a column belongs to; "other" if none claims it.

    Raises
    ------
    ValueError : if two drivers claim it; a contribution must be counted once.
    """
    claims = [
        rule.code
        for rule in DRIVERS
        if any(re.fullmatch(pattern, column) for pattern in rule.patterns)
    ]
    if len(claims) > 1:
        raise ValueError(f"column {column!r} is claimed by the drivers {claims}")
    return claims[0] if claims else OTHER


def group_contributions(
    columns: Sequence[str], contributions: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Add up the columns of each driver.

    Parameters
    ----------
    columns : names of the first n_columns columns of `contributions`
    contributions : array of shape (n, n_columns + 1); the last column is the base

    Returns
    -------
    array of shape (n, len(CODES) + 1)
        In the order of `CODES`; the last column is the base, unchanged.
    """
    if contributions.ndim != 2 or contributions.shape[1] != len(columns) + 1:
        raise ValueError(f"{len(columns)} columns, contributions of shape {contributions.shape}")
    return contributions @ _belonging(columns)


def _belonging(columns: Sequence[str]) -> NDArray[np.float64]:
    """Return which column goes to which driver, (n_columns + 1, len(CODES) + 1); the base stays."""
    belongs = np.zeros((len(columns) + 1, len(CODES) + 1))
    for position, column in enumerate(columns):
        belongs[position, CODES.index(driver_of(column))] = 1.0
    belongs[-1, -1] = 1.0
    return belongs


def explain(
    facts: pd.DataFrame, columns: Sequence[str], contributions: NDArray[np.float64]
) -> list[Explanation]:
    """Turn contributions into drivers, the strongest first, one explanation per row.

    Parameters
    ----------
    facts : DataFrame of shape (n, ...), the raw columns of the same members in the same order;
        columns the sentences need may be absent
    columns, contributions : as in `group_contributions`

    Returns
    -------
    list of length n; every driver that moved the score is in it, so that they add up to it
    """
    wanted = [name for name in FACT_COLUMNS if name in facts.columns]
    records = facts[wanted].to_dict(orient="records") if wanted else [{}] * len(facts)
    return Explainer(columns).explain(contributions, records)


class Explainer:
    """Turns contributions of always the same columns into drivers, without a frame.

    Parameters
    ----------
    columns : names of the columns of every `contributions`, but for the base
    """

    def __init__(self, columns: Sequence[str]) -> None:
        self.columns = tuple(columns)
        self._belonging = _belonging(self.columns)
        self._used = sorted({CODES.index(driver_of(column)) for column in self.columns})

    def explain(
        self, contributions: NDArray[np.float64], facts: Sequence[Mapping[Any, Any]]
    ) -> list[Explanation]:
        """Explain rows, as the function of this name does.

        Parameters
        ----------
        contributions : array of shape (n, n_columns + 1); the last column is the base
        facts : of each of the n members by column name, at least those of `FACT_COLUMNS` known
        """
        grouped = contributions @ self._belonging
        return [
            _explanation(amounts, self._used, record)
            for amounts, record in zip(grouped, facts, strict=True)
        ]


def _explanation(
    grouped: NDArray[np.float64], used: Sequence[int], record: Mapping[Any, Any]
) -> Explanation:
    base = _written(grouped[-1])
    moved = {CODES[position]: _written(grouped[position]) for position in used}
    # Exactly rounded, so that what is written adds up to it digit by digit.
    total = round(math.fsum((base, *moved.values())), CONTRIBUTION_DECIMALS) + 0.0
    size = sum(abs(amount) for amount in moved.values())
    known = _known_facts(record)
    drivers = [
        _driver(rule, moved[rule.code], size, known) for rule in DRIVERS if moved.get(rule.code)
    ]
    drivers.sort(key=lambda driver: -abs(driver.contribution))
    return Explanation(base, total, tuple(drivers))


def facts_of(code: str, row: Mapping[Any, Any]) -> dict[str, float | str]:
    """Return the facts a driver's sentence may use, of one member's columns."""
    rule = next(rule for rule in DRIVERS if rule.code == code)
    return _facts(rule, _known_facts(row))


def _facts(rule: DriverRule, known: Mapping[str, float | str]) -> dict[str, float | str]:
    return {name: known[name] for name in rule.facts if name in known}


def _driver(
    rule: DriverRule, contribution: float, size: float, known: Mapping[str, float | str]
) -> Driver:
    parameters = _facts(rule, known)
    return Driver(
        code=rule.code,
        value=next(iter(parameters.values()), None),
        parameters=parameters,
        contribution=contribution,
        direction="up" if contribution > 0 else "down",
        importance=_importance(abs(contribution) / size),
    )


def _importance(share: float) -> Importance:
    if share >= IMPORTANCE_HIGH:
        return "high"
    return "medium" if share >= IMPORTANCE_MEDIUM else "low"


def _written(amount: float) -> float:
    # Adding zero turns -0.0 into 0.0, which reads better.
    return round(float(amount), CONTRIBUTION_DECIMALS) + 0.0


def _known_facts(record: Mapping[Any, Any]) -> dict[str, float | str]:
    """Return the finite numbers and texts of a row, and the trends that follow from them."""
    known: dict[str, float | str] = {}
    for name, value in record.items():
        if isinstance(value, str):
            known[str(name)] = value
        elif isinstance(value, int | float) and math.isfinite(value):
            known[str(name)] = round(float(value), FACT_DECIMALS)
    for fact, stem in TREND_FACTS.items():
        change = _change(known.get(f"{stem}_{RECENT_DAYS}d"), known.get(f"{stem}_{BOTH_DAYS}d"))
        if change is not None and abs(change) >= TREND_MIN:
            known[f"{fact}_{'up' if change > 0 else 'down'}"] = round(abs(change), FACT_DECIMALS)
    return known


def _change(recent: float | str | None, both: float | str | None) -> float | None:
    """Relative change of the daily rate from the earlier part of the longer window."""
    if not isinstance(recent, float) or not isinstance(both, float):
        return None
    before = (both - recent) / (BOTH_DAYS - RECENT_DAYS)
    return (recent / RECENT_DAYS) / before - 1.0 if before > 0 and recent >= 0 else None
