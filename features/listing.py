"""Every feature column in one page: what it is, in which unit, when it is empty, who may use it."""

from features import table
from features.group import Column, FeatureGroup

_INTRODUCTION = """# Features

Made by `perennial features --list`; do not edit. One row for each member who ever bought, as of
a midnight of the programme: a column holds what had happened and was known before it. `_84d`
means the last 84 days. "Empty" says when a column has no value; a number there is what it holds
for a member of whom nothing is known. Columns for reports are shown to people and refused by
training.
"""


def as_markdown() -> str:
    """Return the page `docs/features.md` holds."""
    parts = [_INTRODUCTION]
    parts.append(
        f"{len(table.COLUMNS)} columns in {len(table.GROUPS)} groups; "
        f"{len(table.MODEL_COLUMNS)} of them may be consumed by models.\n"
    )
    for group in table.GROUPS:
        needs = [name for name in group.reads if name != "purchases"]
        sentence = group.meaning[0].upper() + group.meaning[1:] + "."
        if needs:
            sentence += f" Empty for everybody where nothing is known of {' or '.join(needs)}."
        parts.append(f"## {group.name}\n\n{sentence}\n")
        parts.append("| column | unit | meaning | empty | use |\n|---|---|---|---|---|")
        rows = "\n".join(_row(group, column) for column in group.columns)
        parts[-1] += f"\n{rows}\n"
    return "\n".join(parts)


def _row(group: FeatureGroup, column: Column) -> str:
    empty = f"{column.absent:g}" if column.absent is not None else column.empty or group.empty
    cells = (f"`{column.name}`", column.unit, column.meaning, empty, column.use)
    return "| " + " | ".join(cell.replace("|", "or") for cell in cells) + " |"
