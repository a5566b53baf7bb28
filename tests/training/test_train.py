"""The whole job on a made-up grocer: what it registers, records, refuses, and leaves behind."""

import json
import shutil
from dataclasses import replace
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow.artifacts import download_artifacts

from features import snapshot
from features.ingest import ingest
from features.sources.cdnow import Cdnow
from programme.errors import InputRefused, NotReady
from programme.settings import Settings
from serving.batch import score_all
from tests.features import shop
from tests.features.shop import Till
from tests.training import grocer as made_up
from tests.training.grocer import END, FIRST_DAY, NOW, Trained, tiny_config
from tests.training.registered import (
    JUDGED_BY_DECILES,
    NAMES,
    artifact,
    raising,
    run_of,
    versions_of,
)
from training import records, registry
from training import train as jobs
from training.config import TrainConfig
from training.dataset import Dataset, Labelled
from training.forecasts import NothingToJudge
from training.promotion import CANDIDATE_TAG
from training.tracking import connect
from training.train import learn, stored_leaderboards, train


@pytest.mark.parametrize("target", NAMES)
def test_a_job_registers_one_version_and_the_first_is_champion(
    trained_grocer: Trained, target: str
) -> None:
    settings, board = trained_grocer.settings, trained_grocer.boards[target]

    (version,) = versions_of(settings, target)

    assert registry.champion_version(settings, NAMES[target]) == board["version"] == 1
    assert (board["name"], board["promoted"]) == (NAMES[target], True)
    assert "the first champion" in board["verdict"]
    assert version.tags[CANDIDATE_TAG] == board["served"]
    assert version.tags["grade"] == board["grade"]


@pytest.mark.parametrize("target", NAMES)
def test_a_run_keeps_config_window_features_and_the_figures_of_all_rivals(
    trained_grocer: Trained, target: str
) -> None:
    settings, board = trained_grocer.settings, trained_grocer.boards[target]

    run = run_of(settings, target)

    assert run.info.status == "FINISHED"
    assert TrainConfig.model_validate_json(artifact(settings, run, "config.json")) == tiny_config()
    assert json.loads(artifact(settings, run, records.BOARD_FILE)) == board
    (version,) = versions_of(settings, target)
    begins = date.fromisoformat(run.data.params["data_window"].partition("..")[0])
    assert run.data.params["data_window"] == f"{begins}..{END}" == version.tags["data_window"]
    assert FIRST_DAY <= begins < FIRST_DAY + timedelta(days=7)
    assert run.data.params["feature_set"] == version.tags["feature_set"]
    (headline, *_) = board["populations"]
    for entry in headline["entries"]:
        logged = {key for key in run.data.metrics if key.startswith(f"active/{entry['name']}/")}
        bounds = [entry["interval"], entry["difference"] or {}]
        known = [
            said[end] for said in bounds for end in ("low", "high") if said.get(end) is not None
        ]
        defined = [figure for figure in entry["metrics"].values() if figure is not None]
        assert len(logged) == len(defined) + len(known)
    assert {"rule", "model"} <= {entry["role"] for entry in headline["entries"]}
    assert run.data.metrics["skill"] == board["skill"]["mean"]


@pytest.mark.parametrize("target", JUDGED_BY_DECILES)
def test_a_run_keeps_deciles_and_plots(trained_grocer: Trained, target: str) -> None:
    settings = trained_grocer.settings
    run = run_of(settings, target)

    names = {file.path for file in connect(settings).list_artifacts(run.info.run_id)}

    assert {"gains.png", "deciles.png", "intervals.png"} <= names
    assert ("campaign.png" in names) == (target == "churn")
    deciles = artifact(settings, run, "deciles.csv").splitlines()
    assert deciles[0].startswith("decile,members,predicted_mean,actual_mean")
    assert len(deciles) == 11


@pytest.mark.parametrize("target", NAMES)
def test_a_model_has_a_signature_and_two_example_rows_that_are_nobodys(
    trained_grocer: Trained, target: str
) -> None:
    settings = trained_grocer.settings
    connect(settings)
    info = mlflow.models.get_model_info(f"models:/{NAMES[target]}/1")

    folder = download_artifacts(info.model_uri, tracking_uri=settings.tracking_uri)
    example = json.loads((Path(folder) / "input_example.json").read_text("utf-8"))

    assert info.signature.inputs.input_names() == example["columns"]
    assert len(example["data"]) == 2
    members = set(snapshot.build(settings, END).features().index)
    assert not members & {str(cell) for row in example["data"] for cell in row}


def test_rows_do_not_leave_with_the_record(trained_grocer: Trained) -> None:
    # What a run keeps may be shown around; nobody's number is in it.
    for target in NAMES:
        run = run_of(trained_grocer.settings, target)
        for name in ("leaderboard.json", "config.json"):
            assert '"m0' not in artifact(trained_grocer.settings, run, name)


def test_models_that_learn_beat_the_rules_where_habits_are_to_be_learned(
    trained_grocer: Trained,
) -> None:
    churn, repeat = trained_grocer.boards["churn"], trained_grocer.boards["repeat"]

    roles = {e["name"]: e["role"] for e in churn["populations"][0]["entries"]}
    assert roles[churn["winner"]] == "model"
    assert churn["skill"]["mean"] > 0
    # Her staples never change: nothing beats counting the days she bought them, and the count is
    # a rule. Beside how common a product is, every way of reading habits is far better.
    assert (repeat["served"], repeat["grade"]) == ("purchase_days", "C")
    recall = repeat["validation"]
    assert recall["repeat_ranker"] > recall["repeat_popularity"] + 0.05
    assert recall["personal_frequency"] > recall["repeat_popularity"] + 0.05


@pytest.mark.parametrize("target", NAMES)
def test_what_was_trained_is_what_is_shown(trained_grocer: Trained, target: str) -> None:
    (board,) = stored_leaderboards(trained_grocer.settings, [target])

    assert board == trained_grocer.boards[target] | {"champion": 1}


def test_learning_alone_stores_nothing(grocer: Settings) -> None:
    before = (grocer.home / "mlflow.db").read_bytes()

    job = learn(grocer, tiny_config(), "repeat")

    assert job.board.target == "repeat"
    assert (grocer.home / "mlflow.db").read_bytes() == before


class Shuffled(Dataset):
    """The same rows with everybody's outcome given to somebody else."""

    def at(self, as_of: date) -> Labelled:
        labelled = super().at(as_of)
        dealt = np.random.default_rng(as_of.toordinal()).permutation(len(labelled))
        return replace(
            labelled,
            churned=labelled.churned[dealt],
            value_cents=labelled.value_cents[dealt],
        )


@pytest.mark.parametrize("target", JUDGED_BY_DECILES)
def test_labels_dealt_at_random_earn_a_c(
    grocer: Settings, monkeypatch: pytest.MonkeyPatch, target: Any
) -> None:
    monkeypatch.setattr(jobs, "Dataset", Shuffled)

    board = learn(grocer, tiny_config(), target).board

    assert board.grade == "C"
    assert board.served == board.best_rule


@pytest.fixture(scope="module")
def plain(mlflow_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Return a home that knows of a purchase only who, when and how much."""
    receipts = made_up.purchases(n_members=70, n_days=36 * 7)[["member", "at", "amount"]]
    return made_up.open_home(
        mlflow_template,
        tmp_path_factory.mktemp("plain"),
        receipts,
        made_up.PLAIN_COLUMNS,
        value_horizon_days=28,
    )


@pytest.mark.slow
def test_member_date_and_amount_are_enough_for_churn_value_and_next_order(plain: Settings) -> None:
    said: list[str] = []

    boards = train(plain, tiny_config(), None, NOW, said.append)
    scored = score_all(plain, None, None, said.append)

    assert [board["name"] for board in boards] == ["churn_28d", "value_28d", "next_order"]
    assert "repeat and explore: left out, the purchases carry no product numbers" in said
    everyone = snapshot.build(plain, scored.as_of).features()
    written = pd.read_parquet(scored.path)
    assert list(written["member_id"]) == list(everyone.index)
    assert written["churn_probability"].between(0, 1).all()
    assert (written["value_cents"] >= 0).all()
    assert set(map(len, written["repeat_products"])) == {0}
    assert set(map(len, written["next_order_due"])) == {0}  # no categories either
    assert set(written["next_order_horizon_days"]) == {28}
    assert written["next_order_probability_28d"].between(0, 1).all()
    assert written["next_order_expected_on"].notna().any()


def test_a_recommender_without_products_is_refused_before_anything_is_trained(
    plain: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "churn_forecasts", raising(AssertionError("it was trained")))

    with pytest.raises(
        InputRefused, match=r"no product numbers, so repeat cannot.*Map the product"
    ):
        train(plain, tiny_config(), ["churn", "repeat"], NOW)


def test_a_recommender_with_nothing_to_judge_is_left_out_unless_it_was_asked_for(
    grocer: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    nothing = raising(NothingToJudge("nobody bought anything new."))
    monkeypatch.setattr(jobs, "_JOBS", dict.fromkeys(NAMES, nothing))

    assert train(grocer, tiny_config(), None, NOW, said.append) == []
    assert "explore: left out. nobody bought anything new." in said
    with pytest.raises(NothingToJudge):
        train(grocer, tiny_config(), ["explore"], NOW)


def test_too_short_a_history_for_one_target_is_refused_before_any_is_trained(
    plain: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = {"split": {"warmup_days": 56 * 7}}
    monkeypatch.setattr(jobs, "churn_forecasts", raising(AssertionError("it was trained")))

    with pytest.raises(InputRefused, match=r"are too few to learn.*Nothing was trained. 476 days"):
        train(plain, tiny_config(value=made_up.TINY["value"] | long), None, NOW)


def test_members_who_all_stay_are_refused_by_number() -> None:
    days = range(0, 28 * 8, 5)
    rows = [
        shop.line(f"m{member}", datetime(2024, 1, 1, 17) + timedelta(days=day))  # noqa: DTZ001
        for member in range(20)
        for day in days
    ]
    with shop.new_home() as home:
        shop.take(home, Till(rows))

        with pytest.raises(InputRefused, match=r"needs members who churned.*0 of 40 churned"):
            train(home, tiny_config(), ["churn"], NOW)


def test_an_unknown_target_is_refused_by_name(grocer: Settings) -> None:
    with pytest.raises(InputRefused, match=r"no target churm.*Targets are churn, value, repeat"):
        train(grocer, tiny_config(), ["churn", "churm"], NOW)


def test_a_home_without_a_programme_is_not_ready(tmp_path: Path) -> None:
    with pytest.raises(NotReady, match="holds no programme yet"):
        train(Settings(home=tmp_path), tiny_config(), None, NOW)


@pytest.mark.slow
def test_cdnow_trains_churn_value_and_next_order(
    mlflow_template: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    settings = Settings(home=tmp_path_factory.mktemp("cdnow"), threads=2)
    shutil.copy(mlflow_template, settings.home / "mlflow.db")
    ingest(Cdnow(), settings, NOW)
    split = {"tests": 1, "validations": 1, "train_max": 2, "step_days": 28}
    config = TrainConfig.model_validate(
        {
            "draws": 100,
            "members_max": 6_000,  # learned from and judged on; everybody is scored
            "churn": {"n_trees": 60, "split": split},
            "value": {"n_weeks": 26, "lstm_rows_max": 2_000, "split": split},
            "next_order": {"n_trees": 40, "split": split},
        }
    )

    churn, value, order = train(settings, config, None, NOW)

    assert figure(churn, "lightgbm", "AUC") > 0.65
    assert figure(churn, "recency_rule", "AUC") > 0.5
    assert value["name"] == "value_91d"
    assert figure(value, "value_gbm", "Gini") > 0.6
    assert abs(figure(value, "value_gbm", "bias")) < 0.2
    assert figure(order, "hazard", "1-IBS") > figure(order, "own_pace", "1-IBS")
    assert 0.7 < figure(order, "hazard", "coverage 80%") < 0.9
    scored = score_all(settings, None, None, lambda _: None)
    # Customers of the master file who paid at least once; all first bought in early 1997.
    assert len(scored.members) == 23_570


def figure(board: dict[str, Any], candidate: str, metric: str) -> float:
    entries = {entry["name"]: entry for entry in board["populations"][0]["entries"]}
    return float(entries[candidate]["metrics"][metric])
