"""When a champion is due, one training at a time, what a killed one leaves, and the model card."""

import io
import json
import signal
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

import perennial
from programme.errors import NotReady
from programme.settings import Settings
from serving.reports.console import console as terminal
from serving.reports.reviews import show_reviews
from tests.training import grocer as made_up
from tests.training.grocer import END, FIRST_DAY, NOW, Trained, tiny_config
from training import registry, tracking
from training.card import as_markdown
from training.promotion import answers
from training.records import card_of
from training.retrain import retrain, review
from training.tracking import connect, one_training
from training.train import train

LATER = FIRST_DAY + timedelta(weeks=36)
# Limits so wide that only the one a test narrows can be passed.
CALM = {"age_days_max": 400, "psi_max": 50.0, "loss_max": 0.99}


@pytest.fixture(scope="module")
def four_weeks_on(mlflow_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Return a home that was trained, and has sold for four more weeks since."""
    receipts = made_up.purchases(n_members=70, n_days=36 * 7)
    known = receipts["at"] < f"{FIRST_DAY + timedelta(weeks=32)}"
    home = tmp_path_factory.mktemp("four_weeks_on")
    settings = made_up.open_home(mlflow_template, home, receipts[known], value_horizon_days=28)
    train(settings, tiny_config(), ["churn", "repeat"], NOW)
    return made_up.take(settings, receipts, value_horizon_days=28)


def limits(**changes: float) -> Any:
    return tiny_config(retrain=CALM | changes)


def test_what_is_new_is_not_due(trained_grocer: Trained) -> None:
    reviews = review(trained_grocer.settings, tiny_config())

    assert [found.due for found in reviews] == [()] * len(trained_grocer.boards)
    assert {found.figures["age_days"] for found in reviews} == {0}


def test_only_targets_the_programme_chose_are_looked_at(four_weeks_on: Settings) -> None:
    assert [found.target for found in review(four_weeks_on, limits())] == ["churn", "repeat"]
    (asked,) = review(four_weeks_on, limits(), ["explore"])
    assert asked.due == ("it was never trained.",)


@pytest.mark.parametrize(
    ("limit", "words"),
    [
        ({"age_days_max": 27}, "28 days of data"),
        ({"psi_max": 1e-6}, "its answers drifted"),
    ],
)
def test_each_limit_alone_makes_it_due(
    four_weeks_on: Settings, limit: dict[str, float], words: str
) -> None:
    (calm,) = review(four_weeks_on, limits(), ["churn"])
    (found,) = review(four_weeks_on, limits(**limit), ["churn"])

    assert calm.due == ()
    assert found.figures == calm.figures
    (sentence,) = found.due
    assert words in sentence


def test_a_champion_that_lost_its_way_is_due(
    four_weeks_on: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.retrain.answers", lambda *asked: -answers(*asked))

    (found,) = review(four_weeks_on, limits(loss_max=0.1), ["churn"])

    (sentence,) = found.due
    assert sentence.startswith("it lost: AP ")
    assert str(LATER - timedelta(days=28)) in sentence


def test_what_is_due_is_trained_and_nothing_else(four_weeks_on: Settings) -> None:
    calm, nothing = retrain(four_weeks_on, limits(), None, NOW)
    _, boards = retrain(four_weeks_on, limits(age_days_max=1), ["repeat"], NOW)
    (since,) = review(four_weeks_on, limits(age_days_max=1), ["repeat"])

    assert (len(calm), nothing) == (2, [])
    assert [board["name"] for board in boards] == ["repeat_28d"]
    assert since.due == ()


def test_two_trainings_at_once_are_one_too_many(trained_grocer: Trained) -> None:
    settings = trained_grocer.settings
    with one_training(settings), pytest.raises(NotReady, match=r"process \d+.*Nothing was trained"):
        train(settings, tiny_config(), ["repeat"], NOW)

    assert registry.champion_version(settings, "repeat_28d") == 1


@pytest.mark.parametrize(
    ("how", "said"), [(signal.SIGKILL, tracking.KILLED), (signal.SIGTERM, "SystemExit: 143")]
)
def test_a_killed_training_leaves_a_failed_run_and_no_moved_alias(
    four_weeks_on: Settings, tmp_path: Path, how: signal.Signals, said: str
) -> None:
    before = registry.champion_version(four_weeks_on, "repeat_28d")
    config = tmp_path / "tiny.toml"
    config.write_text(made_up.as_toml(made_up.TINY), "utf-8")
    home = str(four_weeks_on.home)
    command = [sys.executable, "-m", "tests.training.killed_training", home, str(config)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as victim:
        assert victim.stdout is not None
        assert victim.stdout.readline() == "learned\n"
        victim.send_signal(how)
        victim.wait(60)

    with one_training(four_weeks_on):
        pass

    client = connect(four_weeks_on)
    everywhere = [found.experiment_id for found in client.search_experiments()]
    assert client.search_runs(everywhere, "attributes.status = 'RUNNING'") == []
    (last,) = client.search_runs(everywhere, max_results=1, order_by=["attributes.end_time DESC"])
    assert (last.info.status, last.data.tags["ended"]) == ("FAILED", said)
    assert registry.champion_version(four_weeks_on, "repeat_28d") == before


def told(*words: str, settings: Settings) -> str:
    """Return what a command prints."""
    done = CliRunner().invoke(perennial.app, [*words, "--home", str(settings.home)])
    assert done.exit_code == 0, done.output
    return done.stdout


def test_the_command_tells_what_is_due(trained_grocer: Trained) -> None:
    console = Console(width=132, record=True, file=io.StringIO())
    settings = trained_grocer.settings

    show_reviews(console, review(settings, tiny_config(), ["repeat"]))
    shown = console.export_text()
    terminal.begin_capture()
    told("retrain", "repeat", "--dry-run", settings=settings)

    assert terminal.end_capture() == shown
    assert "repeat_28d" in shown
    assert "│ no" in shown


@pytest.mark.parametrize("target", ["churn", "value", "repeat", "explore", "next_order"])
def test_a_card_says_what_the_board_says(trained_grocer: Trained, target: str) -> None:
    settings, board = trained_grocer.settings, trained_grocer.boards[target]

    card = card_of(settings, board["name"])

    served = {e["name"]: e for e in board["populations"][0]["entries"]}[board["served"]]
    assert card["performance"]["populations"][0]["figures"] == served["metrics"]
    assert card["performance"]["skill"] == board["skill"]
    assert card["details"]["version"] == board["version"]
    assert card["data"]["learned_from"].endswith(f"..{END}")
    assert any("not causes" in caveat for caveat in card["caveats"])


def test_a_card_is_a_page_too(trained_grocer: Trained, tmp_path: Path) -> None:
    settings, out = trained_grocer.settings, tmp_path / "card.md"

    page = told("card", "churn_28d", settings=settings)
    data = told("card", "churn_28d", "1", "--json", settings=settings)
    told("card", "churn_28d", "--out", str(out), settings=settings)

    assert page == as_markdown(json.loads(data)) == out.read_text("utf-8")
    assert page.startswith("# churn_28d, version 1\n")
    assert "## Caveats" in page


def test_a_card_that_is_not_there_is_asked_for_in_vain(trained_grocer: Trained) -> None:
    with pytest.raises(NotReady, match="no version 7 of churn_28d"):
        card_of(trained_grocer.settings, "churn_28d", 7)
    with pytest.raises(NotReady, match="no champion of churn_91d"):
        card_of(trained_grocer.settings, "churn_91d")
