"""From the lake to the ledger: each row earns once, and what was refused is not lost."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from features.ingest import ingest
from features.sources import open_source
from loyalty.points import balance
from loyalty.rulebook import adopt
from loyalty.rules import read
from programme.settings import Settings
from serving import earning
from serving.earning import Earnings, earn
from serving.points import PointsDesk
from tests.loyalty.shop import NOW, PROGRAMME, RULES

DECLARED = (
    f'source = "till"\nprogramme = {{ name = "{PROGRAMME.name}", '
    f'timezone = "{PROGRAMME.timezone}", currency = "CNY", points_scale = 2 }}\n'
)
PURCHASES = 'purchases = { member = "who", occurred_at = "at", order = "order", amount = "net" }\n'
EVENTS = 'events = { event = "id", member = "who", occurred_at = "at", kind = "what" }\n'
Brings = Callable[[str, str], None]


@pytest.fixture
def brings(tmp_path: Path) -> Brings:
    """Return what brings rows into the lake of the desk's home."""

    def bring(mapping: str, rows: str) -> None:
        export, declared = tmp_path / "export.csv", tmp_path / "mapping.toml"
        export.write_text(rows)
        declared.write_text(DECLARED + mapping)
        settings = Settings(home=tmp_path, threads=1)
        ingest(open_source([str(export)], declared), settings, datetime(2018, 6, 15, tzinfo=UTC))

    return bring


def run(desk: PointsDesk, home: Path, *, again: bool = False) -> Earnings:
    settings = Settings(home=home, threads=1)
    return earn(settings, desk.database, desk.rules, now=NOW, again=again)


def active(desk: PointsDesk, member_id: str = "ann") -> int:
    return balance(desk.database, desk.rules.terms(NOW), member_id, now=NOW).active


def test_purchases_and_events_earn_once_and_new_ones_later(
    desk: PointsDesk, brings: Brings, tmp_path: Path
) -> None:
    brings(PURCHASES, "who,at,order,net\nann,2018-06-10,o1,10.00\nbob,2018-06-11,o2,5.00\n")
    brings(EVENTS, "id,who,at,what\ne1,ann,2018-06-12,review\n")
    first, again = run(desk, tmp_path), run(desk, tmp_path)
    brings(PURCHASES, "who,at,order,net\nann,2018-06-13,o3,1.00\n")
    later = run(desk, tmp_path)

    assert (first.lines, first.events, first.postings) == (2, 1, 3)
    assert (again.lines, again.events, again.postings) == (0, 0, 0)
    assert (later.lines, later.events, later.postings) == (1, 0, 1)
    assert active(desk) == 10_00 + 80_00 + 1_00


def test_an_event_that_was_corrected_is_counted_and_earns_no_second_time(
    desk: PointsDesk, brings: Brings, tmp_path: Path
) -> None:
    told = EVENTS.replace(" }", ', known_at = "known" }')
    rows = "id,who,at,what,known\n"
    brings(PURCHASES, "who,at,order,net\ncat,2018-06-10,o1,10.00\n")
    brings(told, rows + "e1,ann,2018-06-12,review,2018-06-13\ne2,ann,2018-06-12,visit,2018-06-13\n")
    first = run(desk, tmp_path)
    brings(told, rows + "e1,bob,2018-06-12,review,2018-06-14\n")
    again = run(desk, tmp_path)

    assert (first.events, first.postings, first.unnamed, first.changed) == (2, 2, 1, 0)
    assert (again.postings, again.changed, again.unnamed, again.refusals) == (0, 1, 0, 0)
    assert active(desk) == 80_00


def test_a_job_that_is_stopped_between_batches_goes_on(
    desk: PointsDesk, brings: Brings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = "".join(f"ann,2018-06-10,o{n},1.00\n" for n in range(20))
    brings(PURCHASES, "who,at,order,net\n" + rows)
    monkeypatch.setattr(earning, "LINES_AT_ONCE", 3)

    def stop(said: str) -> None:
        if said.startswith("9 lines"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        earn(Settings(home=tmp_path), desk.database, desk.rules, now=NOW, tell=stop)
    rest = run(desk, tmp_path)

    assert rest.lines == 11
    assert active(desk) == 20_00


def test_what_was_refused_earns_once_the_rules_allow_it(
    desk: PointsDesk, brings: Brings, tmp_path: Path
) -> None:
    brings(PURCHASES, "who,at,order,net\nann,2017-12-20,o1,10.00\nann,2018-06-10,o2,5.00\n")
    first = run(desk, tmp_path)
    text = RULES.replace('"2018-01"', '"2017"').replace("2018-01-01", "2017-01-01")
    adopt(desk.database, PROGRAMME, read(text, PROGRAMME), now=NOW)
    nothing_new, again = run(desk, tmp_path), run(desk, tmp_path, again=True)

    assert (first.postings, first.refusals) == (1, 1)
    assert first.refused[0].startswith("till/o1/")
    assert nothing_new.lines == 0
    assert (again.lines, again.postings, again.refusals) == (2, 1, 0)
    assert active(desk) == 15_00
