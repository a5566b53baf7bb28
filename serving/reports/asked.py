"""What was asked of a verb: options that cannot be had together are refused, never ignored."""

from collections.abc import Mapping
from typing import Any

from programme.errors import InputRefused


def refuse_together(option: str, others: Mapping[str, Any], why: str) -> None:
    """Refuse options that a verb could only ignore beside another.

    Parameters
    ----------
    others : their names and values; one that is absent, false or empty was not given
    why : a sentence

    Raises
    ------
    InputRefused : naming the first pair
    """
    for name, value in others.items():
        if value:
            raise InputRefused(
                f"{option} and {name} do not go together: {why} Nothing was done. Leave out one "
                "of the two."
            )


def check_tags(given: Mapping[str, Any], *, report: bool, listed: bool, language: str) -> None:
    """Refuse what `perennial tags` cannot do at once.

    Parameters
    ----------
    given : options that choose members, days and places

    Raises
    ------
    InputRefused : naming the first pair
    """
    if listed:
        others = {**given, "--report": report, "--language": language != "en"}
        refuse_together("--list", others, "it prints how every tag is declared, in both languages.")
    if report:
        others = {name: given[name] for name in ("--member", "--out", "--segments")}
        refuse_together("--report", others, "it judges all tags on five days, into the home.")
