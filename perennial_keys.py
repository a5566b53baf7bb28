"""The command line of access: `perennial keys --help` lists its verbs."""

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from perennial_options import HomeOption, JsonOption, database_of, print_json
from programme.calendar import parse_instant
from serving.reports.console import console

if TYPE_CHECKING:
    from serving.access.keys import Key

app = typer.Typer(
    name="keys",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Keys: who may call the service, for what, how often, and until when.",
)
WhichArgument = Annotated[
    str, typer.Argument(help="Its id (pk_...), or its name if one live key has it.")
]
TAKES_SECONDS = "A running service knows within two seconds."


@app.command(epilog="Example: perennial keys create crm --scopes scores:read,members:read")
def create(
    name: Annotated[str, typer.Argument(help="Whose it is, such as crm.")],
    scopes: Annotated[
        str, typer.Option(help="What it opens, by commas; `perennial keys scopes` lists them.")
    ] = "scores:read,members:read",
    per_second: Annotated[
        int, typer.Option(min=1, max=10_000, help="Requests a second, over time; twice as many at "
                          "once.")
    ] = 50,
    expires: Annotated[
        str | None,
        typer.Option(help="Instant at which it ends, such as 2027-06-30 (00:00 UTC). Left out: "
                     "never."),
    ] = None,
    as_json: JsonOption = False,
    home: HomeOption = None,
) -> None:  # fmt: skip
    """Make a key and print it, once: nobody can show it again."""
    from serving.access import keys

    now = datetime.now(UTC)
    with database_of(home) as database:
        key, sent = keys.create(
            database, name, _listed(scopes), now=now, per_second=per_second,
            expires_at=parse_instant(expires) if expires else None,
        )  # fmt: skip
    _hand_over(key, sent, as_json=as_json, now=now)


@app.command(epilog="Example: perennial keys rotate crm --keep-days 7")
def rotate(
    which: WhichArgument,
    keep_days: Annotated[
        int, typer.Option(min=0, max=366, help="How long the old key still opens.")
    ] = 7,
    as_json: JsonOption = False,
    home: HomeOption = None,
) -> None:
    """Make a key like another, which goes on for some days: its holder changes over in between."""
    from serving.access import keys

    now = datetime.now(UTC)
    with database_of(home) as database:
        new, sent, old = keys.rotate(database, which, keep=timedelta(days=keep_days), now=now)
    if not as_json:
        console.print(f"{old.key_id} ends at {old.expires_at:%Y-%m-%d %H:%M} UTC", markup=False)
    _hand_over(new, sent, as_json=as_json, now=now)


@app.command("list", epilog="Example: perennial keys list --all")
def listed(
    all_keys: Annotated[
        bool, typer.Option("--all", help="Also those that are over or revoked.")
    ] = False,
    as_json: JsonOption = False,
    home: HomeOption = None,
) -> None:
    """List keys by what is public of them."""
    from serving.access import keys
    from serving.reports.keys import as_json as told
    from serving.reports.keys import show_keys

    now = datetime.now(UTC)
    with database_of(home) as database:
        found = [key for key in keys.every(database) if all_keys or key.state(now) == "live"]
    if as_json:
        print_json([told(key, now=now) for key in found])
    elif found:
        show_keys(console, found, now=now)
    else:
        console.print("there are no keys; make one: perennial keys create NAME", markup=False)


@app.command(epilog="Example: perennial keys revoke pk_k3vd8qzt5mxa")
def revoke(which: WhichArgument, as_json: JsonOption = False, home: HomeOption = None) -> None:
    """End a key at once and for good."""
    from serving.access import keys
    from serving.reports.keys import as_json as told

    now = datetime.now(UTC)
    with database_of(home) as database:
        key = keys.revoke(database, which, now=now)
    if as_json:
        print_json(told(key, now=now))
        return
    console.print(f"{key.key_id} ({key.name}) is revoked. {TAKES_SECONDS}", markup=False)


@app.command(epilog="Example: perennial keys scopes")
def scopes() -> None:
    """List what a key can open."""
    from rich.table import Table

    from serving.access.scopes import SCOPES

    table = Table("scope", "opens")
    for name, meaning in SCOPES.items():
        table.add_row(name, meaning)
    console.print(table, markup=False)


def _listed(scopes: str) -> list[str]:
    return [one for part in scopes.split(",") if (one := part.strip())]


def _hand_over(key: "Key", sent: str, *, as_json: bool, now: datetime) -> None:
    from serving.reports.keys import as_json as told
    from serving.reports.keys import show_keys

    if as_json:
        print_json({**told(key, now=now), "key": sent})
        return
    show_keys(console, [key], now=now)
    console.print(
        "Send it as `Authorization: Bearer ...`. It is shown this once, so keep it now. "
        f"{TAKES_SECONDS}", markup=False,
    )  # fmt: skip
    console.print(sent, markup=False, highlight=False, soft_wrap=True)
