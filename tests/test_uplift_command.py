"""`perennial uplift`: what a marketer reads of any randomised table, and how it refuses."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

import perennial
from programme.errors import InputRefused


def trial(folder: Path, *, apart: float, members: int = 2_000) -> Path:
    """A coin decided; the mail brings those with many orders `apart`, the others lose as much."""
    rng = np.random.default_rng(4)
    rows = pd.DataFrame({"orders": rng.normal(size=members), "age": rng.normal(size=members)})
    rows["mail"] = rng.integers(2, size=members)
    rows["spend"] = (
        5 + rows["age"] + rows["mail"] * apart * np.sign(rows["orders"]) + rng.normal(size=members)
    )
    path = folder / "trial.csv"
    rows.to_csv(path, index=False)
    return path


def said(*words: str) -> str:
    done = CliRunner().invoke(
        perennial.app, ["uplift", *words], env={"COLUMNS": "300"}, catch_exceptions=False
    )
    assert done.exit_code == 0, done.output
    return done.stdout


def figures(*words: str) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(said(*words, "--json"))
    return answer


ASKED = ("--treatment", "mail", "--outcome", "spend", "--propensity", "0.5", "--learners", "s")


@pytest.fixture(scope="module")
def split(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trial(tmp_path_factory.mktemp("split"), apart=0.8)


def test_where_the_mail_helps_some_and_hurts_others_the_gate_opens(split: Path) -> None:
    found = figures(str(split), *ASKED)

    arm = found["effects"][0]
    # E[max(effect, 0)] of an even split is .4 more than none, and than all.
    assert found["policy_verdict"]["promoted"] and arm["verdict"]["promoted"]
    assert found["policy_verdict"]["difference"]["value"] == pytest.approx(0.4, abs=0.15)
    assert abs(arm["average"]["value"]) < 3 * arm["average"]["standard_error"] + 0.05
    assert arm["rankings"]["s"]["qini"]["low"] > 0 > arm["rankings"]["random"]["qini"]["low"]
    assert arm["gaps"]["risk first"]["low"] > 0 and arm["gaps"]["random"]["low"] > 0
    assert set(found["policies"]) == {"0 to all", "1 to all", "learned"}
    assert found["arms"].keys() == {"0", "1"} and found["sample_ratio_p"] > 0.001


def test_where_it_does_the_same_to_all_the_gate_stays_shut_and_says_why(tmp_path: Path) -> None:
    path = trial(tmp_path, apart=0.0)

    text = said(str(path), *ASKED)

    assert "choosing whom to give 1 refused: it " in text
    assert "personalisation refused: it " in text
    for heading in ("Qini", "AUUC", "RATE", "IPS", "SNIPS", "DR", "carried by", "on average"):
        assert heading in text
    for ranking in ("response", "risk first", "random"):
        assert ranking in text


def test_the_same_seed_says_the_same(tmp_path: Path) -> None:
    path = trial(tmp_path, apart=0.5, members=900)

    assert said(str(path), *ASKED) == said(str(path), *ASKED)


def test_a_cost_is_weighed_and_worth_is_counted(split: Path) -> None:
    found = figures(str(split), *ASKED, "--worth", "2", "--cost", "1=100")

    assert found["policy_verdict"]["against"] == "0 to all"
    assert found["policies"]["0 to all"]["dr"]["value"] == pytest.approx(10, abs=0.3)
    assert found["policies"]["1 to all"]["dr"]["value"] == pytest.approx(-90, abs=0.3)
    assert found["policy_verdict"]["differing"] == 0
    assert "decides as the incumbent does for everybody" in found["policy_verdict"]["reason"]


@pytest.mark.parametrize(
    ("words", "refusal"),
    [(("--learners", "x,forest"), "--learners x,forest"), (("--learners", "x,x"), "at most once"),
     (("--cost", "many"), "--cost many"), (("--cost", "-1"), "no cost of 1"),
     (("--worth", "0"), "--worth 0"), (("--worth", "nan"), "--worth nan"),
     (("--cost", "phone=1"), "--cost phone=1"), (("--cost", "nan"), "--cost nan"),
     (("--propensity", "2"), "between 0 and 1"), (("--features", "size"), "no column size")],
)  # fmt: skip
def test_what_was_asked_wrongly_is_refused_by_name(
    split: Path, words: tuple[str, str], refusal: str
) -> None:
    done = CliRunner().invoke(perennial.app, ["uplift", str(split), *ASKED, *words])

    assert isinstance(done.exception, InputRefused)
    assert refusal in str(done.exception)


def test_help_comes_with_an_example() -> None:
    assert "perennial uplift trial.csv --treatment group" in said("--help")
