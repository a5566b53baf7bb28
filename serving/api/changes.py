"""The route of changes: what a CRM asks to stay in step, and how it begins."""

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from serving.api.problems import Refused
from serving.online import changes, cursor
from serving.online.changes import CursorTooOld, CursorUnknown, What
from serving.points import PointsDesk

PAGE_MAX = 1_000
READ = {"x-scope": "changes:read"}

Cursor = Annotated[str, Field(description="to be handed back as it is; says nothing else")]


class ChangeAnswer(BaseModel):
    """One change of one member."""

    member_id: str
    what: What
    name: Annotated[str, Field(description="which segment or tag; empty for band and stage")]
    before: Annotated[str | None, Field(description="null: she had none")]
    after: Annotated[str | None, Field(description='null: she has none now; of a tag "held"')]
    changed_at: datetime


class ChangesAnswer(BaseModel):
    """Changes in the order in which they happened."""

    changes: list[ChangeAnswer]
    next_cursor: Annotated[Cursor, Field(description="always given: ask again with it as `since`")]
    more: Annotated[bool, Field(description="there are further changes already")]


def as_answer(found: changes.Page) -> ChangesAnswer:
    """Put changes into the contract."""
    return ChangesAnswer(
        changes=[
            ChangeAnswer(
                member_id=one.member_id, what=one.what, name=one.name, before=one.before,
                after=one.after, changed_at=one.changed_at,
            )
            for one in found.changes
        ],
        next_cursor=cursor.written(found.position), more=found.more,
    )  # fmt: skip


def create_routes(desk: PointsDesk, responses: dict[int | str, dict[str, Any]]) -> APIRouter:
    """Make the route over the changes of one database.

    Parameters
    ----------
    responses : what the description promises for each thing that can go wrong
    """
    routes = APIRouter(responses=responses)

    @routes.get("/v1/changes", operation_id="list_changes", openapi_extra=READ)
    def listed(
        since: Annotated[
            str | None,
            Query(
                pattern=cursor.PATTERN,
                description="the last `next_cursor`; without it nothing but the present one is "
                "answered: where to begin",
            ),
        ] = None,
        limit: Annotated[int, Query(ge=1, le=PAGE_MAX)] = 100,
        what: Annotated[
            list[What] | None,
            Query(max_length=len(changes.KINDS), description="kinds of change; without it all"),
        ] = None,
    ) -> ChangesAnswer:
        """Say who moved from which band, stage, segment or tag to which, since a cursor."""
        if since is None:
            last = changes.head(desk.database)
            return as_answer(changes.Page((), last, more=False))
        position = cursor.read(since)
        if position is None:
            raise Refused("cursor_unreadable")
        try:
            return as_answer(changes.since(desk.database, position, limit, what))
        except CursorTooOld as error:
            raise Refused("cursor_too_old") from error
        except CursorUnknown as error:
            raise Refused("cursor_unknown") from error

    return routes
