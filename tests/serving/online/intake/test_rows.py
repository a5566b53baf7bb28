"""What the lake would put into quarantine is refused at the door, for the same reason."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features import contracts, engine
from features.sources.staging import contract_columns
from programme.calendar import coming_midnight, local_midnight
from serving.online.rows import TABLE_OF, Fault, Row, content_of, fault_of
from serving.online.tables import KEY_LENGTH_MAX
from tests.serving.online.intake.till import NOW, ZONE, event, line

UNTIL = local_midnight(coming_midnight(NOW, ZONE), ZONE)
DAY = timedelta(days=1)
texts = st.sampled_from(["", "a", "x" * 64, "x" * 65, "x" * 1_000, "x" * 1_001, "a\0b", "é" * 64])
maybe = st.none() | texts
moments = st.sampled_from(
    [
        NOW, NOW - DAY, NOW + timedelta(seconds=1), UNTIL, UNTIL - timedelta(microseconds=1),
        NOW + 99 * DAY, datetime(1969, 12, 31, 23, tzinfo=UTC), datetime(1970, 1, 1, tzinfo=UTC),
        datetime(1, 1, 1, tzinfo=timezone(14 * timedelta(hours=1))),
        datetime(9999, 12, 31, 23, tzinfo=timezone(-14 * timedelta(hours=1))),
    ]
)  # fmt: skip
cents = st.sampled_from([0, 1, 10**9, 10**9 + 1, 10**12])
numbers = st.none() | st.sampled_from([0.0, 1.5, 1e9, 1.1e9, -1.0, -1e9, -1.1e9, 1e300])
lines = st.builds(
    line, order_id=texts, net_cents=cents, line_no=texts, source_key=maybe, occurred_at=moments,
    product_id=maybe, quantity=st.none() | st.sampled_from([0.0, 1.5, 1e9, 1.1e9, 1e300]),
    discount_cents=st.none() | cents, coupon_cents=st.none() | cents, store_id=maybe,
    channel=maybe, returns_line_no=maybe,
)  # fmt: skip
events = st.builds(
    event, event_id=texts, kind=texts | st.sampled_from([*contracts.EVENT_KINDS, "VIEW"]),
    source_key=maybe, occurred_at=moments, product_id=maybe, channel=maybe,
    duration_seconds=numbers, value=numbers,
)  # fmt: skip


def reason_in_the_lake(row: Row) -> str | None:
    """Return what the contract's own SQL says of a row that we came to know now."""
    table = TABLE_OF[row.kind]

    def literal(column: str) -> str:
        value = NOW if column == "known_at" else getattr(
            row, "kind_of_event" if column == "kind" else column
        )  # fmt: skip
        if isinstance(value, datetime):
            try:
                value = value.astimezone(UTC).replace(tzinfo=None)
            except OverflowError:  # beyond what Python can say in UTC, not beyond the contract
                value = value.replace(tzinfo=None)
        if value is None:
            return "null"
        text = str(value)
        return " || chr(0) || ".join(engine.text(part) for part in text.split("\0"))

    given = {name: f"({literal(name)})" for name in table.column_names}
    sql = contracts.problem_sql(table, engine.instant(UNTIL))
    rows = f"select {contract_columns(table, given)}"
    found = duckdb.execute(f"select {sql} from ({rows})").fetchall()[0][0]
    return None if found is None else str(found)


@given(lines | events)
def test_a_row_is_refused_for_what_the_lake_would_refuse_it(row: Row) -> None:
    fault = fault_of(row, NOW, UNTIL)

    assert (None if fault is None else f"{fault.reason}:{fault.column}") == reason_in_the_lake(row)


@pytest.mark.parametrize(
    ("row", "reason", "column"),
    [
        (line(source="x" * 65), "too_long", "source"),
        (line(net_cents=-5), "wrong_sign", "quantity"),
        (line(quantity=-1.0), "wrong_sign", "quantity"),
        (line(returns_order_id="o0"), "wrong_sign", "net_cents"),
        (line(net_cents=0, returns_order_id="o0"), "wrong_sign", "net_cents"),
        (line(discount_cents=-1), "negative", "discount_cents"),
        (line(coupon_cents=-1), "negative", "coupon_cents"),
        (line(quantity=float("nan")), "not_a_number", "quantity"),
        (event(value=float("inf")), "not_a_number", "value"),
        (line(occurred_at=NOW + timedelta(microseconds=1)), "known_before_it_happened", "known_at"),
    ],
)
def test_each_row_that_cannot_be_meant_is_named(row: Row, reason: str, column: str) -> None:
    assert fault_of(row, NOW, UNTIL) == Fault(reason, column)


@pytest.mark.parametrize(
    "row",
    [
        line(net_cents=-500, quantity=-1.0, returns_order_id="o0", returns_line_no="1"),
        line(net_cents=0, quantity=None), line(source_key=None), event(source_key=None),
        line(net_cents=-500, quantity=None), line(quantity=0.25), event(value=-1.0),
    ],
)  # fmt: skip
def test_a_return_a_gift_and_an_anonymous_row_are_none(row: Row) -> None:
    assert fault_of(row, NOW, UNTIL) is None


def test_equal_rows_have_equal_content_however_they_are_written() -> None:
    eastern = timezone(timedelta(hours=-4))
    same: list[Any] = [
        line(quantity=2, channel=None, occurred_at=NOW),
        line(quantity=2.0, channel="", occurred_at=NOW.astimezone(eastern)),
    ]
    assert content_of(same[0]) == content_of(same[1])
    assert content_of(line(quantity=0.0)) == content_of(line(quantity=-0.0))
    assert '"occurred_at":"2024-06-03 17:30:00.000000"' in content_of(same[0])


def test_no_two_names_share_a_key() -> None:
    named = [
        line(source="a", order_id='b","c', line_no="d"),
        line(source="a", order_id="b", line_no='c","d'),
        line(order_id="x" * 1_000), line(order_id="x" * 999), line(source="web"), line(),
    ]  # fmt: skip
    long = event("y" * 900)
    ids: list[Row] = [*named, long, event(long.key), event("e1")]

    assert len({(row.kind, row.key) for row in ids}) == len(ids)
    assert all(len(row.key) <= KEY_LENGTH_MAX for row in ids)
    # To the lake an event's id is one thing, whichever its source.
    assert event("e1", source="app").key == event("e1", source="web").key
    assert replace(line(), source="web").key != line().key
