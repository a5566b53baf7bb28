"""The life of a campaign: proposed, approved, launched, closed.

A proposal is a file that says what would be done to every member. Nothing is sent before somebody
approves exactly that file; `actions.launching` does what it says.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any, Literal

from sqlalchemy import Connection, delete, insert, select, text, update

from actions import brief, offers, proposals
from actions.brief import Asked, Brief
from actions.decisions import Decision
from actions.errors import (
    ActionRefused,
    AlreadyBegun,
    CatalogueConflict,
    Nobody,
    NotApproved,
    NotLaunched,
    NotProposed,
    UnknownCampaign,
)
from actions.offers import Catalogue
from actions.tables import CAMPAIGNS, CATALOGUES, MESSAGES
from programme.database import Database
from programme.errors import InputRefused, NotReady
from programme.settings import Programme

State = Literal["proposed", "approved", "launched", "closed"]
ROWS_AT_ONCE = 10_000
_OUT_OF_TURN: dict[str, type[ActionRefused]] = {
    "proposed again": AlreadyBegun, "approved": NotProposed, "launched": NotApproved,
    "closed": NotLaunched,
}  # fmt: skip
APPROVER_LENGTH_MAX = 100
# Any number that no other program on the server is likely to lock.
_LOCK = 7_302_711_206_116


@dataclass(frozen=True)
class Campaign:
    """One campaign and how far it has come.

    Attributes
    ----------
    catalogue : the version of the offers it was proposed with
    proposal : SHA-256 of the file that says what would be done
    facts : what the plan said: arms, prices, power, models
    """

    brief: Brief
    state: State
    catalogue: str
    as_of: date
    proposal: str
    facts: dict[str, Any]
    proposed_at: datetime
    approved_at: datetime | None
    approved_by: str | None
    launched_at: datetime | None
    closed_at: datetime | None
    readout: dict[str, Any] | None

    @property
    def campaign_id(self) -> str:
        """Return its id."""
        return self.brief.campaign


def adopt(database: Database, catalogue: Catalogue, *, now: datetime) -> bool:
    """Keep a version of the catalogue; the last adopted one holds. Return whether it was new.

    Raises
    ------
    InputRefused : if a version of that name was adopted with other content.
    """

    def work(connection: Connection) -> bool:
        known = connection.execute(
            select(CATALOGUES.c.version, CATALOGUES.c.text, CATALOGUES.c.adopted_no)
        ).all()
        for row in known:
            if row.version != catalogue.version:
                continue
            if row.text == catalogue.text:
                return False
            raise CatalogueConflict(
                f"The catalogue {catalogue.version} was adopted with other content. Nothing was "
                "changed: decisions name that version. Give the new offers a new version."
            )
        number = 1 + max((row.adopted_no for row in known), default=0)
        connection.execute(
            insert(CATALOGUES).values(
                version=catalogue.version, text=catalogue.text, adopted_no=number, recorded_at=now
            )
        )
        return True

    return database.write(work)


def catalogue_of(database: Database, programme: Programme, version: str | None = None) -> Catalogue:
    """Return an adopted catalogue; None: the last one.

    Raises
    ------
    NotReady : if none was adopted.
    """
    sought = select(CATALOGUES.c.text, CATALOGUES.c.version)
    if version is not None:
        sought = sought.where(CATALOGUES.c.version == version)
    with database.read() as connection:
        row = connection.execute(sought.order_by(CATALOGUES.c.adopted_no.desc()).limit(1)).first()
    if row is None:
        raise NotReady(
            "No offers were adopted yet. Nothing was done. Adopt some first: "
            "perennial act offers my-offers.toml (--example prints a file to begin with)."
        )
    return offers.read(row.text, programme, f"the catalogue {row.version}")


def propose(
    database: Database,
    home: Path,
    asked: Asked,
    catalogue: Catalogue,
    decided: Iterable[Decision],
    facts: dict[str, Any],
    *,
    as_of: date,
    now: datetime,
) -> Campaign:
    """Keep what would be done; a proposal that nobody approved yet is replaced.

    Raises
    ------
    InputRefused : if nobody would be contacted, or the campaign has been approved already.
    """
    campaign_id = asked.brief.campaign
    _refuse_begun(database, campaign_id)
    contacted, digest = proposals.write(decided, home, campaign_id)
    if not contacted:
        raise Nobody(
            f"Campaign {campaign_id} would contact nobody: {_why_nobody(facts)}. Nothing was "
            "proposed. Widen what its offers ask for, or choose others."
        )
    row = {
        "campaign_id": campaign_id, "state": "proposed", "text": asked.text,
        "catalogue": catalogue.version, "as_of": as_of, "proposal": digest,
        "facts": json.dumps(facts, allow_nan=False), "proposed_at": now,
    }  # fmt: skip

    def work(connection: Connection) -> None:
        lock(connection)
        state = state_of(connection, campaign_id)
        require(campaign_id, state, (None, "proposed"), "proposed again")
        connection.execute(delete(CAMPAIGNS).where(CAMPAIGNS.c.campaign_id == campaign_id))
        connection.execute(insert(CAMPAIGNS).values(row))

    database.write(work)
    return get(database, campaign_id)


def approve(database: Database, campaign_id: str, *, by: str, now: datetime) -> Campaign:
    """Say yes to exactly what was proposed.

    Parameters
    ----------
    by : who says it

    Raises
    ------
    InputRefused : if there is no such proposal; approving twice changes nothing.
    """
    if not 0 < len(by.strip()) <= APPROVER_LENGTH_MAX:
        raise InputRefused(
            f"Who approves is named with 1 to {APPROVER_LENGTH_MAX} characters. Nothing was "
            "approved."
        )

    def work(connection: Connection) -> None:
        lock(connection)
        state = state_of(connection, campaign_id)
        if state == "approved":
            return
        require(campaign_id, state, ("proposed",), "approved")
        connection.execute(
            update(CAMPAIGNS)
            .where(CAMPAIGNS.c.campaign_id == campaign_id)
            .values(state="approved", approved_at=now, approved_by=by.strip())
        )

    database.write(work)
    return get(database, campaign_id)


def close(
    database: Database, campaign_id: str, readout: dict[str, Any] | None, *, now: datetime
) -> Campaign:
    """End a launched campaign: what still waits is not sent, and its read-out is kept.

    Raises
    ------
    InputRefused : if it was not launched; closing twice changes nothing.
    """

    def work(connection: Connection) -> None:
        lock(connection)
        state = state_of(connection, campaign_id)
        if state == "closed":
            return
        require(campaign_id, state, ("launched",), "closed")
        mine = (MESSAGES.c.campaign_id == campaign_id) & (MESSAGES.c.state == "waiting")
        connection.execute(
            update(MESSAGES).where(mine).values(state="refused", why="closed", ended_at=now)
        )
        connection.execute(
            update(CAMPAIGNS)
            .where(CAMPAIGNS.c.campaign_id == campaign_id)
            .values(
                state="closed", closed_at=now,
                readout=None if readout is None else json.dumps(readout, allow_nan=False),
            )
        )  # fmt: skip

    database.write(work)
    return get(database, campaign_id)


def get(database: Database, campaign_id: str) -> Campaign:
    """Return a campaign.

    Raises
    ------
    InputRefused : if there is none of that id.
    """
    with database.read() as connection:
        row = connection.execute(
            select(CAMPAIGNS).where(CAMPAIGNS.c.campaign_id == campaign_id)
        ).first()
    if row is None:
        raise _unknown(campaign_id)
    return _campaign(row)


def every(database: Database) -> list[Campaign]:
    """Return all campaigns, the last proposed first."""
    with database.read() as connection:
        rows = connection.execute(
            select(CAMPAIGNS).order_by(CAMPAIGNS.c.proposed_at.desc(), CAMPAIGNS.c.campaign_id)
        ).all()
    return [_campaign(row) for row in rows]


# --- what is refused


def _refuse_begun(database: Database, campaign_id: str) -> None:
    with database.read() as connection:
        require(
            campaign_id, state_of(connection, campaign_id), (None, "proposed"), "proposed again"
        )


def require(
    campaign_id: str, state: State | None, allowed: tuple[State | None, ...], wish: str
) -> None:
    """Refuse a step that is out of turn.

    Raises
    ------
    ActionRefused : naming the state; each wish has a code of its own.
    """
    if state in allowed:
        return
    if state is None:
        raise _unknown(campaign_id)
    raise _OUT_OF_TURN[wish](
        f"Campaign {campaign_id} is {state}: it cannot be {wish}. Nothing was changed. A campaign "
        "is proposed, approved, launched and closed, in that order."
    )


def _unknown(campaign_id: str) -> UnknownCampaign:
    return UnknownCampaign(
        f"There is no campaign {campaign_id[:40]!r}. Nothing was done. perennial act list shows "
        "those there are."
    )


def _why_nobody(facts: dict[str, Any]) -> str:
    refused = {gate: count for gate, count in facts.get("refusals", {}).items() if count}
    if not refused:
        return "no offer is worth what it costs"
    most = sorted(refused.items(), key=lambda pair: -pair[1])[:3]
    said = "of members and offers, " + ", ".join(f"{count:,} {gate}" for gate, count in most)
    if most[0][0] == "no_consent":
        said += " (ingest consents; or, where they are kept elsewhere, let the catalogue's guards "
        said += 'say without_consent = "allow")'
    return said


# --- the row


def lock(connection: Connection) -> None:
    """Let no other campaign change state meanwhile; SQLite has one writer anyway."""
    if connection.dialect.name == "postgresql":
        connection.execute(text(f"select pg_advisory_xact_lock({_LOCK})"))


def state_of(connection: Connection, campaign_id: str) -> State | None:
    """Return how far a campaign has come; None: there is none of that id."""
    found = connection.execute(
        select(CAMPAIGNS.c.state).where(CAMPAIGNS.c.campaign_id == campaign_id)
    ).scalar()
    state: State | None = found
    return state


def _campaign(row: Any) -> Campaign:
    return Campaign(
        brief.read(row.text).brief, row.state, row.catalogue, row.as_of, row.proposal,
        json.loads(row.facts), row.proposed_at, row.approved_at, row.approved_by,
        row.launched_at, row.closed_at, None if row.readout is None else json.loads(row.readout),
    )  # fmt: skip
