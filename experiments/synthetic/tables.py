"""A world as the tables a programme would hand over, in the columns of the contracts."""

from datetime import timedelta

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from experiments.synthetic import catalogue as goods
from experiments.synthetic.campaigns import Campaign
from experiments.synthetic.members import Doubles
from experiments.synthetic.world import World
from programme.calendar import local_midnight

TIMEZONE = "Europe/Berlin"
BEGINNING = np.datetime64("1970-01-01", "us")
# Shops are open from eight for thirteen hours; the order of a day's orders is kept.
OPENS_HOUR, OPEN_HOURS = 8.0, 13.0
OPENED_SHARE, CLICKED_SHARE, REDEEMED_SHARE = 0.4, 0.3, 0.5
COUPON_CENTS = 200
REDEMPTION_POINTS, SPENDS_SHARE = 500, 0.7
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
    parts = [pd.DataFrame(columns=["contact_id", "kind", "occurred_at", "member_id"])]
    redeemed = np.zeros(len(world.orders), dtype=bool)
    for nth, campaign in enumerate(world.campaigns):
        mailing, used = _mailing(world, f"c{nth + 1}", campaign, rng)
        redeemed[used] = True
        parts.append(mailing)
    contacts = pd.concat(parts[1:] or parts, ignore_index=True)
    return contacts.assign(known_at=contacts["occurred_at"]), redeemed


def _mailing(
    world: World, name: str, campaign: Campaign, rng: np.random.Generator
) -> tuple[pd.DataFrame, NDArray[np.int64]]:
    """Return the contacts of one campaign, and the orders that used its coupon."""
    who = campaign.member[campaign.contacted]
    next_order = world.orders.first_at_or_after(who, np.full(len(who), campaign.begins + 0.5))
    ordered_at = np.where(next_order >= 0, world.orders.placed_at[next_order], np.inf)
    used = (ordered_at < campaign.ends) & (rng.random(len(who)) < REDEEMED_SHARE)
    opened = rng.random(len(who)) < OPENED_SHARE
    clicked = opened & (rng.random(len(who)) < CLICKED_SHARE)
    sent_at = np.full(len(who), campaign.begins + 0.01)
    opened_at = sent_at + rng.uniform(0.05, 0.4, len(who))
    kinds = (
        ("sent", np.ones(len(who), dtype=bool), sent_at),
        ("opened", opened, opened_at),
        ("clicked", clicked, opened_at + 0.01),
        ("redeemed", used, ordered_at),
    )
    parts = [
        pd.DataFrame(
            {
                "contact_id": [f"{name}-{number}" for number in who[which]],
                "kind": kind,
                "occurred_at": instants(world, happened_at[which]),
                "member_id": world.member_ids[who[which]],
                "propensity": campaign.propensity[campaign.contacted][which],
            }
        )
        for kind, which, happened_at in kinds
    ]
    same = {"campaign_id": name, "channel": "e-mail", "offer": "coupon", "arm": "offer"}
    return pd.concat(parts, ignore_index=True).assign(**same), next_order[used]


def _purchases(world: World, redeemed: NDArray[np.bool_], rng: np.random.Generator) -> pd.DataFrame:
    bought = _bought(world, redeemed)
    whole = pd.concat([bought, _returned(world, bought, rng)], ignore_index=True)
    return whole.assign(known_at=whole["occurred_at"])


def _bought(world: World, redeemed: NDArray[np.bool_]) -> pd.DataFrame:
    """Return a row a line."""
    orders, lines = world.orders, world.lines
    first = np.diff(lines.order, prepend=-1) > 0
    line_no = np.arange(len(lines)) - np.flatnonzero(first)[lines.order]
    coupon = np.where(first & redeemed[lines.order], COUPON_CENTS, 0)
    member = orders.member[lines.order]
    stores = np.array([f"s{number}" for number in range(goods.STORES)], dtype=object)
    return pd.DataFrame(
        {
            "source": "till",
            "order_id": pd.array(lines.order).astype("string[pyarrow]"),
            "line_no": pd.array(line_no).astype("string[pyarrow]"),
            "source_key": _text(member, world.member_ids),
            "occurred_at": instants(world, orders.placed_at)[lines.order],
            "product_id": _text(lines.product, goods.product_ids()),
            "quantity": lines.quantity.astype(np.float64),
            "net_cents": lines.net_cents,
            "discount_cents": lines.discount_cents,
            "coupon_cents": np.minimum(coupon, lines.net_cents),
            "store_id": _text(member % goods.STORES, stores),
            "channel": "shop",
        }
    )


def _returned(world: World, bought: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """Return the lines that were brought back, as the till books them."""
    order = world.lines.order
    back = rng.random(len(order)) < world.recipe.return_share
    returned_at = world.orders.placed_at[order] + rng.uniform(1, 10, len(order))
    back &= returned_at < world.recipe.days
    lines = bought[back]
    return lines.assign(
        order_id="r" + lines["order_id"],
        returns_order_id=lines["order_id"],
        returns_line_no=lines["line_no"],
        occurred_at=instants(world, returned_at[back]),
        quantity=-lines["quantity"],
        net_cents=-lines["net_cents"],
        discount_cents=0,
        coupon_cents=0,
    )


def _text(codes: NDArray[np.int64], names: NDArray[np.object_]) -> pd.Categorical:
    """Return names by number, each stored once."""
    return pd.Categorical.from_codes(codes, categories=pd.Index(names, dtype=object))


def _points(world: World, rng: np.random.Generator) -> pd.DataFrame:
    """Return a point for each whole unit of currency, and each five hundred spent or kept."""
    orders, points = world.orders, world.cents // 100
    first = np.flatnonzero(np.diff(orders.member, prepend=-1))
    running = np.cumsum(points)
    before = np.repeat(running[first] - points[first], np.diff(np.append(first, len(orders))))
    earned = running - before
    names = np.array([name for _, name in TIERS], dtype=object)
    reached = np.searchsorted([least for least, _ in TIERS], earned, side="right") - 1
    posted = pd.DataFrame(
        {
            "posting_id": [f"e{number}" for number in range(len(orders))],
            "occurred_at": instants(world, orders.placed_at),
            "member_id": _text(orders.member, world.member_ids),
            "kind": "EARN",
            "points": points,
            "tier": _text(reached, names),
        }
    )
    # What is spent was earned before: each five hundred can go once, with this order or never.
    lots = earned // REDEMPTION_POINTS - (earned - points) // REDEMPTION_POINTS
    spends = (lots > 0) & (rng.random(len(orders)) < SPENDS_SHARE)
    redeemed = posted[spends].assign(
        posting_id=[f"r{number}" for number in np.flatnonzero(spends)],
        kind="REDEEM",
        points=-REDEMPTION_POINTS * lots[spends],
    )
    whole = pd.concat([posted, redeemed], ignore_index=True)
    return whole.assign(known_at=whole["occurred_at"])
