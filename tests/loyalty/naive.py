"""The ledger as a child would keep it: every point a counter on the table, moved one by one.

Slow, without sums, lots or a database; the real ledger is held to it after every step.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime

FAR = datetime.max.replace(tzinfo=UTC)


@dataclass
class Counter:
    """One point: which grant it came with, when it can be spent, where it lies now."""

    grant: str
    available_at: datetime
    ends_at: datetime | None
    number: int  # of the grant, in the order in which they were made
    where: str = "waiting"  # waiting, here, spent, expired, gone
    spent_on: str = ""

    @property
    def turn(self) -> tuple[datetime, int]:
        return self.ends_at or FAR, self.number


@dataclass
class NaiveMember:
    """One member's counters, and how many she owes."""

    counters: list[Counter] = field(default_factory=list)
    owed: int = 0
    grants: int = 0

    def here(self) -> list[Counter]:
        return sorted(
            (counter for counter in self.counters if counter.where == "here"),
            key=lambda counter: counter.turn,
        )

    def count(self, where: str) -> int:
        return sum(counter.where == where for counter in self.counters)

    @property
    def active(self) -> int:
        return self.count("here") - self.owed

    def arrive(self, counters: list[Counter]) -> None:
        for counter in counters:
            counter.where = "here"
            if self.owed:
                counter.where, counter.spent_on, self.owed = "spent", "what she owed", self.owed - 1

    def grant(
        self, name: str, points: int, available_at: datetime, ends_at: datetime | None,
        now: datetime,
    ) -> None:  # fmt: skip
        self.grants += 1
        new = [Counter(name, available_at, ends_at, self.grants) for _ in range(points)]
        self.counters += new
        if available_at <= now:
            self.arrive(new)

    def clock(self, now: datetime) -> None:
        while True:
            moments = [
                (counter.available_at, 0) for counter in self.counters
                if counter.where == "waiting" and counter.available_at <= now
            ] + [
                (counter.ends_at, 1) for counter in self.counters
                if counter.where == "here" and counter.ends_at and counter.ends_at <= now
            ]  # fmt: skip
            if not moments:
                return
            moment, what = min(moments)
            if what == 0:
                self.arrive([
                    counter for counter in self.counters
                    if counter.where == "waiting" and counter.available_at == moment
                ])  # fmt: skip
            else:
                for counter in self.counters:
                    if counter.where == "here" and counter.ends_at == moment:
                        counter.where = "expired"

    def spend(self, name: str, points: int) -> list[Counter] | None:
        if self.active < points:
            return None
        taken = self.here()[:points]
        for counter in taken:
            counter.where, counter.spent_on = "spent", name
        return taken

    def take_back(self, name: str, points: int, *, forgive: bool = False) -> None:
        for _ in range(points):
            mine = [counter for counter in self.counters if counter.grant == name]
            left = sorted(
                (counter for counter in mine if counter.where in ("here", "waiting")),
                key=lambda counter: counter.number,
            )
            expired = [counter for counter in mine if counter.where == "expired"]
            if found := [*left, *expired][:1]:
                found[0].where = "gone"
            elif others := self.here():
                others[0].where, others[0].spent_on = "spent", "what was taken back"
            elif not forgive:
                self.owed += 1

    def give_back(self, name: str, points: int) -> None:
        spent = [counter for counter in self.counters if counter.spent_on == name]
        for counter in sorted(spent, key=lambda counter: counter.turn, reverse=True)[:points]:
            counter.spent_on = ""
            self.arrive([counter])
