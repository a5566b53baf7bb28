"""Launching: what an approved file says is logged and put into the outbox, all of it or nothing."""

import json
from collections.abc import Iterable
from datetime import date, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, insert, select, update

from actions import brief, decisions, proposals
from actions.campaigns import Campaign, catalogue_of, get, lock, require, state_of
from actions.decisions import CONTACTED, Decision
from actions.errors import NamespaceTaken, OfferOver, OtherFile, Overtaken
from actions.offers import Catalogue
from actions.tables import CAMPAIGNS, MESSAGES
from programme.calendar import local_date
from programme.database import Database
from programme.files import sha256_of
from programme.settings import Programme

ROWS_AT_ONCE = 10_000


def launch(
    database: Database, programme: Programme, home: Path, campaign_id: str, *, now: datetime
) -> Campaign:
    """Write the decision log and the outbox of an approved campaign; launched twice: once.

    Raises
    ------
    InputRefused : if it was not approved, an offer no longer holds, its file is not the approved
        one, another campaign holds its members, or one was launched since it was proposed.
    """
    campaign = get(database, campaign_id)
    if campaign.state in ("launched", "closed"):
        return campaign
    catalogue = catalogue_of(database, programme, campaign.catalogue)
    day = local_date(now, programme.timezone)
    _refuse_over(campaign, catalogue, day)
    path = proposals.path_of(home, campaign_id, campaign.proposal)
    if not path.exists() or sha256_of(path) != campaign.proposal:
        raise OtherFile(
            f"{path} is not the file that was approved. Nothing was launched. Propose the "
            "campaign again, and look at it before you approve it."
        )

    def work(connection: Connection) -> None:
        lock(connection)
        state = state_of(connection, campaign_id)
        if state == "launched":
            return
        require(campaign_id, state, ("approved",), "launched")
        _refuse_overtaken(connection, campaign, path)
        decisions.log(connection, proposals.read(path, campaign_id), decided_at=now)
        post(connection, proposals.read(path, campaign_id), catalogue, day=day, now=now)
        connection.execute(
            update(CAMPAIGNS)
            .where(CAMPAIGNS.c.campaign_id == campaign_id)
            .values(state="launched", launched_at=now)
        )

    database.write(work)
    return get(database, campaign_id)


def post(
    connection: Connection,
    decided: Iterable[Decision],
    catalogue: Catalogue,
    *,
    day: date,
    now: datetime,
) -> None:
    """Put a message for everybody who is contacted into the outbox."""
    rows = (
        message(one, catalogue, day=day, now=now)
        for one in decided
        if one.arm in CONTACTED and one.offer is not None
    )
    while some := list(islice(rows, ROWS_AT_ONCE)):
        connection.execute(insert(MESSAGES), some)


def message(
    decision: Decision, catalogue: Catalogue, *, day: date, now: datetime
) -> dict[str, Any]:
    """Return the row of the outbox that a decision leads to."""
    assert decision.offer is not None
    offer = catalogue.named(decision.offer)
    valid_until = day + timedelta(days=offer.valid_days - 1)
    if offer.last_day is not None:
        valid_until = min(valid_until, offer.last_day)
    content = {
        "message_id": decision.decision_id, "campaign_id": decision.campaign_id,
        "member_id": decision.member_id, "offer": offer.id, "channel": offer.channel,
        "name": offer.name.model_dump(), "text": offer.says.model_dump(),
        "valid_until": str(valid_until), "points": str(offer.points) if offer.points else None,
        "products": list(decision.products),
    }  # fmt: skip
    return {
        "message_id": decision.decision_id, "campaign_id": decision.campaign_id,
        "member_id": decision.member_id, "offer": offer.id, "kind": offer.kind,
        "channel": offer.channel, "purpose": offer.purpose,
        "content": json.dumps(content, ensure_ascii=False), "points": catalogue.points(offer),
        "state": "waiting", "due_at": now, "attempts": 0,
    }  # fmt: skip


def _refuse_over(campaign: Campaign, catalogue: Catalogue, day: date) -> None:
    for offer in campaign.brief.chosen(catalogue):
        if not offer.holds_on(day):
            raise OfferOver(
                f"Offer {offer.id} holds from {offer.first_day or 'the beginning'} to "
                f"{offer.last_day or 'the end of days'}, and it is {day}. Nothing was launched. "
                "Adopt a catalogue in which it holds, and propose the campaign again."
            )


def _refuse_overtaken(connection: Connection, campaign: Campaign, path: Path) -> None:
    """Refuse a campaign whose members another one holds, or has contacted since."""
    rows = connection.execute(
        select(CAMPAIGNS.c.campaign_id, CAMPAIGNS.c.text, CAMPAIGNS.c.launched_at,
               CAMPAIGNS.c.state)
        .where(CAMPAIGNS.c.launched_at.is_not(None))
    ).all()  # fmt: skip
    space = campaign.brief.namespace
    for row in rows:
        other = brief.read(row.text).brief.namespace
        if row.state == "launched" and space and other and space.meets(other):
            raise NamespaceTaken(
                f"Campaign {row.campaign_id} holds buckets {other.first} to {other.end} of the "
                f"namespace {other.name!r}, and {campaign.campaign_id} asks for {space.first} to "
                f"{space.end}. Nothing was launched. Close that one, or give this one others."
            )
    since = [row.campaign_id for row in rows if row.launched_at > campaign.proposed_at]
    if not since:
        return
    # Caps, cool-downs and stocks were counted without them.
    theirs = set(
        connection.execute(
            select(MESSAGES.c.member_id).where(MESSAGES.c.campaign_id.in_(since))
        ).scalars()
    )
    both = sum(
        one.arm in CONTACTED and one.member_id in theirs
        for one in proposals.read(path, campaign.campaign_id)
    )
    if both:
        raise Overtaken(
            f"Campaign {since[0]} was launched after {campaign.campaign_id} was proposed, and "
            f"{both:,} members are contacted by both. Nothing was launched. Propose it again."
        )
