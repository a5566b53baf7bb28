"""Scopes: what a key opens."""

from collections.abc import Iterable, Mapping

from programme.errors import InputRefused

SCOPES: Mapping[str, str] = {
    "scores:read": "scores of members, with their reasons",
    "members:read": "profiles of members: features in words, segments, tags, stage",
    "events:write": "bring events",
    "purchases:write": "bring purchases",
    "actions:read": "offers, campaigns, their decisions and read-outs",
    "actions:write": "offers adopted; campaigns proposed, launched and closed; members suppressed",
    "loyalty:read": "balances, postings and tiers; try an order out",
    "loyalty:write": "earn, redeem, reverse, transfer and adjust points",
    "exports:read": "all scores of all members as files",
    "changes:read": "who moved from which band, stage, segment or tag to which",
    "models:read": "which models answer, and how they were judged",
    "metrics:read": "figures of the service itself, for Prometheus",
}


def check(scopes: Iterable[str]) -> frozenset[str]:
    """Return scopes that all exist.

    Raises
    ------
    InputRefused : if one does not, or there is none at all.
    """
    asked = frozenset(scopes)
    if not asked or not asked <= set(SCOPES):
        unknown = ", ".join(repr(one) for one in sorted(asked - set(SCOPES)))
        raise InputRefused(
            f"{f'There is no scope {unknown}' if asked else 'A key without a scope opens nothing'}."
            f" Nothing was changed. Scopes are {', '.join(SCOPES)}."
        )
    return asked


def as_markdown() -> str:
    """Return the table of scopes for the documentation."""
    rows = [f"| `{name}` | {meaning} |" for name, meaning in SCOPES.items()]
    return "\n".join(["| scope | opens |", "|---|---|", *rows]) + "\n"
