"""Campaign after campaign through the real code, against four others with the same budget.

Run: `python -m experiments.closed_loop [--world W.toml ...] [--seeds 10] [--kept FOLDER]`. Without
worlds and seeds those of `config.toml` are run, and `result.json` and the table in the README are
written.
"""

import argparse
import json
import sys
import tomllib
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from rich.console import Console

from experiments.closed_loop.loop import Cycle, Design, held_out, ours
from experiments.closed_loop.rivals import RIVALS, run
from experiments.closed_loop.world import Recipe, World, read
from experiments.run import with_table
from programme.errors import InputRefused, PerennialError
from programme.files import write_durably

FOLDER = Path(__file__).parent
# Nothing was chosen on any seed from here on.
FIRST_SEED = 601


class Config(BaseModel):
    """Which worlds are run how often; seeds are counted from `FIRST_SEED`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    seeds: Annotated[int, Field(ge=1, le=1_000)]
    worlds: Annotated[tuple[str, ...], Field(min_length=1)]


def configured() -> Config:
    """Read `config.toml`."""
    path = FOLDER / "config.toml"
    try:
        return Config.model_validate(tomllib.loads(path.read_text("utf-8")))
    except (tomllib.TOMLDecodeError, ValidationError) as error:
        raise InputRefused(f"{path}: {error}. Nothing was run.") from error


def one_seed(recipe: Recipe, seed: int) -> dict[str, Any]:
    """Return the figures of one seed: profits as shares of the oracle's, cycle by cycle."""
    world = World(recipe, seed)
    out = held_out(world)
    rivals = {name: run(recipe, seed, out, chooser) for name, chooser in RIVALS.items()}
    best = rivals.pop("oracle")
    cycles = ours(recipe, seed, Design())
    dogs = sum(one.dogs for one in cycles) / max(1, sum(one.as_planned for one in cycles))
    explained = world.expected.orders.var(axis=0) / world.true.orders.var(axis=0)
    return {
        "seed": seed,
        "oracle_cents_a_member": [round(one / recipe.members, 3) for one in best],
        "unexplained": [round(1 - float(one), 4) for one in explained],
        "negative_share": round(float((world.expected.orders < 0).mean()), 4),
        "decided_same_day": _ratios([one.decided for one in cycles], _here(cycles)),
        "decided": _ratios([one.decided for one in cycles], best),
        "whole": _ratios([one.whole for one in cycles], best),
        **{name: _ratios(profits, best) for name, profits in rivals.items()},
        "six_cycles": {
            "whole": round(sum(one.whole for one in cycles) / sum(best), 4),
            **{name: round(sum(profits) / sum(best), 4) for name, profits in rivals.items()},
        },
        "sleeping_dogs_last": round(cycles[-1].dogs / max(1, cycles[-1].as_planned), 5),
        "sleeping_dogs_all": round(dogs, 5),
        "left_alone": [one.left_alone for one in cycles],
        "contacted_share": [round(one.contacted / recipe.members, 4) for one in cycles],
        "spent_share": [round(one.spent, 4) for one in cycles],
        "promoted": [len(one.promoted) for one in cycles],
    }


def summary(found: list[dict[str, Any]]) -> dict[str, Any]:
    """Return means over seeds of the last cycle, and their standard deviations."""
    figures = {
        "decided, same members and day": [one["decided_same_day"][-1] for one in found],
        "decided": [one["decided"][-1] for one in found],
        "whole": [one["whole"][-1] for one in found],
        **{
            name: [one[name][-1] for one in found] for name in RIVALS if name != "oracle"
        },
        "whole, all cycles": [one["six_cycles"]["whole"] for one in found],
        "random, all cycles": [one["six_cycles"]["random"] for one in found],
        "contacts to sleeping dogs": [one["sleeping_dogs_last"] for one in found],
        "contacts to sleeping dogs, all cycles": [one["sleeping_dogs_all"] for one in found],
    }  # fmt: skip
    return {
        name: {"mean": round(float(np.mean(values)), 4), "sd": round(float(np.std(values)), 4),
               "least": round(min(values), 4)}
        for name, values in figures.items()
    }  # fmt: skip


def as_markdown(result: dict[str, Any]) -> str:
    """Return the figures as one table, a column a world."""
    names = list(result)
    lines = [["last cycle, share of the oracle's profit", *names], ["---"] * (1 + len(names))]
    for figure in result[names[0]]["summary"]:
        said = [result[name]["summary"][figure] for name in names]
        lines.append([figure, *(f"{one['mean']:.3f} ± {one['sd']:.3f}" for one in said)])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main() -> None:
    """Read the command line, run, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--world", type=Path, nargs="+", help="TOML; those of the config else")
    parser.add_argument("--seeds", type=int, help="how many; as the config says else")
    parser.add_argument(
        "--kept", type=Path,
        help="seeds that lie here are not run again, others are put here: for runs that may be "
        "cut. Another folder for another code or world",
    )  # fmt: skip
    arguments = parser.parse_args()
    console = Console(stderr=True)
    try:
        config = configured()
        paths = arguments.world or [FOLDER / "worlds" / f"{name}.toml" for name in config.worlds]
        every: dict[str, list[dict[str, Any]]] = {path.stem: [] for path in paths}
        # Seed by seed through all worlds: a run that is cut says as much of each.
        for seed in range(FIRST_SEED, FIRST_SEED + (arguments.seeds or config.seeds)):
            for path in paths:
                found = _kept_or_run(path, seed, arguments.kept)
                every[path.stem].append(found)
                console.print(f"{path.stem} {seed}: {found['decided_same_day']}")
        result = {
            name: {"summary": summary(found), "seeds": found} for name, found in every.items()
        }
    except PerennialError as error:
        console.print(str(error), markup=False)
        sys.exit(error.exit_code)
    table = as_markdown(result)
    if not arguments.world and not arguments.seeds:
        _keep(result, table)
    sys.stdout.write(table + "\n")


def _kept_or_run(path: Path, seed: int, kept: Path | None) -> dict[str, Any]:
    file = None if kept is None else kept / f"{path.stem}-{seed}.json"
    if file is not None and file.exists():
        found: dict[str, Any] = json.loads(file.read_text("utf-8"))
        return found
    found = one_seed(read(path), seed)
    if file is not None:
        write_durably(file, json.dumps(found).encode())
    return found


def _keep(result: dict[str, Any], table: str) -> None:
    write_durably(FOLDER / "result.json", (json.dumps(result, indent=1) + "\n").encode())
    readme = FOLDER / "README.md"
    write_durably(readme, with_table(readme.read_text("utf-8"), table).encode())


def _ratios(profits: list[float], best: list[float]) -> list[float]:
    return [round(one / other, 4) for one, other in zip(profits, best, strict=True)]


def _here(cycles: list[Cycle]) -> list[float]:
    return [one.oracle_here for one in cycles]


if __name__ == "__main__":
    main()
