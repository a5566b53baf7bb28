import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from programme.errors import NotReady
from programme.settings import Settings
from tests.little_programme import AS_OF, FIRST_DAY, LittleProgramme
from training import registry
from training.bundle import Bundle, facts_of
from training.champions import Champions
from training.models.recurrent import Recipe
from training.models.rules import PastSpend
from training.models.value_lstm import ValueLSTM
from training.models.value_mean import ValueMean
from training.percentiles import percentiles
from training.population import Population
from training.registry import RegisteredModel
from training.rows import MemberRows
from training.scores import RISK_BANDS, MemberScores, RiskBands


@pytest.fixture(scope="module")
def champions(trained: LittleProgramme) -> Champions:
    return Champions.load(trained.settings)


@pytest.fixture(scope="module")
def population(champions: Champions, trained: LittleProgramme) -> Population:
    return champions.population(trained.snapshot)


@pytest.fixture(scope="module")
def everyone(champions: Champions, population: Population) -> list[MemberScores]:
    return champions.score(population, list(population.members))


def test_members_are_answered_in_the_order_asked_and_as_often(
    champions: Champions, population: Population
) -> None:
    asked = ["m005", "nobody", "m001", "m005"]

    answered = champions.score(population, asked)

    assert [member.member_id for member in answered] == asked
    assert [member.known for member in answered] == [True, False, True, True]
    assert answered[0] == answered[3]


def test_an_unknown_member_gets_a_defined_answer(
    champions: Champions, population: Population
) -> None:
    assert champions.score(population, ["nobody"]) == [MemberScores("nobody", known=False)]


def test_one_member_alone_is_scored_as_among_all(
    champions: Champions, population: Population, everyone: list[MemberScores]
) -> None:
    for member in everyone[::17]:
        assert champions.score(population, [member.member_id]) == [member]


def test_every_member_of_the_snapshot_is_known(
    trained: LittleProgramme, everyone: list[MemberScores]
) -> None:
    assert [m.member_id for m in everyone] == list(trained.snapshot.features().index)
    assert {m.as_of for m in everyone} == {AS_OF}
    assert {m.data_as_of for m in everyone} == {trained.snapshot.data_as_of}


def test_the_written_drivers_add_up_to_the_written_raw_score(everyone: list[MemberScores]) -> None:
    for member in everyone:
        for score in (member.churn, member.value):
            assert score is not None
            parts = [Decimal(repr(driver.contribution)) for driver in score.drivers]
            assert sum(parts, Decimal(repr(score.base))) == Decimal(repr(score.raw_score))


def test_the_probability_is_a_rising_function_of_the_raw_score(
    everyone: list[MemberScores],
) -> None:
    churn = [member.churn for member in everyone if member.churn]
    ranked = sorted(churn, key=lambda score: score.raw_score)

    probabilities = [score.churn_probability for score in ranked]
    assert all(0 < p < 1 for p in probabilities)
    # Equal but for the sixth decimal of the raw score.
    assert np.diff(probabilities).min() > -1e-4


def test_dormant_members_are_marked_and_not_eligible(
    trained: LittleProgramme, everyone: list[MemberScores]
) -> None:
    recency = trained.snapshot.features()["recency_days"]

    for member in everyone:
        assert member.churn is not None
        dormant = recency[member.member_id] > trained.programme.active_days
        assert member.churn.population == ("dormant" if dormant else "active")
        assert member.churn.eligible is not dormant
    assert {m.churn.population for m in everyone if m.churn} == {"active", "dormant"}


def test_the_value_says_that_its_reasons_are_an_imitation_and_how_far_off(
    everyone: list[MemberScores],
) -> None:
    for member in everyone:
        assert member.value is not None
        imitated = max(np.expm1(member.value.raw_score), 0.0)
        assert member.value.exact is False
        assert member.value.error_cents == pytest.approx(abs(member.value.value_cents - imitated))


def test_value_is_what_was_spent_and_what_is_expected_with_an_interval(
    champions: Champions, trained: LittleProgramme, everyone: list[MemberScores]
) -> None:
    spent = trained.snapshot.features()["spend_cents_life"]
    intervals = champions.value.bundle.intervals
    assert intervals is not None

    for member in everyone:
        value = member.value
        assert value is not None
        assert value.historic_cents == spent[member.member_id]
        assert value.total_cents == value.historic_cents + value.value_cents
        assert [value.low_cents, value.high_cents] == pytest.approx(
            intervals.apply([value.value_cents])[0]
        )
        assert value.interval_level == intervals.level


def test_margin_is_her_share_of_what_is_expected_and_absent_where_none_is_known(
    champions: Champions, trained: LittleProgramme, everyone: list[MemberScores]
) -> None:
    population = champions.population(trained.snapshot)
    share = np.linspace(-0.1, 0.5, len(population))
    share[1] = np.nan
    known = champions.score(replace(population, margin_share=share), list(population.members[:3]))

    # The grocer tells no margins.
    assert all(member.value and member.value.margin_cents is None for member in everyone)
    values = [member.value for member in known if member.value]
    assert values[1].margin_cents is None
    for k in (0, 2):
        assert values[k].margin_cents == values[k].value_cents * share[k]


def test_a_model_whose_errors_were_not_measured_is_served_without_an_interval(
    champions: Champions, trained: LittleProgramme
) -> None:
    value = champions.value
    bare = replace(champions, value=replace(value, bundle=replace(value.bundle, intervals=None)))
    population = bare.population(trained.snapshot)

    (member,) = bare.score(population, [str(population.members[0])])
    table = bare.score_all(population)

    assert member.value is not None
    assert (member.value.low_cents, member.value.high_cents) == (None, None)
    assert member.value.interval_level is None
    assert table["value_low_cents"].isna().all()
    assert table["value_low_cents"].dtype == np.float64


def test_repeat_products_were_bought_and_explore_products_never(
    trained: LittleProgramme, everyone: list[MemberScores]
) -> None:
    products = trained.snapshot.products()

    for member in everyone:
        bought = set(products.loc[products["member_id"] == member.member_id, "product_id"])
        assert member.next_products is not None
        assert {p.product_id for p in member.next_products.repeat} <= bought
        assert not {p.product_id for p in member.next_products.explore} & bought
        ranks = [p.rank for p in member.next_products.repeat]
        assert ranks == list(range(1, len(ranks) + 1))


def test_the_batch_says_what_the_service_answers(
    champions: Champions, population: Population, everyone: list[MemberScores]
) -> None:
    table = champions.score_all(population)
    parts = pd.concat(champions.batches(population, size=7), ignore_index=True)

    assert len(table) == len(everyone) == len(population)
    pd.testing.assert_frame_equal(table, parts)
    for (_, row), member in zip(table.iterrows(), everyone, strict=True):
        assert member.churn is not None
        assert member.value is not None
        assert row["member_id"] == member.member_id
        assert row["churn_probability"] == member.churn.churn_probability
        assert row["value_cents"] == member.value.value_cents
        codes = [driver["code"] for driver in json.loads(row["churn_drivers"])]
        assert codes == [driver.code for driver in member.churn.drivers]


def test_the_next_order_is_one_story(everyone: list[MemberScores]) -> None:
    open_ends = 0
    for member in everyone:
        order = member.next_order
        assert order is not None
        beyond = AS_OF + timedelta(days=order.horizon_days)
        days = [order.earliest_on, order.expected_on, order.latest_on]
        assert [day or beyond for day in days] == sorted(day or beyond for day in days)
        assert all(AS_OF <= day < beyond for day in days if day)
        chances = [probability for _, probability in order.p_by]
        assert [ahead for ahead, _ in order.p_by] == list(range(7, order.horizon_days + 1, 7))
        assert (np.diff(chances) >= 0).all()
        for ahead, probability in order.p_by:
            bought = order.expected_on is not None and order.expected_on < AS_OF + timedelta(ahead)
            assert bought == (probability >= 0.5)
        open_ends += order.latest_on is None
    assert 0 < open_ends < len(everyone)
    due = [category for m in everyone if m.next_order for category in m.next_order.due]
    assert {category.overdue for category in due} == {True, False}


def test_without_a_champion_for_it_the_next_order_is_left_unsaid(
    champions: Champions, trained: LittleProgramme
) -> None:
    bare = replace(champions, next_order=None)

    everyone = bare.population(trained.snapshot)
    (member,) = bare.score(everyone, ["m001"])

    assert member.next_order is None
    assert bare.score_all(everyone)["next_order_expected_on"].isna().all()


def test_every_score_names_the_version_that_made_it(everyone: list[MemberScores]) -> None:
    named = {(m.churn.model_name, m.churn.model_version) for m in everyone if m.churn}

    assert named == {("churn_28d", 1)}


@given(hnp.arrays(np.float64, st.integers(1, 300), elements=st.floats(0, 1)))
def test_percentiles_run_from_1_to_100_and_keep_the_order(scores: NDArray[np.float64]) -> None:
    ranks = percentiles(scores)

    assert ranks.min() >= 1
    assert ranks.max() == 100
    order = np.argsort(scores, kind="stable")
    assert (np.diff(ranks[order]) >= 0).all()
    for score in np.unique(scores):
        assert len(np.unique(ranks[scores == score])) == 1


@pytest.mark.parametrize(
    ("probability", "band"),
    [(0.0, "low"), (0.2999, "low"), (0.3, "medium"), (0.5999, "medium"), (0.6, "high")],
)
def test_risk_bands_are_published_and_include_their_lower_bound(
    probability: float, band: str
) -> None:
    assert RISK_BANDS.of(probability) == band


def test_risk_bands_can_be_set(trained: LittleProgramme, population: Population) -> None:
    strict = Champions.load(trained.settings, RiskBands(medium=1e-9, high=1e-8))

    (member,) = strict.score(population, ["m001"])

    assert member.churn is not None
    assert member.churn.risk_band == "high"


def test_bands_that_leave_no_room_are_refused() -> None:
    with pytest.raises(ValueError, match="medium < high"):
        RiskBands(medium=0.6, high=0.3)


def test_a_home_without_a_programme_is_not_ready(new_settings: Callable[[], Settings]) -> None:
    with pytest.raises(NotReady, match="holds no programme yet"):
        Champions.load(new_settings())


def test_a_programme_without_champions_is_not_ready(
    new_settings: Callable[[], Settings], trained: LittleProgramme
) -> None:
    settings = new_settings()
    (settings.home / "perennial.toml").write_text(trained.programme.as_toml())

    with pytest.raises(NotReady, match="no champion of churn_28d"):
        Champions.load(settings)


def test_a_programme_without_products_is_scored_without_them(
    champions: Champions, trained: LittleProgramme
) -> None:
    bare = Champions(champions.programme, champions.churn, champions.value)

    everyone = bare.population(trained.snapshot)
    (member,) = bare.score(everyone, ["m001"])

    with_products = champions.score_all(champions.population(trained.snapshot))
    assert (bare.score_all(everyone).dtypes == with_products.dtypes).all()
    assert member.next_products is not None
    assert member.next_products.repeat == member.next_products.explore == ()


def test_a_recurrent_champion_reads_its_weeks_from_the_snapshot(
    champions: Champions, trained: LittleProgramme
) -> None:
    frame = trained.snapshot.features()
    members, weekly = trained.snapshot.weekly(8)
    rows = MemberRows(
        member_id=np.array(members, dtype=object),
        as_of=np.full(len(members), np.datetime64(AS_OF, "D")),
        features=frame[["recency_days", "spend_cents_84d"]].reset_index(drop=True),
        weekly=weekly,
    )
    spent = rows.features["spend_cents_84d"].to_numpy()
    lstm = ValueLSTM(
        seed=1, n_seeds=1, recipe=Recipe(units=2, head_units=2, n_epochs=1), num_threads=1
    )
    mean = ValueMean({"lstm": lstm, "past": PastSpend("spend_cents_84d")}).fit(rows, spent)
    imitation = champions.value.bundle.surrogate
    facts = facts_of(
        mean, "value", 91, data_window=(FIRST_DAY, AS_OF), git_sha="0", surrogate=imitation
    )
    recurrent = replace(
        champions, value=RegisteredModel("value_91d", 2, Bundle(mean, facts, surrogate=imitation))
    )

    made = recurrent.population(trained.snapshot)

    assert facts.n_weeks == 8
    assert made.value_cents == pytest.approx(mean.predict(rows))


def test_threads_are_those_of_the_settings(trained: LittleProgramme) -> None:
    three = trained.settings.model_copy(update={"threads": 3})

    assert Champions.load(three).churn.bundle.model.num_threads == 3
    assert registry.load(three, "churn_28d").bundle.model.num_threads == 1
