"""A home holds one programme, and a key nobody knows is an error."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from programme import settings
from programme.errors import InputRefused, NotReady
from programme.settings import Programme, Settings

FACTS: dict[str, Any] = {"name": "shop", "timezone": "Asia/Shanghai", "currency": "CNY"}
SHOP = Programme.model_validate(FACTS)


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PERENNIAL_HOME", "PERENNIAL_THREADS", "PERENNIAL_MLFLOW_URI"):
        monkeypatch.delenv(name, raising=False)


def test_the_environment_says_where_and_how_much(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PERENNIAL_HOME", str(tmp_path))
    monkeypatch.setenv("PERENNIAL_THREADS", "3")

    loaded = Settings.load()

    assert (loaded.home, loaded.threads) == (tmp_path, 3)
    assert Settings.load(home=tmp_path / "other").home == tmp_path / "other"
    assert loaded.tracking_uri == f"sqlite:///{tmp_path / 'mlflow.db'}"
    assert loaded.artifacts_dir == tmp_path / "mlartifacts"


def test_a_home_is_absolute_whatever_is_given(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)

    assert Settings.load(home=Path("var/x")).home == tmp_path / "var" / "x"
    assert Settings.load().home == tmp_path / "var" / "programme"


def test_an_empty_variable_is_as_good_as_none(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PERENNIAL_HOME", "")

    assert Settings.load().home == tmp_path / "var" / "programme"


def test_an_unknown_variable_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PERENNIAL_HOEM", "/somewhere")

    with pytest.raises(InputRefused, match="sets PERENNIAL_HOEM, which") as refusal:
        Settings.load()

    assert "PERENNIAL_HOME" in str(refusal.value)
    assert refusal.value.exit_code == 2


@pytest.mark.parametrize(
    ("variable", "value"),
    [("PERENNIAL_THREADS", "0"), ("PERENNIAL_THREADS", "many"), ("PERENNIAL_MEMORY_LIMIT_MB", "9")],
)
def test_a_value_out_of_range_is_refused(
    variable: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)

    field = variable.removeprefix("PERENNIAL_").lower()

    with pytest.raises(InputRefused, match=f"settings: {field}: .*Nothing was done"):
        Settings.load()


def test_settings_do_not_change(tmp_path: Path) -> None:
    loaded = Settings(home=tmp_path)

    with pytest.raises(ValidationError, match="frozen"):
        setattr(loaded, "threads", 4)  # noqa: B010 - on purpose, and typed


NAMES = st.text(st.characters(codec="utf-8"), min_size=1, max_size=64)


@given(name=NAMES)
def test_a_programme_is_read_back_as_it_was_written(
    name: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "perennial.toml"
    programme = Programme(name=name, timezone="UTC", currency="EUR", languages=("zh",))

    path.write_bytes(programme.as_toml().encode())

    assert settings.read_programme(path) == programme


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"horizon": 28}, "there is no key 'horizon'"),
        ({"churn_horizon_days": 30}, "churn_horizon_days: .*multiple of 7"),
        ({"value_horizon_days": 0}, "value_horizon_days: .*greater than 0"),
        ({"active_days": -7}, "active_days: "),
        ({"timezone": "Mars/Olympus"}, "no timezone 'Mars/Olympus'"),
        ({"currency": "yuan"}, "currency: "),
        ({"name": ""}, "name: "),
        ({"name": "x" * 65}, "name: "),
        ({"points_scale": 9}, "points_scale: "),
    ],
)
def test_a_programme_that_cannot_be_is_refused(
    change: dict[str, Any], words: str, tmp_path: Path
) -> None:
    path = tmp_path / "perennial.toml"
    facts = FACTS | change
    path.write_text("\n".join(f"{k} = {v!r}" for k, v in facts.items()), "utf-8")

    with pytest.raises(InputRefused, match=words):
        settings.read_programme(path)


def test_a_file_that_is_not_toml_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "perennial.toml"
    for content in (b"name =", b"\xff"):
        path.write_bytes(content)
        with pytest.raises(InputRefused, match="is not TOML"):
            settings.read_programme(path)


def test_an_empty_home_holds_no_programme(tmp_path: Path) -> None:
    with pytest.raises(NotReady, match="holds no programme yet") as refusal:
        settings.open_programme(Settings(home=tmp_path))

    assert "perennial ingest completejourney" in str(refusal.value)


def test_a_programme_is_fixed_when_it_is_founded(tmp_path: Path) -> None:
    home = Settings(home=tmp_path / "new")
    first = Programme.model_validate(FACTS | {"churn_horizon_days": 56})

    assert settings.found_programme(home, first) == first
    # What a source does not say is the home's to decide.
    assert settings.found_programme(home, SHOP) == first
    assert settings.open_programme(home) == first
    for fact, other in (("currency", "USD"), ("name", "x"), ("churn_horizon_days", 28)):
        differing = Programme.model_validate(FACTS | {fact: other})
        with pytest.raises(InputRefused, match=f"with {fact} ") as refusal:
            settings.found_programme(home, differing)
        assert repr(other) in str(refusal.value)
    assert settings.open_programme(home) == first
