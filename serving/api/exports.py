"""The routes of exports: everybody at once, as CSV or Parquet, in bounded memory."""

from collections.abc import Callable, Iterator
from datetime import UTC
from email.utils import format_datetime, parsedate_to_datetime
from typing import Annotated, Any

from fastapi import APIRouter, Header
from fastapi.responses import Response, StreamingResponse

from programme.settings import Settings
from serving import exports
from serving.api.problems import Refused
from serving.exports import Exported
from serving.online import cursor
from serving.points import PointsDesk

# Where everybody stands is written down before the first byte is sent: 6,500 members a second.
READ = {"x-scope": "exports:read", "x-seconds-max": 300}
KINDS = {"csv": "text/csv; charset=utf-8", "parquet": "application/vnd.apache.parquet"}
_WRITERS: dict[str, Callable[[Exported], Iterator[bytes]]] = {
    "csv": exports.as_csv, "parquet": exports.as_parquet,
}  # fmt: skip
NoneMatch = Annotated[str | None, Header(alias="If-None-Match", max_length=1_000)]
Since = Annotated[str | None, Header(alias="If-Modified-Since", max_length=100)]
CURSOR_HEADER, DAY_HEADER = "Perennial-Cursor", "Perennial-As-Of"


def create_routes(desk: PointsDesk, responses: dict[int | str, Any]) -> APIRouter:
    """Make the routes over the files of a home.

    Parameters
    ----------
    responses : what the description promises for each thing that can go wrong
    """
    routes = APIRouter()

    def scores() -> Exported:
        found = exports.latest_scores(desk.settings or Settings.load(), desk.database)
        if found is None:
            raise Refused("nothing_scored")
        return found

    def members() -> Exported:
        settings = desk.settings or Settings.load()
        return exports.members_now(settings, desk.database)

    for name, told, opened in (
        ("scores", "Hand over the scores of every member as the last batch wrote them", scores),
        (
            "members",
            "Hand over where every member stands now: band, stage, segments, tags",
            members,
        ),
    ):
        for ending in KINDS:
            _add(routes, name, ending, f"{told}, as {ending}.", opened, responses)
    return routes


def _add(
    routes: APIRouter,
    name: str,
    ending: str,
    told: str,
    opened: Callable[[], Exported],
    responses: dict[int | str, Any],
) -> None:
    kind = KINDS[ending].partition(";")[0]
    what = {"type": "string"} if ending == "csv" else {"type": "string", "format": "binary"}

    def export(none_match: NoneMatch = None, since: Since = None) -> Response:
        return _answer(opened(), name, ending, none_match, since)

    routes.add_api_route(
        f"/v1/exports/{name}.{ending}", export, methods=["GET"], description=told,
        summary=f"Export {name} as {ending}", operation_id=f"export_{name}_{ending}",
        response_class=Response, openapi_extra=READ,
        responses={
            **responses,
            200: {"description": "The whole file", "content": {kind: {"schema": what}}},
            304: {"description": "The file is the one the caller has"},
        },
    )  # fmt: skip


def _answer(
    found: Exported, name: str, ending: str, none_match: str | None, since: str | None
) -> Response:
    tag = f'"{found.tag}-{ending}"'
    headers = {
        "ETag": tag,
        "Content-Disposition": f'attachment; filename="{name}_{found.as_of}.{ending}"',
        DAY_HEADER: str(found.as_of),
    }
    if found.written_at is not None:
        headers["Last-Modified"] = format_datetime(found.written_at, usegmt=True)
    if found.position is not None:
        headers[CURSOR_HEADER] = cursor.written(found.position)
    if _has_it(found, tag, none_match, since):
        found.file.close()
        return Response(status_code=304, headers=headers)
    if ending == "parquet":
        headers["Content-Length"] = str(found.size)
    return StreamingResponse(_WRITERS[ending](found), headers=headers, media_type=KINDS[ending])


def _has_it(found: Exported, tag: str, none_match: str | None, since: str | None) -> bool:
    """Return whether the caller has the file already (RFC 9110, section 13.1)."""
    if none_match is not None:
        listed = [one.strip().removeprefix("W/") for one in none_match.split(",")]
        return tag in listed or none_match.strip() == "*"
    if since is None or found.written_at is None:
        return False
    try:
        moment = parsedate_to_datetime(since)
    except ValueError:
        return False
    return found.written_at <= (moment if moment.tzinfo else moment.replace(tzinfo=UTC))
