"""The model card of a version: what must be known before its answers are trusted."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from programme.settings import Programme
from training.bundle import ModelFacts

_ASKED = {
    "churn": (
        "P(no purchase in the {days} days from as_of), for every member who ever bought.",
        "Ranking and counting members who may not come back; explaining one member's score.",
        "Choosing whom to send an offer: who is likely to leave is not who an offer would keep. "
        "That needs measured effects.",
    ),
    "value": (
        "Spend net of returns in the {days} days from as_of, in cents, expected per member.",
        "Planning and grouping members by expected spend; sums over many members.",
        "A promise about one member, or a limit of credit.",
    ),
    "repeat": (
        "Products a member bought before and will buy again within {days} days.",
        "Reminders and shopping lists.",
        "Cross-selling: it names nothing new.",
    ),
    "explore": (
        "Products a member never bought and will buy within {days} days.",
        "Choosing what to show her beside what she knows.",
        "Telling that showing it sells it: she may have found it alone.",
    ),
    "next_order": (
        "The day of each member's next purchase, within {days} days from as_of or later.",
        "Timing reminders; the interval says how sure the day is.",
        "A promise to one member: half of all next orders come before the expected day.",
    ),
}
CAVEATS = (
    "Reasons describe the model's arithmetic. They are not causes: changing what a reason names "
    "need not change what a member does.",
    "Judged on this programme's own past, forward in time. A season, a price round or a shop that "
    "the past did not hold is not in the figures.",
    "Tier, and every column made from it, is kept for reports; training refuses it.",
    "Declared attributes of members, and sensitive inferences, are not columns of a model.",
)


def made(
    board: Mapping[str, Any],
    facts: ModelFacts,
    kind: str,
    programme: Programme,
    *,
    trained_at: datetime,
    lake_version: int,
    seed: int,
) -> dict[str, Any]:
    """Write the card of a version that was just judged and registered.

    Parameters
    ----------
    board : `Leaderboard.to_dict`, with version, promoted and promotion
    facts, kind : of the registered model

    Returns
    -------
    JSON values; what is undefined is None

    Source
    ------
    Mitchell et al. (2019), Model Cards for Model Reporting, FAT* '19: details, intended use,
    factors, metrics, evaluation data, training data, quantitative analyses, considerations,
    caveats.
    """
    asked, use, misuse = _ASKED[facts.target]
    return {
        "details": {
            "name": board["name"],
            "version": board["version"],
            "kind": kind,
            "candidate": board["served"],
            "grade": board["grade"],
            "promoted": board["promoted"],
            "promotion": board["promotion"],
            "trained_at": trained_at.isoformat(),
            "git_sha": facts.git_sha,
            "feature_set": facts.feature_set,
            "columns": len(facts.columns),
            "weeks": facts.n_weeks,
            "seed": seed,
            "programme": programme.name,
        },
        "intended_use": {
            "answers": asked.format(days=facts.horizon_days),
            "for": use,
            "not_for": misuse,
        },
        "data": {
            "learned_from": f"{facts.data_from}..{facts.data_until}",
            "lake_version": lake_version,
            "validation_as_ofs": board["validation_as_ofs"],
            "test_as_ofs": board["populations"][0]["test_as_ofs"],
            "timezone": str(programme.timezone),
            "currency": programme.currency,
        },
        "performance": {
            "primary": board["primary"],
            "skill": board["skill"],
            "best_rule": board["best_rule"],
            "beside": board["beside"],
            "populations": [_population(each, board["served"]) for each in board["populations"]],
        },
        "caveats": list(CAVEATS),
    }


def as_markdown(card: Mapping[str, Any]) -> str:
    """Return the card as a page a person reads."""
    details, use, data = card["details"], card["intended_use"], card["data"]
    performance = card["performance"]
    skill = performance["skill"]
    lines = [
        f"# {details['name']}, version {details['version']}",
        "",
        f"{use['answers']} Served: {details['candidate']}, grade {details['grade']}.",
        "",
        "## Details",
        "",
        *_listed(details, leave_out=("name", "version")),
        "",
        "## Use",
        "",
        f"- For: {use['for']}",
        f"- Not for: {use['not_for']}",
        "",
        "## Data",
        "",
        *_listed(data),
        "",
        "## How good it is",
        "",
        f"Skill over the best rule ({performance['best_rule']}) on {performance['primary']}: "
        f"{_said(skill['mean'])} [{_said(skill['low'])}, {_said(skill['high'])}].",
        *(
            f"Beside {name}: {_said(gain['mean'])} [{_said(gain['low'])}, {_said(gain['high'])}]."
            for name, gain in performance["beside"].items()
        ),
        "",
        *_table(performance["populations"]),
        "",
        "## Caveats",
        "",
        *(f"- {caveat}" for caveat in card["caveats"]),
        "",
    ]
    return "\n".join(lines)


def _population(population: Mapping[str, Any], served: str) -> dict[str, Any]:
    entry = next(each for each in population["entries"] if each["name"] == served)
    return {
        "name": population["name"],
        "rows": population["rows"],
        "base_rate": population["base_rate"],
        "figures": entry["metrics"],
    }


def _listed(section: Mapping[str, Any], leave_out: Sequence[str] = ()) -> list[str]:
    return [
        f"- {name.replace('_', ' ')}: "
        f"{', '.join(map(str, value)) if isinstance(value, list) else value}"
        for name, value in section.items()
        if name not in leave_out
    ]


def _table(populations: Sequence[Mapping[str, Any]]) -> list[str]:
    names = list(dict.fromkeys(name for each in populations for name in each["figures"]))
    return [
        "| members | rows | base rate | " + " | ".join(names) + " |",
        "| --- " * (3 + len(names)) + "|",
        *(
            f"| {each['name']} | {each['rows']} | {_said(each['base_rate'])} | "
            + " | ".join(_said(each["figures"].get(name)) for name in names)
            + " |"
            for each in populations
        ),
    ]


def _said(figure: float | None) -> str:
    return "undefined" if figure is None else f"{figure:.4f}"
