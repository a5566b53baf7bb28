"""The routes of points and tiers; every write is carried out once."""

from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query
from fastapi.responses import Response
from pydantic import AwareDatetime, BaseModel

from loyalty import birthdays, points, status
from loyalty.account import Kind
from loyalty.errors import Malformed, PostingRefused, UnknownMember, WrongCurrency
from loyalty.idempotency import KEY_LENGTH_MAX, Answer, once
from loyalty.orders import Purchase, simulate, take_purchases_on
from loyalty.postings import Posting, Request, digest
from serving.api import problems
from serving.api.loyalty_schemas import (
    LEDGER_PAGE_MAX,
    AdjustmentRequest,
    BalanceAnswer,
    FiredRule,
    LedgerAnswer,
    Posted,
    PurchasesAnswer,
    PurchasesRequest,
    RedemptionRequest,
    RefusedLine,
    ReversalRequest,
    SimulationAnswer,
    SimulationRequest,
    TierAnswer,
    TransferRequest,
)
from serving.api.paths import Member
from serving.points import PointsDesk

Key = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key", min_length=1, max_length=KEY_LENGTH_MAX,
        description="the same key with the same body gets the first answer again",
    ),
]  # fmt: skip
READ, WRITE = {"x-scope": "loyalty:read"}, {"x-scope": "loyalty:write"}


def create_routes(desk: PointsDesk, responses: dict[int | str, dict[str, Any]]) -> APIRouter:
    """Make the routes over one ledger.

    Parameters
    ----------
    responses : what the description promises for each thing that can go wrong
    """
    routes = APIRouter(responses=responses)

    def write(
        route: str, key: str | None, body: BaseModel, work: Callable[..., Answer]
    ) -> Response:
        now = datetime.now(UTC)
        fingerprint = digest(body.model_dump(mode="json"))
        rules = desk.rules
        found = desk.database.write(
            lambda connection: once(
                connection, route, key, fingerprint,
                lambda: work(connection, rules, now), now=now,
            )
        )  # fmt: skip
        return Response(found[1], found[0], media_type="application/json")

    def post(route: str, key: str | None, body: BaseModel, request: Request) -> Response:
        def work(connection: Any, rules: Any, now: datetime) -> Answer:
            posting = points.post_on(connection, rules.terms(now), request, now=now)
            return 200, _posted(posting, desk).model_dump_json()

        return write(route, key, body, work)

    @routes.post(
        "/v1/loyalty/purchases",
        response_model=PurchasesAnswer,
        operation_id="earn_purchases",
        openapi_extra=WRITE,
    )
    def purchases(body: PurchasesRequest, key: Key = None) -> Response:
        """Let purchases earn: the order is the unit, late lines and returns post the difference."""
        asked = [_purchase(line) for line in body.purchases]

        def work(connection: Any, rules: Any, now: datetime) -> Answer:
            taken = take_purchases_on(connection, rules, asked, now=now)
            answer = PurchasesAnswer(
                postings=[_posted(posting, desk) for posting in taken.postings],
                known=taken.known,
                refused=[
                    RefusedLine(
                        index=refusal.index, code=refusal.refused.code,
                        detail=_detail(refusal.refused),
                    )
                    for refusal in taken.refusals
                ],
            )  # fmt: skip
            return 200, answer.model_dump_json()

        return write("purchases", key, body, work)

    @routes.post(
        "/v1/loyalty/redemptions",
        response_model=Posted,
        operation_id="redeem_points",
        openapi_extra=WRITE,
    )
    def redemptions(body: RedemptionRequest, key: Key = None) -> Response:
        """Spend points, of the lot that expires first."""
        return post("redemptions", key, body, _request("REDEEM", body))

    @routes.post(
        "/v1/loyalty/reversals",
        response_model=Posted,
        operation_id="reverse_posting",
        openapi_extra=WRITE,
    )
    def reversals(body: ReversalRequest, key: Key = None) -> Response:
        """Undo a posting, in whole or in part."""
        return post("reversals", key, body, _request("REVERSE", body))

    @routes.post(
        "/v1/loyalty/transfers",
        response_model=Posted,
        operation_id="transfer_points",
        openapi_extra=WRITE,
    )
    def transfers(body: TransferRequest, key: Key = None) -> Response:
        """Give points to another member; they keep their expiry."""
        return post("transfers", key, body, _request("TRANSFER", body))

    @routes.post(
        "/v1/loyalty/adjustments",
        response_model=Posted,
        operation_id="adjust_points",
        openapi_extra=WRITE,
    )
    def adjustments(body: AdjustmentRequest, key: Key = None) -> Response:
        """Give or take points by hand."""
        return post("adjustments", key, body, _request("ADJUST", body))

    @routes.post("/v1/loyalty/simulate", operation_id="simulate_order", openapi_extra=READ)
    def simulation(body: SimulationRequest) -> SimulationAnswer:
        """Say what an order would earn, and by which rules; nothing is posted."""
        rules, tier, birthday = desk.rules, None, None
        at = body.occurred_at
        rules.check(at)
        if body.member_id is not None:
            birthday = birthdays.birthday(desk.database, body.member_id)
        if body.member_id is not None and rules.at(at).terms.tiers is not None:
            try:
                tier = status.tier_status(
                    desk.database, rules.at(at).terms, body.member_id, now=at
                ).tier
            except UnknownMember:
                tier = None  # who has no points yet stands at the lowest
        earned = simulate(
            rules, [line.as_line() for line in body.lines], at, tier=tier, birthday=birthday
        )
        return SimulationAnswer(
            points=earned.points, base=float(earned.base),
            points_scale=desk.programme.points_scale,
            rules=[
                FiredRule(rule=fired.rule, factor=float(fired.factor)) for fired in earned.fired
            ],
            rule_version=rules.at(at).version,
        )  # fmt: skip

    @routes.get(
        "/v1/members/{member_id}/balance", operation_id="points_balance", openapi_extra=READ
    )
    def balance(
        member_id: Member,
        at: Annotated[
            AwareDatetime | None, Query(description="an instant before now; as it was known then")
        ] = None,
    ) -> BalanceAnswer:
        """Say what a member has, now or at an instant before."""
        now = datetime.now(UTC)
        found = points.balance(desk.database, desk.rules.terms(now), member_id, now=now, at=at)
        return BalanceAnswer(**asdict(found), points_scale=desk.programme.points_scale)

    @routes.get("/v1/members/{member_id}/ledger", operation_id="points_ledger", openapi_extra=READ)
    def ledger(
        member_id: Member,
        limit: Annotated[int, Query(ge=1, le=LEDGER_PAGE_MAX)] = 50,
        cursor: Annotated[str | None, Query(pattern=r"^[0-9]{1,18}$")] = None,
    ) -> LedgerAnswer:
        """List a member's postings, the newest first."""
        before = None if cursor is None else int(cursor)
        found = points.ledger(desk.database, member_id, before=before, limit=limit + 1)
        page = found[:limit]
        return LedgerAnswer(
            postings=[_posted(posting, desk) for posting in page],
            next_cursor=str(page[-1].posting_no) if len(found) > limit else None,
        )

    @routes.get("/v1/members/{member_id}/tier", operation_id="member_tier", openapi_extra=READ)
    def tier(member_id: Member) -> TierAnswer:
        """Say where a member stands, what is missing to the next tier, and until when."""
        now = datetime.now(UTC)
        found = status.tier_status(desk.database, desk.rules.terms(now), member_id, now=now)
        return TierAnswer.model_validate(asdict(found))

    return routes


def _request(kind: Kind, body: BaseModel) -> Request:
    asked = {"points": None, **body.model_dump()}
    if kind == "ADJUST" and not asked["points"]:
        raise Malformed("An adjustment of nought points changes nothing. Nothing was posted.")
    return Request(kind, **asked)


def _purchase(line: Any) -> Purchase:
    return Purchase(
        line.source, line.order_id, line.member_id, line.occurred_at, line.as_line(),
        line.returns_order_id, line.currency,
    )  # fmt: skip


def _detail(refused: PostingRefused) -> str:
    # Three letters of a currency are all that is repeated of what was sent.
    if isinstance(refused, WrongCurrency):
        return str(refused)
    return problems.REFUSALS[refused.code][1]


def _posted(posting: Posting, desk: PointsDesk) -> Posted:
    return Posted(
        posting_id=posting.posting_id, posting_no=posting.posting_no,
        member_id=posting.member_id, kind=posting.kind, points=posting.active,
        pending=posting.pending, balance=posting.balance,
        points_scale=desk.programme.points_scale, occurred_at=posting.occurred_at,
        recorded_at=posting.recorded_at, expires_at=posting.expires_at, tier=posting.tier,
        reverses=posting.reverses, reason=posting.reason, order=posting.order_key,
        rule_version=posting.rule_version,
    )  # fmt: skip
