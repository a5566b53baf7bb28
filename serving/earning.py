"""From the lake to the ledger: purchases and events that came in earn, each once.

The two rooms do not know each other; this shell reads rows of one and hands them to the other. The
lake stores a correction as its old content taken back and the new one added, so each stored row is
a line of its own to the ledger, and a corrected order has earned what it should. An event earns
when it first comes; what is corrected of it later is counted and changes nothing.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import Any, NamedTuple

from features import engine
from features.lake import Lake, Manifest
from loyalty.behaviours import Event, take_events
from loyalty.earning import Line
from loyalty.errors import PostingConflict
from loyalty.intake import Taken, position
from loyalty.orders import Purchase, take_purchases
from loyalty.rulebook import Rulebook
from programme.database import Database
from programme.settings import Settings

LINES_AT_ONCE = 5_000
_CATEGORY = "array_to_string([p.department, p.category, p.product_type], '/')"


@dataclass
class Earnings:
    """What a run of the job did; `refused` are the first few, of `refusals` in all.

    Attributes
    ----------
    changed : events that had earned before, with other content; they earn no second time
    unnamed : events of kinds that no rule names
    """

    lines: int = 0
    events: int = 0
    postings: int = 0
    changed: int = 0
    unnamed: int = 0
    refusals: int = 0
    refused: tuple[str, ...] = ()

    def add(self, table: str, rows: int, taken: Taken) -> None:
        """Count one batch."""
        self.lines += rows * (table == "purchases")
        self.events += rows * (table == "events")
        self.postings += len(taken.postings)
        self.unnamed += taken.unnamed
        refusals = [
            refusal for refusal in taken.refusals
            # The lake keeps an event as it was last told; that is no fault of anybody's.
            if table != "events" or not isinstance(refusal.refused, PostingConflict)
        ]  # fmt: skip
        self.changed += len(taken.refusals) - len(refusals)
        self.refusals += len(refusals)
        said = (f"{refusal.key}: {refusal.refused}" for refusal in refusals)
        self.refused += tuple(islice(said, max(0, 5 - len(self.refused))))


def earn(
    settings: Settings,
    database: Database,
    rulebook: Rulebook,
    *,
    now: datetime,
    again: bool = False,
    tell: Callable[[str], None] = lambda _: None,
) -> Earnings:
    """Let all earn that came since the last run; stopped anywhere, it goes on from there.

    Parameters
    ----------
    again : begin with the first row there ever was: what earned is known and earns no second
        time, what was refused gets another chance
    tell : is told how far it is
    """
    lake = Lake(settings)
    manifest = lake.ready()
    earned = Earnings()
    for feed in _FEEDS:
        batch_no, done = (0, 0) if again else _parsed(position(database, feed.name))
        for batch in manifest.batches:
            if batch.batch_no < batch_no or feed.table not in batch.rows:
                continue
            offset = done if batch.batch_no == batch_no else 0
            rows = feed.read(settings, lake, manifest, Manifest((batch,)), offset)
            while some := list(islice(rows, LINES_AT_ONCE)):
                offset += len(some)
                watermark = (feed.name, f"{batch.batch_no}:{offset}")
                taken = feed.take(database, rulebook, some, now=now, watermark=watermark)
                earned.add(feed.table, len(some), taken)
                tell(
                    f"{earned.lines:,} lines, {earned.events:,} events, "
                    f"{earned.postings:,} postings"
                )
    return earned


def lines(
    settings: Settings, lake: Lake, manifest: Manifest, batches: Manifest, offset: int = 0
) -> Iterator[Purchase]:
    """Yield the stored rows of some batches as lines that earn, in order of time.

    Parameters
    ----------
    manifest : what is committed: products and identities are those of today
    offset : how many rows, in that order, to leave out
    """
    with engine.connect(settings) as connection:
        cursor = connection.execute(_lines_sql(lake, manifest, batches, offset))
        while rows := cursor.fetchmany(LINES_AT_ONCE):
            yield from (_purchase(row) for row in rows)


def events(
    settings: Settings, lake: Lake, manifest: Manifest, batches: Manifest, offset: int = 0
) -> Iterator[Event]:
    """Yield the events of some batches, in order of time; see `lines`."""
    with engine.connect(settings) as connection:
        cursor = connection.execute(f"""
            with people as ({_people_sql(lake, manifest)})
            select source, event_id, coalesce(people.member_id, source_key) as member_id,
                   occurred_at, kind, value
            from ({lake.rows_sql("events", batches)}) left join people using (source, source_key)
            where source_key is not null and sign > 0
            order by occurred_at, source, event_id, known_at
            offset {offset}""")
        while rows := cursor.fetchmany(LINES_AT_ONCE):
            for source, event_id, member_id, occurred_at, kind, value in rows:
                moment = occurred_at.replace(tzinfo=UTC)
                yield Event(source, event_id, member_id, moment, kind, value)


class _Feed(NamedTuple):
    """A table of the lake whose rows earn: how they are read and taken."""

    name: str
    table: str
    read: Callable[[Settings, Lake, Manifest, Manifest, int], Iterator[Any]]
    take: Callable[..., Taken]


_FEEDS = (
    _Feed("lake purchases", "purchases", lines, take_purchases),
    _Feed("lake events", "events", events, take_events),
)


def _lines_sql(lake: Lake, manifest: Manifest, batches: Manifest, offset: int) -> str:
    return f"""
        with goods as (
            select product_id, {_CATEGORY} as category from (
                select product_id, max_by(department, known_at) as department,
                       max_by(category, known_at) as category,
                       max_by(product_type, known_at) as product_type
                from ({lake.rows_sql("products", manifest)}) where sign > 0 group by product_id
            ) p
        ), people as ({_people_sql(lake, manifest)})
        select source, order_id,
               line_no || case when version = 1 and sign > 0 then '' else
                   '~' || batch_no || '.' || version end as line_no,
               coalesce(people.member_id, source_key) as member_id, occurred_at, product_id,
               goods.category, channel, coalesce(quantity, 1) * sign as quantity,
               net_cents * sign as net_cents, returns_order_id
        from (
            select *, row_number() over (
                partition by source, order_id, line_no, batch_no order by known_at, sign
            ) as version
            from ({lake.rows_sql("purchases", batches)})
        ) left join people using (source, source_key) left join goods using (product_id)
        where source_key is not null
        order by occurred_at, source, order_id, line_no, sign
        offset {offset}"""


def _people_sql(lake: Lake, manifest: Manifest) -> str:
    return f"""
        select source, source_key, max_by(member_id, known_at) as member_id
        from ({lake.rows_sql("identities", manifest)}) where sign > 0
        group by source, source_key"""


def _purchase(row: tuple[Any, ...]) -> Purchase:
    source, order_id, line_no, member_id, occurred_at, product_id, category, channel = row[:8]
    quantity, net_cents, returns = row[8:]
    return Purchase(
        source, order_id, member_id, occurred_at.replace(tzinfo=UTC),
        Line(line_no, net_cents, quantity, product_id, category or None, channel), returns,
    )  # fmt: skip


def _parsed(position: str | None) -> tuple[int, int]:
    if position is None:
        return 0, 0
    batch_no, _, offset = position.partition(":")
    return int(batch_no), int(offset)
