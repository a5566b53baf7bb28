"""A member's margin share: hers, of the goods whose margin is known, as it was known that day."""

from collections.abc import Sequence
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.lake import Lake
from features.snapshot import Snapshot
from tests.features import shop
from tests.features.shop import AS_OF, MIDNIGHT, Row, Till, identity, line, product
from training.margins import margin_shares

DAY = timedelta(days=1)


def shares(till: Till) -> dict[str, float]:
    with shop.new_home() as home:
        shop.take(home, till)
        version = Lake(home).manifest().lake_version
        # What was known that day, without the features nobody asks for here.
        known = Snapshot(home, shop.PROGRAMME, AS_OF, "none", version, "none")
        found = margin_shares(known)
    return {str(key): float(share) for key, share in found.items()}


def bought(member: str, product_id: str, cents: int, days_ago: int = 5, **more: object) -> Row:
    at = MIDNIGHT - days_ago * DAY
    return line(member, at, cents, product_id=product_id, line_no=f"{product_id}{days_ago}", **more)


RATES = (
    product("tea", "drinks", margin_rate=0.4),
    product("milk", "drinks", margin_rate=0.1),
    product("soap", "care"),
    product("bait", "care", margin_rate=-0.2),
)


def test_the_share_is_weighed_by_what_she_spent_on_goods_whose_margin_is_known() -> None:
    found = shares(
        Till(
            [
                bought("ann", "tea", 3_000),
                bought("ann", "milk", 1_000),
                bought("ann", "soap", 9_000),  # nothing is known of it: left out of both
                bought("bob", "bait", 500),
                bought("cid", "soap", 500),
            ],
            RATES,
        )
    )

    assert found == pytest.approx({"ann": (0.4 * 3_000 + 0.1 * 1_000) / 4_000, "bob": -0.2})


def test_returns_count_against_it_and_a_year_is_what_counts() -> None:
    found = shares(
        Till(
            [
                bought("ann", "tea", 3_000),
                bought("ann", "tea", -1_000, days_ago=2, quantity=-1.0),
                bought("ann", "milk", 2_000),
                bought("ann", "milk", 9_000, days_ago=365),
                bought("bob", "tea", 1_000),
                bought("bob", "tea", -1_000, days_ago=1, quantity=-1.0),
            ],
            RATES,
        )
    )

    assert found == pytest.approx({"ann": 0.25})


def test_rates_and_members_are_those_known_that_day() -> None:
    rates = [
        product("tea", "drinks", MIDNIGHT - 300 * DAY, margin_rate=0.4),
        product("tea", "drinks", MIDNIGHT - 10 * DAY, margin_rate=0.3),
        product("tea", "drinks", MIDNIGHT, margin_rate=0.9),
    ]
    rows = [bought("card-1", "tea", 1_000), bought("card-2", "tea", 1_000, days_ago=3)]
    late = bought("card-1", "tea", 50_000, known_at=MIDNIGHT)
    known = [identity(key, "ann", MIDNIGHT - 20 * DAY) for key in ("card-1", "card-2")]

    assert shares(Till([*rows, late], rates, known)) == pytest.approx({"ann": 0.3})


def test_a_shop_that_tells_no_margin_has_none() -> None:
    assert shares(Till([bought("ann", "soap", 1_000)], RATES[2:3])) == {}
    assert shares(Till([bought("ann", "soap", 1_000)])) == {}


@settings(max_examples=10)  # each opens a home
@given(
    lines=st.lists(
        st.tuples(st.sampled_from(["tea", "milk", "bait"]), st.integers(1, 10_000)),
        min_size=1,
        max_size=8,
    )
)
def test_a_share_lies_between_the_rates_of_what_was_bought(
    lines: Sequence[tuple[str, int]],
) -> None:
    rows = [bought("ann", name, cents, days_ago=k + 1) for k, (name, cents) in enumerate(lines)]
    rate = {"tea": 0.4, "milk": 0.1, "bait": -0.2}

    (share,) = shares(Till(rows, RATES)).values()

    among = [rate[name] for name, _ in lines]
    assert min(among) - 1e-12 <= share <= max(among) + 1e-12
