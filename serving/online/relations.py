"""Whose rows have to do with each other: identities join names, and so do corrections.

A line that is corrected may come under another member than before; then both are computed again,
now and whenever one of them is, until the lake holds the correction.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from serving.online.history import History
from serving.online.recent import WaitingRow


@dataclass(frozen=True)
class Groups:
    """Names that are computed together.

    Parameters
    ----------
    names : name -> number of its group
    component : of the history, that holds the rows of a name; names it never saw have none
    """

    names: Mapping[str, int]
    component: Mapping[str, int]

    def components(self, names: Iterable[str]) -> set[int]:
        """Return the components of the history that hold the rows of some names."""
        return {self.component[name] for name in names if name in self.component}

    def alone(self) -> set[str]:
        """Return the names that have to do with no other."""
        members = Counter(self.names.values())
        return {name for name, group in self.names.items() if members[group] == 1}

    def last_of(self, rows: Iterable[tuple[str, int]], position: int) -> Callable[[str], int]:
        """Return a function of a name: the last row of the inbox that its group has."""
        last: dict[int, int] = {}
        for name, seq in rows:
            group = self.names[name]
            last[group] = max(seq, last.get(group, position))
        return lambda name: last.get(self.names.get(name, -1), position)

    def latest_of(
        self, rows: Iterable[tuple[str, datetime]]
    ) -> Callable[[str, datetime], datetime]:
        """Return a function of a name and a moment: when its group last came to say something."""
        latest: dict[int, datetime] = {}
        for name, moment in rows:
            group = self.names[name]
            latest[group] = max(moment, latest.get(group, moment))
        return lambda name, least: max(least, latest.get(self.names.get(name, -1), least))


class Relations:
    """What joins the names of a history and of the rows that came after it."""

    def __init__(self, history: History) -> None:
        self._history = history
        self._of_key: dict[tuple[str, str], str] = {}
        self._links: dict[str, set[str]] = {}

    def note(self, rows: Iterable[WaitingRow], holders: Mapping[str, set[str]]) -> None:
        """Note rows in their order, and whose stored rows they may be versions of."""
        for row in rows:
            earlier = self._of_key.setdefault((row.kind, row.key), row.source_key)
            self._join(earlier, row.source_key)
        for name, others in holders.items():
            for other in others:
                self._join(name, other)

    def groups(self, names: Iterable[str]) -> Groups:
        """Return the names, everybody they have to do with, and who belongs together."""
        component: dict[str, int] = {}
        frontier = set(names)
        parent: dict[str, str] = {}

        def top(name: str) -> str:
            while parent.setdefault(name, name) != name:
                parent[name] = parent[parent[name]]
                name = parent[name]
            return name

        first: dict[int, str] = {}
        while frontier:
            found = self._history.components_of(frontier)
            new = set(found.values()) - set(first)
            beside = self._history.components_of(self._history.names_of(new)) if new else {}
            for name, one in {**found, **beside}.items():
                component[name] = one
                parent[top(name)] = top(first.setdefault(one, name))
            reached = frontier | set(beside)
            following: set[str] = set()
            for name in reached:
                top(name)
                for other in self._links.get(name, ()):
                    if other not in parent:
                        following.add(other)
                    parent[top(other)] = top(name)
            frontier = following
        tops = {one: number for number, one in enumerate(dict.fromkeys(map(top, list(parent))))}
        return Groups({name: tops[top(name)] for name in parent}, component)

    def _join(self, one: str, other: str) -> None:
        if one != other:
            self._links.setdefault(one, set()).add(other)
            self._links.setdefault(other, set()).add(one)
