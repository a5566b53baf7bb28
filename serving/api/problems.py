"""One shape for everything that goes wrong: RFC 9457 problem details, without echoing input."""

import logging
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi.exceptions import RequestValidationError
from fastapi.routing import iter_route_contexts
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from actions.errors import ActionRefused
from loyalty.errors import PostingRefused
from programme.database import Busy, StorageFailed
from programme.errors import InputRefused, NotReady
from serving.online.changes import CursorTooOld, CursorUnknown

# Below BentoML's own logger, so that it reaches the same lines of the same log.
logger = logging.getLogger("bentoml.perennial")

PROBLEM_JSON = "application/problem+json"
RETRY_AFTER_SECONDS = 3

# What a caller reads where nothing more can be said; no sentence quotes the request.
DETAILS: Mapping[int, str] = {
    400: "The request could not be read. Nothing was done. Send valid JSON in UTF-8, "
    "laid out as the documentation shows.",
    401: "This needs a key that is live. Nothing was done. Send Authorization: Bearer pk_....",
    403: "The key does not hold the scope of the route. Nothing was done. Use one that does.",
    409: "The request does not fit what is there. Nothing was done.",
    410: "What was asked for is kept no longer. Nothing was done.",
    404: "There is no such route. GET /v1/openapi.json lists those there are.",
    405: "This route does not take this method. GET /v1/openapi.json lists those it takes.",
    413: "The request is too large: routes take 512 KB. Nothing was done. Send less at a time.",
    415: "The request is not JSON. Nothing was done. Send Content-Type: application/json.",
    422: "The request does not fit the route. Nothing was done. Mend what `errors` names.",
    429: "Too many requests at once. Nothing was done. Try again in a few seconds.",
    500: "The fault is ours and has been logged. Nothing was changed.",
    503: "The service is not ready. Nothing was done. Try again in a few seconds.",
    504: "The answer took too long and was given up. Ask for fewer members at a time.",
}
# What the ledger refuses, by its code. Ids are the caller's own text and are not repeated.
REFUSALS: Mapping[str, tuple[int, str]] = {
    "malformed": (422, "An id, an amount or a date cannot be what was meant. Nothing was posted."),
    "outside_limits": (
        422, "The amount or the date lies beyond the limits of the rules. Nothing was posted.",
    ),
    "wrong_currency": (
        422, "The amount is in another currency than the programme's. Nothing was posted.",
    ),
    "unknown_member": (
        404, "The member has no points account. An account opens with the first points earned.",
    ),
    "unknown_posting": (404, "The member has no such posting. Nothing was posted."),
    "posting_conflict": (
        409, "The same id or key came before with other content. Nothing was posted. Use a new "
        "one for a new request.",
    ),
    "insufficient_points": (409, "The member has fewer points to spend. Nothing was posted."),
    "not_reversible": (
        409, "The posting stands, or less of it is left than would be taken back. Nothing was "
        "posted.",
    ),
}  # fmt: skip
# What campaigns refuse, likewise.
ACTION_REFUSALS: Mapping[str, tuple[int, str]] = {
    "unknown_campaign": (404, "There is no such campaign. GET /v1/campaigns lists them."),
    "unknown_offer": (
        422, "The catalogue has no such offer. Nothing was done. GET /v1/offers lists them.",
    ),
    "nothing_decided": (404, "No campaign ever decided anything about this member."),
    "already_begun": (409, "It was approved already. Nothing was proposed. Choose another id."),
    "not_proposed": (409, "It is no longer a proposal. Nothing was approved."),
    "not_approved": (409, "Nobody has approved it. Nothing was launched. Approve it first."),
    "not_launched": (409, "It was not launched: nobody was contacted. Launch it first."),
    "nobody": (
        409, "It would contact nobody. Nothing was proposed. Widen what its offers ask for, or "
        "choose others.",
    ),
    "offer_over": (
        409, "One of its offers does not hold today. Nothing was launched. Adopt offers that do, "
        "and propose it again.",
    ),
    "other_file": (
        409, "The proposal's file is not the approved one. Nothing was launched. Propose it again.",
    ),
    "namespace_taken": (
        409, "A running campaign holds some of its members. Nothing was launched. Close that one, "
        "or give this one others.",
    ),
    "overtaken": (
        409, "Another campaign was launched since it was proposed, and may have contacted the "
        "same members. Nothing was launched. Propose it again.",
    ),
    "catalogue_conflict": (
        409, "That version was adopted with other content. Nothing was changed. Give the new "
        "offers a new version.",
    ),
    "key_reused": (
        409, "The same key came before with other content. Nothing was done. Use a new one.",
    ),
}  # fmt: skip


# What routes over members refuse, likewise.
MEMBER_REFUSALS: Mapping[str, tuple[int, str]] = {
    "unknown_member": (
        404, "No member of this id is known: nobody of that name bought anything yet. Check the "
        "id; a first purchase makes her known.",
    ),
    "nothing_scored": (
        404, "No batch of scores was written yet. Nothing was exported. Write one: perennial "
        "score.",
    ),
    "cursor_unreadable": (
        422, "`since` is no cursor of ours. Nothing was read. Hand back a `next_cursor` as it was "
        "given, or leave it out to learn the present one.",
    ),
    "cursor_too_old": (410, str(CursorTooOld())),
    "cursor_unknown": (410, str(CursorUnknown())),
    "busy": (
        503, "As many long requests are in work as can be answered in time. Nothing was done. Try "
        "again in a few seconds, or ask for fewer members at a time.",
    ),
}  # fmt: skip


class Refused(InputRefused):
    """A route's own refusal, one of `MEMBER_REFUSALS`; its sentence does not quote the request.

    Parameters
    ----------
    code : names the refusal, for programs
    """

    def __init__(self, code: str) -> None:
        self.status, detail = MEMBER_REFUSALS[code]
        super().__init__(detail)
        self.code = code


class Fault(BaseModel):
    """One thing wrong with a request: where, and what is expected there."""

    at: str
    expected: str


class Problem(BaseModel):
    """What went wrong, what did not happen, and what to do."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    code: str | None = None
    errors: list[Fault] | None = None


def problem(
    status: int,
    detail: str | None = None,
    *,
    code: str | None = None,
    errors: Sequence[Fault] = (),
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Make the answer for a status; `detail` where something particular can be said."""
    said = Problem(
        title=HTTPStatus(status).phrase,
        status=status,
        detail=detail or DETAILS.get(status, DETAILS[500] if status >= 500 else DETAILS[400]),
        code=code,
        errors=list(errors) or None,
    )
    retry = {"Retry-After": str(RETRY_AFTER_SECONDS)} if status in (429, 503) else {}
    return JSONResponse(
        said.model_dump(exclude_none=True),
        status,
        headers={**retry, **(headers or {})},
        media_type=PROBLEM_JSON,
    )


def from_http(request: Request, error: Exception) -> Response:
    """Answer for what Starlette and FastAPI refuse themselves."""
    assert isinstance(error, HTTPException)
    headers = dict(error.headers or {})
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        # Of several routes of one path Starlette names the methods of the first.
        headers["Allow"] = ", ".join(sorted(_methods(request)))
    return problem(error.status_code, headers=headers)


def from_validation(_: Request, error: Exception) -> Response:
    """Answer for a request that does not fit the route."""
    assert isinstance(error, RequestValidationError)
    faults = error.errors()
    if any(fault["type"] == "json_invalid" for fault in faults):
        return problem(400)
    return problem(422, errors=[_fault(fault) for fault in faults[:10]])


def from_refusal(_: Request, error: Exception) -> Response:
    """Answer for an error of ours that a caller may read."""
    if isinstance(error, Refused):
        return problem(error.status, str(error), code=error.code)
    if isinstance(error, PostingRefused):
        status, detail = REFUSALS[error.code]
        return problem(status, detail, code=error.code)
    if isinstance(error, ActionRefused):
        status, detail = ACTION_REFUSALS[error.code]
        return problem(status, detail, code=error.code)
    if isinstance(error, Busy | StorageFailed):
        logger.error("%s", error)  # the driver's words are for the log
        return problem(503)
    return problem(503 if isinstance(error, NotReady) else 422, str(error))


def from_fault(_: Request, error: Exception) -> Response:  # noqa: ARG001 - nothing of it leaks
    """Answer for a fault of ours; the log has it."""
    return problem(500)


HANDLERS = {
    HTTPException: from_http,
    RequestValidationError: from_validation,
    NotReady: from_refusal,
    InputRefused: from_refusal,
    StorageFailed: from_refusal,
    Exception: from_fault,
}


def _methods(request: Request) -> set[str]:
    """Return every method that the path of a request takes."""
    return {
        method
        for route in iter_route_contexts(request.app.routes)
        if route.path_regex.match(request.url.path)
        for method in route.methods or ()
    }


def _fault(fault: Mapping[str, Any]) -> Fault:
    place = [str(part) for part in fault["loc"][1:]]
    if fault["type"] == "extra_forbidden":
        place[-1] = "(a key there is none of)"  # the caller's own text is not repeated
    return Fault(at=".".join(place) or "body", expected=str(fault["msg"]))
