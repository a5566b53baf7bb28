"""What comes in from outside: what became of it, how far it was taken, what cannot be meant."""

import unicodedata
from dataclasses import dataclass, field
from datetime import MAXYEAR, MINYEAR, datetime

from sqlalchemy import Connection, select

from loyalty.errors import Malformed, PostingRefused
from loyalty.postings import Posting
from loyalty.statements import Write, write
from loyalty.tables import WATERMARKS
from programme.database import Database


@dataclass(frozen=True)
class Refusal:
    """What could not be taken, and why; nothing of it was posted.

    Attributes
    ----------
    index : its place in the batch, from 0
    """

    index: int
    key: str
    refused: PostingRefused


@dataclass
class Taken:
    """What became of a batch.

    Attributes
    ----------
    postings : in order
    known : lines or events that had come before
    unnamed : events of kinds that no rule names
    refusals : each with the order and line, or event, it is about
    """

    postings: list[Posting] = field(default_factory=list)
    known: int = 0
    unnamed: int = 0
    refusals: list[Refusal] = field(default_factory=list)


def position(database: Database, feed: str) -> str | None:
    """Return how far a feed was taken; None where it never was."""
    with database.read() as connection:
        query = select(WATERMARKS.c.position).where(WATERMARKS.c.feed == feed)
        return connection.execute(query).scalar()


def remember(database: Database, feed: str, position: str) -> None:
    """Remember how far a feed was taken, where nothing else is written with it."""
    database.write(lambda connection: note(connection, (feed, position)))


def note(connection: Connection, watermark: tuple[str, str] | None) -> None:
    """Write down how far a feed was taken, in the transaction that took it."""
    if watermark is not None:
        position = dict(zip(("feed", "position"), watermark, strict=True))
        write(connection, Write("upsert", WATERMARKS, [position]))


def check_text(name: str, text: str, longest: int) -> None:
    """Refuse text that cannot be kept, or that would steer the terminal it is shown on."""
    if (
        not isinstance(text, str)
        or not 0 < len(text) <= longest
        or (not text.isprintable() and any(unicodedata.category(c) in ("Cc", "Cs") for c in text))
    ):
        raise Malformed(
            f"{name} is {text!r:.80}; it must be text of 1 to {longest} characters without control "
            "characters. It was not taken."
        )


def check_instant(moment: datetime, name: str = "occurred_at") -> None:
    """Refuse an instant without its timezone, or so near the ends of time that zones end before."""
    if moment.tzinfo is None:
        raise Malformed(f"{name} is {moment}, without a timezone.")
    if not MINYEAR < moment.year < MAXYEAR:
        raise Malformed(f"{name} is {moment}, at an end of the calendar. Correct the date.")


def check_number(name: str, number: float) -> None:
    """Refuse what is no number, or one that cannot be meant."""
    # NaN fails every comparison.
    if isinstance(number, bool) or not isinstance(number, int | float) or not abs(number) <= 1e12:
        raise Malformed(f"{name} is {number!r:.40}, not a number within 1e12.")
