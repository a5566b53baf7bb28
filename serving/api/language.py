"""Which of our languages a caller reads."""

from collections.abc import Sequence
from typing import Annotated

from fastapi import Header, Response

from programme import words

# A route's parameter: which languages its caller reads.
Accepted = Annotated[str | None, Header(alias="Accept-Language")]


def choose(accepted: str | None, offered: Sequence[str]) -> str:
    """Pick the offered language that an Accept-Language header likes best.

    Parameters
    ----------
    accepted : header value such as "zh-CN,zh;q=0.9,en;q=0.8"; anything unreadable is skipped
    offered : primary tags, the first being the answer when nothing fits

    Source
    ------
    RFC 9110, section 12.5.4; ranges are matched by their primary tag (RFC 4647, section 3.4).
    """
    best, best_quality = offered[0], 0.0
    for part in (accepted or "")[:500].split(","):
        tag, _, parameters = part.strip().partition(";")
        primary = tag.strip().partition("-")[0].lower()
        quality = _quality(parameters)
        if primary in offered and quality > best_quality:
            best, best_quality = primary, quality
    return best


def offered(languages: Sequence[str]) -> list[str]:
    """Return those of a programme's languages we speak; English where there is none."""
    return [name for name in languages if name in words.LANGUAGES] or ["en"]


def speak(accepted: str | None, languages: Sequence[str], response: Response) -> str:
    """Return the language to answer in, of a programme's, and say so in the answer."""
    spoken = choose(accepted, offered(languages))
    response.headers["Content-Language"] = spoken
    return spoken


def _quality(parameters: str) -> float:
    name, _, value = parameters.strip().partition("=")
    if not name:
        return 1.0
    try:
        quality = float(value) if name.strip() == "q" else 1.0
    except ValueError:
        return 0.0
    return quality if 0.0 <= quality <= 1.0 else 0.0
