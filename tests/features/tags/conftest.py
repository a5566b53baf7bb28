"""A handful of the built-in rules, for tests that are about making tags and not about the tags."""

import shutil
from pathlib import Path

import pytest

from features.tags import rules

RULES = rules.BUILT_IN
FEW = ("00_goods.toml", "01_lifecycle.toml", "16_segments.toml")
SOME = """
[family]
id = "some"
name = { en = "Some", zh = "若干" }
[defaults]
window_days = 364
min_support = 1
freshness_days = 364
outcome = "spend"
[[tag]]
id = "early"
name = { en = "Early", zh = "早" }
says = { en = "Comes early", zh = "早来" }
rule = [{ column = "habits.before_work_share_182d", top = 0.5, exit = 0.6 }]
[[template]]
id = "fond"
each = { goods = ["baby", "bread"] }
[template.tag]
id = "{goods}_fond"
name = { en = "Fond of {goods.en}", zh = "喜爱{goods.zh}" }
says = { en = "Buys {goods.en}", zh = "买{goods.zh}" }
rule = [{ column = "goods.{goods}.days_364d", at_least = 1 }]
outcome = "goods.{goods}"
[[template]]
id = "fond_of_own"
own_categories = { most = 3, where_goods_fit_less_than = 0.5 }
[template.tag]
id = "{goods}_fond"
name = { en = "Fond of {goods.en}", zh = "喜爱{goods.zh}" }
says = { en = "Buys {goods.en}", zh = "买{goods.zh}" }
rule = [{ column = "goods.{goods}.days_364d", at_least = 1 }]
outcome = "goods.{goods}"
"""


def write_few(folder: Path) -> Path:
    """Write a few of the built-in rules into a new folder."""
    folder.mkdir()
    for name in FEW:
        shutil.copy(RULES / name, folder)
    (folder / "50_some.toml").write_text(SOME, "utf-8")
    return folder


@pytest.fixture
def few_rules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let the built-in rules be a few of them, and return their folder."""
    folder = write_few(tmp_path / "few")
    monkeypatch.setattr(rules, "BUILT_IN", folder)
    return folder
