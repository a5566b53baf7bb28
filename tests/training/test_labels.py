"""What a member did next, beside the same in plain Python."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from features.lake import Lake
from programme.errors import InputRefused, NotReady
from programme.settings import Settings
from tests.features import shop
from tests.features.shop import AS_OF, MEMBERS, PROGRAMME, ZONE, Till
from training import labels

HORIZON = 28
# In New York the clocks go forward within the first window and back within the second.
SPRING, AUTUMN = date(2024, 2, 25), date(2024, 10, 20)
# UTC, and naive as stored.
SPRING_BOUNDS = (datetime(2024, 2, 25, 5), datetime(2024, 3, 24, 4))  # noqa: DTZ001
AUTUMN_BOUNDS = (datetime(2024, 10, 20, 4), datetime(2024, 11, 17, 5))  # noqa: DTZ001
END = datetime(2024, 12, 24, 12)  # noqa: DTZ001


IN_SPRING = datetime(2024, 3, 1, 12)  # noqa: DTZ001


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Return a home in which every member lives through one case; read-only."""
    settings = Settings(home=tmp_path_factory.mktemp("labels"), threads=1)
    shop.take(settings, *_cases())
    return settings


def _cases() -> tuple[Till, Till]:
    second = timedelta(seconds=1)
    days = {
        "spring_eve": SPRING_BOUNDS[0] - second,
        "spring_first": SPRING_BOUNDS[0],
        "spring_last": SPRING_BOUNDS[1] - second,
        "spring_after": SPRING_BOUNDS[1],
        "autumn_eve": AUTUMN_BOUNDS[0] - second,
        "autumn_first": AUTUMN_BOUNDS[0],
        "autumn_last": AUTUMN_BOUNDS[1] - second,
        "autumn_after": AUTUMN_BOUNDS[1],
    }
    told_late = shop.line("told_late", IN_SPRING, known_at=IN_SPRING + timedelta(days=90))
    told_then = shop.line("told_then", IN_SPRING - timedelta(days=10), known_at=IN_SPRING)
    only_returns = shop.line("only_returns", IN_SPRING, -700, quantity=-1.0)
    bought = shop.line("brought_back", IN_SPRING, 700)
    back = shop.line("brought_back", IN_SPRING + timedelta(days=4), -700, quantity=-1.0)
    wrong = [shop.line(f"wrong_{what}", IN_SPRING, 700) for what in ("day", "member", "nobody")]
    priced = shop.line("wrong_price", IN_SPRING, 700)
    corrections = [
        {**wrong[0], "occurred_at": IN_SPRING - timedelta(days=30)},
        {**wrong[1], "source_key": "right_member"},
        {**wrong[2], "source_key": None},
        {**priced, "net_cents": 70},
    ]
    later = IN_SPRING + timedelta(days=60)
    return (
        Till(
            [
                *(shop.line(member, moment) for member, moment in days.items()),
                told_late, told_then, only_returns, bought, back, *wrong, priced,
                shop.line("for_nothing", IN_SPRING, 0),
                shop.line(None, IN_SPRING),
                shop.line("card-7", IN_SPRING),
                shop.line(None, END),
            ],
            identities=[shop.identity("card-7", "card_holder", IN_SPRING - timedelta(days=29))],
        ),
        Till([{**row, "known_at": later} for row in corrections]),
    )  # fmt: skip


def found_in(
    home: Settings, members: Sequence[str], as_of: date = SPRING, lake_version: int | None = None
) -> dict[str, tuple[float, float]]:
    """Return member_id -> (churned, value_cents)."""
    version = lake_version or Lake(home).manifest().lake_version
    found = labels.outcomes(home, as_of, HORIZON, list(members), version)
    pairs = zip(found.churned.tolist(), found.value_cents.tolist(), strict=True)
    return dict(zip(members, pairs, strict=True))


@pytest.mark.parametrize(("season", "as_of"), [("spring", SPRING), ("autumn", AUTUMN)])
def test_the_window_is_half_open_between_local_midnights_when_the_clocks_change(
    world: Settings, season: str, as_of: date
) -> None:
    members = [f"{season}_{when}" for when in ("eve", "first", "last", "after")]

    found = found_in(world, members, as_of)

    assert [churned for churned, _ in found.values()] == [1.0, 0.0, 0.0, 1.0]


def test_a_purchase_counts_when_it_occurred_not_when_it_became_known(world: Settings) -> None:
    found = found_in(world, ["told_late", "told_then"])

    assert found == {"told_late": (0.0, 1_000.0), "told_then": (1.0, 0.0)}


def test_a_basket_of_returns_is_no_purchase_but_its_money_counts(world: Settings) -> None:
    assert found_in(world, ["only_returns"]) == {"only_returns": (1.0, -700.0)}


def test_what_was_bought_and_brought_back_was_a_purchase_worth_nothing(world: Settings) -> None:
    assert found_in(world, ["brought_back"]) == {"brought_back": (0.0, 0.0)}


def test_a_purchase_for_nothing_is_a_purchase(world: Settings) -> None:
    assert found_in(world, ["for_nothing"]) == {"for_nothing": (0.0, 0.0)}


def test_a_basket_that_was_corrected_away_never_was(world: Settings) -> None:
    wrong = ["wrong_day", "wrong_member", "wrong_nobody"]

    assert found_in(world, wrong) == dict.fromkeys(wrong, (1.0, 0.0))
    assert found_in(world, wrong, lake_version=1) == dict.fromkeys(wrong, (0.0, 700.0))
    assert found_in(world, ["right_member"]) == {"right_member": (0.0, 700.0)}


def test_a_corrected_amount_counts_as_corrected(world: Settings) -> None:
    assert found_in(world, ["wrong_price"]) == {"wrong_price": (0.0, 70.0)}


def test_lines_without_a_member_are_nobodys(world: Settings) -> None:
    nobody = ["None", "", "nobody"]

    assert found_in(world, nobody) == dict.fromkeys(nobody, (1.0, 0.0))


def test_a_key_that_was_known_to_be_a_member_buys_for_her(world: Settings) -> None:
    found = found_in(world, ["card-7", "card_holder"])

    assert found == {"card-7": (1.0, 0.0), "card_holder": (0.0, 1_000.0)}


def test_the_next_purchase_is_counted_in_local_days_and_its_absence_is_the_horizon(
    world: Settings,
) -> None:
    members = ["spring_eve", "spring_first", "spring_last", "spring_after", "told_late",
               "only_returns", "brought_back", "wrong_day", "nobody"]  # fmt: skip

    found = labels.outcomes(world, SPRING, HORIZON, members, Lake(world).manifest().lake_version)

    # 1 March is five days after 25 February in a leap year.
    assert found.next_days.tolist() == [28, 0, 27, 28, 5, 28, 5, 28, 28]


def test_answers_come_in_the_order_asked(world: Settings) -> None:
    found = labels.outcomes(world, SPRING, HORIZON, ["nobody", "wrong_price", "told_then"], 2)

    np.testing.assert_array_equal(found.churned, [1, 0, 1])
    np.testing.assert_array_equal(found.value_cents, [0, 70, 0])


@pytest.mark.parametrize("days", [0, -7, 30])
def test_a_horizon_that_is_not_whole_weeks_is_refused(world: Settings, days: int) -> None:
    with pytest.raises(InputRefused, match=f"label horizon is {days} days"):
        labels.outcomes(world, SPRING, days, ["told_late"], 1)
    with pytest.raises(InputRefused, match=f"label horizon is {days} days"):
        labels.bought_products(world, SPRING, days, 1)


def test_a_window_past_the_data_is_refused_and_the_latest_as_of_is_named(world: Settings) -> None:
    latest = END.date() - timedelta(days=HORIZON - 1)

    with pytest.raises(InputRefused, match=f"No labels were made.*whole window is {latest}"):
        found_in(world, ["told_late"], latest + timedelta(days=1))

    assert found_in(world, ["told_late"], latest) == {"told_late": (1.0, 0.0)}


def test_the_data_begin_with_the_first_member_and_end_with_the_last_line() -> None:
    midnight = SPRING_BOUNDS[0]
    minute = timedelta(minutes=1)
    till = Till(
        [
            shop.line(None, midnight - timedelta(days=90)),
            shop.line("ann", midnight - minute),
            shop.line(None, midnight),
        ]
    )

    with shop.new_home() as home:
        shop.take(home, till)

        assert labels.data_begins(home) == SPRING - timedelta(days=1)
        assert labels.data_ends(home) == SPRING + timedelta(days=1)


def test_purchases_that_are_all_anonymous_teach_nothing() -> None:
    with shop.new_home() as home:
        shop.take(home, Till([shop.line(None, IN_SPRING)]))

        with pytest.raises(InputRefused, match=r"carries a member.*Nothing was trained"):
            labels.data_begins(home)


def test_nothing_ingested_is_not_ready(tmp_path: Path) -> None:
    with pytest.raises(NotReady, match="holds no programme yet"):
        labels.outcomes(Settings(home=tmp_path), SPRING, HORIZON, ["ann"], 1)


@examples(max_examples=6)
@given(
    rows=shop.purchases(),
    merged=shop.merges(),
    weeks_before=st.sampled_from((0, 3, 4)),
    data=st.data(),
)
def test_labels_are_those_worked_out_by_hand_in_whatever_order_rows_arrive(
    rows: list[shop.Row], merged: list[shop.Row], weeks_before: int, data: st.DataObject
) -> None:
    as_of = AS_OF - timedelta(weeks=weeks_before)
    shuffled = data.draw(st.permutations(rows))
    cut = data.draw(st.integers(1, len(rows) - 1))
    fixes = data.draw(shop.corrections(rows))
    members = sorted({*MEMBERS, "zoe"})

    with shop.new_home() as home:
        pieces = [Till(shuffled[:cut]), Till(shuffled[cut:], identities=merged), Till(fixes)]
        shop.take(home, *(piece for piece in pieces if piece != Till()))
        found = found_in(home, members, as_of)
        products = labels.bought_products(home, as_of, HORIZON, Lake(home).manifest().lake_version)

    expected, expected_products = by_hand([*rows, *fixes], merged, as_of)
    assert found == {member: expected.get(member, (1.0, 0.0)) for member in members}
    assert list(products.itertuples(index=False, name=None)) == sorted(expected_products)


def by_hand(
    rows: Sequence[shop.Row], merged: Sequence[shop.Row], as_of: date
) -> tuple[dict[str, tuple[float, float]], set[tuple[str, str]]]:
    """Work out the labels of `PROGRAMME` one line at a time."""
    midnight = datetime.combine(as_of, datetime.min.time(), ZoneInfo(ZONE)).astimezone(UTC)
    newest: dict[tuple[str, str], shop.Row] = {}
    for row in sorted(rows, key=lambda row: row["known_at"]):
        newest[row["order_id"], row["line_no"]] = row
    who: dict[str, str] = {}
    for row in sorted(merged, key=lambda row: row["known_at"]):
        if row["known_at"].replace(tzinfo=UTC) < midnight:
            who[row["source_key"]] = row["member_id"]
    baskets: dict[str, set[str]] = defaultdict(set)
    spent: Counter[str] = Counter()
    products = set()
    for row in newest.values():
        day = row["occurred_at"].replace(tzinfo=UTC).astimezone(ZoneInfo(PROGRAMME.timezone)).date()
        if row["source_key"] is None or not as_of <= day < as_of + timedelta(days=HORIZON):
            continue
        member = who.get(row["source_key"]) or str(row["source_key"])
        spent[member] += row["net_cents"]
        if row["quantity"] >= 0 and row["net_cents"] >= 0:
            baskets[member].add(row["order_id"])
            if row.get("product_id") is not None:
                products.add((member, row["product_id"]))
    return {m: (float(not baskets[m]), float(spent[m])) for m in spent}, products


def test_a_first_order_is_what_was_known_of_the_first_day_before_the_as_of() -> None:
    noon = datetime(2024, 1, 10, 17)  # noqa: DTZ001
    day = timedelta(days=1)
    till = Till(
        [
            shop.line("ann", noon, 500),
            shop.line("ann", noon + timedelta(hours=2), 250),
            shop.line("ann", noon + day, 9_000),
            shop.line("ann", noon + 2 * day, -100, quantity=-1.0),
            shop.line("bob", noon - 9 * day, 7_000, known_at=noon + 300 * day),
            shop.line("bob", noon, 800),
            shop.line("cat", noon, -300, quantity=-1.0),
            shop.line("cat", noon + day, 400),
            shop.line("dee", noon + 300 * day, 999),
        ]
    )
    with shop.new_home() as home:
        shop.take(home, till)
        version = Lake(home).manifest().lake_version

        found = labels.first_order_cents(home, AS_OF, ["bob", "ann", "dee", "cat"], version)

    assert found.tolist() == [800, 750, 0, 400]
