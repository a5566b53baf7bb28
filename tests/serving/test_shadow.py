"""The challenger is asked about a share of the members, and nobody waits for it."""

import json
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr

from programme.settings import Settings
from serving import shadow
from serving.hot import ChurnScorer
from serving.live import Live
from serving.shadow import SHADOW_FILE, WAITING_MAX, Comparison, Shadow, is_sampled
from tests.serving import small_home
from tests.serving.small_home import CALIBRATION, NAME, SmallHome, bundle, expected, members, rule
from tests.serving.test_live import wait_for
from training.percentiles import thresholds

BEGAN = datetime(2024, 9, 2, 8, tzinfo=UTC)
IDS = [f"m{number:03d}" for number in range(small_home.N_MEMBERS)]


class Clock:
    """A clock that tests move."""

    def __init__(self) -> None:
        self.passed = 0.0

    def __call__(self) -> datetime:
        return BEGAN + timedelta(seconds=self.passed)


def scorer(shift: float, version: int = 2) -> ChurnScorer:
    return ChurnScorer(
        NAME, version, horizon_days=28, columns=("recency_days",), model=rule(shift),
        calibration=CALIBRATION, marks=thresholds(expected(0.0, members())),
    )  # fmt: skip


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path, shadow_share=1.0)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def beside(settings: Settings, clock: Clock) -> Iterator[Shadow]:
    beside = Shadow()
    beside.start(settings, clock)
    beside.follow(NAME, 2, scorer(0.8))
    yield beside
    beside.stop()


def offer(beside: Shadow, champion: int = 1) -> None:
    rows = members()
    beside.offer(champion, IDS, rows, expected(0.0, rows))


@given(st.lists(st.text(min_size=1), min_size=1, max_size=20), st.floats(0, 1), st.floats(0, 1))
def test_a_larger_share_keeps_the_members_of_a_smaller_one(
    ids: list[str], one: float, other: float
) -> None:
    small, large = sorted((one, other))
    for member_id in ids:
        assert is_sampled(member_id, small) <= is_sampled(member_id, large)
        assert not is_sampled(member_id, 0.0)
        assert is_sampled(member_id, 1.0)


def test_the_share_of_many_members_is_the_share_asked_for() -> None:
    chosen = sum(is_sampled(str(number), 0.1) for number in range(20_000))

    assert abs(chosen - 2_000) < 4 * (20_000 * 0.1 * 0.9) ** 0.5


@given(
    st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=40),
    st.integers(0, 40),
)
def test_parts_add_up_to_the_whole(pairs: list[tuple[float, float]], cut: int) -> None:
    champion, challenger = np.array(pairs).T
    whole, part, rest = Comparison(), Comparison(), Comparison()
    whole.see(champion, challenger)
    part.see(champion[:cut], challenger[:cut])
    rest.see(champion[cut:], challenger[cut:])
    part.add(rest)

    once, twice = whole.told(), part.told()
    for name in ("n", "rank_correlation", "band_flips", "difference_quantiles"):
        assert once[name] == twice[name]
    for name in ("champion_mean", "challenger_mean", "difference_mean"):
        assert once[name] == pytest.approx(twice[name], abs=1e-12)


def test_figures_are_those_of_arithmetic_and_of_scipy() -> None:
    champion = np.array([0.1, 0.2, 0.2, 0.5, 0.9])
    challenger = np.array([0.2, 0.1, 0.4, 0.7, 0.65])
    seen = Comparison()
    seen.see(champion, challenger)

    told = seen.told()

    assert told["n"] == 5
    assert told["champion_mean"] == pytest.approx(0.38)
    assert told["challenger_mean"] == pytest.approx(0.41)
    assert told["difference_mean"] == pytest.approx((0.1 + 0.1 + 0.2 + 0.2 + 0.25) / 5)
    assert told["band_flips"] == {"low > medium": 1, "medium > high": 1}
    assert told["rank_correlation"] == pytest.approx(spearmanr(champion, challenger).statistic)


def test_constant_scores_have_no_rank_correlation() -> None:
    seen = Comparison()
    seen.see(np.full(3, 0.5), np.array([0.1, 0.2, 0.3]))

    assert seen.told()["rank_correlation"] is None
    assert Comparison().told() == {"n": 0}


def test_what_was_answered_is_compared(beside: Shadow) -> None:
    offer(beside)
    wait_for(lambda: bool(beside.report()))

    (told,) = beside.report()
    champion, challenger = expected(0.0, members()), expected(0.8, members())
    assert (told["name"], told["champion"], told["challenger"]) == (NAME, 1, 2)
    assert told["n"] == len(IDS)
    assert told["challenger_mean"] == pytest.approx(challenger.mean())
    assert told["difference_mean"] == pytest.approx(np.abs(champion - challenger).mean())
    assert told["rank_correlation"] == pytest.approx(1.0)


def test_a_champion_of_another_version_is_counted_apart(beside: Shadow) -> None:
    offer(beside, champion=1)
    offer(beside, champion=3)
    wait_for(lambda: len(beside.report()) == 2)

    assert [told["champion"] for told in beside.report()] == [1, 3]


@pytest.mark.parametrize("share", [0.0, 0.3])
def test_only_the_share_is_asked(tmp_path: Path, clock: Clock, share: float) -> None:
    beside = Shadow()
    beside.start(Settings(home=tmp_path, shadow_share=share), clock)
    beside.follow(NAME, 2, scorer(0.8))
    offer(beside)
    beside.stop()

    wanted = sum(is_sampled(one, share) for one in IDS)
    assert sum(told["n"] for told in beside.report()) == wanted
    assert wanted < len(IDS)


class Stuck:
    """A challenger that takes as long as a test wants."""

    def __init__(self) -> None:
        self.go = threading.Event()

    def score(self, rows: Any) -> Any:
        self.go.wait(30)
        return scorer(0.8).score(rows)


def test_a_slow_challenger_is_let_go_of_and_nobody_waits(beside: Shadow) -> None:
    stuck: Any = Stuck()
    beside.follow(NAME, 2, stuck)

    rows = members()
    said = expected(0.0, rows)
    for _ in range(3 * WAITING_MAX):
        beside.offer(1, IDS, rows, said)
    scored_meanwhile = sum(told["n"] for told in beside.report())
    stuck.go.set()
    beside.stop()

    (told,) = beside.report()
    assert scored_meanwhile == 0
    assert beside.dropped >= (2 * WAITING_MAX - 1) * len(IDS)
    assert told["n"] + beside.dropped == 3 * WAITING_MAX * len(IDS)


def test_a_challenger_that_fails_is_counted_and_logged_once(
    beside: Shadow, caplog: pytest.LogCaptureFixture
) -> None:
    broken: Any = object()
    beside.follow(NAME, 2, broken)
    offer(beside)
    offer(beside)
    wait_for(lambda: beside.failed == 2 * len(IDS))

    assert beside.report() == []
    assert caplog.text.count("cannot score") == 1
    beside.follow(NAME, 2, scorer(0.8))
    offer(beside)
    wait_for(lambda: bool(beside.report()))


def test_a_line_a_minute_is_written_without_ids(
    beside: Shadow, settings: Settings, clock: Clock
) -> None:
    path = settings.home / SHADOW_FILE
    offer(beside)
    wait_for(lambda: bool(beside.report()))
    assert not path.exists()

    clock.passed = 61.0
    offer(beside)
    wait_for(path.exists)
    beside.stop()

    text = path.read_text()
    lines = [json.loads(line) for line in text.splitlines()]
    assert sum(line["n"] for line in lines) == 2 * len(IDS)
    assert lines[0]["since"] == BEGAN.isoformat()
    assert not any(member in text for member in IDS)


def test_lines_of_a_home_add_up_and_a_torn_one_is_left_out(
    beside: Shadow, settings: Settings
) -> None:
    offer(beside)
    beside.stop()
    path = settings.home / SHADOW_FILE
    once = path.read_text()
    path.write_text(once * 3 + once[:40])

    (told,) = shadow.read(settings)

    (line,) = [json.loads(line) for line in once.splitlines()]
    assert told["n"] == 3 * len(IDS)
    for name in ("champion_mean", "challenger_mean", "difference_mean", "rank_correlation"):
        assert told[name] == pytest.approx(line[name])
    assert told["band_flips"] == {flip: 3 * count for flip, count in line["band_flips"].items()}


def test_the_file_is_begun_anew_before_it_grows_without_end(
    beside: Shadow, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shadow, "FILE_BYTES_MAX", 10)
    path = settings.home / SHADOW_FILE
    offer(beside)
    beside.stop()
    beside.start(settings, Clock())
    offer(beside)
    beside.stop()

    assert len(path.read_text().splitlines()) == 1
    assert shadow.read(settings)[0]["n"] == 2 * len(IDS)


def test_a_home_without_lines_has_nothing_to_tell(settings: Settings) -> None:
    assert shadow.read(settings) == []


def test_the_alias_decides_whether_there_is_a_challenger(
    new_settings: Callable[[], Settings],
) -> None:
    home = SmallHome(new_settings())
    home.found()
    home.promoted(bundle(rule()))
    home.publish()
    live = Live()
    assert live.refresh(home.settings)
    assert live.facts()["challenger"] is None

    home.registered(bundle(rule(0.8)))  # registering makes it the challenger
    live.refresh(home.settings)
    assert live.facts()["challenger"] == f"{NAME}/2"

    broken = home.registered(bundle(rule(0.9)))
    (home.files(broken) / "model" / "model.json").unlink()
    live.refresh(home.settings)
    assert live.shadow.challenger is None
    assert "model/model.json" in live.trouble["challenger"]
    assert live.reason is None

    home.point(2)
    home.point(2, alias="challenger")
    assert live.refresh(home.settings)
    assert (live.facts()["challenger"], live.trouble) == (None, {})
    live.stop()
