"""Every route asks for exactly one scope there is, and the right one is found for each request."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from fastapi import APIRouter, FastAPI
from fastapi.routing import iter_route_contexts
from starlette.testclient import TestClient

from serving.access.doors import OPEN_PATHS, Door, Doors
from serving.access.scopes import SCOPES, as_markdown
from serving.api.app import create_api
from serving.live import Live
from serving.points import PointsDesk

API = create_api(Live(), PointsDesk())
PAGE = Path(__file__).parents[3] / "docs" / "how-to" / "give-access.md"


def test_every_route_names_exactly_one_scope_but_the_description_of_the_api() -> None:
    named = {
        (method, str(route.path)): _scope(route.original_route)
        for route in iter_route_contexts(API.routes)
        for method in route.methods or ()
    }

    open_ones = {path for (_, path), scope in named.items() if scope is None}
    assert open_ones == OPEN_PATHS
    assert {scope for scope in named.values() if scope is not None} <= set(SCOPES)
    assert len(named) > 20


def _scope(route: Any) -> str | None:
    extra: dict[str, str] = getattr(route, "openapi_extra", None) or {}
    return extra.get("x-scope")


def test_no_route_writes_with_a_scope_that_reads() -> None:
    # What computes and changes nothing may be asked with a body.
    only_computes = {"/v1/scores", "/v1/loyalty/simulate"}
    for door in Doors(API.routes):
        if door.scope is None or door.path in only_computes:
            continue
        writes = door.method in ("POST", "PUT", "PATCH", "DELETE")
        assert door.scope.endswith(":write") == writes, door


def test_each_method_and_path_is_there_once() -> None:
    counted = Counter((door.method, door.path) for door in Doors(API.routes))

    assert [one for one, times in counted.items() if times > 1] == []


def test_the_description_says_which_key_opens_what_and_how_it_is_refused() -> None:
    described = API.openapi()

    assert set(described["components"]["securitySchemes"]) == {"bearer", "header"}
    for path, methods in described["paths"].items():
        for method, operation in methods.items():
            scope = operation["x-scope"]
            assert operation["security"] == [{}, {"bearer": [scope]}, {"header": [scope]}], path
            assert {"401", "403", "429", "503"} <= set(operation["responses"]), (method, path)


def test_a_request_finds_the_door_that_would_answer_it() -> None:
    doors = Doors(API.routes)

    for door in doors:
        path = door.path.replace("{member_id}", "m 1").replace("{campaign_id}", "a.b")
        if "{" not in path:
            assert doors.find(door.method, path) == door
    assert doors.find("GET", "/v1/members/北京/ledger") == Door(
        "GET", "/v1/members/{member_id}/ledger", "loyalty:read"
    )
    assert doors.find("GET", "/v1/members/1145/ledger/") is None
    assert doors.find("GET", "/v1/nowhere") is None
    assert doors.find("GET", "/v2/scores") is None
    wrong_method = doors.find("PATCH", "/v1/members/1145/ledger")
    assert wrong_method == Door("PATCH", "/v1/members/{member_id}/ledger", None)


def test_the_first_route_that_fits_guards_as_it_answers() -> None:
    api = FastAPI(openapi_url=None)
    first, second = APIRouter(), APIRouter()
    for routes, path, scope in (
        (first, "/v1/{what}", "scores:read"),
        (first, "/v1/loyalty", "loyalty:read"),
        (second, "/v1/a/b", "members:read"),
        (second, "/v1/a/{x}", "models:read"),
        (second, "/v1/files/{name:path}", "exports:read"),
    ):
        routes.add_api_route(
            path, lambda told=scope: told, methods=["GET"], openapi_extra={"x-scope": scope},
            response_model=None,
        )  # fmt: skip
    api.include_router(first)
    api.include_router(second)
    doors = Doors(api.routes)

    with TestClient(api) as client:
        for path in (
            "/v1/loyalty", "/v1/other", "/v1/a/b", "/v1/a/c", "/v1/files/x", "/v1/files/x/y/z/w",
        ):  # fmt: skip
            door = doors.find("GET", path)
            assert door is not None
            assert door.scope == client.get(path, params={}).json()


@pytest.mark.parametrize("extra", [None, {}, {"x-scope": "scores:write"}, {"x-scope": ""}])
def test_a_route_without_a_scope_keeps_the_service_from_starting(
    extra: dict[str, Any] | None,
) -> None:
    api = FastAPI(openapi_url=None)
    api.add_api_route("/v1/secrets", lambda: 1, openapi_extra=extra)

    with pytest.raises(ValueError, match=r"/v1/secrets asks for .* which is no scope"):
        Doors(api.routes)


def test_the_page_lists_the_scopes_there_are() -> None:
    assert as_markdown() in PAGE.read_text("utf-8")
