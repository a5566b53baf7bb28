"""Rows of a CSV file as they come to the ledger: purchases, events, balances, birthdays.

Each row is known by its own ids, so that a file that is taken twice, or was stopped half-way,
counts once.
"""

import csv
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import NamedTuple, TypeVar

from loyalty.behaviours import Event, take_events
from loyalty.birthdays import keep_birthdays, month_and_day
from loyalty.earning import Line
from loyalty.errors import Malformed, PostingConflict, PostingRefused
from loyalty.intake import Taken
from loyalty.lasting import Lasting
from loyalty.orders import Purchase, take_purchases
from loyalty.points import post_many, posted_ids
from loyalty.postings import Request, check_member, digest
from programme.calendar import zone
from programme.errors import InputRefused
from programme.words import MINOR_DIGITS
from serving.points import PointsDesk

ROWS_AT_ONCE = 2_000
SHOWN = 20
NUMBER = "number."
# The year in which other systems let end what has no end.
NEVER = 9999
# Digits as a till prints them: Python would also read 1_0, and digits of every script.
_NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,9})?")

Held = TypeVar("Held")


class Column(NamedTuple):
    """A column of a file: what it is called and what it holds."""

    name: str
    needed: bool
    holds: str


_WHEN = "2018-03-08T17:30:00Z; without a timezone it is the programme's"
COLUMNS: dict[str, tuple[Column, ...]] = {
    "purchases": (
        Column("source", True, "the system it comes from"),
        Column("order_id", True, "the order: what earns"),
        Column("line_no", True, "the line within it; a line earns once"),
        Column("member_id", True, "who bought"),
        Column("occurred_at", True, _WHEN),
        Column("net", True, "what was paid, such as 12.50; below nought for returns"),
        Column("quantity", False, "1 if left out"),
        Column("product_id", False, ""),
        Column("category", False, "a path, such as FOOD/FRESH"),
        Column("channel", False, ""),
        Column("returns_order_id", False, "the order whose goods come back"),
        Column("currency", False, "the programme's; another is refused"),
        Column(NUMBER + "NAME", False, "any number that rules earn by, such as number.weight"),
    ),
    "events": (
        Column("source", True, "the system it comes from"),
        Column("event_id", True, "an event earns once"),
        Column("member_id", True, "who did it"),
        Column("occurred_at", True, _WHEN),
        Column("kind", True, "a behaviour of the rules, such as check_in"),
        Column("value", False, "points, where the rules take them from the event"),
    ),
    "balances": (
        Column("member_id", True, "who brings points from the system before"),
        Column("points", True, "how many, such as 12.50"),
        Column(
            "expires_on",
            False,
            "last day they can be spent; 9999-12-31: never; left out: as the rules say",
        ),
        Column("lot", False, "tells two of her balances with one last day apart"),
    ),
    "birthdays": (
        Column("member_id", True, ""),
        Column("birthday", True, "02-29, or with the year, which is not kept; empty: forget it"),
    ),
}


@dataclass
class FileTaken:
    """What became of a file's rows; `refused` are the first few, of `refusals` in all.

    `unnamed` are events of kinds that no rule names; `keys` are those of balances: within one file,
    each is there once.
    """

    rows: int = 0
    postings: int = 0
    known: int = 0
    unnamed: int = 0
    refusals: int = 0
    refused: tuple[str, ...] = ()
    keys: set[str] = field(default_factory=set)

    def refuse(self, line_no: int, why: object) -> None:
        """Count a row that was not taken."""
        self.refusals += 1
        if len(self.refused) < SHOWN:
            self.refused += (f"line {line_no}: {why}",)


# A row and the line of the file it ends on.
Row = tuple[int, dict[str, str]]


def take(
    desk: PointsDesk,
    kind: str,
    path: Path,
    *,
    now: datetime,
    tell: Callable[[str], None] = lambda _: None,
) -> FileTaken:
    """Take the rows of a file, some in each transaction; taken again, they count once.

    Parameters
    ----------
    kind : one of `COLUMNS`
    tell : is told how far it is

    Raises
    ------
    InputRefused : if the file cannot be opened or has other columns; nothing of it was taken.
    """
    done = FileTaken()
    rows = _rows(kind, path, done)
    while some := list(islice(rows, ROWS_AT_ONCE)):
        done.rows += len(some)
        _TAKERS[kind](desk, some, now, done)
        tell(f"{done.rows:,} rows, {done.postings:,} postings")
    return done


def whole(written: str, places: int) -> int | None:
    """Return a written number in units of its last of `places` decimals; None if it is finer."""
    if not _NUMBER.fullmatch(written.strip()):
        return None
    found = Decimal(written.strip())
    # Beyond its 28 digits Decimal would round, and a short exponent can mean a very long number.
    if len(found.as_tuple().digits) > 20 or abs(found.adjusted()) > 20:
        return None
    units = found.scaleb(places)
    return int(units) if units == units.to_integral_value() else None


def _rows(kind: str, path: Path, done: FileTaken) -> Iterator[Row]:
    """Yield rows up to the end, or to where the file cannot be read, which is then refused."""
    known = [column.name for column in COLUMNS[kind] if not column.name.startswith(NUMBER)]
    needed = [column.name for column in COLUMNS[kind] if column.needed]
    line_no = 0
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            there = list(reader.fieldnames or ())
            others = [
                name for name in there
                if name not in known and not (kind == "purchases" and name.startswith(NUMBER))
            ]  # fmt: skip
            twice = sorted({name for name in there if there.count(name) > 1})
            if others or twice or not set(needed) <= set(there):
                raise InputRefused(
                    f"{path} holds no {kind}: its headings are {', '.join(there) or 'none'}; "
                    f"needed are {', '.join(needed)}"
                    + (f"; not known are {', '.join(others)}" if others else "")
                    + (f"; there twice are {', '.join(twice)}" if twice else "")
                    + ". Nothing was taken. `perennial points columns` lists all of them; commas "
                    "stand between them."
                )
            line_no = reader.line_num
            for row in reader:
                line_no = reader.line_num
                yield line_no, row
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        if not line_no:
            raise InputRefused(f"{path} cannot be read: {error}. Nothing was taken.") from error
        done.refuse(line_no + 1, f"cannot be read: {error}. Nothing from here on was taken.")


def _take_purchases(desk: PointsDesk, rows: Sequence[Row], now: datetime, done: FileTaken) -> None:
    timezone = desk.programme.timezone
    digits = MINOR_DIGITS.get(desk.programme.currency, 2)

    def read(cells: "_Cells") -> Purchase:
        numbers = {
            name.removeprefix(NUMBER): cells.number(name)
            for name in cells.row if name.startswith(NUMBER) and cells.text(name)
        }  # fmt: skip
        quantity = cells.number("quantity") if cells.text("quantity") else 1.0
        line = Line(
            cells.needed("line_no"), cells.units("net", digits), quantity,
            cells.text("product_id"), cells.text("category"), cells.text("channel"), numbers,
        )  # fmt: skip
        return Purchase(
            cells.needed("source"), cells.needed("order_id"), cells.needed("member_id"),
            cells.instant("occurred_at", timezone), line, cells.text("returns_order_id"),
            cells.text("currency"),
        )  # fmt: skip

    numbers, purchases = _read(rows, read, done)
    _count(take_purchases(desk.database, desk.rules, purchases, now=now), numbers, done)


def _take_events(desk: PointsDesk, rows: Sequence[Row], now: datetime, done: FileTaken) -> None:
    timezone = desk.programme.timezone

    def read(cells: "_Cells") -> Event:
        return Event(
            cells.needed("source"), cells.needed("event_id"), cells.needed("member_id"),
            cells.instant("occurred_at", timezone), cells.needed("kind"),
            cells.number("value") if cells.text("value") else None,
        )  # fmt: skip

    numbers, events = _read(rows, read, done)
    _count(take_events(desk.database, desk.rules, events, now=now), numbers, done)


def _take_balances(desk: PointsDesk, rows: Sequence[Row], now: datetime, done: FileTaken) -> None:
    scale = desk.programme.points_scale

    def read(cells: "_Cells") -> Request:
        member_id, last_day = cells.needed("member_id"), cells.day("expires_on")
        lasting = None if last_day is None else Lasting("date", last_day=last_day)
        if last_day is not None and last_day.year == NEVER:
            lasting = Lasting()
        key = digest([member_id, last_day, cells.text("lot")])[:40]
        if key in done.keys:
            raise Malformed(
                f"{member_id!r} has a balance with that last day before it in this file. It was "
                "not taken. Give each a lot of its own."
            )
        done.keys.add(key)
        return Request(
            "OPENING", f"opening/{key}", member_id, cells.units("points", scale), lasting=lasting
        )

    numbers, requests = _read(rows, read, done)
    before = posted_ids(desk.database, [request.posting_id for request in requests])
    answers = post_many(desk.database, desk.rules.terms(now), requests, now=now)
    for number, request, answer in zip(numbers, requests, answers, strict=True):
        if isinstance(answer, PostingConflict):
            done.refuse(number, f"{request.member_id!r} brought another balance with that last "
                        "day. It was not taken. Correct a balance with an adjustment, or give "
                        "each a lot of its own.")  # fmt: skip
        elif isinstance(answer, PostingRefused):
            done.refuse(number, f"{request.member_id!r}: {answer}")
        elif request.posting_id in before:
            done.known += 1
        else:
            done.postings += 1


def _take_birthdays(desk: PointsDesk, rows: Sequence[Row], now: datetime, done: FileTaken) -> None:
    def read(cells: "_Cells") -> tuple[str, str | None]:
        member_id, written = cells.needed("member_id"), cells.text("birthday")
        check_member(member_id)
        return member_id, None if written is None else month_and_day(written)

    _, birthdays = _read(rows, read, done)
    keep_birthdays(desk.database, desk.rules.terms(now), dict(birthdays), now=now)


_TAKERS: dict[str, Callable[[PointsDesk, Sequence[Row], datetime, FileTaken], None]] = {
    "purchases": _take_purchases, "events": _take_events, "balances": _take_balances,
    "birthdays": _take_birthdays,
}  # fmt: skip


def _read(
    rows: Sequence[Row], read: Callable[["_Cells"], Held], done: FileTaken
) -> tuple[list[int], list[Held]]:
    """Return what the rows that can be read hold, with the lines they stand on."""
    numbers, found = list[int](), list[Held]()
    for line_no, row in rows:
        try:
            found.append(read(_Cells(row)))
        except PostingRefused as refused:
            done.refuse(line_no, refused)
        else:
            numbers.append(line_no)
    return numbers, found


def _count(taken: Taken, numbers: Sequence[int], done: FileTaken) -> None:
    done.postings += len(taken.postings)
    done.known += taken.known
    done.unnamed += taken.unnamed
    for refusal in taken.refusals:
        done.refuse(numbers[refusal.index], refusal.refused)


class _Cells:
    """The cells of one row, read as what they should be."""

    def __init__(self, row: dict[str, str]) -> None:
        if None in row or None in row.values():
            raise Malformed("It has more or fewer cells than there are headings. It was not taken.")
        self.row = row

    def text(self, name: str) -> str | None:
        return self.row.get(name, "").strip() or None

    def needed(self, name: str) -> str:
        found = self.text(name)
        if found is None:
            raise Malformed(f"{name} is empty. It was not taken.")
        return found

    def number(self, name: str) -> float:
        written = self.needed(name)
        if not _NUMBER.fullmatch(written):
            raise _no(name, written, "a number")
        return float(written)

    def units(self, name: str, places: int) -> int:
        found = whole(self.needed(name), places)
        if found is None:
            raise _no(name, self.row[name], f"a number with at most {places} decimal places")
        return found

    def instant(self, name: str, timezone: str) -> datetime:
        try:
            found = datetime.fromisoformat(self.needed(name))
        except ValueError as error:
            raise _no(name, self.row[name], "an instant such as 2018-03-08T17:30:00Z") from error
        return found if found.tzinfo is not None else found.replace(tzinfo=zone(timezone))

    def day(self, name: str) -> date | None:
        written = self.text(name)
        try:
            return None if written is None else date.fromisoformat(written)
        except ValueError as error:
            raise _no(name, self.row[name], "a day such as 2018-12-31") from error


def _no(name: str, written: str, wanted: str) -> Malformed:
    return Malformed(f"{name} is {written!r:.60}, not {wanted}. It was not taken.")
