"""What was said and done before a decision: from the lake, and from our own outbox."""

from datetime import date, datetime

import duckdb
import pandas as pd
from sqlalchemy import Connection, delete, func, or_, select
from sqlalchemy.dialects import postgresql, sqlite

from actions.guardrails import History
from actions.tables import MESSAGES, SUPPRESSIONS
from features import engine, rollups
from features.identities import resolve, with_member, with_successor
from features.lake import Lake, Manifest
from programme.calendar import coming_midnight, local_date
from programme.database import Database
from programme.errors import InputRefused
from programme.settings import Programme, Settings

# What nothing looks further back for.
LOOK_BACK_DAYS = 366


def read(
    settings: Settings,
    programme: Programme,
    database: Database,
    *,
    now: datetime,
    only: str | None = None,
) -> History:
    """Return everything gates ask of, as known now.

    Parameters
    ----------
    only : a member, where nobody else matters
    """
    lake = Lake(settings)
    manifest = lake.manifest()
    day = coming_midnight(now, programme.timezone)
    with engine.connect(settings) as connection:
        resolve(connection, lake, manifest, day, programme.timezone)
        told = _Told(connection, lake, manifest, programme, now, only)
        consents, contacts = told.consents(), told.contacts("sent")
        redemptions, complaints = told.contacts("redeemed"), told.complaints()
    with database.read() as open_connection:
        ours = _ours(open_connection, programme, now, only)
        alone = suppressed(open_connection, local_date(now, programme.timezone))
    contacts = contacts[~contacts["id"].isin(ours["id"])]
    return History(
        consents,
        pd.concat([contacts.assign(kind=None), ours], ignore_index=True).drop(columns="id"),
        redemptions.drop(columns="id"),
        complaints,
        alone,
    )


class _Told:
    """The lake's tables of what members said, as they stand at one moment."""

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        lake: Lake,
        manifest: Manifest,
        programme: Programme,
        now: datetime,
        only: str | None,
    ) -> None:
        self.connection = connection
        self.lake, self.manifest = lake, manifest
        self.timezone = programme.timezone
        self.now = engine.instant(now)
        self.only = f"where member_id = {engine.text(only)}" if only is not None else ""

    def consents(self) -> pd.DataFrame:
        """Return the latest word on each channel and purpose; who opts out says no to offers."""
        return self._asked(
            f"""select member_id, channel, purpose, arg_max(granted, (occurred_at, not granted))
                as granted
            from (
                select member_id, channel, purpose, occurred_at, granted
                from ({self._rows("consents")})
                group by all having sum(sign) > 0
                union all
                select member_id, channel, 'marketing', occurred_at, false
                from ({self._rows("contacts")}) where kind = 'opted_out'
                group by member_id, channel, occurred_at having sum(sign) > 0
            ) {self.only} group by member_id, channel, purpose"""
        )

    def contacts(self, kind: str) -> pd.DataFrame:
        """Return what became of messages: id, member_id, channel and day."""
        return self._asked(
            f"""select contact_id as id, member_id, channel, {self._day()} as day
            from (
                select contact_id, member_id, channel, occurred_at
                from ({self._rows("contacts")}) where kind = {engine.text(kind)}
                group by all having sum(sign) > 0
            ) {self.only}"""
        )

    def complaints(self) -> pd.DataFrame:
        """Return who complained, and on which day."""
        mine = with_member(self._rows("events", resolved=False))
        return self._asked(
            f"""select member_id, {self._day()} as day from (
                select member_id, event_id, occurred_at from ({mine}) where kind = 'complaint'
                group by all having sum(sign) > 0
            ) {self.only}"""
        )

    def _rows(self, table: str, *, resolved: bool = True) -> str:
        known = f"select * from ({self.lake.rows_sql(table, self.manifest)})"
        known = f"{known} where known_at <= {self.now} and occurred_at <= {self.now}"
        known += f" and occurred_at > {self.now} - interval {LOOK_BACK_DAYS} day" * (
            table != "consents"
        )
        return with_successor(known) if resolved else known

    def _day(self) -> str:
        return f"cast({rollups.local_sql('occurred_at', self.timezone)} as date)"

    def _asked(self, sql: str) -> pd.DataFrame:
        found = self.connection.execute(sql).df()
        if "day" in found:
            found["day"] = [one.date() for one in found["day"]]
        return found


def _ours(
    connection: Connection, programme: Programme, now: datetime, only: str | None
) -> pd.DataFrame:
    """Return what our outbox sent, and what it has still to send: that counts as said too."""
    sought = select(
        MESSAGES.c.message_id, MESSAGES.c.member_id, MESSAGES.c.channel, MESSAGES.c.kind,
        MESSAGES.c.ended_at, MESSAGES.c.due_at,
    ).where(MESSAGES.c.state.in_(("sent", "waiting")))  # fmt: skip
    if only is not None:
        sought = sought.where(MESSAGES.c.member_id == only)
    rows = connection.execute(sought).all()
    return pd.DataFrame(
        [
            (
                row.message_id, row.member_id, row.channel, row.kind,
                local_date(row.ended_at or max(row.due_at, now), programme.timezone),
            )
            for row in rows
        ],
        columns=["id", "member_id", "channel", "kind", "day"],
    )  # fmt: skip


def given(database: Database) -> dict[str, int]:
    """Return of each offer how many were sent or are about to be, by its id."""
    counted = (
        select(MESSAGES.c.offer, func.count())
        .where(MESSAGES.c.state.in_(("sent", "waiting")))
        .group_by(MESSAGES.c.offer)
    )
    with database.read() as connection:
        return {offer: int(count) for offer, count in connection.execute(counted)}


def suppressed(connection: Connection, day: date) -> dict[str, str]:
    """Return why members are left alone on a day, by member_id."""
    holds = or_(SUPPRESSIONS.c.until.is_(None), SUPPRESSIONS.c.until >= day)
    rows = connection.execute(
        select(SUPPRESSIONS.c.member_id, SUPPRESSIONS.c.reason).where(holds)
    ).all()
    return {row.member_id: row.reason for row in rows}


def suppress(
    database: Database, member_id: str, reason: str, *, until: date | None, now: datetime
) -> None:
    """Leave a member alone from now on.

    Parameters
    ----------
    reason : a complaint, an open ticket, staff, fraud, a death: as people say it
    until : last day of it; None: for good

    Raises
    ------
    InputRefused : if the id or the reason is empty or too long.
    """
    if not 0 < len(member_id) <= 64 or not 0 < len(reason) <= 200:
        raise InputRefused(
            "A member_id has 1 to 64 characters and a reason 1 to 200. Nobody was suppressed."
        )
    row = {"member_id": member_id, "reason": reason, "until": until, "recorded_at": now}

    def work(connection: Connection) -> None:
        dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
        insert = dialect.insert(SUPPRESSIONS).values(row)
        connection.execute(
            insert.on_conflict_do_update(
                index_elements=["member_id"],
                set_={key: row[key] for key in ("reason", "until", "recorded_at")},
            )
        )

    database.write(work)


def unsuppress(database: Database, member_id: str) -> bool:
    """Leave a member alone no longer; return whether she was."""
    gone = delete(SUPPRESSIONS).where(SUPPRESSIONS.c.member_id == member_id)
    return bool(database.write(lambda connection: connection.execute(gone).rowcount))
