"""Run an experiment: `python -m experiments.run churn_28d`. Its folder holds config and result."""

import argparse
import json
import sys
import tomllib
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from rich.console import Console

from features.ingest import ingest
from features.lake import Lake
from features.sources import open_source
from programme.errors import InputRefused, PerennialError
from programme.files import write_durably
from programme.settings import Settings
from training.bundle import Target
from training.config import TrainConfig
from training.train import learn

FOLDER = Path(__file__).parent
TABLE_BEGINS, TABLE_ENDS = "<!-- figures: written by experiments.run -->", "<!-- figures end -->"


class Experiment(BaseModel):
    """One question: a target, the data it is asked of, how to train."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    target: Target
    source: Annotated[str, Field(pattern="^(completejourney|cdnow)$")]
    train: TrainConfig = TrainConfig()


def run(name: str, home: Path, console: Console) -> dict[str, Any]:
    """Judge the experiment's target and write `result.json` and the table in its README.

    Parameters
    ----------
    name : folder under experiments
    home : where the data are, or will be ingested to; nothing is registered there

    Raises
    ------
    InputRefused : if there is no such experiment, or its config has an unknown key.
    """
    experiment = read(name)
    settings = Settings.load(home)
    if not Lake(settings).manifest().lake_version:
        ingest(open_source([experiment.source], None), settings, datetime.now(UTC), console.print)
    board = learn(settings, experiment.train, experiment.target, console.print).board.to_dict()
    folder = FOLDER / name
    write_durably(
        folder / "result.json", (json.dumps(board, indent=1, ensure_ascii=False) + "\n").encode()
    )
    readme = folder / "README.md"
    if readme.exists():
        text = with_table(readme.read_text("utf-8"), as_markdown(board))
        write_durably(readme, text.encode())
    return board


def read(name: str) -> Experiment:
    """Read the config of an experiment."""
    path = FOLDER / name / "config.toml"
    if not path.is_file():
        known = ", ".join(sorted(found.parent.name for found in FOLDER.glob("*/config.toml")))
        raise InputRefused(f"There is no experiment {name!r}. Nothing was run. There is {known}.")
    try:
        return Experiment.model_validate(tomllib.loads(path.read_text("utf-8")))
    except (tomllib.TOMLDecodeError, ValidationError) as error:
        raise InputRefused(f"{path}: {error}. Nothing was run.") from error


def _positive(board: dict[str, Any], population: dict[str, Any]) -> str:
    """Say how many left; of other targets the mean of what is judged is no share of anything."""
    return f"; {population['base_rate']:.1%} positive" if board["target"] == "churn" else ""


def as_markdown(board: dict[str, Any]) -> str:
    """Return the figures as Markdown tables, one a population."""
    parts = []
    for population in board["populations"]:
        days = ", ".join(population["test_as_ofs"])
        name = population["name"]
        who = name.capitalize() if name == "newcomers" else f"{name.capitalize()} members"
        parts.append(
            f"{who}, {population['rows']:,} rows, mean of {days}{_positive(board, population)}."
        )
        head = ["", "role", *population["metrics"], f"{population['primary']} - best rule (95 %)"]
        rows = [head, ["---"] * len(head)]
        for entry in population["entries"]:
            gain = entry["difference"]
            rows.append(
                [
                    entry["name"],
                    entry["role"],
                    *(_figure(entry["metrics"][metric]) for metric in population["metrics"]),
                    f"{gain['mean']:+.4f} [{gain['low']:+.4f}, {gain['high']:+.4f}]"
                    if gain and gain["mean"] is not None
                    else "",
                ]
            )
        parts.append("\n".join(f"| {' | '.join(row)} |" for row in rows))
    parts.append(board["verdict"])
    return "\n\n".join(parts)


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def with_table(text: str, table: str) -> str:
    """Put figures in the place that a README keeps for them."""
    before, _, rest = text.partition(TABLE_BEGINS)
    _, _, after = rest.partition(TABLE_ENDS)
    return f"{before}{TABLE_BEGINS}\n\n{table}\n\n{TABLE_ENDS}{after}"


def main() -> None:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__, epilog="Example: churn_28d")
    parser.add_argument("name", help="folder under experiments")
    parser.add_argument("--home", type=Path, help="data; var/SOURCE where not given")
    arguments = parser.parse_args()
    console = Console(stderr=True)
    try:
        home = arguments.home or Path("var") / read(arguments.name).source
        board = run(arguments.name, home, console)
    except PerennialError as error:
        console.print(str(error), markup=False)
        sys.exit(error.exit_code)
    sys.stdout.write(as_markdown(board) + "\n")


if __name__ == "__main__":
    main()
