"""The typed REST API: routes, and what its description promises."""

from typing import Any

from fastapi import FastAPI

from serving.access import doors
from serving.action_desk import ActionDesk
from serving.api import (
    actions,
    changes,
    docs,
    exports,
    intake,
    loyalty,
    members,
    models,
    problems,
    scores,
    segments,
)
from serving.live import Live
from serving.nightly import NightBook
from serving.points import PointsDesk

OPENAPI_PATH = "/v1/openapi.json"


def _promised(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return what the description promises for some of the things that can go wrong."""
    schema = {"schema": {"$ref": "#/components/schemas/Problem"}}
    return {
        status: {
            "description": problems.DETAILS[status], "content": {problems.PROBLEM_JSON: schema}
        }
        for status in statuses
    }  # fmt: skip


_PROBLEMS = _promised(400, 413, 415, 422, 429, 500, 503, 504)
_OF_THE_LEDGER = {**_PROBLEMS, **_promised(404, 409)}


def create_api(live: Live, desk: PointsDesk) -> FastAPI:
    """Make the routes over the champions in service and the ledger of the home."""
    api = FastAPI(
        title="Perennial",
        version="1",
        description="Member intelligence: scores with their reasons; points and tiers; campaigns.",
        openapi_url=OPENAPI_PATH,
        docs_url=None,
        redoc_url=None,
        # Spans would carry paths with ids, and looking for somebody who wants them costs as much
        # as a look-up.
        telemetry={"tracing": False, "metrics": False, "logs": False},
    )
    for kind, handler in problems.HANDLERS.items():
        api.add_exception_handler(kind, handler)

    desk_of_scores = scores.ScoresDesk(live, desk.settings)
    scores.add_route(api, desk_of_scores, _PROBLEMS)
    # Whoever ends the service gives its connections back.
    api.state.scores = desk_of_scores
    book, of_one = NightBook(desk), {**_PROBLEMS, **_promised(404)}
    api.include_router(members.create_routes(desk_of_scores, desk, book, of_one))
    api.include_router(segments.create_routes(book, _PROBLEMS))
    api.include_router(models.create_routes(live, desk, _PROBLEMS))
    api.include_router(loyalty.create_routes(desk, _OF_THE_LEDGER))
    api.include_router(actions.create_routes(ActionDesk(desk.settings, desk), _OF_THE_LEDGER))
    api.include_router(changes.create_routes(desk, {**_PROBLEMS, **_promised(410)}))
    api.include_router(exports.create_routes(desk, of_one))
    api.include_router(intake.create_routes(desk, {**_PROBLEMS, **_promised(409)}))
    api.include_router(docs.create_routes(lambda: api.openapi()))
    api.openapi = lambda: _described(api)  # type: ignore[method-assign]
    return api


def _described(api: FastAPI) -> dict[str, Any]:
    """Return FastAPI's description with our one shape of problem in it."""
    if api.openapi_schema is None:
        described = FastAPI.openapi(api)
        schemas = described["components"]["schemas"]
        for name in ("HTTPValidationError", "ValidationError"):
            schemas.pop(name, None)
        problem = problems.Problem.model_json_schema(ref_template="#/components/schemas/{model}")
        schemas |= problem.pop("$defs")
        schemas["Problem"] = problem
        doors.describe(described)
    return api.openapi_schema or {}
