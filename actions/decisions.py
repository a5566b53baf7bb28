"""The decision log: what was decided about each member, and everything it was decided on.

It is only ever added to, in the transaction that launches a campaign, and answers "why did she get
this, and why not that?" for as long as the database is kept.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import Connection, insert, select

from actions.errors import NothingDecided
from actions.tables import CAMPAIGNS, DECISIONS, MESSAGES
from programme.database import Database

# treated: contacted as planned; explored: contacted with an offer drawn at random; control: would
# have been contacted; left_alone: nothing was worth it, or nothing was left; refused: by gates.
ArmName = Literal["treated", "explored", "control", "left_alone", "refused"]
CONTACTED: tuple[ArmName, ...] = ("treated", "explored")
ROWS_AT_ONCE = 2_000


@dataclass(frozen=True)
class Scored:
    """One offer as it stood for one member.

    Attributes
    ----------
    profit, error : expected incremental profit in minor units, and its standard error; None
        where a gate refused before anything was worked out
    chance : exact probability that the draw would have given her this offer
    refused : the gate that refused it
    """

    offer: str
    profit: float | None = None
    error: float | None = None
    chance: float = 0.0
    refused: str | None = None


@dataclass(frozen=True)
class Decision:
    """What was decided about one member in one campaign.

    Attributes
    ----------
    planned : the offer the plan chose; None: nobody's turn
    offer : the offer the draw gave her, before the control withheld it
    propensity : exact probability of what was done, under everything random in the campaign
    considered : every offer of the campaign, as it stood for her
    known : what was known of her that offers are learned by, as `audience.KNOWN` lists it; NaN
        where something was not. It lies in the proposal's file, not in the log
    value : what the shop keeps of her if she is active, in minor units
    products : that her offer names; they lie in the proposal's file and in the message
    """

    campaign_id: str
    member_id: str
    arm: ArmName
    planned: str | None
    offer: str | None
    propensity: float
    considered: tuple[Scored, ...] = field(default_factory=tuple)
    known: tuple[float, ...] = field(default=(), compare=False)
    value: float = field(default=0.0, compare=False)
    products: tuple[str, ...] = field(default=(), compare=False)

    @property
    def decision_id(self) -> str:
        """Return its id, which is also that of the message it leads to."""
        return f"{self.campaign_id}/{self.member_id}"

    def detail(self) -> str:
        """Return what is kept of the offers considered, as JSON."""
        return json.dumps(
            [
                [one.offer, _rounded(one.profit), _rounded(one.error), one.chance, one.refused]
                for one in self.considered
            ],
            separators=(",", ":"), allow_nan=False,
        )  # fmt: skip


def log(connection: Connection, decisions: Iterable[Decision], *, decided_at: datetime) -> int:
    """Add decisions to the log; return how many there were."""
    rows, written = list[dict[str, Any]](), 0
    for decision in decisions:
        rows.append(
            {
                "decision_id": decision.decision_id, "campaign_id": decision.campaign_id,
                "member_id": decision.member_id, "decided_at": decided_at, "arm": decision.arm,
                "planned": decision.planned, "offer": decision.offer,
                "propensity": decision.propensity, "detail": decision.detail(),
            }
        )  # fmt: skip
        if len(rows) == ROWS_AT_ONCE:
            connection.execute(insert(DECISIONS), rows)
            written, rows = written + len(rows), []
    if rows:
        connection.execute(insert(DECISIONS), rows)
    return written + len(rows)


@dataclass(frozen=True)
class Told:
    """One decision about a member, and what became of it."""

    decision: Decision
    decided_at: datetime
    facts: dict[str, Any]
    message: str | None
    why: str | None


def of_member(database: Database, member_id: str, *, limit: int = 20) -> list[Told]:
    """Return the decisions about a member, the newest first.

    Raises
    ------
    InputRefused : if nothing was ever decided about her.
    """
    sought = (
        select(DECISIONS, CAMPAIGNS.c.facts, MESSAGES.c.state, MESSAGES.c.why)
        .join(CAMPAIGNS, CAMPAIGNS.c.campaign_id == DECISIONS.c.campaign_id)
        .outerjoin(MESSAGES, MESSAGES.c.message_id == DECISIONS.c.decision_id)
        .where(DECISIONS.c.member_id == member_id)
        .order_by(DECISIONS.c.decided_at.desc(), DECISIONS.c.decision_id)
        .limit(limit)
    )
    with database.read() as connection:
        rows = connection.execute(sought).all()
    if not rows:
        raise NothingDecided(
            f"Nothing was ever decided about a member {member_id[:64]!r}. Nothing is shown. "
            "Decisions are made when a campaign is launched: perennial act launch CAMPAIGN."
        )
    return [
        Told(_decision(row), row.decided_at, json.loads(row.facts), row.state, row.why)
        for row in rows
    ]


def of_campaign(database: Database, campaign_id: str) -> list[Decision]:
    """Return every decision of a campaign, by member."""
    sought = (
        select(DECISIONS)
        .where(DECISIONS.c.campaign_id == campaign_id)
        .order_by(DECISIONS.c.member_id)
    )
    with database.read() as connection:
        return [_decision(row) for row in connection.execute(sought)]


def page(
    database: Database, campaign_id: str, *, after: str | None = None, limit: int
) -> list[Decision]:
    """Return some decisions of a campaign, by member, from the one after a member on."""
    sought = select(DECISIONS).where(DECISIONS.c.campaign_id == campaign_id)
    if after is not None:
        sought = sought.where(DECISIONS.c.member_id > after)
    with database.read() as connection:
        rows = connection.execute(sought.order_by(DECISIONS.c.member_id).limit(limit))
        return [_decision(row) for row in rows]


def considered(detail: str) -> tuple[Scored, ...]:
    """Read what `Decision.detail` wrote."""
    entries: Sequence[Sequence[Any]] = json.loads(detail)
    return tuple(Scored(*entry) for entry in entries)


def _decision(row: Any) -> Decision:
    return Decision(
        row.campaign_id, row.member_id, row.arm, row.planned, row.offer, row.propensity,
        considered(row.detail),
    )  # fmt: skip


def _rounded(value: float | None) -> float | None:
    # A ten-thousandth of a minor unit is finer than any estimate.
    return None if value is None else round(value, 4)
