"""What a programme's data carry: which facts some row states, and which no row ever does.

A column of something that no source was mapped to is not 0 but unknown: nobody has "few brands"
in a programme whose products have none. Facts go by the names that a mapping has for them.
"""

from datetime import date

import duckdb

from features import engine, rollups
from features.lake import Lake, Manifest

# The table that would state a fact, and whether a row of it does.
_FACTS = {
    "discount": ("purchases", "discount_cents is not null"),
    "coupon": ("purchases", "coupon_cents is not null"),
    "store": ("purchases", "store_id is not null"),
    "channel": ("purchases", "channel is not null"),
    "category": ("products", "category is not null"),
    "brand": ("products", "brand is not null"),
    "private_label": ("products", "private_label is not null"),
    "size": ("products", "size is not null"),
}
TIME_OF_DAY = "time of day"
# Where nearly every basket has one line, the large ones are the small ones.
SIZES = "baskets of several lines"
FACTS = frozenset({*_FACTS, TIME_OF_DAY, SIZES})


def carried(
    connection: duckdb.DuckDBPyConnection,
    lake: Lake,
    manifest: Manifest,
    as_of: date,
    midnight: str,
) -> frozenset[str]:
    """Return the facts that some row states, of those known before `as_of`.

    Parameters
    ----------
    connection : with the relations of a snapshot prepared
    midnight : SQL of the instant at which `as_of` begins
    """
    asked = {
        fact: f"select 1 from ({lake.rows_sql(table, manifest)}) "
        f"where known_at < {midnight} and {states}"
        for fact, (table, states) in _FACTS.items()
    }
    baskets = rollups.rows_sql(lake, rollups.ORDER_DAYS, manifest)
    day = f"date {engine.text(as_of)}"
    asked[TIME_OF_DAY] = f"select 1 from ({baskets}) where known_on < {day} and hour is not null"
    asked[SIZES] = "select 1 from reference_programme where large_lines > small_lines"
    return frozenset(
        fact
        for fact, rows in asked.items()
        if connection.execute(f"select exists ({rows})").fetchall()[0][0]
    )


def lacking(needs: tuple[str, ...], known: frozenset[str]) -> str | None:
    """Return why what needs some facts and tables says nothing here; None where all are known."""
    missing = [one for one in needs if one not in known]
    if not missing:
        return None
    if len(missing) > 1:
        # Of products that nobody named, it is enough to say what would be asked of them.
        missing = [one for one in missing if one != "products"]
    return f"needs {' and '.join(missing)}, which this programme's data does not carry"
