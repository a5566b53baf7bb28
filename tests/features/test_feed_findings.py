"""The report says of every table what became of its rows, and whether the feeds meet the till."""

import json
from datetime import timedelta
from pathlib import Path

import pytest

from features.finding import Finding
from features.ingest import Ingested
from programme.settings import Settings
from tests.features import shop
from tests.features.shop import MIDNIGHT, Till, contact, event, identity, line, posting
from tests.features.sources import feed_files
from tests.features.sources.feed_files import ROWS, SECTIONS, feed

LONG_AGO = MIDNIGHT - timedelta(days=100)
BOUGHT = Till([line("ann", LONG_AGO), line("bob", MIDNIGHT)], programme=feed_files.PROGRAMME)


def found(done: Ingested, step: str, table: str) -> list[Finding]:
    return [one for one in done.report.findings if (one.step, one.table) == (step, table)]


@pytest.mark.parametrize("table", SECTIONS)
def test_the_rows_of_every_table_and_their_faults_are_counted(
    table: str, home: Settings, tmp_path: Path
) -> None:
    first = next(iter(ROWS[table][0]))
    rows = [*ROWS[table], ROWS[table][0], {**ROWS[table][0], first: ""}]

    (done,) = shop.take(home, feed(tmp_path, table, rows))

    (counted,) = found(done, "rows", table)
    (fault,) = found(done, "quarantine", table)
    assert (counted.count, counted.finding) == (4, "2 new, 0 corrected, 1 known already")
    assert (fault.count, fault.severity) == (1, "error")
    assert fault.finding == "missing (25.00% of the rows)"
    kept = json.loads(done.report_path.with_suffix(".json").read_text("utf-8"))
    assert [(one["table"], one["read"]) for one in kept["counts"]] == [(table, 4)]
    page = "".join(done.report_path.read_text("utf-8").split())
    cells = "".join(f'<tdclass="count">{number}</td>' for number in (4, 2, 0, 1, 1))
    assert f"<tr><td>{table}</td>{cells}</tr>" in page


def test_a_feed_that_names_other_members_than_the_till_is_noticed(home: Settings) -> None:
    strangers = Till(
        events=[event(f"u-{number}", LONG_AGO) for number in (1, 2)],
        points=[posting("ann", LONG_AGO), posting("zoe", MIDNIGHT)],
        contacts=[contact("ann", LONG_AGO), contact("bob", LONG_AGO)],
    )

    _, done = shop.take(home, BOUGHT, strangers)

    said = {
        table: [(one.count, one.severity) for one in found(done, "members", table)]
        for table in ("events", "points", "contacts")
    }
    assert said == {
        "events": [(2, "warning")],
        "points": [(1, "information")],
        "contacts": [(0, "information")],
    }
    (warned,) = found(done, "members", "events")
    assert "ingest identities" in warned.how_to_fix


def test_identities_make_strangers_known(home: Settings) -> None:
    known = Till(
        identities=[identity(key, "ann", LONG_AGO) for key in ("u-1", "u-2")],
        events=[event(f"u-{number}", LONG_AGO) for number in (1, 2)],
    )

    _, done = shop.take(home, BOUGHT, known)

    (met,) = found(done, "members", "events")
    assert (met.count, met.severity) == (0, "information")
    assert found(done, "members", "identities") == []


def test_what_was_sent_to_a_merged_member_is_no_strangers(home: Settings) -> None:
    merged = Till(
        identities=[identity("bob", "ann", MIDNIGHT + timedelta(days=2))],
        contacts=[contact("bob", LONG_AGO)],
    )

    _, done = shop.take(home, BOUGHT, merged)

    (met,) = found(done, "members", "contacts")
    assert met.count == 0


def test_keys_that_nobody_uses_are_noticed(home: Settings) -> None:
    rows = [identity(key, "ann", LONG_AGO) for key in ("x", "y", "bob")]

    _, done = shop.take(home, BOUGHT, Till(identities=rows))

    (unused,) = found(done, "members", "identities")
    assert (unused.count, unused.severity) == (2, "warning")
    assert unused.how_to_fix.startswith("check the system")


def test_events_of_nobody_are_counted(home: Settings, tmp_path: Path) -> None:
    _, done = shop.take(home, BOUGHT, feed(tmp_path, "events"))

    assert [
        one.count for one in found(done, "members", "events") if "anonymous" in one.finding
    ] == [1]


def test_answers_to_what_nobody_sent_are_noticed(home: Settings) -> None:
    rows = [
        contact("ann", LONG_AGO, contact_id="1", kind="opened"),
        contact("ann", LONG_AGO, contact_id="2", kind="clicked"),
        contact("bob", LONG_AGO, contact_id="3"),
    ]

    _, done = shop.take(home, BOUGHT, Till(contacts=rows))

    (unsent,) = found(done, "contacts", "contacts")
    assert (unsent.count, unsent.severity) == (2, "warning")
    assert "export what was sent too" in unsent.how_to_fix
