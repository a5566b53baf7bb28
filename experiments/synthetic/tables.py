"""A world as the tables a programme would hand over, in the columns of the contracts."""

from datetime import timedelta
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from experiments.synthetic import catalogue as goods
from experiments.synthetic.members import Doubles
from experiments.synthetic.world import World
from programme.calendar import local_midnight

TIMEZONE = "Europe/Berlin"
BEGINNING = np.datetime64("1970-01-01", "us")
# Shops are open from eight for thirteen hours; the order of a day's orders is kept.
OPENS_HOUR, OPEN_HOURS = 8.0, 13.0
OPENED_SHARE, CLICKED_SHARE, REDEEMED_SHARE = 0.4, 0.3, 0.5
COUPON_CENTS = 200
REDEMPTION_POINTS = 500
TIERS = ((0, "bronze"), (1_000, "silver"), (4_000, "gold"))
_Instants = NDArray[np.datetime64]


def tables(world: World) -> dict[str, pd.DataFrame]:
    """Return the tables of the contracts, each ready to be ingested, purchases last.

    What is drawn here decides nothing that members do: points, tiers, opened mails and coupons
    follow from the orders and never the other way.
    """
    rng = np.random.default_rng([world.recipe.seed, 7])
    members, campaigns = _members(world), _campaigns(world)
    contacts, redeemed = _contacts(world, rng)
    purchases = _purchases(world, redeemed, rng)
    return {
        "products": world.catalogue.frame().assign(known_at=BEGINNING),
        "members": members,
        "campaigns": campaigns,
        "contacts": contacts,
        "points": _points(world, rng),
        "purchases": purchases,
    }


def instants(world: World, at: Doubles, *, shop_hours: bool = True) -> _Instants:
    """Return days since the first midnight as UTC instants: a day of Berlin, at opening hours."""
    first = world.recipe.first_day
    days = int(np.ceil(at.max(initial=0.0))) + 2
    midnights = np.array(
        [
            local_midnight(first + timedelta(days=day), TIMEZONE).replace(tzinfo=None)
            for day in range(days)
        ],
        dtype="datetime64[us]",
    )
    day = np.floor(at).astype(np.int64)
    hours = (at - day) * 24.0
    if shop_hours:
        hours = OPENS_HOUR + (at - day) * OPEN_HOURS
    # Whole seconds, as a till prints them.
    return np.asarray(midnights[day] + (hours * 3_600).astype(np.int64).astype("timedelta64[s]"))


def _members(world: World) -> pd.DataFrame:
    rng = np.random.default_rng([world.recipe.seed, 8])
    n = len(world.members)
    joined = instants(world, world.members.joined_at)
    return pd.DataFrame(
        {
            "member_id": world.member_ids,
            "joined_at": joined,
            "joined_channel": rng.choice(["shop", "web", "app"], n),
            "known_at": joined,
        }
    )


def _campaigns(world: World) -> pd.DataFrame:
    begins = np.array([float(one.begins) for one in world.campaigns])
    ends = np.array([float(one.ends) for one in world.campaigns])
    starts_at = instants(world, begins, shop_hours=False)
    return pd.DataFrame(
        {
            "campaign_id": [f"c{nth + 1}" for nth in range(len(begins))],
            "starts_at": starts_at,
            "ends_at": instants(world, ends, shop_hours=False),
            "kind": "mailing",
            "known_at": starts_at,
        }
    )


def _contacts(world: World, rng: np.random.Generator) -> tuple[pd.DataFrame, NDArray[np.bool_]]:
    """Return what was sent and became of it, and which orders used the coupon."""
    parts, redeemed = [], np.zeros(len(world.orders), dtype=bool)
    for nth, campaign in enumerate(world.campaigns):
        who = campaign.member[campaign.contacted]
        next_order = world.orders.first_at_or_after(who, np.full(len(who), campaign.begins + 0.5))
        at = np.where(next_order >= 0, world.orders.placed_at[next_order], np.inf)
        used = (at < campaign.ends) & (rng.random(len(who)) < REDEEMED_SHARE)
        redeemed[next_order[used]] = True
        opened = rng.random(len(who)) < OPENED_SHARE
        clicked = opened & (rng.random(len(who)) < CLICKED_SHARE)
        delay = rng.uniform(0.05, 0.4, len(who))
        sent_at = np.full(len(who), campaign.begins + 0.01)
        kinds = (
            ("sent", np.ones(len(who), dtype=bool), sent_at),
            ("opened", opened, sent_at + delay),
            ("clicked", clicked, sent_at + delay + 0.01),
            ("redeemed", used, at),
        )
        for kind, which, when in kinds:
            part = {
                "contact_id": [f"c{nth + 1}-{number}" for number in who[which]],
                "kind": kind,
                "occurred_at": instants(world, when[which]),
                "member_id": world.member_ids[who[which]],
                "propensity": campaign.propensity[campaign.contacted][which],
            }
            facts = {"campaign_id": f"c{nth + 1}", "channel": "e-mail", "offer": "coupon",
                     "arm": "offer"}  # fmt: skip
            parts.append(pd.DataFrame(part).assign(**facts))
    if not parts:
        parts = [pd.DataFrame(columns=["contact_id", "kind", "occurred_at", "member_id"])]
    contacts = pd.concat(parts, ignore_index=True)
    return contacts.assign(known_at=contacts["occurred_at"]), redeemed


def _purchases(world: World, redeemed: NDArray[np.bool_], rng: np.random.Generator) -> pd.DataFrame:
    orders, lines = world.orders, world.lines
    first = np.diff(lines.order, prepend=-1) > 0
    line_no = np.arange(len(lines)) - np.flatnonzero(first)[lines.order]
    coupon = np.where(first & redeemed[lines.order], COUPON_CENTS, 0)
    member = orders.member[lines.order]
    bought = _Columns(
        source="till",
        order_id=lines.order,
        line_no=line_no,
        source_key=_text(member, world.member_ids),
        occurred_at=instants(world, orders.placed_at)[lines.order],
        product_id=_text(lines.product, goods.product_ids()),
        quantity=lines.quantity.astype(np.float64),
        net_cents=lines.net_cents,
        discount_cents=lines.discount_cents,
        coupon_cents=np.minimum(coupon, lines.net_cents),
        store_id=_text(member % goods.STORES, np.array([f"s{n}" for n in range(goods.STORES)])),
        channel="shop",
    )
    table = pd.DataFrame(bought)
    table["order_id"] = table["order_id"].astype("string[pyarrow]")
    table["line_no"] = table["line_no"].astype("string[pyarrow]")
    back = rng.random(len(lines)) < world.recipe.return_share
    returned_at = orders.placed_at[lines.order] + rng.uniform(1, 10, len(lines))
    back &= returned_at < world.recipe.days
    returns = table[back].assign(
        returns_order_id=lambda t: t["order_id"],
        returns_line_no=lambda t: t["line_no"],
        order_id=lambda t: "r" + t["order_id"],
        occurred_at=instants(world, returned_at[back]),
        discount_cents=0,
        coupon_cents=0,
    )
    returns[["quantity", "net_cents"]] *= -1
    whole = pd.concat([table, returns], ignore_index=True)
    return whole.assign(known_at=whole["occurred_at"])


_Columns = dict[str, Any]


def _text(codes: NDArray[np.int64], names: NDArray[np.object_]) -> pd.Categorical:
    """Return names by number, each stored once."""
    return pd.Categorical.from_codes(codes, categories=pd.Index(names, dtype=object))


def _points(world: World, rng: np.random.Generator) -> pd.DataFrame:
    """Return a point for each whole unit of currency, and each five hundred spent or kept."""
    orders = world.orders
    points = world.cents // 100
    first = np.flatnonzero(np.diff(orders.member, prepend=-1))
    running = np.cumsum(points)
    before = np.repeat(running[first] - points[first], np.diff(np.append(first, len(orders))))
    earned = running - before
    tiers = np.array([name for _, name in TIERS])
    tier = _text(np.searchsorted([least for least, _ in TIERS], earned, side="right") - 1, tiers)
    at = instants(world, orders.placed_at)
    posted = pd.DataFrame(
        {
            "posting_id": [f"e{number}" for number in range(len(orders))],
            "occurred_at": at,
            "member_id": _text(orders.member, world.member_ids),
            "kind": "EARN",
            "points": points,
            "tier": tier,
        }
    )
    # What is spent was earned before: each five hundred can go once, with this order or never.
    hundreds = earned // REDEMPTION_POINTS - (earned - points) // REDEMPTION_POINTS
    spends = (hundreds > 0) & (rng.random(len(orders)) < 0.7)
    redeemed = posted[spends].assign(
        posting_id=[f"r{number}" for number in np.flatnonzero(spends)],
        kind="REDEEM",
        points=-REDEMPTION_POINTS * hundreds[spends],
    )
    whole = pd.concat([posted, redeemed], ignore_index=True)
    return whole.assign(known_at=whole["occurred_at"])
