"""The ways into the service: each route, who may use it, how its work is done, what it may cost."""

import inspect
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from fastapi import FastAPI
from fastapi.routing import iter_route_contexts
from starlette.types import ASGIApp

from serving.access.doors import Doors
from serving.api.problems import problem

# 500 member_ids of 64 characters, each escaped to 12 bytes at worst, and room.
BODY_BYTES_MAX = 512 * 1024
SECONDS_MAX = 5.0
# What a route says of itself in its description where it differs.
BODY_KEY, SECONDS_KEY = "x-body-bytes-max", "x-seconds-max"

# loop: on the event loop; thread: in a thread beside it; None: a probe, which never waits.
LaneName = Literal["loop", "thread"]


@dataclass(frozen=True, slots=True)
class Way:
    """One route as the shell sees it.

    Parameters
    ----------
    template : the path, with names in place of ids; what logs and metrics call it
    scope : what a key must hold; None: open
    app : what answers
    lane : where its work is done
    seconds_max : until the answer must have begun
    """

    method: str
    template: str
    scope: str | None
    app: ASGIApp
    lane: LaneName | None
    body_bytes_max: int = BODY_BYTES_MAX
    seconds_max: float = SECONDS_MAX


class Ways:
    """Every way there is: those of the typed API, and others beside them.

    Raises
    ------
    ValueError : if a route of the API names no scope.
    """

    def __init__(self, api: FastAPI, others: Iterable[Way] = ()) -> None:
        self._api = api
        self._doors = Doors(api.routes)
        self._others = {(way.method, way.template): way for way in others}
        self._other_methods = {way.template: way.method for way in self._others.values()}
        extras = {
            (method, str(context.path)): context
            for context in iter_route_contexts(api.routes)
            for method in context.methods or ()
        }
        self._of_api = {
            (door.method, door.path): self._way(door.scope, extras[door.method, door.path])
            for door in self._doors
        }

    def find(self, method: str, path: str) -> Way | None:
        """Return the way a request goes; None where there is none.

        Another method than those a path takes goes a way without a scope, to a refusal.
        """
        way = self._others.get((method, path))
        if way is not None:
            return way
        door = self._doors.find(method, path)
        if door is not None:
            found = self._of_api.get((door.method, door.path))
            return found or Way("OTHER", door.path, None, self._api, "loop")
        allowed = self._other_methods.get(path)
        return None if allowed is None else Way("OTHER", path, None, _refusing(allowed), "loop")

    def _way(self, scope: str | None, context: Any) -> Way:
        extra = getattr(context, "openapi_extra", None) or {}
        (method, *_) = sorted(context.methods)
        return Way(
            method,
            str(context.path),
            scope,
            self._api,
            "loop" if inspect.iscoroutinefunction(context.endpoint) else "thread",
            int(extra.get(BODY_KEY, BODY_BYTES_MAX)),
            float(extra.get(SECONDS_KEY, SECONDS_MAX)),
        )


def _refusing(allowed: str) -> ASGIApp:
    """Return what answers to another method than the one a path takes."""
    return problem(405, headers={"Allow": allowed})
