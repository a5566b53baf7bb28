"""A feature: one SQL expression with its unit, its meaning, what absence means, and its use."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Use = Literal["model", "report"]
# What a column holds for a member of whom the group knows nothing.
Absent = float | None


@dataclass(frozen=True)
class Column:
    """One feature column.

    `sql` is an aggregate over the rows of its group. `absent` is what it holds for a member the
    group has no rows of; None leaves it empty, and `empty` says when that is, where the group's
    own sentence does not fit. A column with use "report" is shown to people and refused by
    training: text, and whatever a tier decided. `needs` are facts (see `features.carried`) that
    the programme's data must carry, or what it holds says nothing of anybody.
    """

    name: str
    unit: str
    meaning: str
    sql: str
    absent: Absent = None
    use: Use = "model"
    empty: str = ""
    needs: tuple[str, ...] = ()

    @property
    def is_text(self) -> bool:
        """Return whether the column holds names, not numbers."""
        return self.unit == "name"


@dataclass(frozen=True)
class FeatureGroup:
    """Columns that one SELECT computes: `rows` gives what is aggregated per member.

    Parameters
    ----------
    name, meaning : for people, and for the SQL
    rows : a SELECT over prepared relations, with the `key`
    columns : in table order
    reads : contract tables without whose rows every column is empty for everybody
    needs : facts that the programme's data must carry for any of the columns to mean something
    empty : when a column without a number for absence is empty
    by_line : the rows are nearly as many as purchase lines: made for some members at a time
    key : what names the member in them; her number is grouped faster than her name
    """

    name: str
    meaning: str
    rows: str
    columns: tuple[Column, ...]
    reads: tuple[str, ...] = ("purchases",)
    needs: tuple[str, ...] = ()
    empty: str = "nothing to measure it on"
    by_line: bool = False
    key: Literal["member_id", "member_no"] = "member_id"

    def __post_init__(self) -> None:
        """Refuse two columns of one name."""
        names = [column.name for column in self.columns]
        repeated = sorted({name for name in names if names.count(name) > 1})
        if repeated:
            raise ValueError(f"feature group {self.name} has {repeated} twice")

    @property
    def sql(self) -> str:
        """Return the group's SELECT: one row per member, the columns in order."""
        listed = ",\n    ".join(f"{column.sql} as {column.name}" for column in self.columns)
        return f"select {self.key},\n    {listed}\nfrom ({self.rows})\ngroup by {self.key}"

    def needed(self, column: Column) -> tuple[str, ...]:
        """Return the tables and facts that the data must carry for a column to mean something."""
        return tuple(dict.fromkeys((*self.reads, *self.needs, *column.needs)))

    def definition(self, column: Column) -> str:
        """Return everything the value of a column depends on, as text."""
        return "\n".join((self.rows, column.sql, repr(column.absent)))


def feature_set(groups: Iterable[FeatureGroup], names: Iterable[str], inputs: str) -> str:
    """Return the hash of what the named columns mean.

    Parameters
    ----------
    groups : in which the columns are looked up
    names : the columns a model consumes; their order does not matter
    inputs : SQL of the views all groups read

    Returns
    -------
    16 hexadecimal digits; equal exactly when every definition is equal

    Raises
    ------
    KeyError : if no group has a column of that name
    """
    definitions = {
        column.name: group.definition(column) for group in groups for column in group.columns
    }
    digest = hashlib.sha256(" ".join(inputs.split()).encode())
    for name in sorted(set(names)):
        digest.update(f"\n{name}: {' '.join(definitions[name].split())}".encode())
    return digest.hexdigest()[:16]
