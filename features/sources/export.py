"""Any CSV or Parquet export, read through a mapping."""

from collections.abc import Iterator
from pathlib import Path

import duckdb

from features import contracts, engine
from features.sources import delimited
from features.sources.mapping import Mapping, ProductColumns, PurchaseColumns
from features.sources.staging import (
    Notes,
    Staged,
    contract_columns,
    existing_files,
    file_names,
    require_columns,
)
from programme.calendar import zone
from programme.errors import InputRefused
from programme.settings import Programme
from programme.words import MINOR_DIGITS

# Tried in this order when the mapping names no format; a date alone means its midnight.
_TIME_FORMATS = (
    "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S.%f", "%Y-%m-%dT%H:%M:%S.%f",
    "%Y-%m-%d %H:%M", "%Y-%m-%d", "%Y/%m/%d %H:%M:%S", "%Y/%m/%d %H:%M", "%Y/%m/%d", "%Y%m%d",
)  # fmt: skip

# Where a row stood, beside the file's own columns, whose headers may well be file and line.
_FILE, _LINE, _MALFORMED = '"perennial:file"', '"perennial:line"', '"perennial:malformed"'


class Export:
    """Rows of somebody's files; the mapping says what they mean."""

    def __init__(self, paths: list[Path], mapping: Mapping) -> None:
        self.mapping = mapping
        self.name = mapping.source
        self._paths = paths
        historical = mapping.purchases is None or mapping.purchases.known_at is None
        self.notes = Notes(
            historical_load=historical,
            assumptions=("rows were known when they happened",) if historical else (),
        )

    @property
    def programme(self) -> Programme | None:
        """Return the programme the mapping declares, if it does."""
        return self.mapping.programme

    def files(self) -> list[Path]:
        """Return the files, each there and not empty."""
        return existing_files(self._paths)

    def stage(
        self, connection: duckdb.DuckDBPyConnection, scratch: Path, programme: Programme
    ) -> Iterator[Staged]:
        """Yield products then purchases, each over all files."""
        named = file_names(self.files())
        raw = " union all by name ".join(
            f"({self._rows(connection, path, name, scratch)})" for path, name in named.items()
        )
        columns = self.mapping.purchases
        if self.mapping.products is not None:
            yield Staged(
                contracts.PRODUCTS,
                _products_sql(self.mapping.products, raw, programme.timezone, columns is not None),
            )
        if columns is not None:
            _refuse_unknown_format(connection, columns.occurred_format)
            yield Staged(
                contracts.PURCHASES,
                _purchases_sql(columns, raw, self.name, programme, self.mapping.file.decimal),
                hash_identity=columns.order is None or columns.line is None,
                drop_equal_rows=columns.exact_duplicates == "drop",
            )

    def _rows(
        self, connection: duckdb.DuckDBPyConnection, path: Path, name: str, scratch: Path
    ) -> str:
        """Return a SELECT of one file: its mapped cells as text, file, line and malformed."""
        wanted = self.mapping.columns_read()
        if self.mapping.file.is_parquet(path):
            require_columns(connection, path, wanted)
            cells = ", ".join(f"cast({_cell(c)} as varchar) as {_cell(c)}" for c in wanted)
            return f"""select {cells}, {engine.text(name)} as {_FILE},
                file_row_number + 1 as {_LINE}, cast(null as varchar) as {_MALFORMED}
                from read_parquet({engine.text(path)}, file_row_number = true)"""
        place = scratch / "records" / f"{name}.parquet"
        delimited.write_records(path, self.mapping.file, wanted, place)
        cells = ", ".join(f"c{i} as {_cell(column)}" for i, column in enumerate(wanted))
        return f"""select {cells}, {engine.text(name)} as {_FILE}, line as {_LINE},
            malformed as {_MALFORMED}
            from read_parquet({engine.text(place)})"""


def _cell(column: str) -> str:
    return engine.name(column)


def _trimmed(column: str | None) -> str:
    return f"nullif(trim({_cell(column)}), '')" if column is not None else "null"


def _digits(column: str, decimal: str) -> str:
    """Return SQL for a number as people write it, 1,234.50 or 1.234,50, without its grouping.

    A sign that does not stand before three digits groups nothing: 12,50 is not 1250.
    """
    group = "." if decimal == "," else ","
    plain = f"replace({_trimmed(column)}, ' ', '')"
    grouped = f"[-+]?[0-9]{{1,3}}([{group}][0-9]{{2,3}})*[{group}][0-9]{{3}}([{decimal}][0-9]*)?"
    return f"""case when not contains({plain}, '{group}')
            or regexp_full_match({plain}, '{grouped}')
        then replace(replace({plain}, '{group}', ''), '{decimal}', '.') end"""


def _amount(column: str | None, decimal: str) -> str:
    """Return SQL that reads a cell as an exact decimal, or null."""
    if column is None:
        return "null"
    return f"try_cast({_digits(column, decimal)} as decimal(18, 6))"


def _amount_problem(column: str, decimal: str, ours: str) -> str:
    """Return the WHENs of a filled cell that cannot be read as an amount."""
    number = f"try_cast({_digits(column, decimal)} as double)"
    unread = f"{_trimmed(column)} is not null and {_amount(column, decimal)} is null"
    return f"""when {unread} and {number} is null then 'unreadable:{ours}'
        when {unread} and not isfinite({number}) then 'not_a_number:{ours}'
        when {unread} then 'out_of_range:{ours}'"""


def instant_sql(column: str, written_as: str | None, timezone: str) -> str:
    """Return SQL for the UTC instant a cell names; a zone inside the cell wins.

    Parameters
    ----------
    column : header of the cell
    written_as : strptime format, or None to try the usual ones
    timezone : IANA zone of cells that carry none
    """
    zone(timezone)
    cell = _trimmed(column)
    formats = (written_as,) if written_as is not None else _TIME_FORMATS
    listed = ", ".join(engine.text(one) for one in formats)
    naive = f"timezone('UTC', timezone({engine.text(timezone)}, try_strptime({cell}, [{listed}])))"
    closed_up = f"regexp_replace({cell}, ' ([+-][0-9:]+)$', '\\1')"
    zoned = f"cast(try_cast({closed_up} as timestamptz) as timestamp)"
    if written_as is not None and "%z" in written_as.lower():
        return f"cast(try_strptime({cell}, {engine.text(written_as)}) as timestamp)"
    if written_as is not None:
        return naive
    ending = "'(Z| UTC|[+-][0-9]{2}(:?[0-9]{2})?)$'"
    has_zone = f"regexp_matches({cell}, {ending}) and contains({cell}, ':')"
    return f"case when {has_zone} then {zoned} else {naive} end"


def _refuse_unknown_format(connection: duckdb.DuckDBPyConnection, written_as: str | None) -> None:
    if written_as is None:
        return
    try:
        connection.execute(f"select try_strptime('', {engine.text(written_as)})").fetchall()
    except duckdb.Error as error:
        raise InputRefused(
            f"occurred_format {written_as!r} cannot be read ({error}). Nothing was ingested. "
            "Write it as strptime does, for example %d.%m.%Y %H:%M."
        ) from error


def _purchases_sql(
    columns: PurchaseColumns, raw: str, source: str, programme: Programme, decimal: str
) -> str:
    anonymous = ", ".join(engine.text(value) for value in columns.anonymous) or "''"
    member = _trimmed(columns.member)
    zone_name = columns.timezone or programme.timezone
    occurred = instant_sql(columns.occurred_at, columns.occurred_format, zone_name)
    known = occurred
    if columns.known_at is not None:
        known = instant_sql(columns.known_at, columns.occurred_format, zone_name)
    amount = _amount(columns.amount, decimal)
    quantity = _amount(columns.quantity, decimal)
    if columns.amount is None:
        price = _amount(columns.unit_price, decimal)
        # Wide enough for any two readable numbers: a product that overflows would end the ingest.
        amount = f"cast({quantity} as decimal(38, 6)) * cast({price} as decimal(38, 6))"
    returned = f"({_is_return(columns)} or coalesce({amount} < 0 or {quantity} < 0, false))"
    minor = 10 ** MINOR_DIGITS.get(programme.currency, 2)
    given = {
        "source": engine.text(source),
        "order_id": _trimmed(columns.order),
        "line_no": _trimmed(columns.line),
        "source_key": f"case when {member} in ({anonymous}) then null else {member} end",
        "occurred_at": occurred,
        "product_id": _trimmed(columns.product),
        "quantity": f"case when {returned} then -abs({quantity}) else {quantity} end",
        "net_cents": _minor(f"case when {returned} then -abs({amount}) else {amount} end", minor),
        "discount_cents": _minor(f"abs({_amount(columns.discount, decimal)})", minor),
        "coupon_cents": _minor(f"abs({_amount(columns.coupon, decimal)})", minor),
        "store_id": _trimmed(columns.store),
        "channel": _trimmed(columns.channel),
        "returns_order_id": _trimmed(columns.returns_order),
        "known_at": known,
    }
    numbers = {
        "net_cents": columns.amount,
        "quantity": columns.quantity,
        "unit_price": columns.unit_price,
        "discount_cents": columns.discount,
        "coupon_cents": columns.coupon,
    }
    problems = [
        _amount_problem(column, decimal, ours)
        for ours, column in numbers.items()
        if column is not None
    ]
    too_much = f"abs({amount}) * {minor} > {contracts.CENTS_MAX}"
    problems.append(f"when {too_much} then 'out_of_range:net_cents'")
    problems.append(_instant_problem(columns.occurred_at, occurred, "occurred_at"))
    if columns.known_at is not None:
        problems.append(_instant_problem(columns.known_at, known, "known_at"))
    return _staged_select(contract_columns(contracts.PURCHASES, given), raw, problems)


def _minor(amount: str, minor: int) -> str:
    """Return SQL for an amount in the currency's smallest unit."""
    return f"round(cast({amount} as decimal(38, 10)) * {minor})"


def _instant_problem(column: str, instant: str, ours: str) -> str:
    filled = f"{_trimmed(column)} is not null"
    return f"when {filled} and {instant} is null then 'unreadable:{ours}'"


def _is_return(columns: PurchaseColumns) -> str:
    tests = ["false"]
    if columns.returns.flag is not None:
        values = ", ".join(engine.text(value.lower()) for value in columns.returns.values)
        tests.append(f"lower({_trimmed(columns.returns.flag)}) in ({values})")
    if columns.returns.prefix is not None:
        prefix = engine.text(columns.returns.prefix)
        tests.append(f"starts_with({_trimmed(columns.order)}, {prefix})")
    return "coalesce(" + " or ".join(tests) + ", false)"


def _products_sql(
    columns: ProductColumns, raw: str, timezone: str, stands_on_purchase_lines: bool
) -> str:
    product = _trimmed(columns.product)
    given = {"product_id": product, "known_at": "timestamp '1970-01-01'"}
    problems = []
    if columns.known_at is not None:
        given["known_at"] = instant_sql(columns.known_at, None, timezone)
        problems.append(_instant_problem(columns.known_at, given["known_at"], "known_at"))
    for ours in ("name", "department", "category", "product_type", "brand"):
        given[ours] = _trimmed(getattr(columns, ours))
    if stands_on_purchase_lines:
        # The first mention of a product names it; the lines are judged as purchases.
        raw = f"""select * from ({raw}) where {_MALFORMED} is null and {product} is not null
            qualify row_number() over (partition by {product} order by {_FILE}, {_LINE}) = 1"""
    return _staged_select(contract_columns(contracts.PRODUCTS, given), raw, problems)


def _staged_select(select_list: str, raw: str, problems: list[str]) -> str:
    return f"""select {select_list}, {_FILE} as file, {_LINE} as line,
        case when {_MALFORMED} is not null then 'malformed_line:' {" ".join(problems)}
             end as problem,
        case when {_MALFORMED} is not null then to_json({_MALFORMED})
             else to_json(came) end as raw
        from (select *, came from ({raw}) came)"""
