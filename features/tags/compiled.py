"""Tags as SQL: the sources joined to one row a member, thresholds measured, one SELECT for all."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import duckdb

from features import engine
from features.tags import conditions, habits
from features.tags.columns import Known
from features.tags.comparison import Compare, number, value_sql
from features.tags.conditions import walk
from features.tags.declared import Tag
from features.tags.goods import MEASURES
from features.tags.rules import asked
from features.tags.thresholds import Measured, Quantile, Scope

# Who holds a tag keeps it with this share of the support one needs to get it.
STAYING_SUPPORT = 0.5
EARLIER = "earlier"


@dataclass(frozen=True)
class Sources:
    """Relations to join on member_id: SELECTs, or None where the programme has none.

    `features` decides which members there are.
    """

    features: str
    habits: bool = True
    goods: bool = True
    segments: str | None = None


def joined_sql(reads: Iterable[Known], sources: Sources) -> str:
    """Return one row a member with every column tags read, named as tags name it.

    A number that is not finite is not known: it becomes null, and fulfils no comparison.
    """
    columns = {known.name: known for known in reads}
    needed = {known.source for known in columns.values()}
    joins = []
    if "habits" in needed and sources.habits:
        groups = {habits.COLUMNS[k.local][0].name for k in columns.values() if k.source == "habits"}
        joins += [f"left join {name} using (member_id)" for name in sorted(groups)]
    if "goods" in needed and sources.goods:
        joins.append("left join tag_goods using (member_id)")
    if sources.segments is not None:
        joins.append(f"left join ({sources.segments}) segments using (member_id)")
    listed = "".join(f",\n{_column(columns[name])}" for name in sorted(columns))
    return f"select member_id{listed}\nfrom ({sources.features}) features\n" + "\n".join(joins)


def _column(known: Known) -> str:
    owner = {"goods": "tag_goods", "features": "features", "segments": "segments"}
    local = known.name if known.source == "goods" else known.local
    relation = owner.get(known.source) or habits.COLUMNS[known.local][0].name
    value = f"{relation}.{engine.name(local)}"
    if known.kind == "name":
        return f"cast({value} as varchar) as {engine.name(known.name)}"
    absent = _absent(known)
    if absent is not None:
        value = f"coalesce({value}, {absent})"
    value = f"cast({value} as double)"
    return f"case when isfinite({value}) then {value} end as {engine.name(known.name)}"


def _absent(known: Known) -> float | None:
    if known.source == "habits":
        return habits.COLUMNS[known.local][1].absent
    if known.source == "goods":
        return MEASURES[known.local.rpartition(".")[2]].absent
    return None


def quantiles(
    connection: duckdb.DuckDBPyConnection, tags: Sequence[Tag], relation: str
) -> dict[Quantile, float | None]:
    """Measure every quantile the tags' thresholds need, in one pass over the relation.

    A quantile is a value some member has (never between two), so it does not depend on order.
    """
    asked = tuple(dict.fromkeys(quantile for tag in tags for quantile in wanted(tag)))
    if not asked:
        return {}
    listed = ", ".join(
        f"quantile_disc({value_sql(q.column, q.over)}, {number(q.share)}) "
        f"filter (where {engine.name(q.support)} >= {number(q.least)} "
        f"and {value_sql(q.column, q.over)} is not null)"
        for q in asked
    )
    row = connection.execute(f"select {listed} from {relation}").fetchall()[0]
    return dict(zip(asked, (None if v is None else float(v) for v in row), strict=True))


def wanted(tag: Tag) -> Iterable[Quantile]:
    """Yield the quantiles that a tag's thresholds are measured by."""
    scope = tag.support, float(tag.min_support)
    for part in (part for condition in tag.rule for part in walk(condition)):
        if isinstance(part, Compare):
            for level in (*part.levels(*scope), part.other_end(*scope)):
                if level is not None and level.quantile is not None:
                    yield level.quantile


def condition_sql(
    tag: Tag,
    measured: dict[Quantile, float | None],
    held: str,
    known: dict[str, str],
    *,
    with_support: bool = True,
) -> str:
    """Return SQL of whether a member holds a tag now: true or false, never null.

    Parameters
    ----------
    measured : the quantiles
    held : SQL of whether she held it before
    known : SQL of whether she holds each tag that comes before this one
    with_support : False for tags on scores, which have no support or age of their own
    """
    scope = Scope(
        tag.support, float(tag.min_support), measured, held, lambda name: known.get(name, "false")
    )
    parts = [condition.sql(scope) for condition in tag.rule]
    if with_support and tag.min_support:
        stay = number(staying_support(tag))
        enter = number(float(tag.min_support))
        parts.append(
            f"coalesce({engine.name(tag.support)} >= "
            f"case when {held} then {stay} else {enter} end, false)"
        )
    if with_support and tag.freshness_days:
        age = number(float(tag.freshness_days))
        parts.append(f"coalesce({engine.name(tag.evidence)} <= {age}, false)")
    return "(" + " and ".join(parts) + ")"


def unjudged(tags: Sequence[Tag], measured: Mapping[Quantile, float | None]) -> dict[str, str]:
    """Return of the tags that nobody can hold in this programme why that is so."""
    found: dict[str, str] = {}
    for tag in tags:
        scope = Measured(tag.support, float(tag.min_support), measured)
        reasons = (conditions.unjudged(condition, scope) for condition in tag.rule)
        reason = next((one for one in reasons if one is not None), None)
        if reason is not None:
            found[tag.id] = reason
    return found


def staying_support(tag: Tag) -> float:
    """Return the support with which a member keeps a tag she holds."""
    return tag.min_support * STAYING_SUPPORT


def select_sql(
    tags: Sequence[Tag],
    measured: dict[Quantile, float | None],
    relation: str,
    as_of: str,
    earlier: Sequence[str],
    *,
    with_support: bool = True,
) -> str:
    """Return one row a member: member_id, and per tag the day since which she holds it, or null.

    Parameters
    ----------
    relation : the joined sources, with the columns `earlier.TAG` of those in `earlier`
    as_of : SQL date
    earlier : the tags whose earlier state is known

    Notes
    -----
    Tags that ask for other tags come in later steps: each step is one SELECT over the one before.
    """
    step: dict[str, int] = {}
    for tag in tags:
        before = [step[name] for name in asked(tag) if name in step]
        step[tag.id] = 1 + max(before, default=-1)
    sql = f"select * from {relation}"
    known: dict[str, str] = {}
    for one in range(max(step.values(), default=-1) + 1):
        made = []
        for tag in (tag for tag in tags if step[tag.id] == one):
            name = engine.name(f"{EARLIER}.{tag.id}")
            held = f"({name} is not null)" if tag.id in earlier else "false"
            since = f"coalesce({name}, {as_of})" if tag.id in earlier else as_of
            is_held = condition_sql(tag, measured, held, known, with_support=with_support)
            made.append(f"case when {is_held} then {since} end as {engine.name('tag.' + tag.id)}")
        sql = f"select *, {', '.join(made)}\nfrom ({sql})"
        for tag in (tag for tag in tags if step[tag.id] == one):
            known[tag.id] = f"({engine.name('tag.' + tag.id)} is not null)"
    listed = "".join(f", {engine.name('tag.' + tag.id)} as {engine.name(tag.id)}" for tag in tags)
    return f"select member_id{listed} from ({sql}) order by member_id"
