"""The same job once more: on the same receipts, on newer ones, and one that fails."""

from datetime import timedelta
from pathlib import Path

import pytest
from mlflow import MlflowClient

from programme.settings import Settings
from tests.training import grocer as made_up
from tests.training.grocer import FIRST_DAY, NOW, Trained, tiny_config
from tests.training.registered import NAMES, model_files, raising, versions_of
from training import promotion, registry
from training.tracking import connect
from training.train import stored_leaderboards, train


@pytest.fixture(scope="session")
def again(mlflow_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """Return a second home with the same receipts, trained in the same way.

    Asked for before `trained_grocer`, it is made while another process makes that one.
    """
    home = tmp_path_factory.mktemp("again")
    return made_up.trained(made_up.open_home(mlflow_template, home, made_up.purchases()))


def test_two_runs_give_the_same_numbers(again: Trained, trained_grocer: Trained) -> None:
    assert again.boards == trained_grocer.boards


@pytest.mark.parametrize("target", NAMES)
def test_two_runs_give_the_same_model_files(
    again: Trained, trained_grocer: Trained, target: str
) -> None:
    assert model_files(again.settings, target) == model_files(trained_grocer.settings, target)


def test_training_again_on_the_same_data_refreshes_the_champion(again: Trained) -> None:
    before = registry.champion_version(again.settings, NAMES["explore"])

    (board,) = train(again.settings, tiny_config(), ["explore", "explore"], NOW)

    assert before is not None
    assert board["version"] == before + 1
    assert registry.champion_version(again.settings, NAMES["explore"]) == board["version"]
    assert registry.champion_version(again.settings, NAMES["explore"], "previous") == before
    assert "same recipe" in board["promotion"]


@pytest.mark.slow
def test_on_newer_data_a_refresh_meets_the_champion_itself(
    mlflow_template: Path, tmp_path: Path
) -> None:
    receipts = made_up.purchases(n_members=70, n_days=36 * 7)
    known = receipts["at"] < f"{FIRST_DAY + timedelta(weeks=32)}"
    settings = made_up.open_home(mlflow_template, tmp_path, receipts[known], value_horizon_days=28)
    first = train(settings, tiny_config(), ["churn", "repeat"], NOW)

    made_up.take(settings, receipts, value_horizon_days=28)
    second = train(settings, tiny_config(), ["churn", "repeat"], NOW)

    for before, after in zip(first, second, strict=True):
        assert after["populations"][0]["test_as_ofs"][-1] == str(FIRST_DAY + timedelta(weeks=32))
        assert after["served"] == before["served"]
        assert "promoted; the same recipe, refreshed: " in after["promotion"]
        assert after["version"] == 2
        assert registry.champion_version(settings, after["name"]) == 2


def history(settings: Settings, target: str) -> tuple[int, int, dict[str, int | None]]:
    """Return how many runs failed, how many versions there are, and where the aliases point."""
    client, name = connect(settings), NAMES[target]
    experiment = client.get_experiment_by_name(name)
    assert experiment is not None
    failed = client.search_runs([experiment.experiment_id], "attributes.status = 'FAILED'")
    aliases = (registry.CHAMPION, registry.CHALLENGER, registry.PREVIOUS)
    return (
        len(failed),
        len(versions_of(settings, target)),
        {alias: registry.champion_version(settings, name, alias) for alias in aliases},
    )


@pytest.mark.parametrize("stop", [OSError("no space left"), KeyboardInterrupt()])
def test_a_job_that_fails_leaves_a_failed_run_and_moves_no_alias(
    again: Trained, monkeypatch: pytest.MonkeyPatch, stop: BaseException
) -> None:
    failed, versions, aliases = history(again.settings, "repeat")
    monkeypatch.setattr(MlflowClient, "log_model_artifacts", raising(stop))

    with pytest.raises(type(stop)):
        train(again.settings, tiny_config(), ["repeat"], NOW)

    assert history(again.settings, "repeat") == (failed + 1, versions, aliases)


def test_a_version_whose_job_died_before_its_leaderboard_does_not_hide_the_last_one(
    again: Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, versions, aliases = history(again.settings, "repeat")
    with monkeypatch.context() as patch, pytest.raises(OSError, match="no space left"):
        patch.setattr(promotion, "decide", raising(OSError("no space left")))
        train(again.settings, tiny_config(), ["repeat"], NOW)

    (board,) = stored_leaderboards(again.settings, ["repeat"])

    assert len(versions_of(again.settings, "repeat")) == versions + 1
    assert board == again.boards["repeat"] | {"champion": aliases["champion"]}
