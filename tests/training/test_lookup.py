"""The registry's own tables say what MLflow's client says."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from programme.errors import NotReady
from programme.settings import Settings
from tests.training.test_registry import NAME, register
from training import bundle, lookup, registry, registry_rows, sealed
from training.lookup import Aliases, Version
from training.tracking import connect


@pytest.fixture
def served(new_settings: Callable[[], Settings]) -> Settings:
    settings = new_settings()
    registry.promote(settings, NAME, register(settings), expected=None)
    register(settings)
    return settings


def found(settings: Settings, alias: str = lookup.CHAMPION) -> Version:
    version = lookup.find(settings, NAME, alias)
    assert version is not None
    return version


def test_tables_and_client_say_the_same(served: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = [(NAME, lookup.CHAMPION), (NAME, lookup.CHALLENGER), (NAME, "nobody"), ("no", "no")]
    by_tables = [lookup.find(served, *one) for one in asked]
    numbers = [lookup.numbered(served, NAME, number) for number in (1, 2, 9)]

    monkeypatch.setattr(registry_rows, "_address", lambda _: None)  # as for a tracking server

    assert [lookup.find(served, *one) for one in asked] == by_tables
    assert [lookup.numbered(served, NAME, number) for number in (1, 2, 9)] == numbers
    assert [one and one.version for one in by_tables] == [1, 2, None, None]
    assert [one and one.version for one in numbers] == [1, 2, None]


def test_files_that_lie_elsewhere_are_brought_one_by_one(served: Settings, tmp_path: Path) -> None:
    version = found(served)

    files = lookup._downloaded(served, version, tmp_path / "brought")

    assert bundle.read(files, version.digest).facts.columns == ("recency_days",)
    with pytest.raises(sealed.ModelChanged):
        lookup._downloaded(served, replace(version, digest="0" * 64), tmp_path / "other")
    with pytest.raises(OSError, match=r"No such artifact|does not exist|[Nn]o such file"):
        lookup._downloaded(served, replace(version, location=str(tmp_path)), tmp_path / "none")


def test_a_registry_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)

    assert lookup.find(settings, NAME, lookup.CHAMPION) is None
    with pytest.raises(NotReady, match="There is no champion of churn_28d"):
        lookup.load_alias(settings, NAME)
    assert list(tmp_path.iterdir()) == []


def test_a_server_that_is_away_is_a_reason_without_its_password(tmp_path: Path) -> None:
    address = "postgresql://reader:secret@127.0.0.1:1/mlflow"

    with pytest.raises(NotReady, match="is busy or away") as refused:
        lookup.find(Settings(home=tmp_path, mlflow_uri=address), NAME, lookup.CHAMPION)

    assert "secret" not in str(refused.value)


def test_aliases_are_asked_again_once_the_file_changed(
    served: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry_rows, "SETTLED_SECONDS", 0.0)
    aliases = Aliases()
    first = aliases.find(served, NAME, lookup.CHAMPION)
    asked: list[str] = []
    real = lookup.find

    def counted(settings: Settings, name: str, alias: str) -> Version | None:
        asked.append(alias)
        return real(settings, name, alias)

    monkeypatch.setattr(lookup, "find", counted)

    assert aliases.find(served, NAME, lookup.CHAMPION) is first
    assert asked == []
    connect(served).set_registered_model_alias(NAME, lookup.CHAMPION, "2")
    second = aliases.find(served, NAME, lookup.CHAMPION)
    assert second is not None
    assert (second.version, len(asked)) == (2, 1)


def test_a_file_that_was_just_written_is_asked_every_time(served: Settings) -> None:
    path = served.home / "mlflow.db"
    path.touch()
    aliases = Aliases()

    one, other = (aliases.find(served, NAME, lookup.CHAMPION) for _ in range(2))

    assert one == other
    assert one is not other
