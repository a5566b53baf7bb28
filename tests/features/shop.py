"""A made-up shop: rows with every quirk we accept, and short ways to ingest and look at them."""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
from hypothesis import strategies as st

from features import contracts, engine, snapshot
from features.ingest import Ingested, ingest
from features.lake import QUARANTINE, QUARANTINE_SHAPE, Lake
from features.reference import Reference
from features.sources.export import Export
from features.sources.mapping import Mapping as FileMapping
from features.sources.staging import Notes, Source, Staged, contract_columns
from programme.calendar import local_midnight
from programme.settings import Programme, Settings

NOW = datetime(2030, 1, 1, 12, tzinfo=UTC)
ZONE = "America/New_York"
PROGRAMME = Programme(name="shop", timezone=ZONE, currency="USD")
# 28 days after the clocks went forward in New York: windows span the change.
AS_OF = date(2024, 4, 7)
MIDNIGHT = local_midnight(AS_OF, ZONE).replace(tzinfo=None)

Row = dict[str, Any]
Rows = Sequence[Row]


@dataclass
class Till:
    """A source whose rows are given as they are, every contract column open to the test."""

    purchases: Rows = ()
    products: Rows = ()
    identities: Rows = ()
    events: Rows = ()
    contacts: Rows = ()
    points: Rows = ()
    name: str = "till"
    notes: Notes = field(default_factory=Notes)
    programme: Programme | None = PROGRAMME
    hash_identity: bool = False

    def files(self) -> list[Path]:
        return []

    def stage(
        self, connection: duckdb.DuckDBPyConnection, scratch: Path, programme: Programme
    ) -> Iterator[Staged]:
        del connection, scratch, programme
        for table, rows in (
            (contracts.IDENTITIES, self.identities),
            (contracts.PRODUCTS, self.products),
            (contracts.PURCHASES, self.purchases),
            (contracts.EVENTS, self.events),
            (contracts.CONTACTS, self.contacts),
            (contracts.POINTS, self.points),
        ):
            if rows:
                yield Staged(table, self._sql(table, rows), self.hash_identity)

    def _sql(self, table: contracts.Table, rows: Rows) -> str:
        named = [name for name in table.column_names if any(name in row for row in rows)]
        given = {"source": engine.text(self.name)} | {name: name for name in named}
        listed = contract_columns(
            table, {name: sql for name, sql in given.items() if name in table.column_names}
        )
        values = ", ".join(
            f"({', '.join(_literal(row.get(name)) for name in named)}, {line})"
            for line, row in enumerate(rows, start=1)
        )
        return f"""select {listed}, 'rows' as file, cast(line as bigint) as line,
            cast(null as varchar) as problem, cast(null as varchar) as raw
            from (values {values}) given({", ".join(named)}, line)"""


def _literal(value: object) -> str:
    """Return SQL for a value as text; the contract's cast gives it its type."""
    return "cast(null as varchar)" if value is None else engine.text(value)


def line(member: str | None, occurred_at: datetime, net_cents: int = 1_000, **more: Any) -> Row:
    """Return a purchase line with an order of its own unless one is given."""
    row: Row = {
        "order_id": f"{member}-{occurred_at:%Y%m%d%H%M%S}",
        "line_no": "1",
        "source_key": member,
        "occurred_at": occurred_at,
        "known_at": occurred_at,
        "quantity": 1.0,
        "net_cents": net_cents,
    }
    return row | more


def product(
    product_id: str, category: str | None, known_at: datetime | None = None, **more: Any
) -> Row:
    """Return a catalogue row, known from the beginning unless said otherwise."""
    known = known_at if known_at is not None else datetime(1970, 1, 1)  # noqa: DTZ001
    return {"product_id": product_id, "category": category, "known_at": known} | more


def identity(source_key: str, member_id: str, known_at: datetime) -> Row:
    """Return a row that says who a key of the till is."""
    return {"source_key": source_key, "member_id": member_id, "known_at": known_at}


@contextmanager
def new_home() -> Iterator[Settings]:
    """Yield settings over an empty folder of their own, for tests that need many."""
    with tempfile.TemporaryDirectory() as folder:
        yield Settings(home=Path(folder) / "home", threads=1)


def take(settings: Settings, *tills: Source) -> list[Ingested]:
    """Ingest sources one after the other."""
    return [ingest(till, settings, NOW) for till in tills]


def features(
    settings: Settings, as_of: date = AS_OF, frozen: Reference | None = None
) -> pd.DataFrame:
    """Build the snapshot of the present lake and return its table."""
    return snapshot.build(settings, as_of, frozen=frozen).features()


def features_of(*tills: Till, as_of: date = AS_OF) -> pd.DataFrame:
    """Return the features over some batches in a home of their own."""
    with new_home() as settings:
        take(settings, *tills)
        return features(settings, as_of)


def rebuilt(
    settings: Settings, as_of: date = AS_OF, frozen: Reference | None = None
) -> pd.DataFrame:
    """Build the snapshot with no earlier one to start from, and put the others back.

    With `frozen`, against the reference tables of the snapshot it is to be compared with.
    """
    folder = settings.home / "snapshots"
    aside = folder.with_name("snapshots-aside")
    folder.rename(aside)
    try:
        return features(settings, as_of, frozen)
    finally:
        for path in sorted(folder.glob("*/*")):
            path.unlink()
        for path in sorted(folder.glob("*")):
            path.rmdir()
        folder.rmdir()
        aside.rename(folder)


def same(left: pd.DataFrame, right: pd.DataFrame) -> None:
    """Assert that two feature tables are equal, NaN for NaN."""
    pd.testing.assert_frame_equal(left, right, rtol=1e-9, atol=1e-12)


def quarantined(settings: Settings) -> list[Row]:
    """Return the rows kept in quarantine, in order of file, line and reason."""
    lake = Lake(settings)
    rows = engine.parquet(lake.paths(QUARANTINE, lake.manifest()), QUARANTINE_SHAPE)
    with engine.connect(settings) as connection:
        found = connection.execute(
            f"select reason, column_name, file, line, row_json from ({rows}) order by 3, 4, 1"
        )
        names = [column[0] for column in found.description or ()]
        return [dict(zip(names, row, strict=True)) for row in found.fetchall()]


def export(folder: Path, text: str | bytes, mapping: Mapping[str, Any], name: str = "a") -> Export:
    """Return a source over one file with the given text."""
    path = folder / f"{name}.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return Export([path], FileMapping.model_validate(mapping))


def mapping(file: Mapping[str, str] | None = None, **purchases: Any) -> dict[str, Any]:
    """Return a mapping of the columns who, day and amount, and whatever is added."""
    columns = {"member": "who", "occurred_at": "day", "amount": "amount"} | purchases
    return {
        "source": "files",
        "programme": {"name": "shop", "timezone": ZONE, "currency": "USD"},
        "file": dict(file or {}),
        "purchases": {name: value for name, value in columns.items() if value is not None},
    }


MEMBERS = ("ann", "bob", "cid", "dee")
PRODUCTS = ("bread", "milk", "soap", "tea")
CATEGORIES = ("food", "drink", "home", None)
_SECONDS = st.integers(-500 * 86_400, 40 * 86_400)
_DELAYS = st.sampled_from([0, 0, 0, 3_600, 86_400, 9 * 86_400, 60 * 86_400])


def instants() -> st.SearchStrategy[datetime]:
    """Instants before and after `AS_OF`, to the second."""
    return _SECONDS.map(lambda seconds: MIDNIGHT + timedelta(seconds=seconds))


@st.composite
def baskets(draw: st.DrawFn, number: int) -> list[Row]:
    """One basket of one to three lines; some are returns, some are anonymous or late."""
    member = draw(st.sampled_from((*MEMBERS, *MEMBERS, None)))
    occurred, store = draw(instants()), draw(st.sampled_from(("north", "south", None)))
    delay = timedelta(seconds=draw(_DELAYS))
    return [
        {
            "order_id": f"o{number}",
            "line_no": str(line_no),
            "source_key": member,
            "occurred_at": occurred,
            "known_at": occurred + delay,
            "product_id": draw(st.sampled_from((*PRODUCTS, None))),
            "store_id": store,
            "channel": draw(st.sampled_from(("web", "shop", None))),
            **draw(_amounts()),
        }
        for line_no in range(draw(st.integers(1, 3)))
    ]


@st.composite
def _amounts(draw: st.DrawFn) -> Row:
    sign = draw(st.sampled_from((1, 1, 1, 1, -1)))
    return {
        "quantity": sign * float(draw(st.integers(1, 4))),
        "net_cents": sign * draw(st.integers(0, 9_999)),
        "discount_cents": draw(st.sampled_from((None, 0, 150))),
        "coupon_cents": draw(st.sampled_from((None, 0, 75))),
    }


@st.composite
def purchases(draw: st.DrawFn, most: int = 12) -> list[Row]:
    """Lines of some baskets, after two that make sure that `AS_OF` lies inside the data."""
    count = draw(st.integers(2, most))
    rows = [row for number in range(count) for row in draw(baskets(number))]
    early = MIDNIGHT - timedelta(days=draw(st.integers(501, 600)), hours=5)
    return [
        line("ann", early, order_id="first", product_id="bread"),
        line(None, MIDNIGHT + timedelta(days=50), order_id="last"),
        *rows,
    ]


@st.composite
def corrections(draw: st.DrawFn, rows: Rows) -> list[Row]:
    """Later versions of some lines: another amount, member, product, shop, hour or day."""
    chosen = draw(st.lists(st.integers(0, len(rows) - 1), max_size=6, unique=True))
    corrected = []
    for number in chosen:
        row = rows[number]
        changes: Row = draw(_amounts())
        changes |= draw(
            st.fixed_dictionaries(
                {},
                optional={
                    "source_key": st.sampled_from((*MEMBERS, None)),
                    "product_id": st.sampled_from((*PRODUCTS, None)),
                    "store_id": st.sampled_from(("north", "south", None)),
                },
            )
        )
        moved = timedelta(hours=draw(st.sampled_from((0, 0, -3, -30))))
        changes["occurred_at"] = row["occurred_at"] + moved
        wait = timedelta(days=draw(st.sampled_from((1, 5, 200))), seconds=1)
        changes["known_at"] = row["known_at"] + wait
        corrected.append({**row, **changes})
    return corrected


@st.composite
def catalogues(draw: st.DrawFn) -> list[Row]:
    """Catalogue rows known on several days; some products change category, some come late."""
    rows = []
    for name in PRODUCTS:
        days = draw(st.lists(st.integers(-400, 20), max_size=2, unique=True))
        for days_after in sorted(days):
            known = MIDNIGHT + timedelta(days=days_after, hours=7)
            facts = {
                "brand": draw(st.sampled_from(("acorn", "birch", None))),
                "private_label": draw(st.sampled_from((True, False, None))),
                "size": draw(st.sampled_from((250.0, 1000.0, None))),
            }
            rows.append(product(name, draw(st.sampled_from(CATEGORIES)), known, **facts))
    return rows


@st.composite
def merges(draw: st.DrawFn) -> list[Row]:
    """Identities: keys that turn out to be another member, and some that turn back."""
    rows = []
    for key in draw(st.lists(st.sampled_from(MEMBERS), max_size=2, unique=True)):
        known = MIDNIGHT + timedelta(days=draw(st.integers(-90, 10)), hours=3)
        rows.append(identity(key, draw(st.sampled_from(("ann", "zoe"))), known))
        if draw(st.booleans()):
            rows.append(identity(key, key, known + timedelta(days=draw(st.integers(1, 60)))))
    return rows


def year(seed: int = 3, baskets: int = 24) -> Till:
    """Return a till with a year of purchases by all members, its catalogue and a merged key."""
    rng = np.random.default_rng(seed)
    rows: list[Row] = [line(None, MIDNIGHT + timedelta(days=50), order_id="last")]
    for number in range(baskets):
        occurred = MIDNIGHT - timedelta(seconds=int(rng.integers(3_600, 380 * 86_400)))
        rows += [
            line(
                MEMBERS[number % len(MEMBERS)],
                occurred,
                int(rng.integers(100, 5_000)),
                order_id=f"o{number}",
                line_no=str(line_no),
                product_id=PRODUCTS[int(rng.integers(len(PRODUCTS)))],
                store_id="north",
                discount_cents=int(rng.integers(0, 90)),
            )
            for line_no in range(1 + number % 2)
        ]
    catalogue = [product(name, f"aisle-{name[0]}", brand=f"{name}-co") for name in PRODUCTS]
    return Till(rows, catalogue, [identity("dee", "ann", MIDNIGHT - timedelta(days=30))])


def event(member: str, occurred_at: datetime, **more: Any) -> Row:
    """Return an event of a member, a view unless another kind is given."""
    row: Row = {"event_id": f"{member}-{occurred_at}", "source_key": member, "kind": "view"}
    return row | {"occurred_at": occurred_at, "known_at": occurred_at} | more


def contact(member: str, occurred_at: datetime, **more: Any) -> Row:
    """Return a message sent to a member."""
    row: Row = {"contact_id": f"{member}-{occurred_at}", "member_id": member, "kind": "sent"}
    return row | {"occurred_at": occurred_at, "known_at": occurred_at} | more


def posting(member: str, occurred_at: datetime, points: int = 10, **more: Any) -> Row:
    """Return points a member earned."""
    row: Row = {"posting_id": f"{member}-{occurred_at}", "member_id": member, "kind": "EARN"}
    return row | {"points": points, "occurred_at": occurred_at, "known_at": occurred_at} | more


def fed_year() -> Till:
    """Return the year of `year` with an event, a message and points of every member."""
    long_ago = MIDNIGHT - timedelta(days=200)
    return replace(
        year(),
        events=[event(member, long_ago) for member in MEMBERS],
        contacts=[contact(member, long_ago) for member in MEMBERS],
        points=[posting(member, long_ago) for member in MEMBERS],
    )
