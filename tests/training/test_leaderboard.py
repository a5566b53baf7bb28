"""The grade and the choice, on made-up answers whose quality is known."""

import json
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from numpy.typing import NDArray

from training import leaderboard
from training.config import Campaign
from training.forecasts import Candidate, Forecasts, Role
from training.intervals import Interval
from training.leaderboard import CHURN, EXPLORE, REPEAT, VALUE, Leaderboard, Yardstick
from training.models.calibration import PlattCalibration
from training.splits import Plan, plan

PLAN: Plan = plan(
    begins=date(2024, 1, 1),
    ends=date(2024, 7, 29),
    horizon_days=28,
    tests=2,
    validations=2,
    step_days=14,
    train_max=2,
    warmup_days=56,
)
ROLES: dict[str, Role] = {
    "recency": "rule",
    "frequency": "rule",
    "model": "model",
    "network": "model",
    "reference": "reference",
}
Answers = Mapping[str, NDArray[np.float64]]
N = 200


def candidates(names: Sequence[str]) -> tuple[Candidate, ...]:
    return tuple(Candidate(name, ROLES[name], dict) for name in names)


def forecasts(
    truth: NDArray[np.float64],
    answers: Answers,
    *,
    in_validation: Answers | None = None,
    active: NDArray[np.bool_] | None = None,
) -> Forecasts:
    """Say the same of the same members at every judged as_of, or otherwise in validation."""
    members = [f"m{number:03d}" for number in range(len(truth))]
    frames = []
    for as_of in PLAN.judged:
        said = dict(answers)
        if as_of in PLAN.validation:
            said |= in_validation or {}
        frame = {"as_of": np.datetime64(as_of, "D"), "member_id": members, "truth": truth, **said}
        frame["active"] = np.ones(len(truth), dtype=bool) if active is None else active
        frames.append(pd.DataFrame(frame))
    same = PlattCalibration(slope=1.0, intercept=0.0)
    return Forecasts(
        pd.concat(frames, ignore_index=True),
        {(day, name): same for day in (*PLAN.judged, PLAN.serve) for name in answers},
    )


def judged(
    answers: Answers, truth: NDArray[np.float64], yardstick: Yardstick = CHURN, **more: Any
) -> Leaderboard:
    return leaderboard.judge(
        yardstick,
        forecasts(truth, answers, **more),
        candidates(list(answers)),
        PLAN,
        seed=1,
        draws=200,
    )


def churned(n: int = N) -> NDArray[np.float64]:
    """A quarter of the members churns, evenly spread over the rows."""
    return np.where(np.arange(n) % 4 == 0, 1.0, 0.0)


def noisy(truth: NDArray[np.float64], noise: float, seed: int) -> NDArray[np.float64]:
    moved: NDArray[np.float64] = truth + np.random.default_rng(seed).normal(0, noise, len(truth))
    return moved


def test_a_clearly_better_model_earns_an_a_and_is_served() -> None:
    truth = churned()

    board = judged(
        {"recency": noisy(truth, 1, 1), "frequency": noisy(truth, 2, 2), "model": truth}, truth
    )

    assert (board.winner, board.served, board.grade) == ("model", "model", "A")
    assert board.best_rule == "recency"
    assert board.skill.low >= 0.05


def test_a_model_that_says_what_the_best_rule_says_earns_a_c() -> None:
    truth = churned()
    rule = noisy(truth, 1, 1)

    board = judged({"recency": rule, "model": rule}, truth, in_validation={"model": truth})

    assert (board.skill.mean, board.skill.low, board.skill.high) == (0, 0, 0)
    assert (board.winner, board.served, board.grade) == ("model", "recency", "C")
    assert "recency is served" in board.verdict()


def test_a_model_surely_but_little_better_earns_a_b() -> None:
    found, possible = np.full(N, 0.50), np.full(N, 1.0)

    board = judged({"recency": found, "model": found + 0.02}, possible, REPEAT)

    assert (board.grade, board.served) == ("B", "model")
    assert board.skill.mean == pytest.approx(0.04)


@examples(max_examples=10)
@given(st.integers(0, 2**31))
def test_answers_to_shuffled_labels_earn_a_c_and_the_rule_is_served(seed: int) -> None:
    truth = churned()
    blind = np.random.default_rng(seed).permutation(truth)

    board = judged({"recency": noisy(truth, 1, 1), "model": blind}, truth)

    assert (board.grade, board.served) == ("C", "recency")


def test_the_winner_is_chosen_on_validation_even_if_another_is_better_in_the_test() -> None:
    truth = churned()

    board = judged(
        {"recency": noisy(truth, 2, 1), "model": noisy(truth, 0.5, 2), "network": truth},
        truth,
        in_validation={"model": truth, "network": noisy(truth, 0.5, 3)},
    )

    assert board.winner == board.served == "model"
    assert board.standings[0].entries[0].name == "network"


def test_a_rule_may_win() -> None:
    truth = churned()

    board = judged({"recency": truth, "model": noisy(truth, 1, 1)}, truth)

    assert (board.winner, board.served) == ("recency", "recency")


@pytest.mark.parametrize("helped", ["recency", "model"])
def test_a_reference_is_shown_but_never_chosen_or_served(helped: str) -> None:
    truth = churned()
    answers = {"recency": noisy(truth, 2, 1), "model": noisy(truth, 2, 2), "reference": truth}
    answers[helped] = noisy(truth, 0.6, 3)

    board = judged(answers, truth)

    assert board.winner == board.served == helped
    assert board.best_rule == "recency"
    assert board.standings[0].entries[0].name == "reference"
    assert board.beside["reference"].high < 0
    assert f"Beside reference it stands at {board.beside['reference'].mean:+.4f}" in board.verdict()


def test_dormant_members_are_judged_apart_and_decide_nothing() -> None:
    truth, active = churned(), np.arange(N) < 120
    answers = {"recency": noisy(truth, 1, 1), "model": truth}
    # Of the dormant the model is as wrong as can be.
    upside_down = {**answers, "model": np.where(active, truth, -truth)}

    alone = judged({name: said[active] for name, said in answers.items()}, truth[active])
    board = judged(upside_down, truth, active=active)

    assert [standing.population for standing in board.standings] == ["active", "dormant"]
    assert [standing.rows for standing in board.standings] == [240, 160]
    assert (board.winner, board.skill, board.grade) == (alone.winner, alone.skill, alone.grade)
    assert board.standings[0] == alone.standings[0]
    assert [entry.name for entry in board.standings[1].entries] == ["recency", "model"]


def test_where_hardly_anyone_is_active_everybody_is_judged_together() -> None:
    truth, active = churned(), np.arange(N) < 10

    board = judged({"recency": noisy(truth, 1, 1), "model": truth}, truth, active=active)

    assert [standing.population for standing in board.standings] == ["all", "dormant"]
    assert board.standings[0].rows == 2 * N
    together = judged({"recency": noisy(truth, 1, 1), "model": truth}, truth)
    assert (board.skill, board.validation) == (together.skill, together.validation)


def test_skill_of_recommendations_by_hand() -> None:
    # A perfect list would find .9; the way from the rule's .5 to there is .4, the model goes .1.
    board = judged({"recency": np.full(N, 0.5), "model": np.full(N, 0.6)}, np.full(N, 0.9), EXPLORE)

    assert board.skill.mean == pytest.approx(0.25)
    assert board.standings[0].base_rate == pytest.approx(0.9)


def test_skill_of_churn_by_hand() -> None:
    # 10 of 40 churn. The rule says the same of all: its average precision is the share, 1/4. The
    # model puts one loyal member first: mean of k / (k + 1) for k = 1 .. 10 is 1 - (H11 - 1) / 10.
    truth = churned(40)
    precision = 1 - (sum(1 / k for k in range(1, 12)) - 1) / 10
    model = truth - 0.001 * np.arange(40)
    model[1] = 2.0

    board = judged({"recency": np.zeros(40), "model": model}, truth)

    assert board.validation == pytest.approx({"recency": 0.25, "model": precision})
    assert board.skill.mean == pytest.approx((precision - 0.25) / 0.75)


def test_nothing_can_be_won_over_a_perfect_rule() -> None:
    possible = np.full(N, 0.8)

    board = judged(
        {"recency": possible, "model": possible - 0.1},
        possible,
        REPEAT,
        in_validation={"recency": possible - 0.2},
    )

    assert np.isnan(board.skill.mean)
    assert (board.winner, board.served, board.grade) == ("model", "recency", "C")


def test_skill_and_standings_are_those_of_one_seed() -> None:
    truth = churned()
    answers = {"recency": noisy(truth, 1, 1), "model": noisy(truth, 0.7, 2)}

    assert judged(answers, truth).to_dict() == judged(answers, truth).to_dict()


def test_a_difference_is_the_negative_of_its_reverse() -> None:
    truth = churned()
    answers = {"recency": noisy(truth, 1, 1), "model": noisy(truth, 0.7, 2)}
    made = forecasts(truth, answers)

    def between(challenger: str, incumbent: str) -> Interval:
        return leaderboard.difference(
            CHURN, made, PLAN.test, challenger, incumbent, seed=1, draws=100
        )

    forth, back = between("model", "recency"), between("recency", "model")
    assert (forth.mean, forth.low, forth.high) == pytest.approx((-back.mean, -back.high, -back.low))
    assert vars(between("model", "model")) == {"mean": 0, "low": 0, "high": 0}


def test_every_candidate_has_every_figure_in_the_order_of_the_primary_one() -> None:
    spent = np.random.default_rng(0).gamma(1.0, 5_000.0, N)

    board = judged(
        {"recency": noisy(spent, 5_000, 1), "model": spent, "reference": -spent}, spent, VALUE
    )

    (standing,) = board.standings
    assert [entry.name for entry in standing.entries] == ["model", "recency", "reference"]
    assert {tuple(entry.metrics) for entry in standing.entries} == {tuple(VALUE.metrics)}
    assert standing.entries[0].metrics["RMSE"] == 0


def test_probabilities_are_judged_as_calibrated() -> None:
    truth = churned()
    said = np.where(truth == 1, 1.0, -2.0)
    made = forecasts(truth, {"recency": said})
    bent = {key: PlattCalibration(slope=2.0, intercept=1.0) for key in made.calibrations}

    board = leaderboard.judge(
        CHURN,
        Forecasts(made.frame, bent),
        candidates(["recency"]),
        PLAN,
        seed=1,
        draws=100,
    )

    probability = 1 / (1 + np.exp(-(2 * said + 1)))
    expected = ((probability - truth) ** 2).mean()
    assert board.standings[0].entries[0].metrics["Brier"] == pytest.approx(expected)
    assert board.deciles is not None
    assert board.deciles["predicted_mean"].between(0, 1).all()


def test_what_the_command_line_shows_is_json_even_where_a_figure_is_undefined() -> None:
    truth, active = churned(), np.arange(N) < 120
    truth[~active] = 1.0  # all of them churn: no order of them is better than another
    answers = {"recency": noisy(truth, 1, 1), "model": truth, "reference": truth}

    content = judged(answers, truth, active=active).to_dict()

    kept = json.loads(json.dumps(content, allow_nan=False))
    assert kept == content
    dormant = kept["populations"][1]["entries"][0]
    assert dormant["metrics"]["AUC"] is None
    assert kept["name"] == "churn_28d"
    assert kept["populations"][0]["test_as_ofs"] == [str(day) for day in PLAN.test]
    assert kept["validation_as_ofs"] == [str(day) for day in PLAN.validation]


def test_a_leaderboard_without_any_defined_skill_is_json_too() -> None:
    possible = np.full(N, 0.8)

    content = judged({"recency": possible, "model": possible}, possible, REPEAT).to_dict()

    assert json.loads(json.dumps(content, allow_nan=False))["skill"] == {
        "mean": None,
        "low": None,
        "high": None,
    }


def test_every_candidate_has_an_interval_around_its_primary_figure() -> None:
    truth = churned()

    board = judged({"recency": noisy(truth, 1, 1), "model": noisy(truth, 0.6, 2)}, truth)

    (standing,) = board.standings
    for entry in standing.entries:
        assert entry.interval.low < entry.interval.mean < entry.interval.high
        assert entry.interval.mean == pytest.approx(entry.metrics[standing.primary])
    kept = board.to_dict()["populations"][0]
    assert kept["primary"] == "AP"
    assert kept["entries"][0]["interval"] == vars(standing.entries[0].interval)


def test_the_interval_of_a_candidate_covers_the_figure_of_the_world_it_was_drawn_from() -> None:
    # 60 worlds of 200 members; the figure of 40,000 of them is the one to be covered.
    rng = np.random.default_rng(8)

    def drawn(n: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        truth = (rng.random(n) < 0.25).astype(float)
        return truth, truth + rng.normal(0, 0.8, n)

    true = CHURN.metrics["AP"](*drawn(40_000))
    covered = 0
    for _ in range(60):
        truth, said = drawn(N)
        (standing,) = judged({"recency": said}, truth).standings
        interval = standing.entries[0].interval
        covered += interval.low <= true <= interval.high

    assert covered >= 52  # 57 are expected; 52 is three deviations below


def test_best_rule_and_noise_earn_a_c_in_38_of_40_worlds() -> None:
    grades = []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        truth = (rng.random(N) < 0.25).astype(float)
        rule = truth + rng.normal(0, 1, N)
        model = rule + rng.normal(0, 0.3, N)
        # On the validation days another noise made the model the winner.
        board = judged({"recency": rule, "model": model}, truth, in_validation={"model": truth})
        grades.append(board.grade)

    assert grades.count("C") >= 38


def newcomers(n: int, **more: NDArray[np.float64]) -> Mapping[str, NDArray[Any]]:
    return {"newcomer": np.arange(N) < n, **more}


def with_columns(made: Forecasts, columns: Mapping[str, NDArray[Any]]) -> Forecasts:
    days = len(PLAN.judged)
    told = {name: np.tile(values, days) for name, values in columns.items()}
    return Forecasts(made.frame.assign(**told), made.calibrations)


@pytest.mark.parametrize(("n", "populations"), [(0, 1), (14, 1), (15, 2), (60, 2)])
def test_newcomers_stand_apart_where_they_are_enough(n: int, populations: int) -> None:
    truth = churned()
    made = forecasts(truth, {"recency": noisy(truth, 1, 1), "model": truth})

    board = leaderboard.judge(
        CHURN, with_columns(made, newcomers(n)), candidates(["recency", "model"]), PLAN,
        seed=1, draws=100,
    )  # fmt: skip

    assert len(board.standings) == populations
    if populations > 1:
        standing = board.standings[1]
        assert (standing.population, standing.primary) == ("newcomers", "AP")
        assert standing.rows == 2 * n
        assert standing.entries[0].name == "model"


def test_new_members_of_high_potential_are_found_beside_their_first_order() -> None:
    # Twenty newcomers; two of them go on to spend 40 of the 58 in all. The model knows who, the
    # first order points at two who spend 1 each.
    spent = np.ones(N)
    spent[:2] = 20.0
    first = np.where(np.isin(np.arange(N), (5, 6)), 900.0, 100.0)
    made = forecasts(spent, {"recency": noisy(spent, 5, 1), "model": spent})

    board = leaderboard.judge(
        VALUE,
        with_columns(made, newcomers(20, first_order_cents=first)),
        candidates(["recency", "model"]),
        PLAN,
        seed=1,
        draws=200,
    )

    standing = board.standings[1]
    assert standing.primary == "top 10% share"
    share = {entry.name: entry.metrics["top 10% share"] for entry in standing.entries}
    assert share["model"] == pytest.approx(40 / 58)
    assert share["first_order_cents"] == pytest.approx(2 / 58)
    rules = [entry.name for entry in standing.entries if entry.role == "rule"]
    assert set(rules) == {"recency", "first_order_cents"}
    # Elsewhere the first order is no rival, and the primary metric stays the Gini.
    assert board.standings[0].primary == "Gini"
    assert {entry.name for entry in board.standings[0].entries} == {"recency", "model"}


def test_churn_is_judged_in_money_where_a_campaign_is_given() -> None:
    truth = churned()
    costs = Campaign(save_rate=0.4)
    board = judged(
        {"recency": noisy(truth, 1, 1), "model": truth}, truth, leaderboard.in_money(costs)
    )

    entry = board.standings[0].entries[0]
    # Everybody who leaves is contacted and nobody else: .4 * 190 - 1 each, a quarter of all.
    assert entry.metrics["EMPC"] == pytest.approx(0.25 * 75, rel=1e-2)
    said = json.loads(json.dumps(board.to_dict()["campaign"], allow_nan=False))
    assert said["assumed"] == costs.model_dump()
    assert said["by"]["model"]["most_cents_a_member"] == pytest.approx(0.25 * 7_500)
    assert said["by"]["model"]["share_contacted"] == pytest.approx(0.25)
    assert set(said["by"]) == {"model", "recency"}
    assert len(said["by"]["model"]["curve"]["share"]) == 101
    assert judged({"recency": truth}, truth).to_dict()["campaign"] == {}
