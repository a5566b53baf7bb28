"""The routes of campaigns: offers, proposals, launches, deliveries, read-outs, and why."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Any

import tomli_w
from fastapi import APIRouter, Path, Query
from fastapi.responses import Response
from pydantic import BaseModel

from actions import brief, campaigns, decisions, history, offers
from actions.campaigns import Campaign
from actions.decisions import Decision, Scored, Told
from actions.errors import KeyReused
from actions.offers import Catalogue
from actions.readout import ReadOut
from actions.tables import CAMPAIGN_ID_LENGTH_MAX
from loyalty.errors import PostingConflict
from loyalty.idempotency import Answer, once
from loyalty.postings import digest
from programme import words
from serving.action_desk import ActionDesk
from serving.api.actions_schemas import (
    DECISIONS_OF_MEMBER_MAX,
    PAGE_MAX,
    AdoptedAnswer,
    ApprovalRequest,
    CampaignAnswer,
    CampaignListed,
    CampaignRequest,
    CampaignsAnswer,
    CatalogueAnswer,
    CatalogueRequest,
    Considered,
    DecisionAnswer,
    DecisionsAnswer,
    DeliveredAnswer,
    MemberDecisionsAnswer,
    OfferAnswer,
    ReadOutAnswer,
    SuppressionAnswer,
    SuppressionRequest,
    WhyAnswer,
)
from serving.api.language import Accepted, speak
from serving.api.loyalty import Key
from serving.api.paths import Member

CampaignId = Annotated[str, Path(min_length=1, max_length=CAMPAIGN_ID_LENGTH_MAX)]
Limit = Annotated[int, Query(ge=1, le=PAGE_MAX)]
CampaignCursor = Annotated[str | None, Query(min_length=1, max_length=CAMPAIGN_ID_LENGTH_MAX)]
MemberCursor = Annotated[str | None, Query(min_length=1, max_length=64)]
READ = {"x-scope": "actions:read", "x-seconds-max": 30}
# Planning a campaign goes through every member.
WRITE = {"x-scope": "actions:write", "x-seconds-max": 120}


def create_routes(desk: ActionDesk, responses: dict[int | str, dict[str, Any]]) -> APIRouter:
    """Make the routes over one programme's campaigns.

    Parameters
    ----------
    responses : what the description promises for each thing that can go wrong
    """
    routes = APIRouter(responses=responses)
    _offer_routes(routes, desk)
    _life_routes(routes, desk)
    _told_routes(routes, desk)
    _member_routes(routes, desk)
    return routes


def _offer_routes(routes: APIRouter, desk: ActionDesk) -> None:
    @routes.get("/v1/offers", operation_id="list_offers", openapi_extra=READ)
    def listed() -> CatalogueAnswer:
        """List the offers that hold."""
        return _catalogue(desk.catalogue)

    @routes.post(
        "/v1/offers", response_model=AdoptedAnswer, operation_id="adopt_offers", openapi_extra=WRITE
    )
    def adopt(body: CatalogueRequest, key: Key = None) -> Response:
        """Adopt a version of the offers; the last adopted one holds."""

        def work(now: datetime) -> BaseModel:
            read = offers.read(body.toml, desk.points.programme)
            return AdoptedAnswer(version=read.version, new=desk.adopt(read, now=now))

        return _write(desk, "offers", key, body, work)


def _life_routes(routes: APIRouter, desk: ActionDesk) -> None:
    @routes.post(
        "/v1/campaigns",
        response_model=CampaignAnswer,
        operation_id="propose_campaign",
        openapi_extra=WRITE,
    )
    def propose(body: CampaignRequest, key: Key = None) -> Response:
        """Work out what a campaign would do to every member; nothing is sent."""

        def work(now: datetime) -> BaseModel:
            asked = brief.read(_as_toml(body))
            campaign, _ = desk.propose(asked, as_of=body.as_of, now=now, tell=_quiet)
            return _campaign(campaign)

        return _write(desk, "campaigns", key, body, work)

    @routes.post(
        "/v1/campaigns/{campaign_id}/approve", response_model=CampaignAnswer,
        operation_id="approve_campaign", openapi_extra=WRITE,
    )  # fmt: skip
    def approve(campaign_id: CampaignId, body: ApprovalRequest, key: Key = None) -> Response:
        """Say yes to exactly what was proposed."""
        return _write(
            desk, f"approve {campaign_id}", key, body,
            lambda now: _campaign(
                campaigns.approve(desk.points.database, campaign_id, by=body.by, now=now)
            ),
        )  # fmt: skip

    @routes.post(
        "/v1/campaigns/{campaign_id}/launch", response_model=CampaignAnswer,
        operation_id="launch_campaign", openapi_extra=WRITE,
    )  # fmt: skip
    def launch(campaign_id: CampaignId, key: Key = None) -> Response:
        """Write the decision log and the outbox of an approved campaign, once."""
        return _write(
            desk, f"launch {campaign_id}", key, None,
            lambda now: _campaign(desk.launch(campaign_id, now=now)),
        )  # fmt: skip

    @routes.post(
        "/v1/campaigns/{campaign_id}/close", response_model=ReadOutAnswer,
        operation_id="close_campaign", openapi_extra=WRITE,
    )  # fmt: skip
    def close(campaign_id: CampaignId, key: Key = None) -> Response:
        """Read a campaign out for the last time and end it; what still waits is not sent."""

        def work(now: datetime) -> BaseModel:
            return _read_out(desk.close(campaign_id, now=now)[1])

        return _write(desk, f"close {campaign_id}", key, None, work)

    @routes.post(
        "/v1/deliveries",
        response_model=DeliveredAnswer,
        operation_id="deliver_messages",
        openapi_extra=WRITE,
    )
    def deliver(key: Key = None) -> Response:
        """Send what is due, each message once."""

        def work(_: datetime) -> BaseModel:
            done = desk.deliver(now=lambda: datetime.now(UTC), tell=_quiet)
            return DeliveredAnswer(
                sent=done.sent, later=done.later, given_up=done.given_up,
                refused=done.refused or {}, files=[path.name for path in done.files],
            )  # fmt: skip

        return _write(desk, "deliveries", key, None, work)


def _told_routes(routes: APIRouter, desk: ActionDesk) -> None:
    @routes.get("/v1/campaigns", operation_id="list_campaigns", openapi_extra=READ)
    def listed(
        limit: Limit = 50,
        cursor: CampaignCursor = None,
    ) -> CampaignsAnswer:
        """List campaigns, the last proposed first."""
        found = campaigns.every(desk.points.database)
        if cursor is not None:
            places = [row for row, one in enumerate(found) if one.campaign_id == cursor]
            found = found[places[0] + 1 :] if places else []
        page = found[:limit]
        return CampaignsAnswer(
            campaigns=[CampaignListed(**_listed(one)) for one in page],
            next_cursor=page[-1].campaign_id if len(found) > limit else None,
        )

    @routes.get("/v1/campaigns/{campaign_id}", operation_id="campaign", openapi_extra=READ)
    def one(campaign_id: CampaignId) -> CampaignAnswer:
        """Say how far a campaign has come, and what its plan said."""
        return _campaign(campaigns.get(desk.points.database, campaign_id))

    @routes.get(
        "/v1/campaigns/{campaign_id}/readout", operation_id="campaign_readout", openapi_extra=READ
    )
    def readout(campaign_id: CampaignId) -> ReadOutAnswer:
        """Say what a campaign changed so far, or had changed when it was closed."""
        return _read_out(desk.read_out(campaign_id, now=datetime.now(UTC)))

    @routes.get(
        "/v1/campaigns/{campaign_id}/decisions",
        operation_id="campaign_decisions",
        openapi_extra=READ,
    )
    def decided(
        campaign_id: CampaignId, limit: Limit = 100, cursor: MemberCursor = None
    ) -> DecisionsAnswer:
        """List what a launched campaign decided, by member."""
        campaigns.get(desk.points.database, campaign_id)
        found = decisions.page(desk.points.database, campaign_id, after=cursor, limit=limit + 1)
        page = found[:limit]
        return DecisionsAnswer(
            decisions=[DecisionAnswer(**_decision(one, None)) for one in page],
            next_cursor=page[-1].member_id if len(found) > limit else None,
        )


def _member_routes(routes: APIRouter, desk: ActionDesk) -> None:
    @routes.get(
        "/v1/members/{member_id}/decisions", operation_id="member_decisions", openapi_extra=READ
    )
    def why(
        member_id: Member,
        response: Response,
        limit: Annotated[int, Query(ge=1, le=DECISIONS_OF_MEMBER_MAX)] = 20,
        accept_language: Accepted = None,
    ) -> MemberDecisionsAnswer:
        """Say why a member got what she got, and why not something else."""
        spoken = speak(accept_language, desk.points.programme.languages, response)
        told = decisions.of_member(desk.points.database, member_id, limit=limit)
        return MemberDecisionsAnswer(
            member_id=member_id, decisions=[_why(one, spoken) for one in told]
        )

    @routes.put(
        "/v1/members/{member_id}/suppression", response_model=SuppressionAnswer,
        operation_id="suppress_member", openapi_extra=WRITE,
    )  # fmt: skip
    def suppress(member_id: Member, body: SuppressionRequest, key: Key = None) -> Response:
        """Leave a member alone: no campaign contacts her, and what waits for her is not sent."""

        def work(now: datetime) -> BaseModel:
            history.suppress(
                desk.points.database, member_id, body.reason, until=body.until, now=now
            )
            return SuppressionAnswer(member_id=member_id, suppressed=True, until=body.until)

        return _write(desk, f"suppress {member_id}", key, body, work)

    @routes.delete(
        "/v1/members/{member_id}/suppression", response_model=SuppressionAnswer,
        operation_id="unsuppress_member", openapi_extra=WRITE,
    )  # fmt: skip
    def unsuppress(member_id: Member, key: Key = None) -> Response:
        """Leave a member alone no longer."""

        def work(_: datetime) -> BaseModel:
            history.unsuppress(desk.points.database, member_id)
            return SuppressionAnswer(member_id=member_id, suppressed=False)

        return _write(desk, f"unsuppress {member_id}", key, None, work)


def _write(
    desk: ActionDesk,
    route: str,
    key: str | None,
    body: BaseModel | None,
    work: Callable[[datetime], BaseModel],
) -> Response:
    """Carry out a write, and answer a key that comes again as it was answered first.

    Each of these has one effect however often it is asked; a process killed after its work and
    before its answer was kept does it again, and changes nothing.
    """
    now, database = datetime.now(UTC), desk.points.database
    fingerprint = digest({} if body is None else body.model_dump(mode="json"))

    def answer(make: Callable[[], Answer]) -> Answer:
        try:
            return database.write(
                lambda connection: once(connection, route, key, fingerprint, make, now=now)
            )
        except PostingConflict as error:
            raise KeyReused(
                "This idempotency key came before with other content. Nothing was done. Use a "
                "new key for a new request."
            ) from error

    if key is None:
        return _json(work(now).model_dump_json())
    try:
        return _json(answer(_not_yet)[1])
    except _NotYet:
        made = work(now).model_dump_json()
    return _json(answer(lambda: (200, made))[1])


class _NotYet(Exception):
    pass


def _not_yet() -> Answer:
    raise _NotYet


def _json(text: str) -> Response:
    return Response(text, 200, media_type="application/json")


def _quiet(_: str) -> None:
    pass


def _as_toml(body: CampaignRequest) -> str:
    """Return a brief as the file that would ask for the same."""
    return tomli_w.dumps(body.model_dump(exclude_unset=True, exclude_none=True, exclude={"as_of"}))


def _catalogue(found: Catalogue) -> CatalogueAnswer:
    same = {"id", "kind", "name", "says", "channel", "purpose", "entitlement", "first_day",
            "last_day", "stock"}  # fmt: skip
    return CatalogueAnswer(
        version=found.version, digest=found.digest,
        offers=[
            OfferAnswer(
                **offer.model_dump(include=same), points=found.points(offer),
                contact_cost_cents=found.minor_units(offer.contact_cost),
                redeem_cost_cents=found.minor_units(offer.redeem_cost),
            )
            for offer in found.offers
        ],
    )  # fmt: skip


def _listed(found: Campaign) -> dict[str, Any]:
    return {
        "campaign_id": found.campaign_id, "name": found.brief.name, "state": found.state,
        "catalogue": found.catalogue, "as_of": found.as_of, "proposal": found.proposal,
        "proposed_at": found.proposed_at, "approved_at": found.approved_at,
        "approved_by": found.approved_by, "launched_at": found.launched_at,
        "closed_at": found.closed_at,
    }  # fmt: skip


def _campaign(found: Campaign) -> CampaignAnswer:
    return CampaignAnswer(**_listed(found), facts=found.facts)


def _read_out(found: ReadOut) -> ReadOutAnswer:
    return ReadOutAnswer(
        campaign_id=found.campaign_id, complete=found.complete, stopped=found.stopped,
        readout=json.loads(json.dumps(found.as_json(), allow_nan=False)),
    )  # fmt: skip


def _decision(one: Decision, spoken: str | None) -> dict[str, Any]:
    return {
        "decision_id": one.decision_id, "campaign_id": one.campaign_id,
        "member_id": one.member_id, "arm": one.arm, "planned": one.planned, "offer": one.offer,
        "propensity": one.propensity,
        "considered": [_considered(scored, spoken) for scored in one.considered],
    }  # fmt: skip


def _considered(scored: Scored, spoken: str | None) -> Considered:
    return Considered(
        offer=scored.offer, profit_cents=scored.profit, error_cents=scored.error,
        chance=scored.chance, refused=scored.refused, label=_gate(scored.refused, spoken),
    )  # fmt: skip


def _why(told: Told, spoken: str) -> WhyAnswer:
    return WhyAnswer(
        **_decision(told.decision, spoken), decided_at=told.decided_at,
        arm_label=words.label(f"arm.{told.decision.arm}", spoken), message=told.message,
        why=told.why, why_label=_gate(told.why, spoken), models=told.facts.get("models", {}),
    )  # fmt: skip


def _gate(code: str | None, spoken: str | None) -> str | None:
    """Return a gate in words; None where a message failed on its way, which is no gate."""
    if code is None or spoken is None or f"gate.{code}" not in words.codes(spoken):
        return None
    return words.label(f"gate.{code}", spoken)
