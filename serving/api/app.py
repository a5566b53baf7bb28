"""The typed REST API: routes, and what its description promises."""

from typing import Annotated, Any

from fastapi import FastAPI, Header, Response

from programme import words
from serving.api import language, problems
from serving.api.answers import Speaker
from serving.api.schemas import ScoresAnswer, ScoresRequest
from serving.live import Live

OPENAPI_PATH = "/v1/openapi.json"

_PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: {
        "description": problems.DETAILS[status],
        "content": {problems.PROBLEM_JSON: {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }
    for status in (400, 413, 415, 422, 429, 500, 503, 504)
}


def create_api(live: Live) -> FastAPI:
    """Make the routes over what is in service."""
    api = FastAPI(
        title="Perennial",
        version="1",
        description="Member intelligence: scores with their reasons.",
        openapi_url=OPENAPI_PATH,
        docs_url=None,
        redoc_url=None,
    )
    for kind, handler in problems.HANDLERS.items():
        api.add_exception_handler(kind, handler)

    # Not `async`: scoring keeps a core busy, and the event loop has probes to answer.
    @api.post("/v1/scores", responses=_PROBLEMS, operation_id="score_members")
    def scores(
        request: ScoresRequest,
        response: Response,
        accept_language: Annotated[str | None, Header()] = None,
    ) -> ScoresAnswer:
        """Score up to 500 members: churn, value, next products, and why."""
        found = live.loaded
        programme = found.champions.programme
        offered = [name for name in programme.languages if name in words.LANGUAGES] or ["en"]
        spoken = request.language or language.choose(accept_language, offered)
        response.headers["Content-Language"] = spoken
        made = found.champions.score(found.population, request.member_ids)
        return Speaker(spoken, programme.currency).answer(made)

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
    return api.openapi_schema or {}
