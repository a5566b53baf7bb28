"""The routes of segments and tags: how everybody is divided, and what may be said of whom."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Response

from serving.api.language import Accepted, speak
from serving.api.member_schemas import (
    SegmentAnswer,
    SegmentKind,
    SegmentsAnswer,
    TagAnswer,
    TagsAnswer,
)
from serving.nightly import KINDS, Night, NightBook

PAGE_MAX = 500
READ = {"x-scope": "members:read"}


def create_routes(book: NightBook, responses: dict[int | str, Any]) -> APIRouter:
    """Make the routes over what the night made of everybody.

    Parameters
    ----------
    responses : what the description promises for each thing that can go wrong
    """
    routes = APIRouter(responses=responses)

    @routes.get("/v1/segments", operation_id="list_segments", openapi_extra=READ)
    def segments(response: Response, accept_language: Accepted = None) -> SegmentsAnswer:
        """Say how members are divided: lifecycle stages, RFM groups and clusters, with sizes."""
        night = book.night()
        spoken = speak(accept_language, night.programme.languages, response)
        publication = night.publication
        kinds = []
        for kind in KINDS:
            groups = night.groups(kind, spoken)
            everybody = sum(group.members for group in groups)
            told = [
                SegmentAnswer(
                    name=group.name, label=group.label, meaning=group.meaning,
                    members=group.members, member_share=group.members / everybody,
                )
                for group in groups
            ]  # fmt: skip
            kinds.append(SegmentKind(kind=kind, groups=told, notes=night.notes(kind, spoken)))
        return SegmentsAnswer(
            as_of=publication.as_of, published_at=publication.published_at,
            members=publication.members, kinds=kinds,
        )  # fmt: skip

    @routes.get("/v1/tags", operation_id="list_tags", openapi_extra=READ)
    def tags(
        response: Response,
        limit: Annotated[int, Query(ge=1, le=PAGE_MAX)] = 100,
        cursor: Annotated[str | None, Query(min_length=1, max_length=128)] = None,
        accept_language: Accepted = None,
    ) -> TagsAnswer:
        """List tags by their codes: what each says, by which rule, and how many members hold it."""
        night = book.night()
        spoken = speak(accept_language, night.programme.languages, response)
        listed = [code for code in night.tags if cursor is None or code > cursor]
        page = listed[:limit]
        return TagsAnswer(
            as_of=night.publication.as_of, published_at=night.publication.published_at,
            tags=[_tag(code, night, spoken) for code in page],
            next_cursor=page[-1] if len(listed) > limit else None,
        )  # fmt: skip

    return routes


def _tag(code: str, night: Night, spoken: str) -> TagAnswer:
    tag, members = night.tags[code]
    rule = tag.model_dump(mode="json", exclude_none=True)["rule"]
    return TagAnswer(
        code=code, label=tag.name.of(spoken), says=tag.says.of(spoken), family=tag.family,
        members=members, window_days=tag.window_days, sensitivity=tag.sensitivity, rule=rule,
    )  # fmt: skip
