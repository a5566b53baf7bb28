"""Complete Journey many times over: as many members more, none with more in her basket."""

import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from features import engine
from features.ingest import ingest
from features.lake import Lake
from features.sources.completejourney import CompleteJourney
from programme.settings import Settings

_DAYS = {
    "transactions": ("transaction_timestamp",),
    "campaign_descriptions": ("start_date", "end_date"),
    "coupon_redemptions": ("redemption_date",),
}


def lay_out(
    settings: Settings,
    copies: int,
    *,
    later_days: int = 0,
    kept_one_in: int = 1,
    tell: Callable[[str], None] = print,
) -> None:
    """Ingest the replicated data into a home, unless it has a lake.

    Parameters
    ----------
    later_days : everything happens so many days later than it did
    kept_one_in : of so many baskets one is kept, whatever a copy's number another one
    """
    if Lake(settings).manifest().lake_version:
        return
    tell(f"replicating Complete Journey {copies} times and ingesting it")
    folder = settings.home / "raw"
    folder.mkdir(parents=True, exist_ok=True)
    with engine.connect(settings) as connection:
        for path in CompleteJourney().files():
            rows = _rows_sql(path, copies, later_days, kept_one_in)
            engine.copy_to_parquet(connection, rows, folder / path.name)
    ingest(CompleteJourney(folder), settings, datetime.now(UTC), tell)
    shutil.rmtree(folder)


def _rows_sql(path: Path, copies: int, later_days: int, kept_one_in: int) -> str:
    rows = f"select * from read_parquet({engine.text(path)})"
    if later_days and path.stem in _DAYS:
        moved = ", ".join(f"{day} + interval {later_days} day as {day}" for day in _DAYS[path.stem])
        rows = f"select * replace ({moved}) from ({rows})"
    if path.stem != "transactions":
        return rows
    # Other households, baskets of their own: as many members, not fuller baskets.
    return f"""select r.* replace (household_id + 10000 * i as household_id,
        basket_id + 100000000000 * i as basket_id)
        from ({rows}) r, range({copies}) copies(i) where hash(basket_id, i) % {kept_one_in} = 0"""
