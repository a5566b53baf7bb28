"""The versions of a programme's rules: each holds from its day until the next one's."""

from bisect import bisect_right
from datetime import date, datetime

from sqlalchemy import Connection, insert, select

from loyalty.errors import OutsideLimits
from loyalty.rules import Rules, read
from loyalty.tables import RULE_VERSIONS
from loyalty.terms import Terms
from programme.calendar import local_date
from programme.database import Database
from programme.errors import InputRefused, NotReady
from programme.settings import Programme


class Rulebook:
    """All versions, by the day from which each holds."""

    def __init__(self, programme: Programme, versions: list[Rules]) -> None:
        self.programme = programme
        self.versions = sorted(versions, key=lambda rules: rules.file.valid_from)

    @classmethod
    def load(cls, connection: Connection, programme: Programme) -> "Rulebook":
        """Read every version that was adopted."""
        rows = connection.execute(select(RULE_VERSIONS.c.version, RULE_VERSIONS.c.text)).all()
        return cls(
            programme,
            [read(row.text, programme, f"rules {row.version}") for row in rows],
        )

    def on(self, day: date) -> Rules:
        """Return the version that holds on a day of the programme.

        Raises
        ------
        NotReady : if none does.
        """
        place = bisect_right([rules.file.valid_from for rules in self.versions], day)
        if place == 0:
            raise NotReady(
                f"No rules hold on {day}. Nothing was done. Adopt some first: "
                "perennial points rules my-rules.toml (--example prints a file to begin with)."
            )
        return self.versions[place - 1]

    def at(self, instant: datetime) -> Rules:
        """Return the version that holds at an instant; see `on`."""
        return self.on(local_date(instant, self.programme.timezone))

    def check(self, instant: datetime) -> None:
        """Refuse what happened before there were rules.

        Raises
        ------
        OutsideLimits : naming the first day that has rules.
        NotReady : if there are none yet.
        """
        day = local_date(instant, self.programme.timezone)
        first = self.versions[0].file.valid_from if self.versions else self.on(day).file.valid_from
        if day < first:
            raise OutsideLimits(
                f"It is of {day}; the first rules hold from {first}. Nothing was posted. Adopt a "
                "version that holds from then, or leave it out."
            )

    def named(self, version: str) -> Rules:
        """Return one version by its name."""
        return next(rules for rules in self.versions if rules.version == version)

    def terms(self, now: datetime) -> Terms:
        """Return the ledger's terms as they hold now."""
        return self.at(now).terms


def load(database: Database, programme: Programme) -> Rulebook:
    """Read the rules of a programme from its database."""
    with database.read() as connection:
        return Rulebook.load(connection, programme)


def adopt(database: Database, programme: Programme, rules: Rules, *, now: datetime) -> bool:
    """Keep a version of the rules for ever; return whether it was new.

    Orders that earned under another version keep it, also for goods returned later.

    Raises
    ------
    InputRefused : if a version of that name, or from that day on, has other rules.
    """

    def work(connection: Connection) -> bool:
        for known in Rulebook.load(connection, programme).versions:
            if known.version == rules.version and known.text == rules.text:
                return False
            if known.version == rules.version:
                raise InputRefused(
                    f"Rules {rules.version} were adopted with other content. Nothing was changed: "
                    "postings name that version. Give the new rules a new version and valid_from."
                )
            if known.file.valid_from == rules.file.valid_from:
                raise InputRefused(
                    f"Rules {known.version} hold from {rules.file.valid_from} already. Nothing "
                    f"was changed. Give {rules.version} another valid_from."
                )
            _refuse_reopened(known, rules)
        connection.execute(
            insert(RULE_VERSIONS).values(
                version=rules.version, valid_from=rules.file.valid_from, text=rules.text,
                recorded_at=now,
            )
        )  # fmt: skip
        return True

    return database.write(work)


def _refuse_reopened(known: Rules, rules: Rules) -> None:
    """Refuse a version by which, or after which, closed books would be open again."""
    first, second = sorted((known, rules), key=lambda one: one.file.valid_from)
    shut, later = first.file.limits.closed_through, second.file.limits.closed_through
    if shut is not None and (later is None or later < shut):
        raise InputRefused(
            f"Rules {first.version} close the books through {shut}, and {second.version}, which "
            "hold after them, would open them again. Nothing was changed. Books that are closed "
            f"stay closed: write closed_through = {shut}, or a later day."
        )
