"""How far the inbox was read is said by the batch that read it, and by nothing else."""

import json
from dataclasses import replace
from datetime import timedelta

import pytest

from features.ingest import ingest
from features.lake import MANIFEST, Lake
from programme.errors import InputRefused
from programme.settings import Settings
from tests.features import shop

TILL = shop.Till([shop.line("ann", shop.MIDNIGHT - timedelta(days=day)) for day in (1, 40)])


def position(home: Settings) -> int:
    lake = Lake(home)
    return lake.inbox_position(lake.manifest())


def test_a_lake_that_read_no_inbox_stands_at_its_beginning(home: Settings) -> None:
    assert position(home) == 0
    shop.take(home, TILL)
    assert position(home) == 0


def test_the_position_is_that_of_a_manifest_and_other_sources_leave_it(home: Settings) -> None:
    ingest(TILL, home, shop.NOW, inbox_seq=7)
    shop.take(home, replace(TILL, purchases=[shop.line("bob", shop.MIDNIGHT)]))
    ingest(replace(TILL, purchases=[shop.line("cid", shop.MIDNIGHT)]), home, shop.NOW, inbox_seq=9)

    manifest = Lake(home).manifest()
    reached = [Lake(home).inbox_position(manifest.up_to(version)) for version in range(4)]
    assert reached == [0, 7, 7, 9]


def test_a_batch_with_nothing_new_moves_the_position_and_no_row(home: Settings) -> None:
    ingest(TILL, home, shop.NOW, inbox_seq=7)
    before = shop.features(home)
    again = ingest(TILL, home, shop.NOW, inbox_seq=8)
    stays = ingest(TILL, home, shop.NOW, inbox_seq=8)

    assert (again.batch_no, again.counts[0].unchanged) == (2, 2)
    assert stays.batch_no is None
    assert position(home) == 8
    shop.same(shop.features(home), before)


def test_a_row_that_cannot_be_used_does_not_stop_those_after_it(home: Settings) -> None:
    bad = replace(TILL, purchases=[shop.line("ann", shop.MIDNIGHT, store_id="x" * 2_000)])
    with pytest.raises(InputRefused):
        ingest(bad, home, shop.NOW)
    done = ingest(bad, home, shop.NOW, inbox_seq=1)

    assert done.counts[0].quarantined == {"too_long:store_id": 1}
    assert position(home) == 1


def test_a_manifest_of_earlier_code_is_read(home: Settings) -> None:
    shop.take(home, TILL)
    path = home.home / "lake" / MANIFEST
    content = json.loads(path.read_text())
    for batch in content["batches"]:
        del batch["inbox_seq"]
    path.write_text(json.dumps(content))

    assert position(home) == 0
    assert Lake(home).manifest().lake_version == 1
