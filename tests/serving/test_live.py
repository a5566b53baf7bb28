"""A champion is replaced whole, after it showed what it says; whatever is broken is not."""

import json
import shutil
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from programme.errors import InputRefused, NotReady
from programme.settings import Settings
from serving.live import Live
from serving.online.store import NUMBERS
from tests.serving import small_home
from tests.serving.small_home import NAME, SmallHome, bundle, expected, members, rule
from training import registry
from training.models.rules import ColumnRule
from training.tracking import connect


@pytest.fixture
def home(new_settings: Callable[[], Settings]) -> SmallHome:
    made = SmallHome(new_settings())
    made.found()
    return made


@pytest.fixture(scope="module")
def template(mlflow_template: Path, tmp_path_factory: pytest.TempPathFactory) -> SmallHome:
    return small_home.served(mlflow_template, tmp_path_factory.mktemp("served"))


@pytest.fixture
def served(template: SmallHome, tmp_path: Path) -> SmallHome:
    """Return a home whose churn is a rule, version 1, with everybody written."""
    return template.copied_to(tmp_path / "served")


@pytest.fixture
def live(served: SmallHome) -> Iterator[Live]:
    live = Live()
    assert live.refresh(served.settings)
    yield live
    live.stop()


def said(live: Live) -> np.ndarray:
    found = live.loaded.scorer
    assert found is not None
    return found.score(members()).probability


def refused(live: Live, home: SmallHome, what: str = "champion") -> str:
    """Look, and return why nothing was replaced, after checking that nothing was."""
    good = live.loaded
    assert not live.refresh(home.settings)
    assert live.loaded is good
    assert live.reason is None
    np.testing.assert_allclose(said(live), expected(0.0, members()), rtol=0, atol=1e-12)
    assert live.facts()["trouble"][what] == live.trouble[what]
    return live.trouble[what]


def answers_from(live: Live, version: int) -> bool:
    return live.loaded.version.version == version


def wait_for(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} seconds"
        time.sleep(0.01)


def test_a_champion_answers_as_it_was_fitted(live: Live) -> None:
    np.testing.assert_allclose(said(live), expected(0.0, members()), rtol=0, atol=1e-12)
    assert live.loaded.checked == "golden rows"
    assert live.facts()["answering_from"] == [f"{NAME}/1", "value_91d/4", "publication 1"]


def test_what_has_not_changed_is_not_loaded_again(live: Live, served: SmallHome) -> None:
    before = live.loaded

    assert not live.refresh(served.settings)
    assert live.loaded is before


def test_a_new_champion_is_taken_up(live: Live, served: SmallHome) -> None:
    second = served.promoted(bundle(rule(0.5)))

    assert live.refresh(served.settings)
    assert (live.loaded.version.version, second) == (2, 2)
    np.testing.assert_allclose(said(live), expected(0.5, members()), rtol=0, atol=1e-12)


def test_a_publication_moves_percentiles_and_not_the_model(live: Live, served: SmallHome) -> None:
    before = live.loaded
    assert before.scorer is not None
    high = members()
    high[:, NUMBERS.index("recency_days")] += 1000.0
    served.publish(high)

    assert live.refresh(served.settings)
    after = live.loaded
    assert after.scorer is not None
    assert after.model is before.model
    assert after.publication.publication_no == 2
    old, new = (one.score(members()).percentile for one in (before.scorer, after.scorer))
    assert (new <= old).all()
    assert (new < old).any()


def test_rolling_back_is_a_swap_too(live: Live, served: SmallHome) -> None:
    served.promoted(bundle(rule(0.5)))
    assert live.refresh(served.settings)

    registry.roll_back(served.settings, NAME)

    assert live.refresh(served.settings)
    np.testing.assert_allclose(said(live), expected(0.0, members()), rtol=0, atol=1e-12)


def test_a_version_of_before_golden_rows_is_looked_over_and_said_to_be(
    live: Live, served: SmallHome, caplog: pytest.LogCaptureFixture
) -> None:
    served.promoted(bundle(rule(0.5), golden=False))

    assert live.refresh(served.settings)
    assert live.facts()["checked_on"] == "finite scores only"
    assert f"{NAME}/2 has no golden rows" in caplog.text


def test_a_missing_file_keeps_the_last_good(live: Live, served: SmallHome) -> None:
    version = served.registered(bundle(rule(0.5)))
    (served.files(version) / "model" / "model.json").unlink()
    served.point(version)

    assert "model/model.json" in refused(live, served)


def test_another_sha256_keeps_the_last_good(live: Live, served: SmallHome) -> None:
    version = served.registered(bundle(rule(0.5)))
    path = served.files(version) / "model" / "model.json"
    path.write_text(path.read_text().replace("recency_days", "tenure_weeks"))
    served.point(version)

    assert "is not the one that was registered" in refused(live, served)


def test_a_wrong_number_of_columns_keeps_the_last_good(live: Live, served: SmallHome) -> None:
    content = bundle(rule(0.5))
    assert content.golden is not None
    two = replace(
        content.golden,
        columns=("recency_days", "tenure_days"),
        rows=np.column_stack([content.golden.rows, content.golden.rows]),
    )
    served.point(served.registered(replace(content, golden=two)))

    assert "reads 1 columns, its golden rows have 2" in refused(live, served)


@pytest.mark.parametrize("golden", [True, False])
def test_scores_that_are_no_numbers_keep_the_last_good(
    live: Live, served: SmallHome, golden: bool
) -> None:
    broken: ColumnRule = rule()
    # JSON refuses NaN, and 1e308 times anything is what a damaged slope gives.
    broken.slope_, broken.intercept_ = 1e308, -1e308
    content = bundle(broken, golden=False)
    if golden:
        content = replace(content, golden=bundle(rule()).golden)
    served.point(served.registered(content))

    assert "not loaded" in refused(live, served)


def test_other_answers_than_at_registration_keep_the_last_good(
    live: Live, served: SmallHome
) -> None:
    content = replace(bundle(rule(0.5)), golden=bundle(rule(0.4)).golden)
    version = served.registered(content)
    with pytest.raises(InputRefused, match="cannot be served"):
        registry.promote(served.settings, NAME, version, expected=1)
    served.point(version)

    assert "golden row" in refused(live, served)


def test_an_alias_to_nothing_keeps_the_last_good(live: Live, served: SmallHome) -> None:
    connect(served.settings).delete_registered_model_alias(NAME, registry.CHAMPION)
    assert "names no champion of churn_28d" in refused(live, served, "registry")

    # MLflow itself would refuse this; a hand on the database would not be.
    with sqlite3.connect(served.settings.home / "mlflow.db") as database:
        database.execute(
            "insert into registered_model_aliases (name, alias, version, workspace) "
            "values (?, 'champion', 99, 'default')",
            (NAME,),
        )
    assert "names no champion of churn_28d" in refused(live, served, "registry")


def test_a_registry_that_is_gone_keeps_the_last_good_and_is_not_made_anew(
    live: Live, served: SmallHome
) -> None:
    path = served.settings.home / "mlflow.db"
    path.rename(path.with_suffix(".away"))

    assert "names no champion" in refused(live, served, "registry")
    assert not path.exists()
    path.with_suffix(".away").rename(path)
    assert not live.refresh(served.settings)
    assert live.trouble == {}


@pytest.mark.parametrize("content", [b"", b"this is no database, " * 100])
def test_a_registry_replaced_by_something_else_keeps_the_last_good(
    live: Live, served: SmallHome, content: bytes
) -> None:
    path = served.settings.home / "mlflow.db"
    path.write_bytes(content)

    reason = refused(live, served, "registry")

    assert "is damaged" in reason if content else "names no champion" in reason
    assert path.read_bytes() == content


def test_a_registry_of_another_home_brings_its_own_version_one(
    live: Live, served: SmallHome, new_settings: Callable[[], Settings]
) -> None:
    other = SmallHome(new_settings())
    other.promoted(bundle(rule(0.9)))

    shutil.copy(other.settings.home / "mlflow.db", served.settings.home / "mlflow.db")

    assert live.refresh(served.settings)
    assert live.loaded.version.version == 1
    np.testing.assert_allclose(said(live), expected(0.9, members()), rtol=0, atol=1e-12)


def test_a_registry_that_is_locked_keeps_the_last_good(live: Live, served: SmallHome) -> None:
    holder = sqlite3.connect(served.settings.home / "mlflow.db", isolation_level=None)
    holder.execute("begin exclusive")
    reason = refused(live, served, "registry")

    holder.rollback()
    holder.close()
    assert "busy or away" in reason
    assert not live.refresh(served.settings)
    assert live.trouble == {}


def test_a_database_that_is_gone_keeps_the_last_good(live: Live, served: SmallHome) -> None:
    live.stop()
    away = served.settings.model_copy(
        update={"db_url": "postgresql://nobody:secret@127.0.0.1:1/none"}
    )
    good = live.loaded

    assert not live.refresh(away)

    assert live.loaded is good
    assert "online store" in live.trouble
    assert "secret" not in live.trouble["online store"]


def test_nothing_a_model_brings_is_executed(live: Live, served: SmallHome, tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    version = served.registered(bundle(rule(0.5)))
    evil = f"import pathlib; pathlib.Path({str(ran)!r}).touch()"
    pickled = b"cos\nsystem\n(S'touch " + str(ran).encode() + b"'\ntR."
    logged = served.files(version).parent
    # MLflow's own loaders would run both.
    (logged / "code").mkdir()
    (logged / "code" / "__init__.py").write_text(evil)
    (logged / "python_model.pkl").write_bytes(pickled)
    with (logged / "MLmodel").open("a") as described:
        described.write(
            "  python_function:\n    loader_module: code\n    code: code\n"
            "    python_model: python_model.pkl\n"
        )
    served.point(version)

    assert live.refresh(served.settings)  # what lies beside our folder is never looked at
    assert live.loaded.version.version == version

    third = served.registered(bundle(rule(0.7)))
    (served.files(third) / "model" / "model.pkl").write_bytes(pickled)
    (served.files(third) / "code").mkdir()
    (served.files(third) / "code" / "__init__.py").write_text(evil)
    served.point(third)
    assert not live.refresh(served.settings)
    assert "an added file" in live.trouble["champion"]
    assert not ran.exists()


@pytest.mark.parametrize("location", ["/x/../../etc", "relative/place", "file:///a/%2e%2e/b"])
def test_a_place_that_steps_outside_is_not_read(
    live: Live, served: SmallHome, location: str
) -> None:
    version = served.registered(bundle(rule(0.5)))
    with sqlite3.connect(served.settings.home / "mlflow.db") as database:
        database.execute(
            "update model_versions set storage_location = ? where version = ?", (location, version)
        )
    served.point(version)

    assert "which is no plain folder" in refused(live, served)


def test_a_refused_version_is_left_alone_for_a_while_and_taken_up_once_mended(
    live: Live, served: SmallHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = served.registered(bundle(rule(0.5)))
    path = served.files(version) / "model" / "model.json"
    kept = path.read_bytes()
    path.unlink()
    served.point(version)
    refused(live, served)
    path.write_bytes(kept)
    loads = live.counts.refused

    assert not live._look(served.settings)  # the thread's own look: too early
    assert live.counts.refused == loads
    monkeypatch.setattr("serving.live.time.monotonic", lambda: time.perf_counter() + 1e6)
    assert live._look(served.settings)
    assert live.loaded.version.version == version
    assert live.trouble == {}


def test_a_fault_is_logged_once(
    live: Live, served: SmallHome, caplog: pytest.LogCaptureFixture
) -> None:
    connect(served.settings).delete_registered_model_alias(NAME, registry.CHAMPION)
    caplog.clear()

    for _ in range(5):
        live.refresh(served.settings)

    assert caplog.text.count("names no champion") == 1


@pytest.mark.parametrize(
    ("missing", "reason"),
    [
        ("programme", "holds no programme yet"),
        ("registry", "names no champion of churn_28d"),
        ("champion", "names no champion of churn_28d"),
        ("store", "online store is empty"),
        ("features", "written by code with other features"),
    ],
)
def test_a_start_with_something_missing_says_what_and_goes_on_once_it_is_there(
    home: SmallHome, missing: str, reason: str
) -> None:
    mlflow = home.settings.home / "mlflow.db"
    if missing == "programme":
        (home.settings.home / "perennial.toml").unlink()
    if missing == "registry":
        mlflow.rename(mlflow.with_suffix(".away"))
    if missing in ("store", "features"):
        home.promoted(bundle(rule()))
    if missing == "features":
        home.publish(feature_set="0123456789abcdef")
    quick = home.settings.model_copy(update={"poll_seconds": 0.05})
    live, taken = Live(), threading.Event()

    live.start(quick, on_loaded=taken.set)
    wait_for(lambda: live.counts.looks > 0)
    assert reason in (live.reason or "")
    with pytest.raises(NotReady, match=reason):
        live.facts()

    home.found()
    if missing == "registry":
        mlflow.with_suffix(".away").rename(mlflow)
    if missing not in ("store", "features"):
        home.promoted(bundle(rule()))
    home.publish()
    wait_for(taken.is_set)
    np.testing.assert_allclose(said(live), expected(0.0, members()), rtol=0, atol=1e-12)
    live.stop()


def test_six_flips_under_load_give_no_error_and_no_score_of_another_version(
    live: Live, served: SmallHome
) -> None:
    shifts, answered = {1: 0.0}, set[int]()
    for number in range(2, 8):
        shifts[served.registered(bundle(rule(0.1 * number)))] = 0.1 * number
    rows = members()[:5]
    scores = {version: expected(shift, rows) for version, shift in shifts.items()}
    ended = threading.Event()

    def ask() -> list[int]:
        versions = []
        while not ended.is_set():
            found = live.loaded
            assert found.scorer is not None
            said = found.scorer.score(rows)
            np.testing.assert_allclose(
                said.probability, scores[found.scorer.version], rtol=0, atol=1e-12
            )
            versions.append(found.scorer.version)
            answered.add(found.scorer.version)
        return versions

    live.start(served.settings.model_copy(update={"poll_seconds": 0.05}), on_loaded=lambda: None)
    with ThreadPoolExecutor(4) as pool:
        asked = [pool.submit(ask) for _ in range(4)]
        for version in list(shifts)[1:]:
            served.point(version)
            wait_for(partial(answers_from, live, version))
            # A thread that is behind asks of it before the next one comes.
            wait_for(partial(answered.__contains__, version))
        ended.set()
        seen = [version for one in asked for version in one.result()]

    assert set(seen) == set(shifts)
    assert live.counts.swaps == 7
    assert live.counts.refused == 0


def test_golden_rows_are_in_the_store_of_models_without_ids(served: SmallHome) -> None:
    written = json.loads((served.files(1) / "golden.json").read_text())

    assert set(written) == {"columns", "rows", "raw_score", "churn_probability"}
    assert all(isinstance(one, float | None) for row in written["rows"] for one in row)
