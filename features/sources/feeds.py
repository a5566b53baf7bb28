"""Every table of an export but purchases, as SQL: facts about members and products, and feeds."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from features import contracts, engine
from features.sources.cells import (
    FILE,
    LINE,
    MALFORMED,
    Row,
    amount,
    amount_problem,
    cell,
    following_midnight,
    trimmed,
)
from features.sources.facts import (
    CampaignColumns,
    IdentityColumns,
    MemberColumns,
    ProductColumns,
    StockColumns,
)
from features.sources.happenings import (
    ConsentColumns,
    ContactColumns,
    EventColumns,
    PointsColumns,
)
from features.sources.lines import member_key
from features.sources.sections import Columns, Happenings
from programme.settings import Programme
from programme.words import MINOR_DIGITS

# Wide enough for any balance at four decimals, and fine enough to see that a point was split.
_EXACT_POINTS = "decimal(30, 12)"
_BEGINNING = "timestamp '1970-01-01'"


@dataclass(frozen=True)
class Form:
    """What holds for every cell of an export: who wrote it, for which programme, and how."""

    source: str
    programme: Programme
    decimal: str

    @property
    def minor(self) -> int:
        """Return how many of the currency's smallest unit make one."""
        return int(10 ** MINOR_DIGITS.get(self.programme.currency, 2))

    def row(self, table: contracts.Table, columns: Columns) -> Row:
        """Return a row that knows when it happened and when that was known."""
        zone = columns.timezone or self.programme.timezone
        row = Row(table, self.decimal, zone, columns.written_as)
        if isinstance(columns, Happenings):
            row.instant("occurred_at", columns.occurred_at)
            row.given["known_at"] = row.given["occurred_at"]
        else:
            row.given["known_at"] = _BEGINNING
        row.instant("known_at", columns.known_at)
        return row


def staged_sql(table: str, columns: Columns, raw: str, form: Form) -> str:
    """Return the SELECT of one table's staged rows.

    Parameters
    ----------
    table : any contract table but purchases
    columns : its section of the mapping
    raw : SELECT of the file's cells
    """
    row = form.row(contracts.TABLES[table], columns)
    _FILL[table](row, columns, form)
    return row.staged(raw)


def found_on_lines(table: str, columns: Any, raw: str) -> str:
    """Restrict rows that are there for another table to those that name a fact.

    A line that names none is judged as what it is. The first line of a product without a date
    names it; every other fact counts on every line, so that one that differs is seen.
    """
    column = {
        "products": "product", "members": "member", "identities": "key", "campaigns": "campaign",
    }[table]  # fmt: skip
    key = trimmed(getattr(columns, column))
    first = ""
    if table == "products" and columns.known_at is None:
        first = f"qualify row_number() over (partition by {key} order by {FILE}, {LINE}) = 1"
    return f"select * from ({raw}) where {MALFORMED} is null and {key} is not null {first}"


def _products(row: Row, columns: ProductColumns, form: Form) -> None:
    row.text("product_id", columns.product)
    for ours in ("name", "department", "category", "product_type", "brand"):
        row.text(ours, getattr(columns, ours))
    if columns.path is not None:
        row.given |= _levels(columns.path, columns.path_separator)
    row.boolean("private_label", columns.private_label, columns.yes, columns.no)
    row.money("price_cents", columns.price, form.minor)
    row.number("margin_rate", columns.margin_rate)
    row.number("size", columns.size)


def _levels(path: str, separator: str) -> dict[str, str]:
    """Return SQL of department, category and product type: the levels of a path.

    A path of one level is a category, which is what preferences are counted in; what lies below
    the third level stays part of it.
    """
    mark = engine.text(separator)
    parts = f"list_transform(string_split({trimmed(path)}, {mark}), lambda part: trim(part))"
    levels = f"list_filter({parts}, lambda part: part <> '')"
    below = f"array_to_string(list_slice({levels}, 3, len({levels})), {mark})"
    return {
        "department": f"case when len({levels}) > 1 then list_extract({levels}, 1) end",
        "category": f"list_extract({levels}, case when len({levels}) > 1 then 2 else 1 end)",
        "product_type": f"nullif({below}, '')",
    }


def _members(row: Row, columns: MemberColumns, form: Form) -> None:
    row.text("member_id", columns.member)
    row.instant("joined_at", columns.joined_at)
    row.text("joined_channel", columns.joined_channel)
    row.text("referred_by", columns.referred_by)
    row.money("acquisition_cost_cents", columns.acquisition_cost, form.minor)
    if columns.attributes:
        listed = ", ".join(f"{cell(name)}: {trimmed(name)}" for name in columns.attributes)
        row.given["attributes"] = f"cast(to_json({{{listed}}}) as varchar)"
        # JSON would write it as an escape, which no later reader of text can store.
        for name in columns.attributes:
            row.problems.append(
                f"when contains({trimmed(name)}, chr(0)) then 'nul_character:attributes'"
            )


def _identities(row: Row, columns: IdentityColumns, form: Form) -> None:
    row.text("source", columns.system, form.source if columns.system is None else None)
    row.text("source_key", columns.key)
    row.text("member_id", columns.member)
    if columns.system is not None and columns.systems:
        system = trimmed(columns.system)
        whens = " ".join(
            f"when {engine.text(theirs.strip())} then {engine.text(ours)}"
            for theirs, ours in columns.systems.items()
        )
        row.given["source"] = f"case {system} {whens} end"
        undeclared = f"{system} is not null and {row.given['source']} is null"
        row.problems.append(f"when {undeclared} then 'unknown_kind:source'")


def _campaigns(row: Row, columns: CampaignColumns, form: Form) -> None:
    del form
    row.text("campaign_id", columns.campaign)
    row.instant("starts_at", columns.starts_at)
    row.instant("ends_at", columns.ends_at or columns.last_day)
    if columns.last_day is not None:
        row.given["ends_at"] = following_midnight(row.given["ends_at"], row.timezone)
    row.text("kind", columns.kind)
    if columns.known_at is None:
        row.given["known_at"] = row.given["starts_at"]
    if columns.products is not None:
        # Whether A1,B7 or ["A1", "B7"] as JSON and Parquet write a list.
        bare = f"regexp_replace({trimmed(columns.products)}, '^\\[|\\]$', '', 'g')"
        parts = f"string_split({bare}, {engine.text(columns.separator)})"
        names = f"list_transform({parts}, lambda part: trim(part, ' \"'''))"
        row.given["products"] = (
            f"cast(to_json(list_filter({names}, lambda part: part <> '')) as varchar)"
        )


def _events(row: Row, columns: EventColumns, form: Form) -> None:
    row.text("source", None, form.source)
    row.given["event_id"] = _numbered(columns.event, columns.number_prefix)
    row.given["source_key"] = member_key(columns.member, columns.anonymous)
    row.kind(columns.kind, columns.kinds, columns.always.get("kind"))
    row.text("product_id", columns.product)
    row.text("channel", columns.channel, columns.always.get("channel"))
    row.number("duration_seconds", columns.duration_seconds)
    row.number("value", columns.value)


def _contacts(row: Row, columns: ContactColumns, form: Form) -> None:
    del form
    row.given["contact_id"] = _numbered(columns.contact, columns.number_prefix)
    row.text("member_id", columns.member)
    row.kind(columns.kind, columns.kinds, columns.always.get("kind"))
    row.text("decision_id", columns.decision)
    row.text("campaign_id", columns.campaign, columns.always.get("campaign"))
    for ours in ("channel", "offer", "arm"):
        row.text(ours, getattr(columns, ours), columns.always.get(ours))
    row.number("propensity", columns.propensity)


def _points(row: Row, columns: PointsColumns, form: Form) -> None:
    row.given["posting_id"] = _numbered(columns.posting, columns.number_prefix)
    row.text("member_id", columns.member)
    row.kind(columns.kind, columns.kinds, columns.always.get("kind"))
    smallest = f"{amount(columns.points, form.decimal, _EXACT_POINTS)} * "
    smallest += str(10**form.programme.points_scale)
    row.problems += [
        amount_problem(columns.points, form.decimal, "points", _EXACT_POINTS),
        # A part of the smallest unit is another scale, not something to round away.
        f"when {smallest} <> round({smallest}) then 'out_of_range:points'",
    ]
    row.given["points"] = f"round({smallest})"
    if columns.subtracted:
        theirs = ", ".join(f"lower(trim({engine.text(word)}))" for word in columns.subtracted)
        taken = f"lower({trimmed(columns.kind)}) in ({theirs})"
        row.given["points"] = (
            f"case when {taken} then -abs(round({smallest})) else round({smallest}) end"
        )
    row.instant("expires_at", columns.expires_at)
    row.text("tier", columns.tier)


def _consents(row: Row, columns: ConsentColumns, form: Form) -> None:
    del form
    row.text("member_id", columns.member)
    row.text("channel", columns.channel, columns.always.get("channel"))
    row.text("purpose", columns.purpose, columns.always.get("purpose"))
    row.boolean("granted", columns.granted, columns.yes, columns.no)
    row.text("proof", columns.proof)


def _stock(row: Row, columns: StockColumns, form: Form) -> None:
    del form
    row.text("product_id", columns.product)
    row.text("store_id", columns.store)
    row.number("available", columns.available)


def _numbered(column: str | None, prefix: str) -> str:
    """Return SQL for a row's number; what precedes it keeps two systems' numbers apart."""
    number = trimmed(column)
    return f"{engine.text(prefix)} || {number}" if prefix and column is not None else number


_FILL: dict[str, Callable[[Row, Any, Form], None]] = {
    "products": _products,
    "members": _members,
    "identities": _identities,
    "campaigns": _campaigns,
    "events": _events,
    "contacts": _contacts,
    "points": _points,
    "consents": _consents,
    "stock": _stock,
}
