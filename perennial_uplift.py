"""The command line of uplift: what a randomised table says, whoever ran the experiment."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from programme.errors import InputRefused
from serving.reports.console import console, ends_on_request, progress

if TYPE_CHECKING:
    from training.models.uplift_learners import Learner

# Beyond this, sums of profits lose their last digits.
MOST = 1e12

app = typer.Typer(pretty_exceptions_enable=False)


@app.command(
    epilog="Example: perennial uplift trial.csv --treatment group --control none --outcome visit "
    "--propensity 0.5 --features recency,history"
)
def uplift(
    table: Annotated[Path, typer.Argument(help="CSV or Parquet, one row a member.")],
    treatment: Annotated[str, typer.Option(help="Column that says who got what.")],
    outcome: Annotated[str, typer.Option(help="Column of what came of it, a number.")],
    propensity: Annotated[
        str | None,
        typer.Option(
            help="Chance of the treatment: a number or a column; with several arms ARM=NUMBER "
            "or ARM=COLUMN, by commas. Left out: the shares seen."
        ),
    ] = None,
    features: Annotated[
        str | None, typer.Option(help="Columns known before, by commas. Left out: all others.")
    ] = None,
    control: Annotated[
        str | None, typer.Option(help="Which treatment is none. Left out: 0, control or none.")
    ] = None,
    worth: Annotated[float, typer.Option(help="What one unit of the outcome earns.")] = 1.0,
    cost: Annotated[
        str, typer.Option(help="What the treatment costs a member; or ARM=COST, by commas.")
    ] = "0",
    learners: Annotated[
        str, typer.Option(help="Of s, t, x, r, dr; the last decides whom to treat.")
    ] = "s,t,x,dr",
    seed: Annotated[int, typer.Option(min=0, help="Of folds, halves and resamples.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say what a treatment changed, for whom, and whether choosing whom to treat is worth it.

    Any randomised table: average effects, rankings by uplift beside response, risk and chance with
    intervals, policies with their values from the log, and what the promotion gate says, with its
    reason. Models judge only members they did not learn from.
    """
    from actions.trial_table import read
    from actions.uplift_readout import read_out
    from serving.reports.uplift import as_json as numbers
    from serving.reports.uplift import show_readout

    names = _learners(learners)
    # NaN fails every comparison.
    if not 0 < worth < MOST:
        raise InputRefused(
            f"--worth {worth} is nothing an outcome can earn. Nothing was fitted. Say a number "
            "above 0; turn the outcome's sign if less of it is better."
        )
    trial = read(
        table, treatment=treatment, outcome=outcome, propensity=propensity, control=control,
        features=[name.strip() for name in features.split(",")] if features else (),
    )  # fmt: skip
    costs = _costs(cost, trial.arms)
    with ends_on_request(), progress("uplift") as tell:
        found = read_out(trial, learners=names, costs=costs, worth=worth, seed=seed, tell=tell)
    if as_json:
        sys.stdout.write(json.dumps(numbers(trial, found), indent=2, ensure_ascii=False) + "\n")
        return
    show_readout(console, trial, found)


def _learners(said: str) -> list["Learner"]:
    from training.models.uplift_learners import LEARNERS

    names = [name.strip() for name in said.split(",")]
    known = [learner for name in names for learner in LEARNERS if learner == name]
    if len(known) < len(names) or len(set(known)) < len(known):
        raise InputRefused(
            f"--learners {said} is not a list of {', '.join(LEARNERS)}. Nothing was fitted. Name "
            "each at most once, separated by commas."
        )
    return known


def _costs(said: str, arms: tuple[str, ...]) -> dict[str, float]:
    named = "=" in said
    parts = [part.strip().rpartition("=") for part in said.split(",")]
    given = {arm: amount for arm, _, amount in parts} if named else dict.fromkeys(arms[1:], said)
    try:
        costs = {arm: float(amount) for arm, amount in given.items()}
    except ValueError:
        costs = {}
    # NaN fails every comparison.
    if (
        not costs
        or not set(costs) <= set(arms)
        or not all(0 <= one < MOST for one in costs.values())
    ):
        raise InputRefused(
            f"--cost {said} is no cost of {', '.join(arms[1:])}. Nothing was fitted. Say a number "
            "from 0, or ARM=NUMBER separated by commas."
        )
    return costs
