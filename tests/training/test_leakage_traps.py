"""Nine ways to know the future: each is planted, seen by a check, and absent from what we do.

The first check is one for all: two worlds that differ only in what comes after the as_of, which in
the second comes a year later. Whatever differs between them has looked ahead.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest

from features import snapshot, table
from features.snapshot import Snapshot
from programme.errors import InputRefused
from programme.settings import Programme, Settings
from tests.features import shop
from tests.features.shop import AS_OF, MEMBERS, MIDNIGHT, Till
from training import splits
from training.dataset import Dataset, member_rows
from training.forecasts import Candidate, churn_forecasts
from training.labels import outcomes
from training.models.rules import ColumnRule
from training.splits import Plan

HORIZON = 28
YEAR = timedelta(days=365)
NOON = timedelta(hours=12)
Build = Callable[[Settings], pd.DataFrame]


def world(postponed: timedelta) -> Till:
    """Return a past everybody shares, and what half of the members did next, sooner or later."""
    past = shop.fed_year()
    moments = [
        (member, MIDNIGHT + timedelta(days=1 + number) + NOON + postponed)
        for number, member in enumerate(MEMBERS)
        if number % 2 == 0
    ]
    return replace(
        past,
        purchases=[*past.purchases, *(shop.line(member, at, 900) for member, at in moments)],
        events=[*past.events, *(shop.event(member, at) for member, at in moments)],
        contacts=[*past.contacts, *(shop.contact(member, at) for member, at in moments)],
        points=[*past.points, *(shop.posting(member, at) for member, at in moments)],
    )


@pytest.fixture(scope="module")
def worlds() -> Iterator[tuple[Settings, Settings]]:
    """Return a home with the future in its place and one with it a year later; read-only."""
    with shop.new_home() as now, shop.new_home() as later:
        shop.take(now, world(timedelta(0)))
        shop.take(later, world(YEAR))
        yield now, later


@pytest.fixture(scope="module")
def untouched() -> pd.DataFrame:
    """Return the features of a year to which nothing was added."""
    return shop.features_of(shop.year())


def looks_ahead(build: Build, worlds: tuple[Settings, Settings]) -> set[str]:
    """Return the columns that depend on what comes after the as_of."""
    now, later = (build(settings) for settings in worlds)
    assert now.index.equals(later.index)
    return differing(now, later)


def differing(left: pd.DataFrame, right: pd.DataFrame) -> set[str]:
    right = right.reindex(left.index)
    return {name for name in left.columns if not left[name].equals(right[name])}


def honest(settings: Settings) -> pd.DataFrame:
    return snapshot.build(settings, AS_OF).features()


def of_those_known(settings: Settings, later: pd.DataFrame) -> pd.DataFrame:
    return later.reindex(honest(settings).index)


def bought_next(settings: Settings) -> "pd.Series[float]":
    taken = snapshot.build(settings, AS_OF)
    members = list(taken.features().index)
    followed = outcomes(settings, AS_OF, HORIZON, members, taken.lake_version)
    return pd.Series(1 - followed.churned, index=taken.features().index)


def test_a_year_more_to_wait_for_the_future_changes_no_feature(
    worlds: tuple[Settings, Settings],
) -> None:
    assert looks_ahead(honest, worlds) == set()
    # The check is not blind: the label, which is of the future, does differ.
    assert looks_ahead(lambda home: bought_next(home).to_frame("label"), worlds) == {"label"}


def test_1_recency_at_the_end_of_the_label_window_is_seen(
    worlds: tuple[Settings, Settings],
) -> None:
    def planted(settings: Settings) -> pd.DataFrame:
        ends = AS_OF + timedelta(days=HORIZON)
        return of_those_known(settings, snapshot.build(settings, ends).features())

    found = looks_ahead(planted, worlds)

    assert {"recency_days", "purchase_days_28d"} <= found
    assert not looks_ahead(honest, worlds) & found


def test_2_a_master_row_overwritten_later_is_seen(untouched: pd.DataFrame) -> None:
    def learned(known_at: Any) -> pd.DataFrame:
        past = shop.year()
        moved = [{**row, "category": "elsewhere", "known_at": known_at} for row in past.products]
        return shop.features_of(past, Till(products=moved))

    after, before = MIDNIGHT + timedelta(days=9), MIDNIGHT - timedelta(days=390)

    assert differing(untouched, learned(after)) == set()
    # A load that keeps only the present state of a master says it was ever so.
    assert "category_count" in differing(untouched, learned(before))


PLAN = Plan(
    horizon_days=HORIZON,
    validation=(date(2024, 1, 15),),
    test=(date(2024, 2, 12),),
    serve=date(2024, 3, 11),
    begins=date(2023, 3, 13),
    warmup_days=56,
    step_days=7,
    train_max=12,
)


def test_3_rows_dealt_at_random_over_time_are_refused() -> None:
    every = [date(2023, 9, 4) + timedelta(days=7 * week) for week in range(24)]
    dealt = np.random.default_rng(3).permutation(len(every))
    learned = [every[number] for number in dealt[: len(every) // 2]]

    with pytest.raises(InputRefused, match=r"it would learn what it is judged on"):
        splits.require_past(learned, date(2023, 12, 4), HORIZON)
    for judged_at in (*PLAN.judged, PLAN.serve):
        splits.require_past(PLAN.train_as_ofs(judged_at), judged_at, HORIZON)


@pytest.mark.parametrize("days", [1, 7, HORIZON - 1])
def test_4_a_gap_shorter_than_the_horizon_is_refused_by_the_job(
    days: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def too_near(_: Plan, judged_at: date, label_days: int) -> tuple[date, ...]:
        assert label_days == HORIZON
        return (judged_at - timedelta(days=days),)

    monkeypatch.setattr(Plan, "train_as_ofs", too_near)
    candidates = (Candidate("rule", "rule", lambda: ColumnRule("recency_days", 1)),)

    with pytest.raises(InputRefused, match=f"until {PLAN.judged[0] - timedelta(days=HORIZON)}"):
        churn_forecasts(candidates, Dataset(Settings(), HORIZON), PLAN, lambda _: None)


def test_5_a_population_chosen_by_who_came_later_is_seen(
    worlds: tuple[Settings, Settings],
) -> None:
    def active(settings: Settings) -> pd.DataFrame:
        labelled = Dataset(settings, HORIZON).at(AS_OF)
        index = pd.Index(labelled.rows.member_id)
        return pd.DataFrame({"active": labelled.active}, index=index)

    def planted(settings: Settings) -> pd.DataFrame:
        came = bought_next(settings) > 0
        return active(settings).assign(active=lambda rows: rows["active"] | came)

    assert looks_ahead(active, worlds) == set()
    assert looks_ahead(planted, worlds) == {"active"}


def test_6_contacts_within_the_label_window_are_seen(worlds: tuple[Settings, Settings]) -> None:
    def planted(settings: Settings) -> pd.DataFrame:
        ends = AS_OF + timedelta(days=HORIZON)
        exposed = snapshot.build(settings, ends).features()["contacts_28d"]
        return honest(settings).assign(contacts_28d=exposed)

    assert "contacts_28d" in table.MODEL_COLUMNS
    assert looks_ahead(planted, worlds) == {"contacts_28d"}
    assert looks_ahead(honest, worlds) == set()


def test_7_a_return_that_is_posted_later_is_seen(untouched: pd.DataFrame) -> None:
    def learned(known_at: Any) -> pd.DataFrame:
        back = shop.line(
            "ann", MIDNIGHT - timedelta(days=9), -500, quantity=-1.0, known_at=known_at
        )
        return shop.features_of(shop.year(), Till([back]))

    assert differing(untouched, learned(MIDNIGHT + timedelta(days=3))) == set()
    assert "returned_cents_364d" in differing(untouched, learned(MIDNIGHT - timedelta(days=8)))


def test_8_a_tag_made_of_the_label_is_seen_and_does_not_reach_a_model(
    worlds: tuple[Settings, Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    clean, _ = member_rows(snapshot.build(worlds[0], AS_OF))

    def tagged(settings: Settings) -> pd.DataFrame:
        return honest(settings).assign(tag_loyal=bought_next(settings))

    assert looks_ahead(tagged, worlds) == {"tag_loyal"}
    planted = tagged(worlds[0])
    monkeypatch.setattr(Snapshot, "features", lambda _: planted)
    rows, _ = member_rows(snapshot.build(worlds[0], AS_OF))
    assert "tag_loyal" not in rows.features
    pd.testing.assert_frame_equal(rows.features, clean.features)


def test_9_an_evening_read_in_another_time_zone_is_seen() -> None:
    # 23:00 of the eve in New York is 03:00 of the as_of in UTC: read so, it is the future.
    eve = MIDNIGHT - timedelta(hours=1)
    rows = [
        shop.line("ann", eve),
        shop.line("ann", MIDNIGHT - timedelta(days=40)),
        shop.line(None, MIDNIGHT + timedelta(days=60)),
    ]

    def seen(programme: Programme) -> tuple[float, float]:
        with shop.new_home() as home:
            shop.take(home, Till(rows, programme=programme))
            (row,) = honest(home).to_dict("records")
            return float(row["recency_days"]), float(bought_next(home).iloc[0])

    assert seen(shop.PROGRAMME) == (1, 0)
    read_naively = shop.PROGRAMME.model_copy(update={"timezone": "UTC"})
    assert seen(read_naively) != seen(shop.PROGRAMME)
    assert seen(read_naively) == (40, 1)


def test_9_a_purchase_that_arrives_late_is_seen_only_if_it_is_said_to_be_on_time(
    untouched: pd.DataFrame,
) -> None:
    def learned(known_at: Any) -> pd.DataFrame:
        late = shop.line("ann", MIDNIGHT - timedelta(days=3), known_at=known_at)
        return shop.features_of(shop.year(), Till([late]))

    assert differing(untouched, learned(MIDNIGHT + timedelta(days=2))) == set()
    on_time = learned(MIDNIGHT - timedelta(days=3))
    assert "recency_days" in differing(untouched, on_time)
