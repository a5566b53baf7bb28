"""The command line of webhooks: `perennial hooks --help` lists its verbs."""

from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, get_args

import typer

from perennial_options import HomeOption, JsonOption, database_of, print_json
from serving.reports.console import console

if TYPE_CHECKING:
    from serving.online.receivers import Hook

app = typer.Typer(
    name="hooks",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Hooks: who is told, by signed webhooks, when a member's band, stage, segment or tag "
    "changes.",
)
HookArgument = Annotated[str, typer.Argument(help="Its id, named for the receiver, such as crm.")]


@app.command(
    epilog="Example: perennial hooks add crm https://crm.example.com/perennial "
    "--secret-env CRM_HOOK_SECRET"
)
def add(
    hook_id: HookArgument,
    url: Annotated[str, typer.Argument(help="Address that is posted to.")],
    secret_env: Annotated[
        str,
        typer.Option(help="Environment variable that holds the key of the signatures, here and "
                     "for the worker; 16 characters or more."),
    ],
    what: Annotated[
        str, typer.Option(help="Kinds of change it is told of, by commas.")
    ] = "risk_band,stage,segment,tag",
    inside: Annotated[
        bool, typer.Option("--inside", help="It may lie on this machine or in a private network, "
                           "and be reached without encryption.")
    ] = False,
    as_json: JsonOption = False,
    home: HomeOption = None,
) -> None:  # fmt: skip
    """Tell somebody of every change from now on."""
    from serving.online import receivers
    from serving.online.changes import What

    kinds = [one.strip() for one in what.split(",") if one.strip()]
    known: dict[str, Any] = {one: one for one in get_args(What)}
    with database_of(home) as database:
        hook = receivers.add(
            database, hook_id, url, secret_env, [known.get(one, one) for one in kinds],
            inside=inside, now=datetime.now(UTC),
        )  # fmt: skip
    if as_json:
        print_json(asdict(hook))
        return
    _show([hook])
    console.print(
        f"It is told of changes by the worker, which needs {secret_env} too: perennial worker",
        markup=False,
    )


@app.command("list", epilog="Example: perennial hooks list")
def listed(as_json: JsonOption = False, home: HomeOption = None) -> None:
    """List hooks: how far each was told, and why one waits."""
    from serving.online import receivers

    with database_of(home) as database:
        found = receivers.every(database)
    if as_json:
        print_json([asdict(hook) for hook in found])
    elif found:
        _show(found)
    else:
        console.print("there are no hooks; add one: perennial hooks add ID URL", markup=False)


@app.command(epilog="Example: perennial hooks remove crm")
def remove(hook_id: HookArgument, home: HomeOption = None) -> None:
    """Tell somebody no longer."""
    from serving.online import receivers

    with database_of(home) as database:
        receivers.remove(database, hook_id)
    console.print(f"{hook_id} is told nothing more", markup=False)


def _show(found: "list[Hook]") -> None:
    from rich.markup import escape
    from rich.table import Table

    table = Table("hook", "address", "is told of", "position", "state")
    for hook in found:
        waits = f"failed {hook.attempts} times, next at {hook.due_at:%Y-%m-%d %H:%M:%S} UTC"
        state = f"{waits}: {hook.why}" if hook.attempts else "live"
        row = (hook.hook_id, hook.url, ", ".join(hook.wanted), f"{hook.position:,}", state)
        table.add_row(*map(escape, row))
    console.print(table)
