"""All tags of a programme: read from the files, templates expanded, checked together, ordered."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any

from features.carried import lacking
from features.tags import columns, declared, outcomes
from features.tags.catalogue import Catalogue, taken
from features.tags.columns import Known
from features.tags.comparison import Compare
from features.tags.conditions import Among, Holds, walk
from features.tags.declared import Declaration, Family, Goods, RulesFile, Tag
from features.tags.templates import expanded
from programme.errors import InputRefused

BUILT_IN = Path(__file__).with_name("rules")
OWN_FILE = "tags.toml"
# A programme with more tags than members' patience has a template gone wild.
TAGS_MAX = 5_000
_WINDOWS = (28, 56, 84, 182, 364)


@dataclass(frozen=True)
class Rules:
    """Checked tags in an order in which each comes after the tags it asks for.

    Parameters
    ----------
    tags : those that are on; sensitive ones only where the programme turned them on
    off : sensitive tags that exist and are off
    reads : the columns of each tag
    absent : why a declared tag is not among `tags`, where the programme's data is the reason
    """

    families: tuple[Family, ...]
    goods: tuple[Goods, ...]
    tags: tuple[Tag, ...]
    off: tuple[Tag, ...]
    reads: Mapping[str, tuple[Known, ...]]
    absent: Mapping[str, str] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """Return 16 hexadecimal digits of everything that decides who holds what."""
        content = [[definition(tag) for tag in self.tags], [
            one.model_dump(mode="json") for one in self.goods
        ]]  # fmt: skip
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]

    def named(self, tag_id: str) -> Tag:
        """Return a tag by its id.

        Raises
        ------
        InputRefused : if there is none
        """
        for tag in (*self.tags, *self.off):
            if tag.id == tag_id:
                return tag
        raise InputRefused(
            f"There is no tag {tag_id[:64]!r}. Nothing was done. perennial tags --list shows all."
        )

    def from_sources(self, *sources: str) -> "Rules":
        """Return only the tags that read nothing outside some sources."""
        kept: list[Tag] = []
        names: set[str] = set()
        for tag in self.tags:
            if all(c.source in sources for c in self.reads[tag.id]) and asked(tag) <= names:
                kept.append(tag)
                names.add(tag.id)
        return replace(self, tags=tuple(kept))

    def of_data(self, carried: frozenset[str]) -> "Rules":
        """Return only the tags that read what the programme's data carry; say why of the others.

        Parameters
        ----------
        carried : tables and facts of which something is known; see `features.carried`
        """
        absent: dict[str, str] = {}
        for tag in self.tags:
            needs = tuple(dict.fromkeys(n for c in self.reads[tag.id] for n in c.needs))
            reason = lacking(needs, carried) or next(
                (absent[one] for one in sorted(asked(tag)) if one in absent), None
            )
            if reason is not None:
                absent[tag.id] = reason
        kept = tuple(tag for tag in self.tags if tag.id not in absent)
        return replace(self, tags=kept, absent=absent)


def definition(tag: Tag) -> str:
    """Return what decides who holds a tag, as text: all but its words and its bookkeeping."""
    kept = tag.model_dump(
        mode="json", by_alias=True, exclude_none=True,
        include={"id", "rule", "min_support", "support", "freshness_days", "evidence"},
    )  # fmt: skip
    return json.dumps(kept, sort_keys=True)


def asked(tag: Tag) -> set[str]:
    """Return the ids of the tags its rule asks for."""
    return {
        part.tag for condition in tag.rule for part in walk(condition) if isinstance(part, Holds)
    }


@dataclass(frozen=True)
class Declared:
    """The files of one programme as read, templates not yet expanded."""

    families: tuple[Family, ...]
    goods: tuple[Goods, ...]
    entries: tuple[tuple[RulesFile, str], ...]
    sensitive: bool

    def expand(self, catalogue: Catalogue | None, sensitive: bool | None = None) -> Rules:
        """Return the checked tags.

        Parameters
        ----------
        catalogue : what the programme's categories are; None leaves own categories out
        sensitive : whether sensitive tags are on; None: as the programme's file says
        """
        own = _own_goods(self.entries, catalogue)
        every_goods = (*self.goods, *own.values())
        tags: dict[str, Tag] = {}
        for file, name in self.entries:
            for tag in _tags_of(file, name, every_goods, own):
                tags.pop(tag.id, None)
                tags[tag.id] = tag
        on = self.sensitive if sensitive is None else sensitive
        return _checked(self.families, every_goods, tags, on)


def read(home: Path | None = None, folder: Path | None = None) -> Declared:
    """Read the built-in files and the programme's own `tags.toml`.

    Raises
    ------
    InputRefused : naming file, tag, key and what to do
    """
    paths = sorted((folder or BUILT_IN).glob("*.toml"))
    own = home / OWN_FILE if home is not None else None
    if own is not None and own.exists():
        paths.append(own)
    families: dict[str, Family] = {}
    goods: dict[str, Goods] = {}
    entries = []
    sensitive = False
    for path in paths:
        file = declared.read_file(path)
        _refuse_repeated(path.name, "tag", [tag.id for tag in file.tag])
        _refuse_repeated(path.name, "goods", [one.id for one in file.goods])
        if file.family is not None:
            families[file.family.id] = file.family
        goods |= {one.id: one for one in file.goods}
        sensitive = file.settings.sensitive if file.settings is not None else sensitive
        entries.append((file, path.name))
    return Declared(tuple(families.values()), tuple(goods.values()), tuple(entries), sensitive)


def _own_goods(
    entries: Iterable[tuple[RulesFile, str]], catalogue: Catalogue | None
) -> dict[str, Goods]:
    wishes = [t.own_categories for file, _ in entries for t in file.template if t.own_categories]
    if catalogue is None:
        return {}
    return {one.id: one for wish in wishes for one in taken(catalogue, wish)}


def _tags_of(
    file: RulesFile, name: str, goods: tuple[Goods, ...], own: Mapping[str, Goods]
) -> Iterable[Tag]:
    for entry in file.tag:
        yield _complete(entry, file, name)
    for template in file.template:
        for raw in expanded(template, name, goods, own):
            where = f"{name}: template {template.id!r}"
            entry = declared.checked(Declaration, raw, where)
            of_goods = "goods" in template.each or template.own_categories is not None
            yield _complete(entry, file, name).model_copy(
                update={"template": template.id, "of_goods": of_goods}
            )


def _complete(entry: Declaration, file: RulesFile, name: str) -> Tag:
    where = f"{name}: tag {entry.id!r}"

    def given(key: str, otherwise: Any = None) -> Any:
        for source in (entry, file.defaults):
            if getattr(source, key) is not None:
                return getattr(source, key)
        if otherwise is None:
            raise InputRefused(
                f"{where} says no {key}, and the file has no default for it. No tag was read. "
                f"Add {key} to the tag or to [defaults]."
            )
        return otherwise

    family = entry.family or (file.family.id if file.family else None)
    if family is None:
        raise InputRefused(f'{where} is in no family. No tag was read. Add family = "..." to it.')
    window = given("window_days")
    support = given(
        "support", f"purchase_days_{window}d" if window in _WINDOWS else "purchase_days"
    )
    return Tag(
        id=entry.id, family=family, name=entry.name, says=entry.says, rule=entry.rule,
        window_days=window, min_support=given("min_support"), support=support,
        freshness_days=given("freshness_days"), evidence=given("evidence", "recency_days"),
        outcome=given("outcome"), sensitivity=given("sensitivity", "none"),
        absence=given("absence", False),
    )  # fmt: skip


def _checked(
    families: tuple[Family, ...], goods: tuple[Goods, ...], tags: dict[str, Tag], sensitive: bool
) -> Rules:
    if len(tags) > TAGS_MAX:
        raise InputRefused(
            f"The files declare {len(tags):,} tags; at most {TAGS_MAX:,} are taken. No tag was "
            "read. Shorten the lists of the templates."
        )
    named = {family.id for family in families}
    ids = frozenset(one.id for one in goods)
    reads = {}
    for tag in tags.values():
        where = f"Tag {tag.id!r}"
        if tag.family not in named:
            raise InputRefused(
                f"{where} is in family {tag.family!r}, which no file declares. No tag was read. "
                f"There are: {', '.join(sorted(named))}."
            )
        outcomes.check(tag.outcome, ids, where)
        reads[tag.id] = _columns_of(tag, ids, where)
        _refuse_unheld(tag, tags, where)
    ordered = _ordered(tags)
    on = tuple(tag for tag in ordered if sensitive or tag.sensitivity == "none")
    off = tuple(tag for tag in ordered if not (sensitive or tag.sensitivity == "none"))
    return Rules(families, goods, on, off, reads)


def _columns_of(tag: Tag, goods: frozenset[str], where: str) -> tuple[Known, ...]:
    found: dict[str, Known] = {}
    for part in (part for condition in tag.rule for part in walk(condition)):
        if isinstance(part, Compare | Among):
            for name in part.columns():
                known = columns.find(name, goods, where)
                wanted = "name" if isinstance(part, Among) else "number"
                if known.kind != wanted:
                    how = "with among" if known.kind == "name" else "with at_least or at_most"
                    raise InputRefused(
                        f"{where} reads {name} as a {wanted}, but it holds {known.kind}s. No tag "
                        f"was read. Ask for it {how}."
                    )
                found[name] = known
    scored = {known.source == "scores" for known in found.values()}
    if len(scored) > 1:
        raise InputRefused(
            f"{where} reads scores and other columns. Scores are made elsewhere "
            "and later. No tag was read. Ask scores only."
        )
    if True not in scored:
        for name in (tag.support, tag.evidence):
            found[name] = columns.find(name, goods, where)
            if found[name].kind != "number":
                raise InputRefused(
                    f"{where} counts its support or freshness in {name}, which holds names. No "
                    "tag was read. Name a column of numbers."
                )
    return tuple(found.values())


def _refuse_unheld(tag: Tag, tags: Mapping[str, Tag], where: str) -> None:
    for name in sorted(asked(tag)):
        if name not in tags:
            raise InputRefused(
                f"{where} asks for tag {name!r}, which no file declares. No tag was read. "
                "Correct the id; perennial tags --list shows all."
            )
        if tags[name].sensitivity != "none" and tag.sensitivity == "none":
            raise InputRefused(
                f"{where} asks for the sensitive tag {name!r} and would tell it on. No tag was "
                'read. Mark it sensitivity = "sensitive" too.'
            )


def _ordered(tags: Mapping[str, Tag]) -> list[Tag]:
    try:
        order = TopologicalSorter({name: sorted(asked(tag)) for name, tag in tags.items()})
        return [tags[name] for name in order.static_order()]
    except CycleError as error:
        circle = " -> ".join(str(name) for name in error.args[1])
        raise InputRefused(
            f"These tags ask for each other in a circle: {circle}. No tag was read. Let one of "
            "them ask for columns instead."
        ) from error


def _refuse_repeated(file: str, kind: str, names: list[str]) -> None:
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise InputRefused(
            f"{file} declares {kind} {', '.join(repeated)} twice. No tag was read. Give one of "
            "them another id."
        )
