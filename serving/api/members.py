"""The routes of one member: who she is, what is expected of her, and why."""

import math
from typing import Annotated, Any

from fastapi import APIRouter, Query, Response

from features import table
from programme.words import codes, label
from serving.api import language
from serving.api.answers import Answer
from serving.api.language import Accepted
from serving.api.member_schemas import (
    ChurnSummary,
    ExplanationAnswer,
    FeatureAnswer,
    MemberChurn,
    MemberNextOrder,
    MemberRecommendations,
    MemberValue,
    ProfileAnswer,
    Reasons,
    ScoresSummary,
    SegmentOfMember,
    TagOfMember,
    ValueSummary,
)
from serving.api.paths import Member
from serving.api.problems import Refused
from serving.api.schemas import Part
from serving.api.scores import ScoresDesk
from serving.nightly import Night, NightBook
from serving.online.store import NUMBERS, OnlineStore, StoredMember
from serving.points import PointsDesk

SCORES, MEMBERS = {"x-scope": "scores:read"}, {"x-scope": "members:read"}
Drivers = Annotated[
    bool, Query(description="false leaves the reasons out, which cost most of the time")
]


def create_routes(
    scores: ScoresDesk, desk: PointsDesk, book: NightBook, responses: dict[int | str, Any]
) -> APIRouter:
    """Make the routes over the online store.

    Parameters
    ----------
    scores : answers about members
    desk : of the database the store lies in
    book : words of segments and tags
    responses : what the description promises for each thing that can go wrong
    """
    routes = APIRouter(responses=responses)
    asked = _Asked(scores)
    _part_routes(routes, asked)

    @routes.get("/v1/members/{member_id}", operation_id="member_profile", openapi_extra=MEMBERS)
    def profile(
        member_id: Member, response: Response, accept_language: Accepted = None
    ) -> ProfileAnswer:
        """Say what is known of a member: features, segments, tags, stage, and scores in short."""
        spoken = asked.spoken(accept_language, response)
        said = asked.one(member_id, spoken, ("churn", "value", "next_order"), drivers=False)
        found = OnlineStore(desk.database).read([member_id]).get(member_id)
        if found is None:  # gone between two looks
            raise Refused("unknown_member")
        return _profile(found, said, spoken, book.night())

    @routes.get(
        "/v1/members/{member_id}/explanation", operation_id="member_explanation",
        openapi_extra=SCORES,
    )  # fmt: skip
    def explanation(
        member_id: Member, response: Response, accept_language: Accepted = None
    ) -> ExplanationAnswer:
        """Say why a member's churn and value are what they are, in words."""
        spoken = asked.spoken(accept_language, response)
        said = asked.one(member_id, spoken, ("churn", "value"), drivers=True)
        return ExplanationAnswer(
            **asked.head(said), caveat=label("caveat.attribution", spoken),
            churn=_reasons(said.get("churn"), "churn", spoken),
            value=_reasons(said.get("value"), "value", spoken),
        )  # fmt: skip

    return routes


class _Asked:
    """Answers about one member at a time."""

    def __init__(self, scores: ScoresDesk) -> None:
        self._scores = scores

    def spoken(self, accepted: str | None, response: Response) -> str:
        """Return the language to answer in, and say so in the answer."""
        return language.speak(accepted, self._scores.live.loaded.programme.languages, response)

    def one(self, member_id: str, spoken: str, parts: tuple[Part, ...], *, drivers: bool) -> Answer:
        """Return what is said of a member who is known."""
        (said,) = self._scores.answer([member_id], spoken=spoken, parts=parts, drivers=drivers)
        if not said["known"]:
            raise Refused("unknown_member")
        return said

    def head(self, said: Answer) -> dict[str, Any]:
        """Return what every answer about a member begins with."""
        return {name: said[name] for name in ("member_id", "as_of", "data_as_of")}


def _part_routes(routes: APIRouter, asked: _Asked) -> None:
    @routes.get("/v1/members/{member_id}/churn", operation_id="member_churn", openapi_extra=SCORES)
    def churn(
        member_id: Member, response: Response, drivers: Drivers = True,
        accept_language: Accepted = None,
    ) -> MemberChurn:  # fmt: skip
        """Say how likely a member is to stay away, scored now, and why."""
        spoken = asked.spoken(accept_language, response)
        said = asked.one(member_id, spoken, ("churn",), drivers=drivers)
        return MemberChurn(
            **asked.head(said), churn=said.get("churn"), caveat=label("caveat.attribution", spoken)
        )

    @routes.get("/v1/members/{member_id}/value", operation_id="member_value", openapi_extra=SCORES)
    def value(
        member_id: Member, response: Response, drivers: Drivers = True,
        accept_language: Accepted = None,
    ) -> MemberValue:  # fmt: skip
        """Say what a member is expected to spend, and roughly why."""
        spoken = asked.spoken(accept_language, response)
        said = asked.one(member_id, spoken, ("value",), drivers=drivers)
        return MemberValue(
            **asked.head(said), value=said.get("value"), caveat=label("caveat.attribution", spoken)
        )

    @routes.get(
        "/v1/members/{member_id}/next-order", operation_id="member_next_order",
        openapi_extra=SCORES,
    )  # fmt: skip
    def next_order(
        member_id: Member, response: Response, accept_language: Accepted = None
    ) -> MemberNextOrder:
        """Say when a member is expected to buy again, and what she will need soon."""
        spoken = asked.spoken(accept_language, response)
        said = asked.one(member_id, spoken, ("next_order",), drivers=False)
        return MemberNextOrder(**asked.head(said), next_order=said.get("next_order"))

    @routes.get(
        "/v1/members/{member_id}/recommendations", operation_id="member_recommendations",
        openapi_extra=SCORES,
    )  # fmt: skip
    def recommendations(
        member_id: Member, response: Response, accept_language: Accepted = None
    ) -> MemberRecommendations:
        """Say what to show a member: products to buy again, and products new to her."""
        spoken = asked.spoken(accept_language, response)
        said = asked.one(member_id, spoken, ("next_products",), drivers=False)
        return MemberRecommendations(**asked.head(said), next_products=said.get("next_products"))


def _profile(found: StoredMember, said: Answer, spoken: str, night: Night) -> ProfileAnswer:
    traits = found.traits
    stage = traits.get("stage")
    return ProfileAnswer(
        member_id=found.member_id,
        population=found.population,
        stage=_segment("stage", stage, spoken, night) if stage else None,
        segments=[
            _segment(kind, str(name), spoken, night)
            for kind, name in (traits.get("segments") or {}).items()
            if name is not None
        ],
        tags=[_tag(code, spoken, night) for code in traits.get("tags") or ()],
        scores=_summary(said),
        features=_features(found, spoken, night.programme.currency),
        as_of=found.as_of,
        tags_as_of=night.publication.as_of,
        data_as_of=found.data_as_of,
        updated_at=found.updated_at,
    )


def _segment(kind: str, name: str, spoken: str, night: Night) -> SegmentOfMember:
    return SegmentOfMember(kind=kind, name=name, label=night.group_label(kind, name, spoken))


def _tag(code: str, spoken: str, night: Night) -> TagOfMember:
    if code not in night.tags:
        return TagOfMember(code=code, label=code, says=None)
    tag = night.tags[code][0]
    return TagOfMember(code=code, label=tag.name.of(spoken), says=tag.says.of(spoken))


def _summary(said: Answer) -> ScoresSummary:
    churn, value = said.get("churn"), said.get("value")
    order = said.get("next_order") or {}
    return ScoresSummary(
        churn=ChurnSummary(**{name: churn[name] for name in ChurnSummary.model_fields})
        if churn
        else None,
        value=ValueSummary(**{name: value[name] for name in ValueSummary.model_fields})
        if value
        else None,
        next_order_expected_on=order.get("expected_on"),
    )


def _features(found: StoredMember, spoken: str, currency: str) -> list[FeatureAnswer]:
    """Return every feature in table order; what is no number is absent."""
    numbers = {
        name: number if math.isfinite(number) else None
        for name, number in zip(NUMBERS, found.features.tolist(), strict=True)
    }
    said = codes(spoken)
    told = []
    for column in table.COLUMNS:
        name, code = column.name, f"feature.{column.name}"
        value = found.texts.get(name) if column.is_text else numbers[name]
        in_words = column.meaning
        if code in said:
            in_words = label(code, spoken, currency=currency, **{name: value})
        told.append(
            FeatureAnswer(
                code=name, label=in_words, value=value, unit=column.unit, meaning=column.meaning
            )
        )
    return told


def _reasons(part: Answer | None, target: str, spoken: str) -> Reasons | None:
    if part is None:
        return None
    drivers = part.get("drivers") or []
    return Reasons(
        score=part["churn_probability"] if target == "churn" else part["value_cents"],
        exact=target == "churn",
        error_cents=part.get("error_cents"),
        base=part.get("base"),
        raw_score=part.get("raw_score"),
        drivers=drivers,
        sentences=[
            f"{one['label']} ({label(f'direction.{target}.' + one['direction'], spoken)})"
            for one in drivers
            if one["importance"] != "low"
        ],
        no_single_driver=bool(part.get("no_single_driver")),
        model_name=part["model_name"],
        model_version=part["model_version"],
    )
