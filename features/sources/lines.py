"""Purchase lines of an export, as SQL: amounts with their sign, returns told from purchases."""

from features import contracts, engine
from features.sources.cells import (
    Row,
    amount,
    amount_problem,
    folded,
    in_minor,
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
    net, quantity = _net(columns, decimal), amount(columns.quantity, decimal)
    returned = f"({_is_return(columns)} or coalesce({net} < 0 or {quantity} < 0, false))"
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
    }
    row.problems += _problems(columns, decimal, f"abs({net}) * {minor}")
    row.instant("occurred_at", columns.occurred_at)
    row.given["known_at"] = row.given["occurred_at"]
    row.instant("known_at", columns.known_at)
    return row.staged(raw)


def member_key(column: str, anonymous: tuple[str, ...]) -> str:
    """Return SQL for the member of a row; null for those who stand for nobody."""
    member = trimmed(column)
    nobody = ", ".join(engine.text(value) for value in anonymous) or "''"
    return f"case when {member} in ({nobody}) then null else {member} end"


def _net(columns: PurchaseColumns, decimal: str) -> str:
    """Return SQL for what a line came to, its sign as written."""
    if columns.amount is not None:
        return amount(columns.amount, decimal)
    quantity, price = amount(columns.quantity, decimal), amount(columns.unit_price, decimal)
    # Wide enough for any two readable numbers: a product that overflows would end the ingest.
    return f"cast({quantity} as decimal(38, 6)) * cast({price} as decimal(38, 6))"


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
