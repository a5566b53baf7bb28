"""One member's points as arithmetic: lots that are granted, spent, returned and expire.

Nothing here knows a database or a clock. An `Account` is what was loaded under its lock; each
function below changes it and writes down in a `Draft` what moved, to be appended by the book.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from typing import Literal, NamedTuple

from loyalty.lasting import Life

Kind = Literal["EARN", "REDEEM", "EXPIRE", "ADJUST", "REVERSE", "TRANSFER", "ACTIVATE", "OPENING"]
Place = Literal["waiting", "remaining", "spent", "expired", "reversed"]
Purse = Literal[
    "active", "pending",  # the member's own
    "issued", "redeemed", "breakage", "adjusted", "opening", "transfers", "forgiven",
]  # fmt: skip
# Where the points of a grant come from, and go back to when it is reversed.
ORIGIN: dict[str, Purse] = {
    "EARN": "issued", "ADJUST": "adjusted", "OPENING": "opening", "TRANSFER": "transfers",
}  # fmt: skip
# Where points go that a member gives away, and come back from.
DESTINATION: dict[str, Purse] = {
    "REDEEM": "redeemed", "ADJUST": "adjusted", "TRANSFER": "transfers",
}  # fmt: skip
# Where a lot's points lie that she has, and in which of her accounts they are counted.
HELD: tuple[tuple[Place, Purse], ...] = (("waiting", "pending"), ("remaining", "active"))


@dataclass
class Lot:
    """One grant of points; each of them is in one of five places."""

    lot_no: int
    posting_no: int
    points: int
    available_at: datetime
    expires_at: datetime | None
    ends_at: datetime | None
    idle: bool
    waiting: int = 0
    remaining: int = 0
    spent: int = 0
    expired: int = 0
    reversed: int = 0

    def as_granted(self, recorded_at: datetime) -> "Lot":
        """Return it as its grant, recorded then, left it: all its points in one place."""
        waits = self.available_at > recorded_at
        return replace(
            self, waiting=self.points * waits, remaining=self.points * (not waits), spent=0,
            expired=0, reversed=0,
        )  # fmt: skip

    def move(self, source: Place, target: Place, points: int) -> None:
        """Move points from one place to another; no place holds less than none."""
        left = getattr(self, source) - points
        if points <= 0 or left < 0:
            raise AssertionError(f"{points} points of {self} cannot leave {source!r}")
        setattr(self, source, left)
        setattr(self, target, getattr(self, target) + points)


@dataclass(frozen=True)
class Qualifying:
    """What a posting counts for tiers and towards the daily cap, on its day."""

    points: int = 0
    cents: int = 0
    orders: int = 0
    engagements: int = 0
    capped_points: int = 0

    def __add__(self, other: "Qualifying") -> "Qualifying":
        return Qualifying(*(a + b for a, b in zip(self.amounts, other.amounts, strict=True)))

    def __neg__(self) -> "Qualifying":
        return Qualifying(*(-amount for amount in self.amounts))

    @property
    def amounts(self) -> tuple[int, int, int, int, int]:
        """Return its five numbers, in the order of its fields."""
        return (self.points, self.cents, self.orders, self.engagements, self.capped_points)


class Entry(NamedTuple):
    """Points that went from one account of the books to another."""

    source: Purse
    target: Purse
    points: int


class Allocation(NamedTuple):
    """Points of one lot that went from one place to another."""

    lot_no: int
    source: Place
    target: Place
    points: int


@dataclass
class Draft:
    """What one posting moves, while it is being worked out."""

    kind: Kind
    occurred_at: datetime
    day: date
    entries: list[Entry] = field(default_factory=list)
    allocations: list[Allocation] = field(default_factory=list)
    new_lots: list[Lot] = field(default_factory=list)
    expires_at: datetime | None = None


@dataclass
class Account:
    """What a member has, and her counters.

    `lots` are those seen so far: all with points left once `loaded`, and whichever others a
    reversal needed. `touched` are the numbers of those that changed.
    """

    member_id: str
    recorded_at: datetime
    postings: int = 0
    lots_made: int = 0
    active: int = 0
    pending: int = 0
    spent: int = 0
    expired: int = 0
    due_at: datetime | None = None
    idle_at: datetime | None = None
    chain: str = ""
    birthday: str | None = None
    lots: dict[int, Lot] = field(default_factory=dict)
    loaded: bool = False
    touched: set[int] = field(default_factory=set)

    @property
    def owed(self) -> int:
        """Return what she owes; while she does, no lot of hers has points to spend."""
        return max(0, -self.active)

    def end_of(self, lot: Lot) -> datetime | None:
        """Return the first moment a lot is worth nothing, if there is one."""
        return self.idle_at if lot.idle else lot.ends_at

    def open_lots(self) -> list[Lot]:
        """Return the lots with points left, in the order in which they are spent."""
        assert self.loaded, f"the lots of {self.member_id} are loaded before they are moved"
        # Two comparisons instead of a far date: lots that last for ever go last.
        return sorted(
            (lot for lot in self.lots.values() if lot.remaining or lot.waiting),
            key=lambda lot: (
                (end := self.end_of(lot)) is None,
                end or lot.available_at,
                lot.lot_no,
            ),
        )

    def _enter(self, draft: Draft, source: Purse, target: Purse, points: int) -> None:
        if draft.entries and (last := draft.entries[-1])[:2] == (source, target):
            draft.entries[-1] = Entry(source, target, last.points + points)
        else:
            draft.entries.append(Entry(source, target, points))
        for purse, change in ((source, -points), (target, points)):
            if purse == "active":
                self.active += change
            elif purse == "pending":
                self.pending += change
            elif purse == "redeemed":
                self.spent += change
            elif purse == "breakage":
                self.expired += change

    def _allocate(self, draft: Draft, lot: Lot, source: Place, target: Place, points: int) -> None:
        lot.move(source, target, points)
        draft.allocations.append(Allocation(lot.lot_no, source, target, points))
        self.touched.add(lot.lot_no)

    def _arrive(self, draft: Draft, lot: Lot, source: Purse, points: int) -> None:
        """Let points of a lot become spendable; what she owes is paid first."""
        owed = min(self.owed, points)
        self._enter(draft, source, "active", points)
        if owed:
            self._allocate(draft, lot, "remaining", "spent", owed)

    def grant(self, draft: Draft, points: int, life: Life, *, now: datetime) -> Lot:
        """Add one lot; it waits until `life.available_at` where that lies ahead."""
        self.lots_made += 1
        lot = Lot(
            self.lots_made, self.postings + 1, points, life.available_at, life.expires_at,
            life.ends_at, life.idle,
        ).as_granted(now)  # fmt: skip
        draft.new_lots.append(lot)
        draft.expires_at = life.ends_at
        if lot.waiting:
            self._enter(draft, ORIGIN[draft.kind], "pending", points)
        else:
            self._arrive(draft, lot, ORIGIN[draft.kind], points)
        self.lots[lot.lot_no] = lot
        self._expect(lot)
        return lot

    def take(self, draft: Draft, points: int) -> list[Allocation]:
        """Spend points, of the lot that expires first; the caller saw that she has them."""
        for lot in self.open_lots():
            if part := min(points, lot.remaining):
                self._allocate(draft, lot, "remaining", "spent", part)
                self._enter(draft, "active", DESTINATION[draft.kind], part)
                points -= part
        assert not points, f"{points} points of {self.member_id} were promised and not there"
        return list(draft.allocations)

    def take_back(
        self, draft: Draft, granted: list[Lot], points: int, origin: Purse, *, forgive: bool
    ) -> None:
        """Undo a grant, in whole or in part.

        First what is left of its own lots, then what expired of them (nobody has it: she loses
        nothing), then other lots, soonest to expire first. The rest she owes, or is forgiven.
        """
        for lot in granted:
            for place, purse in HELD:
                if part := min(points, getattr(lot, place)):
                    self._allocate(draft, lot, place, "reversed", part)
                    self._enter(draft, purse, origin, part)
                    points -= part
        for lot in granted:
            if part := min(points, lot.expired):
                self._allocate(draft, lot, "expired", "reversed", part)
                self._enter(draft, "breakage", origin, part)
                points -= part
        for lot in self.open_lots():
            if part := min(points, lot.remaining):
                self._allocate(draft, lot, "remaining", "spent", part)
                self._enter(draft, "active", origin, part)
                points -= part
        if points:
            self._enter(draft, "forgiven" if forgive else "active", origin, points)

    def give_back(
        self, draft: Draft, taken: list[tuple[Lot, int]], points: int, source: Purse
    ) -> None:
        """Undo a spending, in whole or in part: points return to the lots they came from.

        The lot that expires last gets its points back first, as if less had been spent. What she
        owes is paid from them first, even from a lot that has expired since.
        """
        for lot, most in reversed(taken):
            if part := min(points, most):
                self._allocate(draft, lot, "spent", "remaining", part)
                self._arrive(draft, lot, source, part)
                self._expect(lot)
                points -= part
        assert not points, f"{points} more points are returned than were taken"

    def due(self, now: datetime) -> Iterator[tuple[datetime, Kind, list[Lot]]]:
        """Yield what the clock did by `now`: lots that became spendable, lots that expired.

        In order of time; whoever iterates must carry each out before asking for the next.
        """
        while True:
            moments: dict[tuple[datetime, str, Kind], list[Lot]] = {}
            for lot in self.open_lots():
                end = self.end_of(lot)
                if lot.waiting and lot.available_at <= now:
                    moments.setdefault((lot.available_at, "a", "ACTIVATE"), []).append(lot)
                elif lot.remaining and end is not None and end <= now:
                    moments.setdefault((end, "b", "EXPIRE"), []).append(lot)
            if not moments:
                break
            moment = min(moments)
            yield moment[0], moment[2], moments[moment]
        self.due_at = None
        for lot in self.open_lots():
            self._expect(lot)

    def activate(self, draft: Draft, lots: list[Lot]) -> None:
        """Let lots that waited become spendable."""
        for lot in lots:
            points = lot.waiting
            self._allocate(draft, lot, "waiting", "remaining", points)
            self._arrive(draft, lot, "pending", points)
        ends = [end for lot in lots if (end := lot.ends_at) is not None]
        draft.expires_at = min(ends, default=None)

    def expire(self, draft: Draft, lots: list[Lot]) -> None:
        """Let what is left of lots be worth nothing."""
        for lot in lots:
            left = lot.remaining
            self._allocate(draft, lot, "remaining", "expired", left)
            self._enter(draft, "active", "breakage", left)

    def _expect(self, lot: Lot) -> None:
        """Remember when the clock next has something to do."""
        moment = lot.available_at if lot.waiting else self.end_of(lot)
        if (lot.waiting or lot.remaining) and moment is not None:
            self.due_at = moment if self.due_at is None else min(self.due_at, moment)
