"""A world on disk: one Parquet file a table, what is true beside them, and the way into a home."""

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import duckdb
import pandas as pd

from experiments.synthetic.tables import TIMEZONE, tables
from experiments.synthetic.truth import known_ahead, uplift
from experiments.synthetic.world import World
from features import contracts, engine
from features.sources.staging import Notes, Staged, contract_columns, existing_files
from programme.errors import InputRefused
from programme.files import write_json
from programme.settings import Programme

# What every line needs is read before the lines, so that they find their category.
TABLES = ("products", "members", "campaigns", "contacts", "points", "purchases")
TRUTH = "truth"


class Synthetic:
    """The tables of a world as a source: all of them go into the lake as one batch."""

    name = "synthetic"
    notes = Notes(historical_load=False, assumptions=("made up: nobody ever bought any of this",))

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def programme(self) -> Programme:
        """Return the made-up programme."""
        return Programme(name="synthetic", timezone=TIMEZONE, currency="EUR")

    def files(self) -> list[Path]:
        """Return the Parquet files of the tables; a table without rows has none."""
        return existing_files(path for path in map(self._path, TABLES) if self._needed(path))

    def stage(
        self,
        connection: duckdb.DuckDBPyConnection,
        scratch: Path,  # noqa: ARG002 - Parquet needs no conversion
        programme: Programme,  # noqa: ARG002 - instants are UTC already
    ) -> Iterator[Staged]:
        """Yield every table that has rows."""
        for name in TABLES:
            path, table = self._path(name), contracts.TABLES[name]
            if not self._needed(path):
                continue
            file = f"read_parquet({engine.text(path)}"
            described = connection.execute(
                f"select column_name from (describe select * from {file}))"
            ).fetchall()
            own = {str(row[0]): str(row[0]) for row in described}
            yield Staged(
                table,
                f"""select {contract_columns(table, own)}, {engine.text(path.name)} as file,
                file_row_number + 1 as line, cast(null as varchar) as problem,
                cast(null as varchar) as raw
                from {file}, file_row_number = true)""",
            )

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}.parquet"

    def _needed(self, path: Path) -> bool:
        return path.exists() or path.stem == "purchases"


def write(world: World, folder: Path) -> None:
    """Write the tables, and in `truth/` the recipe, each member, and each campaign's effects.

    Raises
    ------
    InputRefused : if the folder already holds something.
    """
    if folder.exists() and any(folder.iterdir()):
        raise InputRefused(
            f"{folder} is not empty. Nothing was written. Name a new folder, or empty this one."
        )
    folder.mkdir(parents=True, exist_ok=True)
    for name, table in tables(world).items():
        if len(table):
            table.to_parquet(folder / f"{name}.parquet", index=False, compression="zstd")
    beside = folder / TRUTH
    beside.mkdir()
    recipe = asdict(world.recipe) | {"counting_process": type(world.recipe.counting).__name__}
    write_json(beside / "recipe.json", json.loads(json.dumps(recipe, default=str)))
    members_truth(world).to_parquet(beside / "members.parquet", index=False)
    for nth, campaign in enumerate(world.campaigns):
        path = beside / f"campaign_c{nth + 1}.parquet"
        uplift(world, campaign).to_parquet(path, index=False)


def members_truth(world: World, horizons_days: tuple[int, ...] = (28, 91)) -> pd.DataFrame:
    """Return what is true of every member, and of the days after the end of the data.

    Returns
    -------
    DataFrame, one row a member: member_id, joined and left (the day, absent: still a buyer),
    orders_per_week, leaving, basket_cents, deals, response, and per horizon the chance of no
    order and the expected orders and cents in it
    """
    first = pd.Timestamp(world.recipe.first_day)
    left = pd.Series(world.left_at).replace(float("inf"), float("nan"))
    frame = {
        "member_id": world.member_ids,
        "joined": first + pd.to_timedelta(world.members.joined_at // 1, unit="D"),
        "left": first + pd.to_timedelta(left // 1, unit="D"),
        "orders_per_week": world.members.rate,
        "leaving": world.members.leaving,
        "basket_cents": world.members.basket_cents,
        "deals": world.members.deals,
        "response": world.members.response,
    }
    for horizon in horizons_days:
        ahead = known_ahead(world, world.recipe.days, horizon)
        frame |= {
            f"silent_probability_{horizon}d": ahead.silent,
            f"orders_expected_{horizon}d": ahead.orders,
            f"value_cents_expected_{horizon}d": ahead.cents,
        }
    return pd.DataFrame(frame)
