"""Purchase lines of an export, as SQL: amounts with their sign, returns told from purchases."""

from features import contracts, engine
from features.sources.cells import (
    Row,
    amount,
    amount_problem,
    folded,
    in_minor,
    instant_sql,
    trimmed,
)
from features.sources.happenings import PurchaseColumns
from programme.settings import Programme
from programme.words import MINOR_DIGITS


def purchases_sql(
    columns: PurchaseColumns, raw: str, source: str, programme: Programme, decimal: str
) -> str:
    """Return the SELECT of staged purchases.

    Parameters
    ----------
    raw : SELECT of the file's cells
    source : what the mapping calls the system
    decimal : "." or ","
    """
    row = Row(
        contracts.PURCHASES, decimal, columns.timezone or programme.timezone, columns.written_as
    )
    minor = 10 ** MINOR_DIGITS.get(programme.currency, 2)
    net = amount(columns.amount, decimal)
    quantity = amount(columns.quantity, decimal)
    if columns.amount is None:
        price = amount(columns.unit_price, decimal)
        # Wide enough for any two readable numbers: a product that overflows would end the ingest.
        net = f"cast({quantity} as decimal(38, 6)) * cast({price} as decimal(38, 6))"
    returned = f"({_is_return(columns)} or coalesce({net} < 0 or {quantity} < 0, false))"
    occurred = instant_sql(columns.occurred_at, row.written_as, row.timezone)
    row.given |= {
        "source": engine.text(source),
        "order_id": trimmed(columns.order),
        "line_no": trimmed(columns.line),
        "source_key": member_key(columns.member, columns.anonymous),
        "product_id": trimmed(columns.product),
        "quantity": f"case when {returned} then -abs({quantity}) else {quantity} end",
        "net_cents": in_minor(f"case when {returned} then -abs({net}) else {net} end", minor),
        "discount_cents": in_minor(f"abs({amount(columns.discount, decimal)})", minor),
        "coupon_cents": in_minor(f"abs({amount(columns.coupon, decimal)})", minor),
        "store_id": trimmed(columns.store),
        "channel": trimmed(columns.channel),
        "returns_order_id": trimmed(columns.returns_order),
        "known_at": occurred,
    }
    row.problems += _problems(columns, decimal, f"abs({net}) * {minor}")
    row.instant("occurred_at", columns.occurred_at)
    row.instant("known_at", columns.known_at)
    return row.staged(raw)


def member_key(column: str, anonymous: tuple[str, ...]) -> str:
    """Return SQL for the member of a row; null for those who stand for nobody."""
    member = trimmed(column)
    nobody = ", ".join(engine.text(value) for value in anonymous) or "''"
    return f"case when {member} in ({nobody}) then null else {member} end"


def _problems(columns: PurchaseColumns, decimal: str, minor_units: str) -> list[str]:
    numbers = {
        "net_cents": columns.amount,
        "quantity": columns.quantity,
        "unit_price": columns.unit_price,
        "discount_cents": columns.discount,
        "coupon_cents": columns.coupon,
    }
    problems = [
        amount_problem(column, decimal, ours)
        for ours, column in numbers.items()
        if column is not None
    ]
    return [*problems, f"when {minor_units} > {contracts.CENTS_MAX} then 'out_of_range:net_cents'"]


def _is_return(columns: PurchaseColumns) -> str:
    tests = ["false"]
    if columns.returns.flag is not None:
        tests.append(
            f"lower({trimmed(columns.returns.flag)}) in ({folded(columns.returns.values)})"
        )
    if columns.returns.prefix is not None:
        prefix = engine.text(columns.returns.prefix)
        tests.append(f"starts_with({trimmed(columns.order)}, {prefix})")
    return "coalesce(" + " or ".join(tests) + ", false)"
