"""How much of a campaign's noise the spend before it takes away, on Complete Journey.

Run with `python -m experiments.bench_cuped [--home var/completejourney]`. What members spend in
the 28 days after a Monday is noise to a campaign that begins on it: the share of its variance that
91 days of spend take away (CUPED) is what a read-out gains, and 1 / (1 - share) is how many times
as many members it is worth. Other windows stand beside it.
"""

import argparse
import sys
from datetime import date, datetime, timedelta
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Table

from actions.effects import cuped
from actions.outcomes import BEFORE_DAYS
from features import engine
from features.identities import resolve, with_member
from features.lake import Lake
from programme.calendar import local_midnight
from programme.settings import Programme, Settings, open_programme

ORIGINS = (
    date(2017, 4, 3), date(2017, 5, 29), date(2017, 7, 24), date(2017, 9, 18), date(2017, 11, 13),
    date(2017, 12, 4),
)  # fmt: skip
HORIZON_DAYS = 28
WINDOWS = (28, 56, BEFORE_DAYS)
GOAL = 0.65


def main() -> None:
    """Measure each origin and print one table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--home", type=Path, default=Path("var/completejourney"))
    settings = Settings.load(parser.parse_args().home)
    console = Console(width=None if sys.stdout.isatty() else 110)
    table = Table(title=f"Variance of {HORIZON_DAYS}-day spend taken away", title_justify="left")
    for heading in ("origin", "members", "households", *(f"{days} days" for days in WINDOWS)):
        table.add_column(heading, justify="right")
    cuts: dict[str, list[list[float]]] = {"active": [], "all": []}
    programme = open_programme(settings)
    with engine.connect(settings) as connection:
        for origin in ORIGINS:
            spent = spend(connection, settings, programme, origin)
            for who, members in (("active", spent[spent["active"]]), ("all", spent)):
                found = [cut(members, days) for days in WINDOWS]
                cuts[who].append(found)
                shown = (f"{share:.1%}" for share in found)
                table.add_row(str(origin), who, f"{len(members):,}", *shown)
    for who, of_origins in cuts.items():
        shown = (f"{share:.1%}" for share in np.mean(of_origins, axis=0))
        table.add_row("mean", who, "", *shown, style="bold")
    console.print(table)
    mean = float(np.mean(cuts["active"], axis=0)[-1])
    said = "reached" if mean >= GOAL else "not reached"
    console.print(f"asked for: {GOAL:.0%} of active households, {BEFORE_DAYS} days: {said}")


def spend(
    connection: duckdb.DuckDBPyConnection, settings: Settings, programme: Programme, origin: date
) -> pd.DataFrame:
    """Return of every member known at `origin` what she spent after it and before, in cents.

    Returns
    -------
    DataFrame with `after`, `before_D` for every D of `WINDOWS`, and whether she is `active`
    """
    lake = Lake(settings)
    manifest = lake.ready()
    resolve(connection, lake, manifest, origin, programme.timezone)

    def moment(days: int) -> str:
        when: datetime = local_midnight(origin + timedelta(days=days), programme.timezone)
        return f"timestamp {engine.text(when.replace(tzinfo=None))}"

    lines = with_member(
        f"select * from ({lake.rows_sql('purchases', manifest)}) where source_key is not null "
        f"and occurred_at < {moment(HORIZON_DAYS)}"
    )
    windows = ", ".join(
        f"coalesce(sum(sign * net_cents) filter (where occurred_at < {moment(0)} "
        f"and occurred_at >= {moment(-days)}), 0)::double as before_{days}"
        for days in WINDOWS
    )
    return connection.execute(
        f"""select coalesce(sum(sign * net_cents) filter (where occurred_at >= {moment(0)}), 0)
                ::double as after, {windows},
                count(*) filter (where occurred_at < {moment(0)}
                    and occurred_at >= {moment(-programme.active_days)}) > 0 as active
        from ({lines}) group by member_id
        having min(occurred_at) < {moment(0)}"""
    ).df()


def cut(members: pd.DataFrame, days: int) -> float:
    """Return the share of the variance of spend after that spend before takes away."""
    after = members["after"].to_numpy(float)
    return 1 - float(cuped(after, members[f"before_{days}"].to_numpy(float)).var() / after.var())


if __name__ == "__main__":
    main()
