"""LightGBM is shown no text that would end the process or take its memory."""

import re
from pathlib import Path

import numpy as np
import pytest

from tests.little_programme import LittleProgramme
from training import lookup
from training.sealed import ModelChanged
from training.tree_text import require_sound_trees


@pytest.fixture(scope="module")
def text(trained: LittleProgramme) -> str:
    found = lookup.find(trained.settings, "churn_28d", lookup.CHAMPION)
    assert found is not None
    (path,) = Path(found.location).rglob("booster.txt")
    return path.read_text()


def test_every_text_lightgbm_writes_is_sound(trained: LittleProgramme) -> None:
    texts = list(trained.settings.artifacts_dir.rglob("booster*.txt"))

    assert len(texts) > 2
    require_sound_trees(trained.settings.artifacts_dir)


def test_trees_of_one_leaf_are_sound(tmp_path: Path) -> None:
    import lightgbm as lgb

    flat = lgb.Dataset(np.zeros((50, 2)), label=np.arange(50.0), params={"verbosity": -1})
    booster = lgb.train({"verbosity": -1, "objective": "regression"}, flat, num_boost_round=3)
    booster.save_model(tmp_path / "booster.txt")

    require_sound_trees(tmp_path)


# Tried on LightGBM 4.7: most of these end the process, some reserve what they declare.
@pytest.mark.parametrize(
    ("found", "put"),
    [
        (r"num_leaves=4", "num_leaves=1200000000"),
        (r"num_leaves=4", "num_leaves=-1"),
        (r"num_cat=0", "num_cat=2000000000"),
        (r"max_feature_idx=\d+", "max_feature_idx=2000000000"),
        (r"num_class=1", "num_class=2000000000"),
        (r"num_tree_per_iteration=1", "num_tree_per_iteration=2000000000"),
        (r"tree_sizes=\d+", "tree_sizes=10000000000"),
        (r"tree_sizes=\d+ ", "tree_sizes="),
        (r"split_feature=\d+", "split_feature=99999999"),
        (r"split_feature=\d+", "split_feature=-1"),
        (r"left_child=-?\d+", "left_child=99999999"),
        (r"left_child=-?\d+", "left_child=0"),
        (r"leaf_value=\S+ ", "leaf_value="),
        (r"threshold=\S+", "threshold=import"),
        (r"is_linear=0", "is_linear=1"),
        (r"leaf_count=\d+ ", "leaf_count="),
        (r"num_leaves=4", "leaves=4"),
    ],
)
def test_what_it_does_not_hold_is_refused(text: str, tmp_path: Path, found: str, put: str) -> None:
    changed = re.sub(found, put, text, count=1)
    assert changed != text
    (tmp_path / "booster.txt").write_text(changed)

    with pytest.raises(ModelChanged, match=r"booster\.txt are not as LightGBM writes them"):
        require_sound_trees(tmp_path)


def test_other_texts_are_not_looked_at(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no trees here")

    require_sound_trees(tmp_path)
