"""Who is told of changes: each hook with its address, its key's variable and its position."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pydantic import ValidationError
from sqlalchemy import Connection, Row, delete, insert, select

from actions.routes import Route
from programme.database import Database
from programme.errors import InputRefused, NotReady
from programme.faults import in_words
from programme.settings import ENV_PREFIX
from serving.online import changes, outward
from serving.online.changes import What
from serving.online.tables import CHANGE_HOOKS

HOOKS_MOST = 50
_ID = re.compile(r"[a-z][a-z0-9_-]{0,39}")


@dataclass(frozen=True)
class Hook:
    """Somebody who is told of changes.

    Parameters
    ----------
    secret_variable : names the environment variable that holds the key of its signatures
    wanted : the kinds of change it is told of
    inside : it may lie on this machine or in a private network
    position : of the last change it was told of
    attempts : in a row that failed
    due_at : when it is told next, if anything changed
    why : what the last failure said
    """

    hook_id: str
    url: str
    secret_variable: str
    wanted: tuple[What, ...]
    inside: bool
    position: int
    attempts: int
    due_at: datetime
    why: str | None


def add(
    database: Database,
    hook_id: str,
    url: str,
    secret_variable: str,
    wanted: Sequence[What] = changes.KINDS,
    *,
    inside: bool = False,
    now: datetime,
) -> Hook:
    """Tell somebody of every change from now on.

    Raises
    ------
    InputRefused : if the id is taken or none, the address or the variable cannot be used, or
        there are hooks enough.
    NotReady : if the environment does not hold the secret.
    """
    _check_id(hook_id)
    outward.check(url, inside=inside)
    try:
        route_of(url, secret_variable).secret()
    except NotReady as error:
        raise NotReady(
            f"{secret_variable} is not set in this environment to a key of 16 characters or more. "
            "The hook was not added. Set it here and for the worker, then add the hook again."
        ) from error
    kinds = tuple(one for one in changes.KINDS if one in set(wanted))
    if not kinds or len(kinds) != len(set(wanted)):
        raise InputRefused(
            f"A hook is told of some of {', '.join(changes.KINDS)}. Nothing was changed. Name "
            "one of them, or leave it out for all."
        )

    def work(connection: Connection) -> None:
        present = set(connection.execute(select(CHANGE_HOOKS.c.hook_id)).scalars())
        if hook_id in present or len(present) >= HOOKS_MOST:
            raise InputRefused(
                f"There is a hook {hook_id!r} already. Nothing was changed. Remove it first, or "
                "choose another id."
                if hook_id in present
                else f"There are {HOOKS_MOST} hooks, which is the most. Nothing was changed. "
                "Remove one first."
            )
        connection.execute(
            insert(CHANGE_HOOKS).values(
                hook_id=hook_id, url=url, secret_variable=secret_variable,
                wanted=" ".join(kinds), inside=inside, position=changes.last_position(connection),
                due_at=now,
            )
        )  # fmt: skip

    database.write(work)
    return next(hook for hook in every(database) if hook.hook_id == hook_id)


def every(database: Database) -> list[Hook]:
    """Return the hooks by their ids."""
    with database.read() as connection:
        rows = connection.execute(select(CHANGE_HOOKS).order_by(CHANGE_HOOKS.c.hook_id)).all()
    return [
        Hook(
            row.hook_id, row.url, row.secret_variable, kinds_of(row), row.inside, row.position,
            row.attempts, row.due_at, row.why,
        )
        for row in rows
    ]  # fmt: skip


def remove(database: Database, hook_id: str) -> None:
    """Tell somebody no longer.

    Raises
    ------
    InputRefused : if there is no such hook.
    """
    gone = delete(CHANGE_HOOKS).where(CHANGE_HOOKS.c.hook_id == hook_id)
    if not database.write(lambda connection: connection.execute(gone).rowcount):
        raise InputRefused(
            f"There is no hook {hook_id!r}. Nothing was changed. List them: perennial hooks list"
        )


def kinds_of(row: Row[Any]) -> tuple[What, ...]:
    """Return the kinds of change a row of a hook asks for."""
    wanted = set(row.wanted.split())
    return tuple(one for one in changes.KINDS if one in wanted)


def route_of(url: str, secret_variable: str) -> Route:
    """Return an address with the variable that holds its key.

    Raises
    ------
    InputRefused : if one of them cannot be used.
    """
    if secret_variable.startswith(ENV_PREFIX):
        raise InputRefused(
            f"Variables that start with {ENV_PREFIX} are settings of Perennial's own, and an "
            "unknown one is refused. Nothing was changed. Name it otherwise, such as "
            "CRM_HOOK_SECRET."
        )
    try:
        return Route(via="webhook", url=url, secret_env=secret_variable)
    except ValidationError as error:
        fault = error.errors(include_input=False, include_url=False)[0]
        raise InputRefused(
            f"{fault['loc'][-1]}: {in_words(fault)}. Nothing was changed. Name an https address, "
            "and a variable such as CRM_HOOK_SECRET."
        ) from error


def _check_id(hook_id: str) -> None:
    if not _ID.fullmatch(hook_id):
        raise InputRefused(
            "The id of a hook is of at most 40 small letters, digits, - and _, and begins with a "
            "letter. Nothing was changed. Name it for its receiver, such as crm."
        )
