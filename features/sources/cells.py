"""Cells as people write them, read as SQL: numbers, money, instants, yes and no, declared words."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from features import contracts, engine
from features.sources.staging import contract_columns
from programme.calendar import zone

# Tried in this order when the mapping names no format; a date alone means its midnight.
_TIME_FORMATS = (
    "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S.%f", "%Y-%m-%dT%H:%M:%S.%f",
    "%Y-%m-%d %H:%M", "%Y-%m-%d", "%Y/%m/%d %H:%M:%S", "%Y/%m/%d %H:%M", "%Y/%m/%d", "%Y%m%d",
)  # fmt: skip

# Where a row stood, beside the file's own columns, whose headers may well be file and line.
FILE, LINE, MALFORMED = '"perennial:file"', '"perennial:line"', '"perennial:malformed"'


@dataclass
class Row:
    """The columns of one table, filled one by one; each cell also says what is wrong with it.

    Parameters
    ----------
    decimal : "." or ","
    timezone : IANA zone of instants that carry none
    written_as : strptime format of instants, or None for the usual ones
    """

    table: contracts.Table
    decimal: str
    timezone: str
    written_as: str | None = None
    given: dict[str, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def text(self, ours: str, column: str | None, constant: str | None = None) -> None:
        """Fill a column with a cell as it is, or with what holds for every row."""
        self.given[ours] = trimmed(column) if constant is None else engine.text(constant)

    def instant(self, ours: str, column: str | None) -> None:
        """Fill a column with the instant a cell names."""
        if column is not None:
            self.given[ours] = instant_sql(column, self.written_as, self.timezone)
            self.unread(ours, column)

    def number(self, ours: str, column: str | None) -> None:
        """Fill a column with any number; the contract judges infinity and NaN."""
        if column is not None:
            self.given[ours] = f"try_cast({digits(column, self.decimal)} as double)"
            self.unread(ours, column)

    def money(self, ours: str, column: str | None, minor: int) -> None:
        """Fill a column with an amount of money in its smallest unit, `minor` of which make one."""
        if column is not None:
            self.given[ours] = in_minor(amount(column, self.decimal), minor)
            self.problems.append(amount_problem(column, self.decimal, ours))

    def boolean(self, ours: str, column: str | None, yes: Sequence[str], no: Sequence[str]) -> None:
        """Fill a column with yes or no; any other word is unreadable."""
        if column is not None:
            cell = f"lower({trimmed(column)})"
            self.given[ours] = (
                f"case when {cell} in ({folded(yes)}) then true "
                f"when {cell} in ({folded(no)}) then false end"
            )
            self.unread(ours, column)

    def kind(
        self, column: str | None, words: Mapping[str, str], constant: str | None = None
    ) -> None:
        """Fill `kind` with the contract's word for theirs; an undeclared word stays as it came.

        So the contract refuses it under its own name, and quarantine shows it.
        """
        if column is None:
            self.text("kind", None, constant)
            return
        known = next(f.kinds for f in self.table.fields if f.name == "kind")
        # Theirs first: where they mean something else by one of our words, they have said so.
        pairs = [*words.items(), *((ours, ours) for ours in known)]
        cell = trimmed(column)
        whens = " ".join(
            f"when lower(trim({engine.text(theirs)})) then {engine.text(ours)}"
            for theirs, ours in pairs
        )
        self.given["kind"] = f"case lower({cell}) {whens} else {cell} end"

    def unread(self, ours: str, column: str) -> None:
        """Say that a filled cell from which nothing could be read is unreadable."""
        filled = f"{trimmed(column)} is not null"
        self.problems.append(f"when {filled} and ({self.given[ours]}) is null "
                             f"then 'unreadable:{ours}'")  # fmt: skip

    def staged(self, raw: str) -> str:
        """Return the SELECT that `Staged` wants.

        Parameters
        ----------
        raw : SELECT of the file's cells, `FILE`, `LINE` and `MALFORMED`
        """
        return f"""select {contract_columns(self.table, self.given)},
            {FILE} as file, {LINE} as line,
            case when {MALFORMED} is not null then 'malformed_line:' {" ".join(self.problems)}
                 end as problem,
            case when {MALFORMED} is not null then to_json({MALFORMED})
                 else to_json(came) end as raw
            from (select *, came from ({raw}) came)"""


def cell(column: str) -> str:
    """Return the SQL name of a file's column."""
    return engine.name(column)


def trimmed(column: str | None) -> str:
    """Return SQL for a cell without blanks around it; null where nothing is left."""
    return f"nullif(trim({cell(column)}), '')" if column is not None else "null"


def folded(words: Sequence[str]) -> str:
    """Return SQL texts, in small letters, to look a cell up in."""
    return ", ".join(f"lower(trim({engine.text(word)}))" for word in words) or "''"


def digits(column: str, decimal: str) -> str:
    """Return SQL for a number as people write it, 1,234.50 or 1.234,50, without its grouping.

    A sign that does not stand before three digits groups nothing: 12,50 is not 1250.
    """
    group = "." if decimal == "," else ","
    plain = f"replace({trimmed(column)}, ' ', '')"
    grouped = f"[-+]?[0-9]{{1,3}}([{group}][0-9]{{2,3}})*[{group}][0-9]{{3}}([{decimal}][0-9]*)?"
    return f"""case when not contains({plain}, '{group}')
            or regexp_full_match({plain}, '{grouped}')
        then replace(replace({plain}, '{group}', ''), '{decimal}', '.') end"""


def amount(column: str | None, decimal: str, exact_type: str = "decimal(18, 6)") -> str:
    """Return SQL that reads a cell as an exact decimal, or null."""
    if column is None:
        return "null"
    return f"try_cast({digits(column, decimal)} as {exact_type})"


def amount_problem(column: str, decimal: str, ours: str, exact_type: str = "decimal(18, 6)") -> str:
    """Return the WHENs of a filled cell that cannot be read as an amount."""
    number = f"try_cast({digits(column, decimal)} as double)"
    exact = amount(column, decimal, exact_type)
    unread = f"{trimmed(column)} is not null and {exact} is null"
    return f"""when {unread} and {number} is null then 'unreadable:{ours}'
        when {unread} and not isfinite({number}) then 'not_a_number:{ours}'
        when {unread} then 'out_of_range:{ours}'"""


def in_minor(exact: str, minor: int) -> str:
    """Return SQL for an amount in the currency's smallest unit."""
    return f"round(cast({exact} as decimal(38, 10)) * {minor})"


def instant_sql(column: str, written_as: str | None, timezone: str) -> str:
    """Return SQL for the UTC instant a cell names; a zone inside the cell wins.

    Parameters
    ----------
    column : header of the cell
    written_as : strptime format, or None to try the usual ones
    timezone : IANA zone of cells that carry none
    """
    zone(timezone)
    written = trimmed(column)
    formats = (written_as,) if written_as is not None else _TIME_FORMATS
    listed = ", ".join(engine.text(one) for one in formats)
    naive = (
        f"timezone('UTC', timezone({engine.text(timezone)}, try_strptime({written}, [{listed}])))"
    )
    closed_up = f"regexp_replace({written}, ' ([+-][0-9:]+)$', '\\1')"
    zoned = f"cast(try_cast({closed_up} as timestamptz) as timestamp)"
    if written_as is not None and "%z" in written_as.lower():
        return f"cast(try_strptime({written}, {engine.text(written_as)}) as timestamp)"
    if written_as is not None:
        return naive
    ending = "'(Z| UTC|[+-][0-9]{2}(:?[0-9]{2})?)$'"
    has_zone = f"regexp_matches({written}, {ending}) and contains({written}, ':')"
    return f"case when {has_zone} then {zoned} else {naive} end"


def following_midnight(instant: str, timezone: str) -> str:
    """Return SQL for the instant at which the local day of another instant ends."""
    local = f"timezone({engine.text(timezone)}, timezone('UTC', {instant}))"
    midnight = f"cast(date_trunc('day', {local}) as timestamp) + interval 1 day"
    return f"timezone('UTC', timezone({engine.text(timezone)}, {midnight}))"
