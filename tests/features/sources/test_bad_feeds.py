"""Every bad row of a feed by name, every mapping that cannot be meant, every file that is none."""

import math
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from features.lake import Lake
from features.sources.mapping import read_mapping
from programme.errors import InputRefused
from programme.settings import Settings
from tests.features import shop
from tests.features.sources import feed_files
from tests.features.sources.feed_files import ROWS, SECTIONS, count, feed, stored

LONG = "x" * 1_001
# Table, what replaces cells of its first row, reason and column.
BAD: list[tuple[str, dict[str, Any], str, str | None]] = [
    ("events", {"what": "scroll"}, "unknown_kind", "kind"),
    ("events", {"what": ""}, "missing", "kind"),
    ("events", {"id": " "}, "missing", "event_id"),
    ("events", {"at": "soon"}, "unreadable", "occurred_at"),
    ("events", {"at": ""}, "missing", "occurred_at"),
    ("events", {"at": "2031-01-01"}, "in_the_future", "occurred_at"),
    ("events", {"at": "1969-01-01"}, "out_of_range", "occurred_at"),
    ("events", {"seconds": "-1"}, "out_of_range", "duration_seconds"),
    ("events", {"seconds": "1e10"}, "out_of_range", "duration_seconds"),
    ("events", {"seconds": "00:42"}, "unreadable", "duration_seconds"),
    ("events", {"seconds": "NaN"}, "not_a_number", "duration_seconds"),
    ("events", {"stars": "inf"}, "not_a_number", "value"),
    ("events", {"stars": "1e400"}, "not_a_number", "value"),
    ("events", {"stars": "*****"}, "unreadable", "value"),
    ("events", {"user": "x" * 65}, "too_long", "source_key"),
    ("events", {"user": "a\0n"}, "nul_character", "source_key"),
    ("events", {"sku": LONG}, "too_long", "product_id"),
    ("contacts", {"mail": ""}, "missing", "contact_id"),
    ("contacts", {"card": ""}, "missing", "member_id"),
    ("contacts", {"status": "read"}, "unknown_kind", "kind"),
    ("contacts", {"chance": "1.01"}, "out_of_range", "propensity"),
    ("contacts", {"chance": "-0.1"}, "out_of_range", "propensity"),
    ("contacts", {"chance": "nan"}, "not_a_number", "propensity"),
    ("contacts", {"chance": "half"}, "unreadable", "propensity"),
    ("points", {"id": ""}, "missing", "posting_id"),
    ("points", {"card": ""}, "missing", "member_id"),
    ("points", {"why": "gift"}, "unknown_kind", "kind"),
    ("points", {"points": ""}, "missing", "points"),
    ("points", {"points": "many"}, "unreadable", "points"),
    ("points", {"points": "NaN"}, "not_a_number", "points"),
    ("points", {"points": "-inf"}, "not_a_number", "points"),
    ("points", {"points": "1e12"}, "out_of_range", "points"),
    ("points", {"points": "1e300"}, "out_of_range", "points"),
    ("points", {"points": "0.25"}, "out_of_range", "points"),
    ("points", {"points": "-3"}, "wrong_sign", "points"),
    ("points", {"why": "REDEEM", "points": "3"}, "wrong_sign", "points"),
    ("points", {"until": "never"}, "unreadable", "expires_at"),
    ("members", {"card": ""}, "missing", "member_id"),
    ("members", {"card": "x" * 65}, "too_long", "member_id"),
    ("members", {"changed": ""}, "missing", "known_at"),
    ("members", {"changed": "2031-01-01"}, "in_the_future", "known_at"),
    ("members", {"since": "long ago"}, "unreadable", "joined_at"),
    ("members", {"cost": "cheap"}, "unreadable", "acquisition_cost_cents"),
    ("members", {"cost": "1e9"}, "out_of_range", "acquisition_cost_cents"),
    ("members", {"region": "x" * 100_001}, "too_long", "attributes"),
    ("members", {"region": "a\0"}, "nul_character", "attributes"),
    ("identities", {"user": ""}, "missing", "source_key"),
    ("identities", {"card": ""}, "missing", "member_id"),
    ("identities", {"system": "Symbian"}, "unknown_kind", "source"),
    ("identities", {"system": ""}, "missing", "source"),
    ("identities", {"linked": "32.01.2024"}, "unreadable", "known_at"),
    ("campaigns", {"code": ""}, "missing", "campaign_id"),
    ("campaigns", {"first": ""}, "missing", "starts_at"),
    ("campaigns", {"last": "open"}, "unreadable", "ends_at"),
    ("campaigns", {"last": "2024-03-08"}, "ends_before_it_begins", "ends_at"),
    ("consents", {"card": ""}, "missing", "member_id"),
    ("consents", {"via": ""}, "missing", "channel"),
    ("consents", {"answer": "perhaps"}, "unreadable", "granted"),
    ("consents", {"answer": ""}, "missing", "granted"),
    ("stock", {"sku": ""}, "missing", "product_id"),
    ("stock", {"shop": ""}, "missing", "store_id"),
    ("stock", {"pieces": "-3"}, "negative", "available"),
    ("stock", {"pieces": "some"}, "unreadable", "available"),
    ("stock", {"pieces": "inf"}, "not_a_number", "available"),
    ("stock", {"pieces": ""}, "missing", "available"),
    ("stock", {"counted": "noon"}, "unreadable", "known_at"),
    ("products", {"sku": ""}, "missing", "product_id"),
    ("products", {"own": "partly"}, "unreadable", "private_label"),
    ("products", {"list": "free"}, "unreadable", "price_cents"),
    ("products", {"list": "NaN"}, "not_a_number", "price_cents"),
    ("products", {"margin": "inf"}, "not_a_number", "margin_rate"),
    ("products", {"grams": "0"}, "out_of_range", "size"),
    ("products", {"name": "x" * 10_000_000}, "too_long", "name"),
    ("products", {"name": "x" * 10_000_000 + "\nsecond line"}, "malformed_line", None),
]  # fmt: skip


@pytest.mark.parametrize("table", SECTIONS)
def test_each_bad_row_is_quarantined_under_its_own_name(
    table: str, home: Settings, tmp_path: Path
) -> None:
    cases = [case for case in BAD if case[0] == table]
    # The second good row comes first, so that a bad row is no version of it.
    rows = [ROWS[table][1], *({**ROWS[table][0], **change} for _, change, *_ in cases)]
    source = feed(tmp_path, table, rows)

    done, again = shop.take(home, source, source)

    found = shop.quarantined(home)
    expected = [(reason, column) for *_, reason, column in cases]
    reasons = [(row["reason"], row["column_name"]) for row in found]
    # What a line too wide for a cell left over is a line of its own.
    assert reasons[: len(expected)] == expected
    assert [row["line"] for row in found[: len(expected)]] == list(range(3, 3 + len(expected)))
    assert count(done, table).stored == 1
    assert again.batch_no is None
    assert {finding.table for finding in done.report.findings if finding.step == "quarantine"} == {
        table
    }


def test_of_a_row_that_is_said_twice_in_two_ways_one_is_kept_aside(
    home: Settings, tmp_path: Path
) -> None:
    counted = ROWS["stock"][0]

    shop.take(home, feed(tmp_path, "stock", [counted, {**counted, "pieces": 3.0}]))

    assert [row["reason"] for row in shop.quarantined(home)] == ["conflicting_duplicate"]
    assert [row[2] for row in stored(home, "stock")] == [12.0]


def test_numbers_that_are_none_are_quarantined_from_parquet_too(
    home: Settings, tmp_path: Path
) -> None:
    points = [math.nan, math.inf, 2.5]
    rows = [
        {**ROWS["points"][0], "id": f"p{number}", "points": value}
        for number, value in enumerate(points)
    ]

    shop.take(home, feed(tmp_path, "points", rows, "a.parquet"))

    reasons = [(row["reason"], row["line"]) for row in shop.quarantined(home)]
    assert reasons == [("missing", 1), ("not_a_number", 2)]


@pytest.mark.parametrize("table", SECTIONS)
def test_a_feed_without_a_usable_row_is_refused(table: str, home: Settings, tmp_path: Path) -> None:
    first = next(iter(ROWS[table][0]))
    unusable = [{**row, first: ""} for row in ROWS[table]]
    empty = feed(tmp_path / "empty", table)
    empty.files()[0].write_text(",".join(ROWS[table][0]) + "\n")
    nothing = feed(tmp_path / "nothing", table)
    nothing.files()[0].write_bytes(b"")

    for source, words in (
        (feed(tmp_path / "bad", table, unusable),
         f"None of the 2 rows of {table} of files can be used; the commonest reason is missing"),
        (empty, f"files holds no rows of {table}, only headers"),
        (nothing, "is empty \\(0 bytes\\)"),
    ):  # fmt: skip
        with pytest.raises(InputRefused, match=words) as refusal:
            shop.take(home, source)
        assert "Nothing was" in str(refusal.value)

    assert Lake(home).manifest().lake_version == 0


def test_one_table_without_a_usable_row_does_not_hold_up_the_others(
    home: Settings, tmp_path: Path
) -> None:
    sections = {"events": SECTIONS["events"], "stock": SECTIONS["stock"]}
    rows = [{**row, "shop": "", "pieces": "", "counted": ""} for row in ROWS["events"]]

    (done,) = shop.take(home, feed_files.export(tmp_path, rows, sections))

    assert count(done, "events").stored == 2
    assert count(done, "stock").refused == 2


def test_a_parquet_feed_without_a_mapped_column_is_refused(home: Settings, tmp_path: Path) -> None:
    source = feed(tmp_path, "points", name="a.parquet")
    pd.DataFrame(ROWS["points"]).drop(columns="points").to_parquet(source.files()[0])

    with pytest.raises(InputRefused, match="no column 'points'; it has 'id', 'card'"):
        shop.take(home, source)


@pytest.mark.parametrize(
    ("table", "key"), [("events", "occurred_format"), ("stock", "time_format")]
)
def test_a_format_nobody_can_read_is_refused(
    table: str, key: str, home: Settings, tmp_path: Path
) -> None:
    unreadable: dict[str, Any] = {key: "%Q"}
    with pytest.raises(InputRefused, match=f"{key} '%Q' of \\[{table}\\] cannot be read"):
        shop.take(home, feed(tmp_path, table, **unreadable))


EVENTS = 'source = "app"\n[events]\nmember = "who"\noccurred_at = "at"\n'
POINTS = EVENTS.replace("events", "points") + 'points = "n"\n'
CONSENTS = EVENTS.replace("events", "consents") + 'granted = "yes"\n'
CAMPAIGNS = 'source = "app"\n[campaigns]\ncampaign = "c"\nstarts_at = "s"\n'
MEMBERS = 'source = "crm"\n[members]\nmember = "who"\n'
IDENTITIES = 'source = "crm"\n[identities]\nkey = "k"\nmember = "m"\nknown_at = "d"\n'
PRODUCTS = 'source = "crm"\n[products]\nproduct = "p"\n'


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (EVENTS, "name the column kind, or say always.kind for every row"),
        (EVENTS + 'kind = "k"\nalways = { kind = "view" }', "column kind or always.kind, not both"),
        (EVENTS + 'always = { kind = "view", colour = "red" }', "always cannot hold 'colour'"),
        (EVENTS + 'always = { kind = "view", channel = " " }', "always.channel is blank"),
        (EVENTS + 'always = { kind = "look" }', "'look' is no kind; kinds are view, click"),
        (EVENTS + 'kind = "k"\nkinds = { see = "look" }', "'see' = 'look' is no kind"),
        (EVENTS + 'kind = "k"\nkinds = { see = "view", See = "visit" }', "'see' stands twice"),
        (EVENTS + 'kind = "k"\nkinds = { see = 3 }', "events.kinds.see: it must be text"),
        (EVENTS + 'kind = "k"\nduration = "s"', "events.duration: there is no such key"),
        (EVENTS + 'kind = "k"\nchannel = "AT"', "differ only in case"),
        (EVENTS.replace("[events]", "[event]"), "event: there is no such key"),
        (EVENTS.replace("[events]", "[event]"), "known here are campaigns, consents, contacts, ev"),
        (PRODUCTS + 'catgory = "c"', "known here are brand, category, department"),
        (PRODUCTS + 'path = "c"\ncategory = "d"', "say either path, or department, category"),
        (EVENTS.replace('occurred_at = "at"', 'kind = "k"'), "events.occurred_at: it is missing"),
        (POINTS + 'kind = "k"\nkinds = { spent = "redeem" }', "kinds are EARN, REDEEM"),
        (POINTS + 'always = { kind = "EARN" }\nsubtracted = ["x"]', "map kind too"),
        (CONSENTS + 'channel = "c"', "name the column purpose, or say always.purpose"),
        (
            CONSENTS + 'always = { channel = "a", purpose = "b" }\nyes = ["J"]\nno = ["j "]',
            "'j' means both yes and no",
        ),
        (PRODUCTS + 'yes = ["0"]', "'0' means both yes and no"),
        (PRODUCTS + 'known_at = "d"\nknown_from_beginning = true', "not both"),
        (CAMPAIGNS, "say either ends_at, the first moment after, or last_day"),
        (CAMPAIGNS + 'ends_at = "e"\nlast_day = "l"', "say either ends_at"),
        (MEMBERS, "or known_from_beginning = true"),
        (MEMBERS + 'known_at = "d"\nknown_from_beginning = true', "say either known_at"),
        (IDENTITIES.replace('known_at = "d"', ""), "or known_from_beginning = true"),
        (IDENTITIES + 'systems = { iOS = "app" }', "map system too"),
        (IDENTITIES + 'system = "s"\nsystems = { iOS = "The App" }', "it must match the pattern"),
        ('source = "w"\n[stock]\nproduct = "p"\nstore = "s"\navailable = "n"', "stock.known_at"),
    ],
)  # fmt: skip
def test_a_section_that_cannot_be_meant_is_refused(text: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / "my.toml"
    path.write_text(text, "utf-8")

    with pytest.raises(InputRefused) as refusal:
        read_mapping(path)

    assert words in str(refusal.value)
    assert "Nothing was read." in str(refusal.value)
