"""What is bought for the first time after something else was: a grinder after a coffee machine."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from programme.errors import InputRefused
from training.models.pool import text

Doubles = NDArray[np.float64]
DAY_COLUMNS = ("member_id", "product_id", "days_ago")
COLUMNS = ("source", "target", "ratio", "lift", "members", "similarity", "score")
DAYS_PER_STEP = 7
# What was bought in the first weeks of a history may well have been bought before it, too.
WARMUP_DAYS = 56


@dataclass(frozen=True)
class ComplementRules:
    """What makes a pair complements.

    Parameters
    ----------
    within_days : the target is bought first in so many days after the source
    lift_min : together in a basket more often than chance by this factor, strictly
    members_min : members who took up the target within those days, at least
    ratio_min : strictly more of them than were to be expected by this factor
    members_max : members learned from; of more, evenly spaced ones
    """

    within_days: int = 60
    lift_min: float = 1.2
    members_min: int = 30
    ratio_min: float = 1.0
    members_max: int = 20_000


def complements(
    days: pd.DataFrame, rules: ComplementRules | None = None, kinds: pd.Series | None = None
) -> pd.DataFrame:
    """Find directed pairs of which the first purchase of one brings on that of the other.

    Parameters
    ----------
    days : DataFrame with `member_id`, `product_id` and `days_ago`, one row per purchase day
        `days_ago` are days before `as_of`, at least 1
    kinds : product type by product_id; pairs of one type are left out. None: each is its own

    Returns
    -------
    DataFrame with `COLUMNS`, the highest score first, then by source and target
        `ratio` is how many members took up the target within `within_days` after their first
        purchase of the source, over how many of them would have, had they done as everybody
        who lacked the target did in those same days. It is taken over its mean for the
        source: who starts one thing starts others. `lift` is P(both) / (P(one) P(other)) in a
        basket (member and day); `members` those who took it up; `similarity` the cosine between
        the company that both keep in baskets. Substitutes keep the same company and do without
        each other, so `score` = log(ratio) + log(lift) * (1 - similarity).

    Raises
    ------
    InputRefused
        When a column is missing or there are no rows.
    """
    rules = rules or ComplementRules()
    member, product, product_ids, ago = _coded(days, rules)
    if not len(member):
        return pd.DataFrame(columns=list(COLUMNS))
    lift, similarity = _together(member, product, ago, len(product_ids))
    first = pd.Series(ago).groupby([member, product]).max()
    observed, ratio = followed(
        first.index.get_level_values(0).to_numpy(),
        first.index.get_level_values(1).to_numpy(),
        first.to_numpy(),
        len(product_ids),
        within_days=rules.within_days,
    )
    kept = (observed >= rules.members_min) & (lift > rules.lift_min) & (ratio > rules.ratio_min)
    np.fill_diagonal(kept, val=False)
    if kinds is not None:
        named = kinds.set_axis(text(kinds.index)).reindex(product_ids).to_numpy(dtype=object)
        kept &= named[:, None] != named[None, :]
    source, target = np.nonzero(kept)
    pairs = pd.DataFrame(
        {
            "source": product_ids[source],
            "target": product_ids[target],
            "ratio": ratio[kept],
            "lift": lift[kept],
            "members": observed[kept].astype(int),
            "similarity": similarity[kept],
        }
    )
    score = np.log(pairs["ratio"]) + np.log(pairs["lift"]) * (1 - pairs["similarity"])
    order = ["score", "source", "target"]
    return (
        pairs.assign(score=score)
        .sort_values(order, ascending=[False, True, True])
        .reset_index(drop=True)[list(COLUMNS)]
    )


def _coded(
    days: pd.DataFrame, rules: ComplementRules
) -> tuple[NDArray[np.intp], NDArray[np.intp], pd.Index, NDArray[np.intp]]:
    """Return member and product numbers, the product_ids ascending, and days before as_of."""
    missing = [name for name in DAY_COLUMNS if name not in days.columns]
    if missing or days.empty:
        raise InputRefused(
            f"Complements are found in purchase days with {', '.join(DAY_COLUMNS)}; "
            f"{', '.join(missing) or 'every row'} is missing. Nothing was computed. "
            "Use Baskets.days."
        )
    members, member = np.unique(text(days["member_id"]).to_numpy(dtype=str), return_inverse=True)
    ids, product = np.unique(text(days["product_id"]).to_numpy(dtype=str), return_inverse=True)
    ago = days["days_ago"].to_numpy(dtype=np.intp)
    kept = np.ones(len(ago), dtype=np.bool_)
    if len(members) > rules.members_max:
        kept = np.isin(member, np.linspace(0, len(members) - 1, rules.members_max).astype(int))
    # A product of fewer members can be in no pair of so many: leaving it out saves most of the
    # work. Its lines leave their baskets, which another product of the day still stands for.
    pairs = np.unique(member[kept] * len(ids) + product[kept]) % len(ids)
    common = np.bincount(pairs, minlength=len(ids)) >= rules.members_min
    kept &= common[product]
    number = np.cumsum(common) - 1
    return member[kept], number[product[kept]], text(ids[common]), ago[kept]


def _together(
    member: NDArray[np.intp], product: NDArray[np.intp], ago: NDArray[np.intp], n_products: int
) -> tuple[Doubles, Doubles]:
    """Return lift within baskets and cosine of the company kept; (n_products, n_products)."""
    basket = np.unique(member * (int(ago.max()) + 1) + ago, return_inverse=True)[1]
    n_baskets = int(basket.max()) + 1
    held = sparse.csr_matrix(
        (np.ones(len(basket)), (basket, product)), shape=(n_baskets, n_products)
    ).sign()
    both = (held.T @ held).toarray()
    single = both.diagonal().copy()
    chance = np.outer(single, single) / n_baskets
    # Half a basket more on both sides draws pairs that chance would hardly bring towards 1.
    lift = (both + 0.5) / (chance + 0.5)
    company = np.maximum(np.log(lift), 0.0)
    np.fill_diagonal(company, 0.0)
    length = np.sqrt((company**2).sum(axis=1))
    unit = sparse.csr_matrix(company / np.where(length > 0, length, 1.0)[:, None])
    return lift, (unit @ unit.T).toarray()


def followed(
    who: NDArray[np.intp],
    what: NDArray[np.intp],
    first_ago: NDArray[np.intp],
    n_products: int,
    *,
    within_days: int,
    days_per_step: int = DAYS_PER_STEP,
) -> tuple[Doubles, Doubles]:
    """Count who took up a product after the first purchase of another, and how unlike chance it is.

    Sources first bought within one step are taken together. Of the members who lack a target as the
    step ends, everybody's share who take it up in the days that follow is what was to be expected.

    Parameters
    ----------
    who, what, first_ago : arrays of shape (n,), a pair of member and product once
        Numbers of member and product, and how many days before as_of she bought it first.
    within_days : the target is bought first in so many days after the step
    days_per_step : of the sources; fewer are more exact and take longer

    Returns
    -------
    members and ratio, arrays of shape (n_products, n_products), source by target
        `ratio` is members over those to be expected, over its mean for the source.
    """
    n_members = int(who.max(initial=-1)) + 1
    began = np.zeros(n_members, dtype=np.intp)
    np.maximum.at(began, who, first_ago)

    def laid_out(kept: NDArray[np.bool_]) -> sparse.csr_matrix:
        return sparse.csr_matrix(
            (np.ones(int(kept.sum())), (who[kept], what[kept])), shape=(n_members, n_products)
        )

    observed = np.zeros((n_products, n_products))
    expected = np.zeros((n_products, n_products))
    earliest = int(first_ago.max(initial=0)) - WARMUP_DAYS
    for ends in range(earliest, within_days, -days_per_step):
        present = began >= ends + WARMUP_DAYS
        inside = present[who]
        starts = laid_out(inside & (first_ago >= ends) & (first_ago < ends + days_per_step))
        owned = laid_out(inside & (first_ago >= ends))
        gained = laid_out(inside & (first_ago < ends) & (first_ago >= ends - within_days))
        lacked = present.sum() - np.asarray(owned.sum(axis=0)).ravel()
        share = np.asarray(gained.sum(axis=0)).ravel() / np.maximum(lacked, 1.0)
        started = np.asarray(starts.sum(axis=0)).ravel()
        at_risk = started[:, None] - (starts.T @ owned).toarray()
        observed += (starts.T @ gained).toarray()
        expected += at_risk * share[None, :]
    # Half a member more on both sides: a pair nobody followed has a ratio too.
    raw = (observed + 0.5) / (expected + 0.5)
    of_source = (observed.sum(axis=1) + 0.5) / (expected.sum(axis=1) + 0.5)
    return observed, raw / of_source[:, None]
