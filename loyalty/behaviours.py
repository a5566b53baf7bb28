"""What members do besides buying earns once, up to the day's cap."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime

from sqlalchemy import Connection, func, select

from loyalty.book import Book
from loyalty.earning import behaviour_earns
from loyalty.errors import PostingConflict, PostingRefused
from loyalty.intake import Refusal, Taken, check_instant, check_number, check_text, note
from loyalty.postings import Request, check_limits, check_member, digest
from loyalty.rulebook import Rulebook
from loyalty.tables import ORDER_ID_LENGTH_MAX, POSTINGS, SOURCE_LENGTH_MAX
from programme.calendar import local_date
from programme.database import Database


@dataclass(frozen=True)
class Event:
    """One thing a member did, besides buying."""

    source: str
    event_id: str
    member_id: str
    occurred_at: datetime
    kind: str
    value: float | None = None


def take_events(
    database: Database,
    rulebook: Rulebook,
    events: Sequence[Event],
    *,
    now: datetime,
    watermark: tuple[str, str] | None = None,
) -> Taken:
    """Let behaviours earn, in one transaction; see `orders.take_purchases`.

    An event earns as it first came: one of the same id with other content is refused as a
    `PostingConflict`.
    """

    def work(connection: Connection) -> Taken:
        book = Book(connection, rulebook.terms(now), now)
        taken = _take_events(connection, rulebook, book, events)
        book.write()
        note(connection, watermark)
        return taken

    return database.write(work)


def _take_events(
    connection: Connection, rulebook: Rulebook, book: Book, events: Sequence[Event]
) -> Taken:
    taken = Taken()
    readable, late = [], dict[int, PostingRefused]()
    for index, event in enumerate(events):
        try:
            _check_event(event)
            rulebook.check(event.occurred_at)
        except PostingRefused as refused:
            taken.refusals.append(Refusal(index, _key(event), refused))
            continue
        readable.append((index, event))
        probe = Request("EARN", "#", event.member_id, None, event.occurred_at,
                        order_key=_key(event))  # fmt: skip
        try:
            check_limits(probe, book.terms, book.now)
        except PostingRefused as refused:
            late[index] = refused
    members = [event.member_id for index, event in readable if index not in late]
    book.lock(members, members)
    book.look_up([_event_posting(event) for _, event in readable])
    times: dict[tuple[str, date, str], int] = {}
    for index, event in sorted(readable, key=lambda pair: pair[1].occurred_at):
        posting_id, fingerprint = _event_posting(event), _fingerprint(event)
        posted = book.find(posting_id)
        if posted is None and index in late:
            # One that came in time once is known, however late it comes again.
            taken.refusals.append(Refusal(index, _key(event), late[index]))
            continue
        if posted is not None:
            if posted.fingerprint == fingerprint:
                taken.known += 1
            else:
                taken.refusals.append(Refusal(index, _key(event), _changed(event)))
            continue
        rules = rulebook.at(event.occurred_at)
        day = local_date(event.occurred_at, rules.terms.timezone)
        key = (event.member_id, day, event.kind)
        if key not in times:
            times[key] = _times(connection, *key)
        earned = behaviour_earns(
            rules, event.kind, event.value, times_before=times[key],
            capped_before=book.qualifying(event.member_id, day).capped_points,
        )  # fmt: skip
        if earned is None:
            taken.unnamed += 1
            continue
        times[key] += earned.points > 0
        taken.postings.append(book.post(
            Request(
                "EARN", posting_id, event.member_id, earned.points, event.occurred_at,
                reason=event.kind, qualifying=earned.qualifying,
                order_key=_key(event)[:ORDER_ID_LENGTH_MAX],
                rule_version=rules.version, came_as=fingerprint,
            ),
            ours=True,
        ))  # fmt: skip
    return taken


def _event_posting(event: Event) -> str:
    return f"#event:{digest([event.source, event.event_id])[:40]}"


def _key(event: Event) -> str:
    return f"{event.source}/{event.event_id}"


def _fingerprint(event: Event) -> str:
    value = None if event.value is None else float(event.value)
    moment = event.occurred_at.astimezone(UTC).isoformat()
    return digest([event.member_id, moment, event.kind, value])


def _changed(event: Event) -> PostingConflict:
    return PostingConflict(
        f"{event.event_id!r:.80} of {event.source} came before with other content. It earned as "
        "it first came, and not again. Give another event another event_id."
    )


def _times(connection: Connection, member_id: str, day: date, kind: str) -> int:
    """Return how often a behaviour earned on a day, as far as it is written."""
    query = select(func.count()).where(
        POSTINGS.c.member_id == member_id, POSTINGS.c.day == day, POSTINGS.c.reason == kind,
        POSTINGS.c.posting_id.like("#event:%"), POSTINGS.c.qualifying_engagements > 0,
    )  # fmt: skip
    return int(connection.execute(query).scalar() or 0)


def _check_event(event: Event) -> None:
    check_member(event.member_id)
    check_text("source", event.source, SOURCE_LENGTH_MAX)
    check_text("event_id", event.event_id, ORDER_ID_LENGTH_MAX)
    check_text("kind", event.kind, ORDER_ID_LENGTH_MAX)
    check_instant(event.occurred_at)
    if event.value is not None:
        check_number("value", event.value)
