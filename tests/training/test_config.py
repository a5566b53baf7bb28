from pathlib import Path

import pytest
from pydantic import ValidationError

from programme.errors import InputRefused
from training.config import ChurnConfig, SplitConfig, TrainConfig, read_config


def config_file(folder: Path, text: str | bytes) -> Path:
    path = folder / "config.toml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def test_no_file_means_the_defaults() -> None:
    assert read_config(None) == TrainConfig()


def test_an_empty_file_changes_nothing(tmp_path: Path) -> None:
    assert read_config(config_file(tmp_path, "")) == TrainConfig()


def test_a_file_changes_what_it_says_and_nothing_else(tmp_path: Path) -> None:
    read = read_config(
        config_file(tmp_path, "seed = 5\n[churn]\nn_trees = 40\n[churn.split]\ntests = 1\n")
    )

    churn = ChurnConfig(n_trees=40, split=SplitConfig(tests=1))
    assert read == TrainConfig(seed=5, churn=churn)
    assert read.churn.split.validations == TrainConfig().churn.split.validations


def test_a_config_survives_being_kept_as_json() -> None:
    config = TrainConfig(seed=5)

    assert TrainConfig.model_validate(config.model_dump(mode="json")) == config


def test_a_config_does_not_change() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        TrainConfig().seed = 3


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("sede = 1", "sede"),
        ("[churn]\ntrees = 3", "churn.trees"),
        ("[churn.split]\nstep_days = 10", "churn.split.step_days"),
        ("[churn.split]\nwarmup_days = 0", "churn.split.warmup_days"),
        ("[churn.split]\ntests = 0", "churn.split.tests"),
        ("[value]\nlstm_seeds = 2", "value.lstm_seeds"),
        ("[recommend]\nhalf_life_days = 0.0", "recommend.half_life_days"),
        ("[recommend]\nhalf_life_days = inf", "recommend.half_life_days"),
        ("draws = 99", "draws"),
        ("seed = -1", "seed"),
        ("seed = 2147483648", "seed"),
        ("churn = 3", "churn"),
    ],
)
def test_an_unknown_or_impossible_key_is_refused_by_name(
    text: str, where: str, tmp_path: Path
) -> None:
    path = config_file(tmp_path, text)

    with pytest.raises(InputRefused) as refused:
        read_config(path)

    assert str(refused.value).startswith(f"{path}: {where}: ")
    assert "Nothing was trained" in str(refused.value)


@pytest.mark.parametrize("content", [b"seed = ", b"\xff\xfe", b"seed = 1\nseed = 2"])
def test_what_is_not_toml_is_refused(content: bytes, tmp_path: Path) -> None:
    with pytest.raises(InputRefused, match=r"is not TOML.*Nothing was trained"):
        read_config(config_file(tmp_path, content))


def test_an_absent_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputRefused, match=r"absent\.toml is not a file\. Nothing was trained"):
        read_config(tmp_path / "absent.toml")
