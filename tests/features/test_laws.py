"""What must hold of any purchases whatever: how often, in which order, in how many pieces."""

import math
from datetime import timedelta

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from features import snapshot
from features.ingest import ingest
from features.lake import Lake
from tests.features import oracle, shop
from tests.features.shop import AS_OF, MIDNIGHT, NOW, ZONE, Till

# Each example ingests several times, a tenth of a second each; shrinking one would take minutes.
few = settings(max_examples=3, phases=[Phase.explicit, Phase.reuse, Phase.generate])


@few
@given(rows=shop.purchases(), data=st.data())
def test_replaying_an_ingest_changes_nothing(rows: list[shop.Row], data: st.DataObject) -> None:
    fixes = data.draw(shop.corrections(rows))
    beyond = shop.line("ann", NOW.replace(tzinfo=None) + timedelta(days=2), order_id="tomorrow")
    till = Till([*rows, {**rows[0], "net_cents": 77}, beyond], data.draw(shop.catalogues()))
    corrected = Till([*rows, *fixes])
    with shop.new_home() as home:
        first, second = shop.take(home, till, corrected)
        before = shop.features(home)

        replays = shop.take(home, till, corrected, till)

        assert first.batch_no == 1
        assert [again.batch_no for again in replays] == [None, None, None]
        assert Lake(home).manifest().lake_version == (second.batch_no or 1)
        assert [row["reason"] for row in shop.quarantined(home)] == [
            "conflicting_duplicate",
            "in_the_future",
        ]
        shop.same(shop.features(home), before)


@few
@given(rows=shop.purchases(), catalogue=shop.catalogues(), data=st.data())
def test_pieces_in_any_order_equal_one_file(
    rows: list[shop.Row], catalogue: list[shop.Row], data: st.DataObject
) -> None:
    twice = data.draw(st.lists(st.sampled_from(rows), max_size=5))
    mixed = data.draw(st.permutations([*rows, *twice]))
    cut = data.draw(st.integers(1, len(mixed) - 1))

    pieces = [Till(mixed[:cut]), Till((), catalogue), Till(mixed[cut:])]
    arrived = data.draw(st.permutations([piece for piece in pieces if piece != Till()]))

    with shop.new_home() as home:
        shop.take(home, *arrived)
        shop.same(shop.features(home), shop.features_of(Till(rows, catalogue)))


@few
@given(rows=shop.purchases(), data=st.data())
def test_renaming_members_renames_rows(rows: list[shop.Row], data: st.DataObject) -> None:
    shuffled = data.draw(st.permutations(shop.MEMBERS))
    names = dict(zip(shop.MEMBERS, shuffled, strict=True)) | {None: None}
    renamed = [{**row, "source_key": names[row["source_key"]]} for row in rows]

    expected = shop.features_of(Till(rows)).rename(index=names).sort_index()

    shop.same(shop.features_of(Till(renamed)), expected)


@settings(few, max_examples=5)
@given(rows=shop.purchases(), catalogue=shop.catalogues(), merged=shop.merges(), data=st.data())
def test_a_snapshot_grown_step_by_step_is_the_one_computed_by_hand(
    rows: list[shop.Row], catalogue: list[shop.Row], merged: list[shop.Row], data: st.DataObject
) -> None:
    cut = data.draw(st.integers(2, len(rows) - 1))
    fixes = data.draw(shop.corrections(rows))
    with shop.new_home() as home:
        for till in (Till(rows[:cut]), Till(rows[cut:], catalogue), Till(fixes, (), merged)):
            if till != Till():
                shop.take(home, till)
                grown = shop.features(home)

        shop.same(grown, shop.rebuilt(home))
    oracle.check(
        grown,
        oracle.feature_table([*rows, *fixes], catalogue, merged, as_of=AS_OF, timezone=ZONE),
    )


@settings(few, max_examples=5)
@given(rows=shop.purchases(), catalogue=shop.catalogues(), data=st.data())
def test_computing_the_touched_members_again_is_computing_everybody(
    rows: list[shop.Row], catalogue: list[shop.Row], data: st.DataObject
) -> None:
    fixes = data.draw(shop.corrections(rows))
    twice = data.draw(st.lists(st.sampled_from(rows), max_size=5))
    arrived = data.draw(st.permutations([*rows[2:], *twice]))
    cut = data.draw(st.integers(0, len(arrived)))
    # What is known of the catalogue first comes with the first rows: its first row ever would
    # say something of everybody.
    pieces = [Till(rows[:2], catalogue), Till(arrived[:cut]), Till(arrived[cut:]), Till(fixes)]
    with shop.new_home() as home, pytest.MonkeyPatch.context() as patch:
        patch.setattr(snapshot, "REBUILD_ABOVE", math.inf)
        for piece in pieces:
            if piece != Till():
                shop.take(home, piece)
                grown = snapshot.build(home, AS_OF)

        shop.same(grown.features(), shop.rebuilt(home, frozen=grown.reference))


@few
@given(rows=shop.purchases(), data=st.data())
def test_lines_without_numbers_may_be_sent_in_overlapping_exports(
    rows: list[shop.Row], data: st.DataObject
) -> None:
    plain = [{**row, "order_id": None, "line_no": None} for row in rows]
    cut = data.draw(st.integers(1, len(plain)))
    overlap = data.draw(st.integers(0, cut - 1))
    # Equal lines of one file are purchases of their own, so they must travel together.
    distinct = list({str(row): row for row in plain}.values())
    cut = min(cut, len(distinct))

    with shop.new_home() as home:
        for part in (distinct[overlap:], distinct[:cut]):
            shop.take(home, Till(part, hash_identity=True))
        in_parts = shop.features(home)

    shop.same(in_parts, shop.features_of(Till(distinct, hash_identity=True)))


@few
@given(rows=shop.purchases(), seconds=st.integers(0, 86_400))
def test_when_and_in_which_batch_a_row_came_in_is_no_feature(
    rows: list[shop.Row], seconds: int
) -> None:
    later = NOW + timedelta(seconds=seconds)
    with shop.new_home() as home:
        shop.take(home, Till([shop.line(None, MIDNIGHT, order_id="zero")]))
        ingest(Till(rows), home, later)
        shop.same(shop.features(home), shop.features_of(Till(rows)))
