"""What must hold of any feed: however often, in whichever pieces and whatever its cells hold."""

from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from features import snapshot
from features.lake import Lake
from programme.settings import Settings
from tests.features import shop
from tests.features.shop import AS_OF, MIDNIGHT, Till, line
from tests.features.sources import feed_files
from tests.features.sources.feed_files import ROWS, SECTIONS, Row, count, feed, stored

# Each example ingests several files, a tenth of a second each; shrinking one would take minutes.
few = settings(max_examples=4, phases=[Phase.explicit, Phase.reuse, Phase.generate])
NUMBER = {
    "events": "id", "contacts": "mail", "points": "id", "members": "card", "identities": "user",
    "campaigns": "code", "consents": "card", "stock": "sku", "products": "sku",
}  # fmt: skip
WHO = {"events": "user", "contacts": "card", "points": "card"}
BOUGHT = [line(who, MIDNIGHT - timedelta(days=40)) for who in shop.MEMBERS]
BOUGHT.append(line(None, MIDNIGHT, order_id="last"))


@st.composite
def rows_of(draw: st.DrawFn, table: str) -> list[Row]:
    """Rows of one table with numbers of their own, good and bad, some sent twice."""
    rows = []
    for number in range(draw(st.integers(2, 8))):
        row = dict(draw(st.sampled_from(ROWS[table])))
        if table in WHO:
            row[WHO[table]] = draw(st.sampled_from(shop.MEMBERS))
            row["at"] = MIDNIGHT - timedelta(seconds=draw(st.integers(-86_400, 90 * 86_400)))
        row[NUMBER[table]] = f"n{number}"
        spoilt = draw(st.sampled_from([None, None, None, *row]))
        if spoilt is not None:
            # NaN would be a readable number of a row, and two such rows versions of one.
            faults = ["", "x" * 2_000] if spoilt == NUMBER[table] else ["", "NaN", "x" * 2_000]
            row[spoilt] = draw(st.sampled_from(faults))
        rows.append(row)
    return [*rows, *draw(st.lists(st.sampled_from(rows), max_size=3))]


def lost_and_kept(home: Settings, table: str) -> tuple[object, object]:
    """Return what is stored and what is in quarantine, wherever in a file it stood."""
    refused = [(row["reason"], row["column_name"]) for row in shop.quarantined(home)]
    return stored(home, table), sorted(set(refused), key=str)


def take_in(home: Settings, folder: Path, table: str, pieces: Sequence[Sequence[Row]]) -> None:
    for number, piece in enumerate(pieces):
        if piece:
            shop.take(home, feed(folder / str(number), table, piece))


@pytest.mark.parametrize("table", SECTIONS)
@settings(few, max_examples=2)
@given(data=st.data())
def test_pieces_in_any_order_equal_one_file(table: str, data: st.DataObject) -> None:
    good = dict(ROWS[table][0])
    rows = data.draw(rows_of(table))
    cut = data.draw(st.integers(0, len(rows)))
    # A piece without one usable row would be refused as a whole: each has one.
    pieces = data.draw(st.permutations([[good, *rows[:cut]], [good, *rows[cut:]]]))
    with TemporaryDirectory() as place, shop.new_home() as one, shop.new_home() as two:
        folder = Path(place)
        take_in(one, folder / "whole", table, [[good, *rows]])
        take_in(two, folder / "pieces", table, pieces)
        assert lost_and_kept(one, table) == lost_and_kept(two, table)


@pytest.mark.parametrize("table", WHO)
@settings(few, max_examples=2)
@given(data=st.data())
def test_features_do_not_depend_on_the_pieces_a_feed_came_in(
    table: str, data: st.DataObject
) -> None:
    rows = [dict(ROWS[table][0]), *data.draw(rows_of(table))]
    cut = data.draw(st.integers(1, len(rows) - 1))
    pieces = [rows[:cut], [rows[0], *rows[cut:]]]
    till = Till(BOUGHT, programme=feed_files.PROGRAMME)
    with TemporaryDirectory() as place, shop.new_home() as one, shop.new_home() as two:
        folder = Path(place)
        shop.take(one, till)
        take_in(one, folder / "whole", table, [rows])
        take_in(two, folder / "pieces", table, data.draw(st.permutations(pieces)))
        shop.take(two, till)
        shop.same(*(snapshot.build(home, AS_OF).features() for home in (one, two)))


@pytest.mark.parametrize("table", SECTIONS)
@settings(few, max_examples=1)
@given(data=st.data())
def test_a_file_sent_again_changes_nothing(table: str, data: st.DataObject) -> None:
    rows = [dict(ROWS[table][0]), *data.draw(rows_of(table))]
    with TemporaryDirectory() as place, shop.new_home() as home:
        source = feed(Path(place), table, rows)
        shop.take(home, source)
        before = lost_and_kept(home, table), Lake(home).manifest()

        (again,) = shop.take(home, source)

        assert again.batch_no is None
        assert (lost_and_kept(home, table), Lake(home).manifest()) == before


@pytest.mark.parametrize("table", SECTIONS)
@settings(few, max_examples=2)
@given(data=st.data())
def test_whatever_stands_in_the_cells_no_row_is_lost(table: str, data: st.DataObject) -> None:
    good = dict(ROWS[table][0])
    cells = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
    anything = st.fixed_dictionaries(dict.fromkeys(good, cells))
    rows = data.draw(st.lists(anything, min_size=1, max_size=6))
    with TemporaryDirectory() as place, shop.new_home() as home:
        (done,) = shop.take(home, feed(Path(place), table, [good, *rows]))

        assert count(done, table).read == 1 + len(rows)
        assert count(done, table).refused == sum(1 for _ in shop.quarantined(home))


@pytest.mark.parametrize("scale", [0, 1, 2, 3, 4])
@few
@given(data=st.data())
def test_points_are_stored_exactly_in_the_smallest_unit(scale: int, data: st.DataObject) -> None:
    units = st.lists(st.integers(-(10**12), 10**12), min_size=1, max_size=40)
    smallest = data.draw(units)
    rows = [
        {"id": f"p{n:02}", "card": "ann", "at": "2024-03-01", "why": "ADJUST",
         "points": str(Decimal(unit).scaleb(-scale))}
        for n, unit in enumerate(smallest)
    ]  # fmt: skip
    section = {
        "posting": "id", "member": "card", "occurred_at": "at", "kind": "why", "points": "points",
    }  # fmt: skip
    programme = {**feed_files.PROGRAMME.model_dump(), "points_scale": scale}
    with TemporaryDirectory() as place, shop.new_home() as home:
        sections = {"points": section, "programme": programme}
        shop.take(home, feed_files.export(Path(place), rows, sections))

        assert [row[4] for row in stored(home, "points")] == smallest
