"""What could be named to a member: what recommenders found, and what goes with what she began."""

from typing import Literal

import numpy as np
import pandas as pd

from actions.chances import take_up

Kind = Literal["cross_sell", "replenish"]
CANDIDATE_COLUMNS = ("member_id", "product_id", "rank", "source", "because", "lift")
# She has begun with a kind of goods when she bought the first of it in so many days.
COMPLEMENT_DAYS, COMPLEMENTS_MOST = 60, 5
MEMBERS_AT_ONCE = 20_000


def from_scores(scores: pd.DataFrame, kind: Kind, goods: pd.DataFrame) -> pd.DataFrame:
    """Return the candidates that the scores of a day hold.

    Parameters
    ----------
    scores : member_id and, in order of preference, `explore_products`, or `repeat_products` and
        `next_order_due`; as `perennial score` writes them
    goods : names each product's category, indexed by product_id

    Returns
    -------
    DataFrame with `CANDIDATE_COLUMNS`
        For a replenishment, what she buys again of the categories that she will need soon.
    """
    source = "explore" if kind == "cross_sell" else "repeat"
    listed = scores[["member_id", f"{source}_products"]].set_axis(
        ["member_id", "product_id"], axis=1
    )
    rows = listed.explode("product_id").dropna(subset=["product_id"]).astype(str)
    rows["rank"] = rows.groupby("member_id").cumcount() + 1
    rows = rows.assign(source=source, because="", lift=1.0)
    if kind == "replenish":
        due = scores[["member_id", "next_order_due"]].explode("next_order_due").dropna().astype(str)
        wanted = pd.MultiIndex.from_frame(due)
        of_kind = rows["product_id"].map(goods["category"]).astype(str)
        needed = pd.MultiIndex.from_arrays([rows["member_id"], of_kind]).isin(wanted)
        rows = rows[needed].assign(because=of_kind[needed])
    return rows[list(CANDIDATE_COLUMNS)].reset_index(drop=True)


def from_complements(
    pairs: pd.DataFrame,
    bought: pd.DataFrame,
    kinds: pd.Series,
    *,
    within_days: int = COMPLEMENT_DAYS,
    most: int = COMPLEMENTS_MOST,
) -> pd.DataFrame:
    """Return what goes with the kinds of goods each member has just begun to buy.

    Parameters
    ----------
    pairs : as `training.models.complements.complements` finds them among kinds
    bought : as `Snapshot.products`
    kinds : what each product counts as by product_id, as in `pairs`
    within_days : she bought the first of its kind in so many days
    most : candidates a member, those of the best pairs

    Returns
    -------
    DataFrame with `CANDIDATE_COLUMNS`: of the kind that goes with it, the product that most
    members took up lately; `because` is the kind she has begun with, `lift` the pair's ratio
    """
    taken = take_up(bought)
    best = pd.DataFrame({"kind": kinds.reindex(taken.index), "taken": taken}).dropna()
    best = best.rename_axis("product_id").reset_index()
    best = best.sort_values(["taken", "product_id"], ascending=[False, True], kind="stable")
    product_of = best.drop_duplicates("kind").set_index("kind")["product_id"]
    hers = bought.assign(kind=bought["product_id"].map(kinds)).dropna(subset=["kind"])
    first = hers.groupby(["member_id", "kind"])["first_days"].max().reset_index()
    # A part of the members at a time: each has many pairs before the best are kept.
    part = first.groupby("member_id").ngroup() // MEMBERS_AT_ONCE
    parts = [_best_pairs(own, pairs, within_days, most) for _, own in first.groupby(part)]
    rows = pd.concat([_best_pairs(first.head(0), pairs, within_days, most), *parts])
    found = pd.DataFrame(
        {
            "member_id": rows["member_id"].astype(str),
            "product_id": rows["target"].map(product_of),
            "rank": rows["rank"],
            "source": "complement",
            "because": rows["source"].astype(str),
            "lift": rows["ratio"].astype(np.float64),
        }
    )
    return found.dropna(subset=["product_id"]).reset_index(drop=True)


def _best_pairs(
    first: pd.DataFrame, pairs: pd.DataFrame, within_days: int, most: int
) -> pd.DataFrame:
    """Return the pairs of which she has just begun with one and never bought the other."""
    begun = first[first["first_days"] <= within_days]
    rows = begun.merge(pairs, left_on="kind", right_on="source")
    has = pd.MultiIndex.from_frame(first[["member_id", "kind"]])
    rows = rows[~pd.MultiIndex.from_frame(rows[["member_id", "target"]]).isin(has)]
    order = ["member_id", "score", "target", "source"]
    rows = rows.sort_values(order, ascending=[True, False, True, True], kind="stable")
    rows = rows.drop_duplicates(["member_id", "target"])
    rows["rank"] = rows.groupby("member_id").cumcount() + 1
    return rows[rows["rank"] <= most]
