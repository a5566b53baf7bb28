"""The doors of the API: each route, what opens it, and how its description says so.

A route names its scope in its description, as `x-scope`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from fastapi.routing import iter_route_contexts

from serving.access.scopes import SCOPES
from serving.api.problems import DETAILS, PROBLEM_JSON

SCOPE_KEY = "x-scope"
# What says nothing of any programme: the description of the API, for people and for programs.
OPEN_PATHS = frozenset({"/v1/openapi.json", "/v1/docs"})


@dataclass(frozen=True)
class Door:
    """One route as seen from outside.

    Parameters
    ----------
    scope : what a key must hold to use it; None: it is open
    """

    method: str
    path: str
    scope: str | None


class Doors:
    """The routes of an application by method and path, each with its scope.

    They are matched by the application's own expressions and in its own order, so that what is
    guarded is what answers.

    Raises
    ------
    ValueError : if a route that is not in `OPEN_PATHS` names no scope, or one there is none of.
    """

    def __init__(self, routes: Sequence[Any]) -> None:
        self._doors = [
            (Door(method, str(context.path), _scope(context)), context.path_regex)
            for context in iter_route_contexts(routes)
            for method in sorted(context.methods or ())
        ]
        # A parameter holds no slash unless it says so: few expressions need be tried.
        self._anywhere = [one for one in self._doors if ":path}" in one[0].path]
        depths = {door.path.count("/") for door, _ in self._doors}
        self._at_depth = {
            depth: [
                one
                for one in self._doors
                if ":path}" in one[0].path or one[0].path.count("/") == depth
            ]
            for depth in depths
        }
        # Most requests go to paths without parameters: found at once.
        plain = {door.path for door, _ in self._doors if "{" not in door.path}
        methods = {door.method for door, _ in self._doors}
        self._plain = {
            (method, path): found
            for path in plain
            for method in methods
            if (found := self._search(method, path)) is not None
        }

    def __iter__(self) -> Iterator[Door]:
        return iter(door for door, _ in self._doors)

    def find(self, method: str, path: str) -> Door | None:
        """Return the route that would answer; None where there is none.

        A path that does not take the method comes back without a scope: what lies inside says so.
        """
        return self._plain.get((method, path)) or self._search(method, path)

    def _search(self, method: str, path: str) -> Door | None:
        elsewhere = None
        for door, pattern in self._at_depth.get(path.count("/"), self._anywhere):
            if pattern.match(path):
                if door.method == method:
                    return door
                elsewhere = Door(method, door.path, None)
        return elsewhere


def describe(openapi: dict[str, Any]) -> None:
    """Add to a description which keys open what, and what is answered without them."""
    openapi.setdefault("components", {})["securitySchemes"] = {
        "bearer": {
            "type": "http", "scheme": "bearer",
            "description": "Authorization: Bearer pk_... (perennial keys create)",
        },
        "header": {
            "type": "apiKey", "in": "header", "name": "X-API-Key",
            "description": "the same key, for clients that cannot send the other header",
        },
    }  # fmt: skip
    schema = {"schema": {"$ref": "#/components/schemas/Problem"}}
    refused = {
        str(status): {"description": DETAILS[status], "content": {PROBLEM_JSON: schema}}
        for status in (401, 403, 429, 503)
    }
    for methods in openapi.get("paths", {}).values():
        for operation in methods.values():
            if (scope := operation.get(SCOPE_KEY)) is not None:
                # The first, empty one: who calls from this machine itself may need no key.
                operation["security"] = [{}, {"bearer": [scope]}, {"header": [scope]}]
                operation["responses"] = {**refused, **operation.get("responses", {})}


def _scope(context: Any) -> str | None:
    extra = getattr(context, "openapi_extra", None) or {}
    scope: str | None = extra.get(SCOPE_KEY)
    if scope is None and context.path in OPEN_PATHS:
        return None
    if scope not in SCOPES:
        raise ValueError(
            f"{context.path} asks for {scope!r}, which is no scope: give the route "
            f'openapi_extra={{"{SCOPE_KEY}": ...}} with one of {", ".join(SCOPES)}'
        )
    return scope
