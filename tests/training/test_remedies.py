"""What could lower a member's risk: each of the three boxes says no more than it knows."""

import itertools
from datetime import timedelta

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

import perennial
from features import table
from programme.errors import InputRefused
from programme.words import label
from serving.reports.reasons import sentences
from tests import little_programme
from tests.little_programme import AS_OF, LittleProgramme
from training import labels, registry
from training.bundle import Bundle, facts_of
from training.explain import driver_of
from training.models.calibration import PlattCalibration
from training.models.churn import ChurnModel
from training.remedies import ALIKE_MEMBERS, STEP_MIN, Measured, Remedies, remedies
from training.scores import Driver, no_single_driver

LEVER = "top_category_share"


@pytest.fixture(scope="module")
def narrow_leave(trained: LittleProgramme) -> Bundle:
    """Return a churn model of a world in which who buys mostly one kind of thing leaves."""
    frame = trained.snapshot.features()
    features = frame[list(table.MODEL_COLUMNS)].reset_index(drop=True)
    narrow = features[LEVER] > features[LEVER].median()
    noise = np.random.default_rng(3).random(len(features)) < 0.1
    churned = (narrow ^ noise).to_numpy(dtype=float)
    model = ChurnModel(seed=1, trees=little_programme.TREES, num_threads=1).fit(features, churned)
    facts = facts_of(
        model, "churn", 28, data_window=(little_programme.FIRST_DAY, AS_OF), git_sha="unknown"
    )
    return Bundle(model, facts, PlattCalibration.fit(model.raw_score(features), churned))


def riskiest(taken: LittleProgramme, churn: Bundle) -> str:
    frame = taken.snapshot.features()
    return str(frame.index[int(np.argmax(churn.model.raw_score(frame)))])


def test_the_arithmetic_finds_the_planted_lever_and_is_the_models_own(
    trained: LittleProgramme, narrow_leave: Bundle
) -> None:
    # The riskiest for whom there is a swap: where nobody is alike, nothing can be exchanged.
    frame = trained.snapshot.features()
    by_risk = np.argsort(-narrow_leave.model.raw_score(frame), kind="stable")
    candidates = (str(frame.index[place]) for place in by_risk[: len(frame) // 2])
    member, found = next(
        (one, its)
        for one in candidates
        if (its := remedies(trained.snapshot, narrow_leave, one)).swaps
    )

    first = found.swaps[0]
    assert first.code == "breadth"
    assert first.churn_probability < found.churn_probability - STEP_MIN
    own = [name for name in narrow_leave.model.columns if driver_of(name) == "breadth"]
    exchanged = pd.concat([frame.loc[[member]]] * len(frame))
    exchanged[own] = frame[own].to_numpy()
    assert narrow_leave.calibration is not None
    possible = narrow_leave.calibration.apply(narrow_leave.model.raw_score(exchanged))
    assert np.isclose(possible, first.churn_probability).any()


def test_each_swap_lowers_what_the_one_before_left(
    trained: LittleProgramme, narrow_leave: Bundle
) -> None:
    for member in trained.snapshot.features().index[:6]:
        found = remedies(trained.snapshot, narrow_leave, str(member))

        said = [found.churn_probability, *(swap.churn_probability for swap in found.swaps)]
        assert all(before - after >= STEP_MIN for before, after in itertools.pairwise(said))
        assert len({swap.code for swap in found.swaps}) == len(found.swaps) <= 3


def test_members_alike_are_counted_by_what_they_did(
    trained: LittleProgramme, narrow_leave: Bundle
) -> None:
    member = riskiest(trained, narrow_leave)

    alike = remedies(trained.snapshot, narrow_leave, member).alike

    assert alike is not None
    assert alike.as_of == AS_OF - timedelta(days=28)
    assert alike.members == ALIKE_MEMBERS
    assert 0 <= alike.came_back <= alike.members
    assert alike.days_median is not None
    assert 0 <= alike.days_median < 28
    assert all(0 < share <= 1 for _, share in alike.first_categories)


def test_first_days_agree_with_the_labels_of_churn(trained: LittleProgramme) -> None:
    day = AS_OF - timedelta(days=28)
    version = trained.snapshot.lake_version
    members = list(trained.snapshot.features().index)

    first = labels.first_days(trained.settings, day, 28, version)
    churned = labels.outcomes(trained.settings, day, 28, members, version).churned

    assert set(first["member_id"]) & set(members) == set(np.array(members)[churned == 0])
    assert first["days_after"].between(0, 27).all()
    assert first["categories"].map(len).ge(1).all()


def test_too_little_past_leaves_the_second_box_empty(trained: LittleProgramme) -> None:
    from features import snapshot

    early = snapshot.build(trained.settings, little_programme.FIRST_DAY + timedelta(days=27))
    churn = registry.load(trained.settings, trained.name("churn")).bundle

    found = remedies(early, churn, str(early.features().index[0]))

    assert found.alike is None


def test_nobody_is_refused(trained: LittleProgramme, narrow_leave: Bundle) -> None:
    with pytest.raises(InputRefused, match=r"No member 'nobody'.*Nothing is shown"):
        remedies(trained.snapshot, narrow_leave, "nobody")


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_boxes_are_kept_apart_and_the_caveat_is_last(
    trained: LittleProgramme, narrow_leave: Bundle, language: str
) -> None:
    found = remedies(trained.snapshot, narrow_leave, riskiest(trained, narrow_leave))

    told = list(sentences(found, language, "EUR"))

    headings = [heading for heading, _ in told]
    assert len(set(headings)) == len(headings) == 5
    assert told[3][1] == [label("explain.measured_not", language)]
    assert told[-1] == ("", [label("caveat.attribution", language)])
    assert not any("{" in sentence for _, lines in told for sentence in lines)


def test_a_measured_effect_is_said_with_its_n_and_interval() -> None:
    effect = Measured("10 % off coffee", 812, 0.04, 0.01, 0.07)
    found = Remedies("m1", AS_OF, 28, 0.3, (), (), None, (effect,))

    boxes = dict(sentences(found, "en", "EUR"))

    (said,) = boxes[label("explain.measured", "en")]
    assert said == "10 % off coffee: 4% more came back [1%, 7%], n = 812 members."


def test_where_nothing_stands_out_it_is_said() -> None:
    def driver(code: str, importance: str) -> Driver:
        return Driver(code, None, {}, 0.1, "up", importance)  # type: ignore[arg-type]

    some = (driver("recency", "medium"), driver("rhythm", "medium"))
    assert no_single_driver(some)
    assert not no_single_driver((*some, driver("breadth", "high")))
    (_, first), *_ = sentences(Remedies("m1", AS_OF, 28, 0.3, some, (), None), "en", "EUR")
    assert first[0] == label("explain.no_single_driver", "en")


def test_the_command_tells_it_all(trained: LittleProgramme) -> None:
    home = str(trained.settings.home)
    day = str(AS_OF)

    done = CliRunner().invoke(perennial.app, ["explain", "m001", "--as-of", day, "--home", home])

    assert done.exit_code == 0, done.output
