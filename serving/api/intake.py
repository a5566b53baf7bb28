"""The routes by which purchases and events come in: on disk before the answer, each once."""

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from fastapi import APIRouter
from fastapi.responses import Response
from pydantic import BaseModel
from starlette.concurrency import run_in_threadpool

from features.contracts import EVENT_KINDS, MEMBER_KEY_LENGTH_MAX
from loyalty.idempotency import Answer
from loyalty.postings import digest
from programme.calendar import coming_midnight, local_midnight
from serving import metrics
from serving.api.intake_schemas import (
    EventsIntake,
    IntakeAnswer,
    LinesIntake,
    RefusedRow,
    WaitingAnswer,
)
from serving.api.loyalty import Key
from serving.online.inbox import Accepted, waiting
from serving.online.rows import Fault, Row, fault_of
from serving.online.together import Delivery, Together
from serving.points import PointsDesk

# What a caller reads; the value itself is not repeated.
SAID = {
    "missing": "it is blank. Fill it.",
    "too_long": f"it is too long: members have up to {MEMBER_KEY_LENGTH_MAX} characters, systems "
    "64, other text 1,000.",
    "nul_character": "it holds a NUL character. Remove it.",
    "unknown_kind": f"there is no such kind. Kinds are {', '.join(EVENT_KINDS)}.",
    "out_of_range": "it lies beyond what can be meant. Check the unit and the decimal sign.",
    "not_a_number": "it is no finite number.",
    "in_the_future": "it lies in the future. Check the sender's clock and its UTC offset.",
    "known_before_it_happened": "it occurred after now. Check the sender's clock and its offset.",
    "wrong_sign": "goods that come back have negative net_cents and quantity, goods that are sold "
    "have neither; take discounts off net_cents.",
    "negative": "discounts and coupons are amounts of nought or more.",
}
Now = Callable[[], datetime]


def create_routes(
    desk: PointsDesk,
    responses: dict[int | str, dict[str, Any]],
    now: Now = lambda: datetime.now(UTC),
) -> APIRouter:
    """Make the routes over the inbox of one home.

    Parameters
    ----------
    responses : what the description promises for each thing that can go wrong
    now : says when rows became known
    """
    routes = APIRouter(responses=responses)
    together = Together(lambda: desk.database, now)
    zone: list[str] = []

    async def keep(route: str, key: str | None, body: BaseModel, rows: Sequence[Row]) -> Response:
        if not zone:
            # The first request opens the database, which may take its time.
            zone.append((await run_in_threadpool(lambda: desk.programme)).timezone)
        good, refused = _told_apart(rows, now(), zone[0])
        fingerprint = "" if key is None else digest(body.model_dump(mode="json"))

        def answer(found: Sequence[Accepted]) -> Answer:
            made = _answer(found, refused)
            metrics.replayed(f"/v1/{route}", made.known)
            return 202, made.model_dump_json()

        delivery = Delivery(good, answer, f"intake {route}", key, fingerprint)
        status, content = await together.take(delivery)
        return Response(content, status, media_type="application/json")

    @routes.post(
        "/v1/events", status_code=202, response_model=IntakeAnswer, operation_id="send_events",
        openapi_extra={"x-scope": "events:write"},
    )  # fmt: skip
    async def events(body: EventsIntake, key: Key = None) -> Response:
        """Hand in events; each is on disk before the answer and kept once."""
        return await keep("events", key, body, [one.as_row() for one in body.events])

    @routes.post(
        "/v1/purchases", status_code=202, response_model=IntakeAnswer,
        operation_id="send_purchases", openapi_extra={"x-scope": "purchases:write"},
    )  # fmt: skip
    async def purchases(body: LinesIntake, key: Key = None) -> Response:
        """Hand in lines of purchases; each is on disk before the answer and kept once."""
        return await keep("purchases", key, body, [one.as_row() for one in body.purchases])

    @routes.get(
        "/v1/intake", operation_id="intake_waiting", openapi_extra={"x-scope": "changes:read"}
    )
    def intake() -> WaitingAnswer:
        """Say how many rows were accepted and are not shown yet, and since when."""
        return WaitingAnswer(**waiting(desk.database)._asdict())

    return routes


def _told_apart(
    rows: Sequence[Row], now: datetime, timezone: str
) -> tuple[list[Row], list[RefusedRow]]:
    """Return the rows that can be kept, and for each of the others why not."""
    until = local_midnight(coming_midnight(now, timezone), timezone)
    faults = [fault_of(row, now, until) for row in rows]
    good = [row for row, fault in zip(rows, faults, strict=True) if fault is None]
    return good, list(_refused(faults))


def _refused(faults: Sequence[Fault | None]) -> Iterator[RefusedRow]:
    for index, fault in enumerate(faults):
        if fault is not None:
            # When we knew is ours to say; what the caller wrote is when it happened.
            column = "occurred_at" if fault.column == "known_at" else fault.column
            detail = f"{column}: {SAID[fault.reason]} This row was not kept."
            yield RefusedRow.model_validate(
                {"index": index, "code": fault.reason, "detail": detail}
            )


def _answer(found: Sequence[Accepted], refused: list[RefusedRow]) -> IntakeAnswer:
    known = sum(one.what == "known" for one in found)
    return IntakeAnswer(
        accepted=len(found) - known,
        known=known,
        refused=refused,
        last_seq=max((one.seq for one in found), default=None),
    )
