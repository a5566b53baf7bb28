"""Any CSV or Parquet export, read through a mapping."""

import codecs
from collections.abc import Iterator
from functools import reduce
from pathlib import Path

import duckdb

from features import contracts, engine
from features.sources.mapping import Mapping, ProductColumns, PurchaseColumns
from features.sources.staging import (
    Notes,
    Staged,
    contract_columns,
    existing_files,
    refuse_missing_columns,
    require_columns,
)
from programme.calendar import zone
from programme.errors import InputRefused
from programme.settings import Programme

_TRANSCODE_CHARACTERS = 1 << 20
# Tried in this order when the mapping names no format; a date alone means its midnight.
_TIME_FORMATS = (
    "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S.%f", "%Y-%m-%dT%H:%M:%S.%f",
    "%Y-%m-%d %H:%M", "%Y-%m-%d", "%Y/%m/%d %H:%M:%S", "%Y/%m/%d %H:%M", "%Y/%m/%d", "%Y%m%d",
)  # fmt: skip


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
        rows = [self._rows(connection, path, scratch) for path in self.files()]
        raw = " union all by name ".join(f"({one})" for one in rows)
        if self.mapping.products is not None:
            yield Staged(contracts.PRODUCTS, _products_sql(self.mapping.products, raw))
        if self.mapping.purchases is not None:
            columns = self.mapping.purchases
            yield Staged(
                contracts.PURCHASES,
                _purchases_sql(
                    columns, raw, self.name, programme.timezone, self.mapping.file.decimal
                ),
                hash_identity=columns.order is None or columns.line is None,
            )

    def _rows(self, connection: duckdb.DuckDBPyConnection, path: Path, scratch: Path) -> str:
        wanted = self.mapping.columns_read()
        if self.mapping.file.is_parquet(path):
            require_columns(connection, path, wanted)
            cells = ", ".join(f"cast({_cell(c)} as varchar) as {_cell(c)}" for c in wanted)
            return f"""select {cells}, {engine.text(path.name)} as file,
                file_row_number + 1 as line, cast(null as varchar) as malformed
                from read_parquet({engine.text(path)}, file_row_number = true)"""
        return self._csv_rows(connection, path, scratch)

    def _csv_rows(self, connection: duckdb.DuckDBPyConnection, path: Path, scratch: Path) -> str:
        form = self.mapping.file
        readable = as_utf8(path, form.encoding, scratch)
        header = _header(connection, readable, path, form.delimiter, form.quote)
        refuse_missing_columns(path, header, self.mapping.columns_read())
        shape = ", ".join(f"{engine.text(column)}: 'varchar'" for column in header)
        # A first, cheap pass finds the lines that do not split into the header's cells.
        connection.execute("drop table if exists reject_errors; drop table if exists reject_scans")
        read = f"""read_csv({engine.text(readable)}, auto_detect = false, header = true,
            columns = {{{shape}}}, delim = {engine.text(form.delimiter)},
            quote = {engine.text(form.quote)}, escape = {engine.text(form.quote)},
            ignore_errors = true"""
        connection.execute(f"select count(*) from {read}, store_rejects = true)").fetchall()
        rejects = connection.execute(
            "select line, any_value(csv_line) from reject_errors group by line order by line"
        ).fetchall()
        cells = ", ".join(_cell(column) for column in self.mapping.columns_read())
        good = f"""select {cells}, {engine.text(path.name)} as file,
            {_line_of_record([int(line) for line, _ in rejects])} as line,
            cast(null as varchar) as malformed
            from (select *, row_number() over () as record from {read}))"""
        if not rejects:
            return good
        nothing = ", ".join(f"cast(null as varchar) as {_cell(c)}" for c in header)
        bad = " union all ".join(
            f"select {nothing}, {engine.text(path.name)} as file, {line} as line, "
            f"{engine.text(content)} as malformed"
            for line, content in rejects
        )
        return f"{good} union all by name ({_only(bad, self.mapping.columns_read())})"


def as_utf8(path: Path, encoding: str, scratch: Path) -> Path:
    """Return `path`, or a UTF-8 copy in `scratch` where it is written otherwise.

    Raises
    ------
    InputRefused : on an unknown encoding, or bytes that it does not allow.
    """
    try:
        known = codecs.lookup(encoding).name
    except LookupError as error:
        raise InputRefused(
            f"There is no encoding {encoding!r}. Nothing was read. Use utf-8, gb18030, latin-1..."
        ) from error
    copy = scratch / f"{path.stem}-{abs(hash(str(path)))}.utf8"
    copy.parent.mkdir(parents=True, exist_ok=True)
    strict = "utf-8-sig" if known == "utf-8" else known
    characters = 0
    try:
        with (
            path.open(encoding=strict, newline="") as reader,
            copy.open("w", encoding="utf-8", newline="") as writer,
        ):
            while chunk := reader.read(_TRANSCODE_CHARACTERS):
                writer.write(chunk)
                characters += len(chunk)
    except UnicodeDecodeError as error:
        raise InputRefused(
            f"{path} is not {encoding}: the byte 0x{error.object[error.start]:02x} after about "
            f"{characters + error.start} characters has no meaning there. Nothing was read. "
            "Name the real encoding in [file] of the mapping, for example gb18030 or latin-1."
        ) from error
    return copy


def _header(
    connection: duckdb.DuckDBPyConnection, readable: Path, path: Path, delimiter: str, quote: str
) -> list[str]:
    rows = connection.execute(
        f"""select * from read_csv({engine.text(readable)}, auto_detect = false, header = false,
        columns = {{'written': 'varchar'}}, delim = '\\x01', quote = '', escape = '') limit 1"""
    ).fetchall()
    if not rows or rows[0][0] is None:
        raise InputRefused(f"{path} has no header line. Nothing was read. Export it with one.")
    import csv

    written = str(rows[0][0])
    options = {"quotechar": quote} if quote else {"quoting": csv.QUOTE_NONE}
    header = next(csv.reader([written], delimiter=delimiter, **options))
    repeated = sorted({column for column in header if header.count(column) > 1})
    if repeated:
        raise InputRefused(
            f"{path} names the column {repeated[0]!r} twice. Nothing was read. Rename one."
        )
    return header


def _line_of_record(rejected_lines: list[int]) -> str:
    """Return SQL for the file line of the n-th readable record, below a header line."""
    skipped = " + ".join(
        f"cast(record > {line - 2 - earlier} as integer)"
        for earlier, line in enumerate(rejected_lines[:1000])
    )
    return f"record + 1 + {skipped}" if skipped else "record + 1"


def _only(sql: str, columns: list[str]) -> str:
    cells = ", ".join(_cell(column) for column in columns)
    return f"select {cells}, file, line, malformed from ({sql})"


def _cell(column: str) -> str:
    return engine.name(column)


def _trimmed(column: str | None) -> str:
    return f"nullif(trim({_cell(column)}), '')" if column is not None else "null"


def _amount(column: str | None, decimal: str) -> str:
    """Return SQL that reads a number as people write it: 1,234.50 or 1.234,50."""
    if column is None:
        return "null"
    thousands = "." if decimal == "," else ","
    plain = f"replace(replace({_trimmed(column)}, ' ', ''), '{thousands}', '')"
    return f"try_cast(replace({plain}, '{decimal}', '.') as decimal(18, 6))"


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
    zoned = f"cast(try_cast({cell} as timestamptz) as timestamp)"
    if written_as is not None and "%z" in written_as:
        return f"cast(try_strptime({cell}, {engine.text(written_as)}) as timestamp)"
    if written_as is not None:
        return naive
    has_zone = (
        f"regexp_matches({cell}, '(Z|[+-][0-9]{{2}}:?[0-9]{{2}})$') and contains({cell}, ':')"
    )
    return f"case when {has_zone} then {zoned} else {naive} end"


def _purchases_sql(
    columns: PurchaseColumns, raw: str, source: str, timezone: str, decimal: str
) -> str:
    anonymous = ", ".join(engine.text(value) for value in columns.anonymous) or "''"
    member = _trimmed(columns.member)
    zone_name = columns.timezone or timezone
    occurred = instant_sql(columns.occurred_at, columns.occurred_format, zone_name)
    known = occurred
    if columns.known_at is not None:
        known = instant_sql(columns.known_at, columns.occurred_format, zone_name)
    amount = _amount(columns.amount, decimal)
    quantity = _amount(columns.quantity, decimal)
    if columns.amount is None:
        amount = f"({quantity}) * ({_amount(columns.unit_price, decimal)})"
    sign = f"case when {_is_return(columns)} then -1 else 1 end"
    returned = f"({sign} < 0 or {amount} < 0)"
    given = {
        "source": engine.text(source),
        "order_id": _trimmed(columns.order),
        "line_no": _trimmed(columns.line),
        "source_key": f"case when {member} in ({anonymous}) then null else {member} end",
        "occurred_at": occurred,
        "product_id": _trimmed(columns.product),
        "quantity": f"case when {returned} then -abs({quantity}) else {quantity} end",
        "net_cents": f"round((case when {returned} then -abs({amount}) else {amount} end) * 100)",
        "discount_cents": f"round(abs({_amount(columns.discount, decimal)}) * 100)",
        "coupon_cents": f"round(abs({_amount(columns.coupon, decimal)}) * 100)",
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
    unreadable = [
        f"when {_trimmed(column)} is not null and {_amount(column, decimal)} is null "
        f"then 'unreadable:{ours}'"
        for ours, column in numbers.items()
        if column is not None
    ]
    for ours, column, sql in (
        ("occurred_at", columns.occurred_at, occurred),
        ("known_at", columns.known_at, known),
    ):
        if column is not None:
            unreadable.append(
                f"when {_trimmed(column)} is not null and {sql} is null then 'unreadable:{ours}'"
            )
    return _staged_select(contract_columns(contracts.PURCHASES, given), raw, unreadable)


def _is_return(columns: PurchaseColumns) -> str:
    tests = ["false"]
    if columns.returns.flag is not None:
        values = ", ".join(engine.text(value.lower()) for value in columns.returns.values)
        tests.append(f"lower({_trimmed(columns.returns.flag)}) in ({values})")
    if columns.returns.prefix is not None:
        prefix = engine.text(columns.returns.prefix)
        tests.append(f"starts_with({_trimmed(columns.order)}, {prefix})")
    return "coalesce(" + " or ".join(tests) + ", false)"


def _products_sql(columns: ProductColumns, raw: str) -> str:
    given = {"product_id": _trimmed(columns.product), "known_at": "timestamp '1970-01-01'"}
    for ours in ("name", "department", "category", "product_type", "brand"):
        given[ours] = _trimmed(getattr(columns, ours))
    # The catalogue may be repeated on every line: the first mention of a product names it.
    first = f"""select * from ({raw}) where malformed is null and {given["product_id"]} is not null
        qualify row_number() over (partition by {given["product_id"]} order by file, line) = 1"""
    return _staged_select(contract_columns(contracts.PRODUCTS, given), first, [])


def _staged_select(select_list: str, raw: str, unreadable: list[str]) -> str:
    problem = reduce(lambda sql, when: f"{sql} {when}", unreadable, "")
    return f"""select {select_list}, file, line,
        case when malformed is not null then 'malformed_line:' {problem} end as problem,
        case when malformed is not null then to_json(malformed)
             else to_json(struct_pack(*columns(* exclude (file, line, malformed)))) end as raw
        from ({raw})"""
