from datetime import date, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features import snapshot, table
from features.snapshot import Snapshot
from programme.settings import Settings
from tests.features import shop
from tests.features.shop import AS_OF, MIDNIGHT, Till
from tests.training.grocer import END
from training import candidates as rivals
from training import dataset as datasets
from training.baskets import Baskets
from training.config import TrainConfig
from training.dataset import Dataset, member_rows, sampled
from training.labels import outcomes

EARLIER, LATER = END - timedelta(days=84), END - timedelta(days=28)


def test_rows_are_the_members_of_the_snapshot_and_what_followed(grocer: Settings) -> None:
    labelled = Dataset(grocer, 28).at(LATER)

    taken = snapshot.build(grocer, LATER)
    members = list(taken.features().index)
    followed = outcomes(grocer, LATER, 28, members, taken.lake_version)
    assert list(labelled.rows.member_id) == members
    assert set(labelled.rows.as_of) == {np.datetime64(LATER, "D")}
    np.testing.assert_array_equal(labelled.churned, followed.churned)
    np.testing.assert_array_equal(labelled.value_cents, followed.value_cents)
    assert len(labelled) == len(members)


def test_several_as_ofs_stand_one_below_the_other_in_the_order_asked(grocer: Settings) -> None:
    dataset = Dataset(grocer, 28, n_weeks=4)

    past = dataset.past((LATER, EARLIER))

    first, second = dataset.at(LATER), dataset.at(EARLIER)
    for whole, parts in (
        (past.rows.member_id, (first.rows.member_id, second.rows.member_id)),
        (past.rows.as_of, (first.rows.as_of, second.rows.as_of)),
        (past.rows.weekly, (first.rows.weekly, second.rows.weekly)),
        (past.churned, (first.churned, second.churned)),
        (past.value_cents, (first.value_cents, second.value_cents)),
        (past.active, (first.active, second.active)),
    ):
        np.testing.assert_array_equal(whole, np.concatenate([np.asarray(part) for part in parts]))


def test_every_as_of_is_read_once(grocer: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = Dataset(grocer, 28)
    first = dataset.at(LATER)
    monkeypatch.setattr(datasets, "outcomes", None)

    assert dataset.at(LATER) is first


def test_of_many_members_the_same_are_read_at_every_as_of(grocer: Settings) -> None:
    whole, part = Dataset(grocer, 28, n_weeks=4), Dataset(grocer, 28, n_weeks=4, members_max=50)
    early, late = part.at(EARLIER), part.at(LATER)

    assert len(early) == len(late) == 50
    # Nobody joined between the two who was not there before, or she is sampled by herself.
    known = set(whole.at(EARLIER).rows.member_id)
    assert set(late.rows.member_id) & known <= set(early.rows.member_id)
    every = whole.at(LATER)
    where = pd.Index(every.rows.member_id).get_indexer(pd.Index(late.rows.member_id))
    assert (np.diff(where) > 0).all()
    pd.testing.assert_frame_equal(late.rows.features, every.rows.take(where).features)
    for name in ("active", "churned", "value_cents"):
        np.testing.assert_array_equal(getattr(late, name), getattr(every, name)[where])
    assert every.rows.weekly is not None
    assert late.rows.weekly is not None
    np.testing.assert_array_equal(late.rows.weekly, every.rows.weekly[where])
    assert len(part.past((EARLIER, LATER))) == 100


def test_a_programme_within_the_limit_is_read_whole(grocer: Settings) -> None:
    whole = Dataset(grocer, 28).at(LATER)
    limited = Dataset(grocer, 28, members_max=len(whole)).at(LATER)

    assert list(limited.rows.member_id) == list(whole.rows.member_id)
    pd.testing.assert_frame_equal(limited.rows.features, whole.rows.features)


@given(st.sets(st.text(max_size=8), min_size=1, max_size=60), st.integers(1, 40), st.data())
def test_who_is_sampled_among_many_is_sampled_among_fewer(
    members: set[str], members_max: int, data: st.DataObject
) -> None:
    many = sorted(members)
    few = sorted(data.draw(st.sets(st.sampled_from(many), min_size=1)))

    among_many = {m for m, own in zip(many, sampled(many, members_max), strict=True) if own}
    among_few = {m for m, own in zip(few, sampled(few, members_max), strict=True) if own}

    assert len(among_many) == min(members_max, len(many))
    assert among_many & set(few) <= among_few


def test_a_sample_is_of_members_like_the_others() -> None:
    members = [f"m{number:05d}" for number in range(20_000)]

    chosen = np.flatnonzero(sampled(members, 5_000))

    # A library that hashed otherwise would judge others than the champion was judged on.
    assert list(np.flatnonzero(sampled(members[:20], 5))) == [1, 3, 6, 12, 16]
    # Numbered by joining: old and new members are sampled alike.
    assert np.bincount(chosen // 2_000) == pytest.approx([500] * 10, abs=4 * np.sqrt(375))


def test_labels_of_another_length_are_of_the_same_rows(grocer: Settings) -> None:
    dataset = Dataset(grocer, 28)

    sooner = dataset.labelled_for(14)

    assert dataset.labelled_for(28) is dataset
    assert dataset.labelled_for(14) is sooner
    assert sooner.at(LATER).rows is dataset.at(LATER).rows
    # Whoever is silent for four weeks is silent for two.
    assert (sooner.at(LATER).churned >= dataset.at(LATER).churned).all()
    assert sooner.at(LATER).churned.sum() > dataset.at(LATER).churned.sum()


def test_rows_carry_the_columns_for_models_and_no_others(grocer: Settings) -> None:
    rows = Dataset(grocer, 28).at(LATER).rows

    assert tuple(rows.features.columns) == table.MODEL_COLUMNS
    assert not set(rows.features.columns) & {c.name for c in table.COLUMNS if c.use == "report"}


def test_a_column_that_is_only_reported_cannot_reach_a_model(
    grocer: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Were a label, a tier or a score to stand in the table, it would still not be learned from.
    table_of = Snapshot.features
    clean, _ = member_rows(snapshot.build(grocer, LATER))

    def planted(self: Snapshot) -> pd.DataFrame:
        return table_of(self).assign(churned_next=1.0, tier=3.0, top_category="label")

    monkeypatch.setattr(Snapshot, "features", planted)
    rows, _ = member_rows(snapshot.build(grocer, LATER))

    pd.testing.assert_frame_equal(rows.features, clean.features)


def test_every_candidate_reads_only_columns_for_models() -> None:
    made: list[Any] = [
        candidate.make()
        for candidate in (*rivals.churn(TrainConfig(), 28, 1), *rivals.value(TrainConfig(), 91, 1))
        if not candidate.parts
    ]

    for model in made:
        assert model.columns
        assert set(model.columns) <= set(table.MODEL_COLUMNS)


def test_weeks_are_read_only_where_they_are_wanted(grocer: Settings) -> None:
    without = Dataset(grocer, 28).at(LATER).rows
    beside = Dataset(grocer, 28, n_weeks=6).at(LATER).rows

    assert without.weekly is None
    assert beside.weekly is not None
    assert beside.weekly.shape == (len(beside), 6, 4)


def at_days(*days_before_as_of: int, member: str) -> list[shop.Row]:
    """Buy at noon of days before the as_of; negative: after it."""
    noon = MIDNIGHT + timedelta(hours=12)
    return [shop.line(member, noon - timedelta(days=days)) for days in days_before_as_of]


def test_who_is_active_is_decided_by_what_was_known_at_the_as_of() -> None:
    told_late = shop.line(
        "told_late", MIDNIGHT - timedelta(days=3), known_at=MIDNIGHT + timedelta(days=1)
    )
    till = Till(
        [
            *at_days(300, 57, -3, member="back_later"),
            *at_days(300, 56, member="just_active"),
            *at_days(300, member="told_late"),
            told_late,
            *at_days(-3, member="not_yet"),
            *at_days(-60, member="last"),
        ]
    )
    with shop.new_home() as home:
        shop.take(home, till)

        labelled = Dataset(home, 28).at(AS_OF)
        seen = Baskets(home, 28).active(AS_OF)

    active = dict(zip(labelled.rows.member_id, labelled.active.tolist(), strict=True))
    assert active == {"back_later": False, "just_active": True, "told_late": False}
    assert list(seen) == ["just_active"]


def test_baskets_are_parted_at_the_as_of() -> None:
    def bought(member: str, product: str, days: int) -> shop.Row:
        moment = MIDNIGHT - timedelta(days=days, hours=-12)
        return shop.line(member, moment, product_id=product, order_id=f"{member}{product}{days}")

    till = Till(
        [
            bought("ann", "tea", 40),
            bought("ann", "tea", 10),
            bought("ann", "tea", -1),
            bought("ann", "milk", -20),
            bought("ann", "soap", -27),
            bought("ann", "soap", -28),
            bought("bob", "tea", -28),
            *at_days(-60, member="last"),
        ]
    )
    with shop.new_home() as home:
        shop.take(home, till)
        baskets = Baskets(home, 28)

        before, after = baskets.before(AS_OF), baskets.after(AS_OF)

    assert before.to_dict("records") == [
        {
            "member_id": "ann",
            "product_id": "tea",
            "purchase_days": 2,
            "last_days": 10,
            "first_days": 40,
            "purchase_days_28d": 1,
            "purchase_days_84d": 2,
            "purchase_days_182d": 2,
        }
    ]
    assert after.to_numpy().tolist() == [["ann", "milk"], ["ann", "soap"], ["ann", "tea"]]


def test_the_rows_of_a_snapshot_say_which_day_they_are_of(grocer: Settings) -> None:
    rows, active = member_rows(snapshot.build(grocer, EARLIER))

    assert rows.as_of.dtype == np.dtype("datetime64[D]")
    assert set(rows.as_of.tolist()) == {date.fromisoformat(str(EARLIER))}
    assert active.dtype == np.bool_
    assert 0 < active.sum() < len(active)
