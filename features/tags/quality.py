"""How good every tag is: whom it covers, how often it flips, what it says about what comes next.

Judged on a pair of days 28 apart, with the hysteresis that a chain of earlier days gives, and on
what members did in the horizon after the later one.
"""

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from datetime import date, timedelta
from typing import Any

import numpy as np
import pandas as pd

from features import engine, identities, snapshot, table
from features.lake import Lake
from features.segments import segmentation
from features.tags import catalogue as catalogues
from features.tags import outcomes, store
from features.tags.figures import Booleans, Doubles, Lift, duplicates, flip_rate, lift
from features.tags.store import Tagged
from programme.errors import InputRefused
from programme.settings import Settings

STEP_DAYS = 28
HORIZON_DAYS = 28
# Days before the judged pair whose only purpose is to give the pair its memory.
MEMORY_STEPS = 3
COVERAGE_LEAST, COVERAGE_MOST = 0.005, 0.60
FLIP_RATE_MOST = 0.20
OF_GOODS_MOST = 120


@dataclass(frozen=True)
class TagQuality:
    """What the report says of one tag.

    Parameters
    ----------
    coverage : share of the members of the snapshot who hold it
    flip_rate : (entered + left) / (members before + members now); None: held by nobody
    age_days : mean days since which it is held without a break, as far as the chain reaches
    duplicate_of : a tag that comes before it and holds nearly the same members
    counted : it passes everything and is among the tags a programme can count on
    failures : why not, if not
    """

    id: str
    family: str
    name_en: str
    name_zh: str
    members: int
    coverage: float
    flip_rate: float | None
    lift: Lift
    outcome: str
    outcome_mean: float | None
    age_days: float | None
    template: str
    of_goods: bool
    absence: bool
    duplicate_of: str | None
    jaccard: float
    counted: bool
    failures: tuple[str, ...]


@dataclass(frozen=True)
class Report:
    """The quality of every tag on one pair of days."""

    before: date
    as_of: date
    horizon_days: int
    memory: tuple[date, ...]
    members: int
    tags: tuple[TagQuality, ...] = field(default=())

    @property
    def counted(self) -> dict[str, int]:
        """Return how many tags of each family count, the largest first."""
        found: dict[str, int] = {}
        for one in self.tags:
            if one.counted:
                found[one.family] = found.get(one.family, 0) + 1
        return dict(sorted(found.items(), key=lambda pair: (-pair[1], pair[0])))

    def as_json(self) -> dict[str, Any]:
        """Return plain values."""
        content = asdict(self)
        return content | {"counted_by_family": self.counted}


def judge(
    settings: Settings,
    as_of: date,
    progress: Callable[[str], None] = lambda _: None,
    sensitive: bool | None = None,
) -> tuple[Report, Tagged]:
    """Judge every tag at `as_of` against 28 days before, and on the 28 days that follow.

    Raises
    ------
    InputRefused : if the data end before the horizon does
    """
    _refuse_what_cannot_be_judged(settings, as_of)
    later = as_of + timedelta(days=HORIZON_DAYS)
    days = _chain(settings, as_of)
    chain: list[Tagged] = []
    for day in days:
        progress(f"tags of {day}")
        earlier = chain[-1] if chain else None
        # Days are segmented in order, too: each follows the one before.
        segments = segmentation.build(settings, day, progress).members_file
        chain.append(
            store.build(
                settings, day, progress, segments=segments, sensitive=sensitive,
                earlier=earlier, chained=False,
            )
        )  # fmt: skip
    before, tagged = chain[-2:]
    progress(f"what members did until {later}")
    happened = _outcomes(settings, as_of, later, tagged)
    memory = tuple(days[:-2])
    qualities = _qualities(tagged, before, happened)
    report = Report(before.as_of, as_of, HORIZON_DAYS, memory, len(happened), qualities)
    return report, tagged


def _refuse_what_cannot_be_judged(settings: Settings, as_of: date) -> None:
    """Refuse a day without four weeks known before and after it, and say which days have them."""
    last = snapshot.default_as_of(settings)
    until = last - timedelta(days=HORIZON_DAYS)
    # The day before the first with an as_of is the first purchase's own.
    since = snapshot.first_day(settings) + timedelta(days=1 + STEP_DAYS)
    if since <= as_of <= until:
        return
    wanted = f"the tags of {as_of - timedelta(days=STEP_DAYS)}"
    if as_of > until:
        wanted = f"what members did until {as_of + timedelta(days=HORIZON_DAYS)}"
    if since > until:
        to_do = (
            f"The first day that can be judged is {since}, once the data reach "
            f"{since + timedelta(days=HORIZON_DAYS)}: ingest until then. perennial tags without "
            "--report makes the tags of today."
        )
    else:
        to_do = f"Choose a day from {since} to {until}: perennial tags --report --as-of {until}"
    raise InputRefused(
        f"Judging the tags of {as_of} needs {wanted}, and the data go from "
        f"{since - timedelta(days=1 + STEP_DAYS)} to {last}. No report was made. {to_do}"
    )


def _chain(settings: Settings, as_of: date) -> list[date]:
    """Return the days to tag one after the other, the judged one last."""
    days = [as_of - timedelta(days=STEP_DAYS * n) for n in range(MEMORY_STEPS + 2)]
    first = snapshot.first_day(settings)
    return sorted(day for day in days if day > first)


def _outcomes(settings: Settings, as_of: date, later: date, tagged: Tagged) -> pd.DataFrame:
    """Return what the members of `as_of` did until `later`, one column per outcome stated."""
    taken = snapshot.build(settings, as_of)
    asked = {tag.outcome for tag in tagged.rules.tags}
    kinds = tuple(sorted(
        name.removeprefix(outcomes.GOODS_PREFIX) for name in asked
        if name.startswith(outcomes.GOODS_PREFIX)
    ))  # fmt: skip
    lake = Lake(settings)
    manifest = lake.manifest()
    members = f"select member_id from read_parquet({engine.text(taken.path / snapshot.FEATURES)})"
    with engine.connect(settings) as connection:
        zone = taken.programme.timezone
        # The programme's own tables stay those of the tags' day: they are the yardstick.
        table.prepare(connection, lake, manifest, later, zone, frozen=taken.reference)
        catalogue = catalogues.describe(
            connection, lake, manifest, identities.midnight_sql(later, zone), tagged.rules.goods
        )
        places = catalogue.places_of(tagged.rules.goods)
        outcomes.measure(connection, members, (later - as_of).days, kinds, places)
        return connection.execute("select * from tag_outcomes").df().set_index("member_id")


def _qualities(tagged: Tagged, before: Tagged, happened: pd.DataFrame) -> tuple[TagQuality, ...]:
    wide, earlier = tagged.wide(), before.wide()
    since = {tag.id: wide[tag.id] for tag in tagged.rules.tags}
    now = {name: column.notna().to_numpy() for name, column in since.items()}
    then = {
        name: earlier[name].reindex(wide.index).notna().to_numpy()
        if name in earlier
        else np.zeros(len(wide), dtype=bool)
        for name in now
    }
    happened = happened.reindex(wide.index)
    ages = {
        name: (pd.Timestamp(tagged.as_of) - pd.to_datetime(column)).dt.days.mean()
        for name, column in since.items()
    }
    twins = duplicates(now)
    figures = []
    for tag in tagged.rules.tags:
        held, was = now[tag.id], then[tag.id]
        y = happened[tag.outcome].to_numpy(dtype=np.float64)
        twin, jaccard = twins[tag.id]
        figures.append((tag, int(held.sum()), flip_rate(was, held), lift(held, y), _mean(y, held),
                        ages[tag.id], twin, jaccard))  # fmt: skip
    counted = _counted(figures, len(wide))
    return tuple(
        TagQuality(
            tag.id,
            tag.family,
            tag.name.en,
            tag.name.zh,
            members,
            members / len(wide),
            flips,
            lifted,
            tag.outcome,
            mean,
            None if age is None or math.isnan(age) else round(age, 1),
            tag.template,
            tag.of_goods,
            tag.absence,
            twin,
            jaccard,
            *counted[tag.id],
        )
        for tag, members, flips, lifted, mean, age, twin, jaccard in figures
    )


def _counted(figures: list[Any], population: int) -> dict[str, tuple[bool, tuple[str, ...]]]:
    """Return of each tag whether it counts, and why not."""
    found: dict[str, tuple[bool, tuple[str, ...]]] = {}
    of_goods = 0
    for tag, members, flips, _, _, _, twin, _ in figures:
        failures = []
        coverage = members / population
        if not COVERAGE_LEAST <= coverage <= COVERAGE_MOST:
            failures.append("coverage")
        if flips is None or flips >= FLIP_RATE_MOST:
            failures.append("flip rate")
        if twin is not None:
            failures.append("duplicate")
        if tag.absence:
            failures.append("absence")
        if not failures and tag.of_goods:
            of_goods += 1
            if of_goods > OF_GOODS_MOST:
                failures.append("beyond the category templates that count")
        found[tag.id] = (not failures, tuple(failures))
    return found


def _mean(y: Doubles, held: Booleans) -> float | None:
    known = held & np.isfinite(y)
    return float(y[known].mean()) if known.any() else None
