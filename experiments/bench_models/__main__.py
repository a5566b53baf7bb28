"""Print every protocol's table: `python -m experiments.bench_models --only value`."""

import argparse
import json
import sys
from collections.abc import Callable, Iterable
from dataclasses import asdict
from importlib import import_module
from pathlib import Path

from rich.console import Console

from experiments.bench_models.lines import Progress, Protocol

# Each module holds `protocols(arguments, progress)`; a family is measured alone with --only.
FAMILIES: tuple[str, ...] = ("churn", "value", "next_order", "recommend", "grades")


def main() -> None:
    """Measure the families that were asked for, print their tables and what was missed."""
    parser = argparse.ArgumentParser(description=__doc__, epilog="Example: --only value churn")
    parser.add_argument("--only", nargs="+", choices=FAMILIES, default=FAMILIES)
    parser.add_argument("--home", type=Path, default=Path("var/bench"), help="keeps the data")
    parser.add_argument("--tafeng", type=Path, help="folder of the Ta-Feng split; absent: left out")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    arguments = parser.parse_args()
    console = Console(width=None if sys.stdout.isatty() else 160)
    measured: list[Protocol] = []
    for family in arguments.only:
        module = import_module(f"experiments.bench_models.{family}")
        run: Callable[[argparse.Namespace, Progress], Iterable[Protocol]] = module.protocols
        for protocol in run(arguments, lambda text: console.print(f"[dim]{text}[/dim]")):
            console.print(protocol.table())
            if protocol.note:
                console.print(protocol.note)
            measured.append(protocol)
    missed = [(p.name, text) for p in measured for text in p.missed()]
    aims = sum(len(line.aims) for p in measured for line in p.lines)
    console.print(f"{aims - len(missed)} of {aims} aims reached.")
    for name, text in missed:
        console.print(f"not reached: {name}: {text}")
    if arguments.json:
        content = json.dumps([asdict(protocol) for protocol in measured], indent=1)
        arguments.json.write_text(content + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
