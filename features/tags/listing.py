"""Every declared tag in one page: its names, what it means, and how it is decided."""

from features.tags import habits
from features.tags.columns import SCORES, SEGMENTS
from features.tags.goods import MEASURES
from features.tags.rules import Rules

_INTRODUCTION = """# Tags

Made by `perennial tags --list`; do not edit. A tag is a rule over what was known of a member at a
midnight of the programme; the rules stand in `features/tags/rules/*.toml`, and a programme adds
its own in `tags.toml` of its home. A tag in brackets is sensitive and off unless a programme turns
it on. How they are judged: [how-to/add-a-tag.md](how-to/add-a-tag.md).
"""


def as_markdown(rules: Rules) -> str:
    """Return the page `docs/tags.md` holds."""
    every = (*rules.tags, *rules.off)
    parts = [
        _INTRODUCTION,
        f"{len(every)} tags in {len({tag.family for tag in every})} families; "
        f"{len(rules.off)} of them are sensitive.\n",
    ]
    off = {tag.id for tag in rules.off}
    for family in rules.families:
        own = sorted((tag for tag in every if tag.family == family.id), key=lambda tag: tag.id)
        if own:
            rows = "\n".join(
                "| " + " | ".join((
                    f"({tag.id})" if tag.id in off else f"`{tag.id}`", tag.name.en, tag.name.zh,
                    tag.says.en,
                )) + " |"
                for tag in own
            )  # fmt: skip
            parts.append(
                f"## {family.name.en} · {family.name.zh}\n\n"
                f"| tag | name | 名称 | meaning |\n|---|---|---|---|\n{rows}\n"
            )
    parts.append(_columns())
    return "\n".join(parts)


def _columns() -> str:
    rows = [
        f"| `habits.{name}` | {column.unit} | {group.meaning}: {column.meaning} |"
        for name, (group, column) in habits.COLUMNS.items()
    ]
    rows += [
        f"| `goods.KIND.{name}` | {column.unit} | of a kind of goods: {column.meaning} |"
        for name, column in MEASURES.items()
    ]
    rows += [f"| `segments.{name}` | {kind} | of the members' segments |"
             for name, kind in SEGMENTS.items()]  # fmt: skip
    rows += [f"| `scores.{name}` | {kind} | of the champions' scores; asked alone |"
             for name, kind in SCORES.items()]  # fmt: skip
    return (
        "## What a rule may read\n\n"
        "Every column of [features.md](features.md) that no tier decided, and these. `KIND` is "
        "the id of a kind of goods in `00_goods.toml`; windows are said by the suffix.\n\n"
        "| column | unit | meaning |\n|---|---|---|\n" + "\n".join(rows) + "\n"
    )
