"""Make a retail programme with known parameters: tables, the truth beside them, a home if asked.

The folder gets one Parquet file a table, in the columns of `features/contracts.py`, and `truth/`:
the recipe, each member's own rates and what is to be expected of her, each campaign's effects.
"""

import argparse
import sys
import time
from datetime import date, datetime, timedelta
from pathlib import Path

from rich.console import Console

from experiments.synthetic import Recipe, grow
from experiments.synthetic.recipe import BG_NBD, PARETO_NBD
from experiments.synthetic.source import Synthetic, write
from experiments.synthetic.tables import TIMEZONE
from features.ingest import ingest
from programme.calendar import local_midnight
from programme.errors import PerennialError
from programme.settings import Settings
from training.models.bgnbd import BgNbd
from training.models.pareto_nbd import ParetoNbd

COUNTING: dict[str, BgNbd | ParetoNbd] = {"pareto_nbd": PARETO_NBD, "bgnbd": BG_NBD}
EXAMPLE = (
    "Example: python -m experiments.synthetic --members 2500 --days 365 --seed 1 --out var/made"
)


def main() -> None:
    """Read the command line, grow the world, write it and say what was made."""
    arguments = _arguments()
    console = Console(stderr=True)
    started = time.perf_counter()
    try:
        recipe = _recipe(arguments)
        world = grow(recipe)
        write(world, arguments.out)
        console.print(
            f"{recipe.members:,} members, {len(world.orders):,} orders, {len(world.lines):,} lines "
            f"in {arguments.out} after {time.perf_counter() - started:.1f} s"
        )
        if arguments.home is not None:
            # As if the programme's last day had just ended.
            ended = recipe.first_day + timedelta(days=recipe.days)
            settings = Settings.load(arguments.home)
            ingest(Synthetic(arguments.out), settings, _evening(ended), console.print)
    except PerennialError as error:
        console.print(str(error), markup=False)
        sys.exit(error.exit_code)


def _evening(ended: date) -> datetime:
    return local_midnight(ended, TIMEZONE) - timedelta(seconds=1)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m experiments.synthetic", description=__doc__, epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    plain = Recipe()
    parser.add_argument("--members", type=int, default=plain.members, help="how many join")
    parser.add_argument("--days", type=int, default=plain.days, help="how long it is watched")
    parser.add_argument("--seed", type=int, default=plain.seed, help="of everything drawn")
    parser.add_argument("--out", type=Path, required=True, help="new folder for the tables")
    parser.add_argument("--home", type=Path, help="also ingest them into this home")
    parser.add_argument("--first-day", type=date.fromisoformat, default=plain.first_day)
    parser.add_argument("--joining-days", type=int, help="members join over so many days; half")
    parser.add_argument("--campaigns", type=int, default=plain.campaigns, help="mailings")
    parser.add_argument(
        "--dropout", choices=tuple(COUNTING), default="pareto_nbd",
        help="members leave at any moment, or after an order",
    )  # fmt: skip
    return parser.parse_args()


def _recipe(arguments: argparse.Namespace) -> Recipe:
    joining = arguments.joining_days or max(1, arguments.days // 2)
    return Recipe(
        members=arguments.members,
        days=arguments.days,
        seed=arguments.seed,
        first_day=arguments.first_day,
        joining_days=joining,
        campaigns=arguments.campaigns,
        counting=COUNTING[arguments.dropout],
    )


if __name__ == "__main__":
    main()
