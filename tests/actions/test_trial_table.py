"""Tables of experiments: what is read of them, and every one that is refused by name."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from actions.trial_table import read
from programme.errors import InputRefused


def drawn(members: int = 1_200, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    rows = pd.DataFrame(
        {
            "member": [f"m{number}" for number in range(members)],
            "orders": rng.poisson(4, members).astype(float),
            "channel": rng.choice(["web", "shop"], members),
            "chance": rng.choice([0.3, 0.6], members),
            "visit": (rng.random(members) < 0.3).astype(int),
        }
    )
    rows["group"] = np.where(rng.random(members) < rows["chance"], "mail", "none")
    rows["arm"] = rng.choice(["none", "mail", "call"], members, p=[0.4, 0.3, 0.3])
    rows["coin"] = rng.integers(2, size=members)
    return rows


def write(folder: Path, rows: pd.DataFrame) -> Path:
    path = folder / "trial.csv"
    rows.to_csv(path, index=False)
    return path


def test_a_table_is_read_with_what_was_known_before(tmp_path: Path) -> None:
    rows = drawn()
    rows.loc[:9, "orders"] = np.nan
    parquet = tmp_path / "trial.parquet"
    rows.drop(columns=["arm", "coin"]).to_parquet(parquet)

    table = read(parquet, treatment="group", outcome="visit", propensity="chance")

    assert table.arms == ("none", "mail") and table.declared
    assert table.columns == ("orders", "channel=shop", "channel=web")
    assert table.left_out == ("member",)
    assert np.isnan(table.x[:10, 0]).all()
    assert np.array_equal(table.taken == 1, rows["group"] == "mail")
    assert table.chances[:, 1] == pytest.approx(rows["chance"].to_numpy())
    assert table.chances.sum(axis=1) == pytest.approx(np.ones(len(rows)))
    assert table.ratio > 0.001


def test_chances_of_several_arms_are_numbers_or_columns_and_the_control_gets_the_rest(
    tmp_path: Path,
) -> None:
    path = write(tmp_path, drawn().assign(share=0.3))

    table = read(
        path, treatment="arm", outcome="visit", propensity="call=0.3, mail=share",
        features=["orders"],
    )  # fmt: skip

    assert table.arms == ("none", "call", "mail")
    assert table.chances[0] == pytest.approx([0.4, 0.3, 0.3])
    trial = table.trial(2)
    assert trial.propensity == pytest.approx(np.full(len(trial), 0.3 / 0.7))
    assert len(trial) == (table.taken != 1).sum()


def test_shares_seen_stand_for_chances_that_were_not_told(tmp_path: Path) -> None:
    table = read(write(tmp_path, drawn()), treatment="coin", outcome="visit", features=["orders"])

    assert table.arms == ("0", "1") and not table.declared
    assert table.chances[0, 1] == pytest.approx((table.taken == 1).mean())


def unlucky(rows: pd.DataFrame) -> pd.DataFrame:
    """Lose a third of the treated, as a failed send does."""
    return rows.drop(rows.index[rows["coin"] == 1][::3])


def later(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.assign(opened=rows["coin"] * (rows.index % 3 == 0))


ASKED = {"treatment": "coin", "outcome": "visit", "features": ["orders"]}


@pytest.mark.parametrize(
    ("changed", "asked", "said"),
    [(None, {"treatment": "gruop"}, "no column gruop"),
     (None, {"outcome": "visits"}, "no column visits"),
     (None, {"features": ["orders", "age"]}, "no column age"),
     (None, {"features": ["member"]}, "no numbers and no groups: member"),
     (None, {"features": ["visit"]}, "outcome among the features"),
     (None, {"outcome": "channel"}, "no numbers as channel"),
     (None, {"treatment": "member"}, "has 1200 values of the treatment"),
     (None, {"treatment": "group", "control": "nobody"}, "mail, none, and nobody as control"),
     (None, {"treatment": "channel"}, "none of them as control"),
     (None, {"propensity": "1.0"}, "1200 members chances that are not between 0 and 1"),
     (None, {"propensity": "0"}, "not between 0 and 1"),
     (None, {"propensity": "nan"}, "such as nan"),
     (None, {"propensity": "shares"}, "no column shares"),
     (None, {"treatment": "arm", "propensity": "0.3"}, "does not give the chance of each"),
     (None, {"treatment": "arm", "propensity": "mail=.5,call=.6"}, "make more than one"),
     (None, {"treatment": "arm", "propensity": "mail=.3,phone=.3"}, "does not give the chance"),
     (None, {"propensity": "0.9"}, "not those declared .* p = "),
     (unlucky, {"propensity": "0.5"}, "find it first"),
     (later, {"features": ["orders", "opened"]}, "opened that differs between 1 and 0"),
     (lambda rows: rows[:0], {}, "has no rows"),
     (lambda rows: rows[:300], {}, "members in arm"),
     (lambda rows: rows.assign(coin=1), {}, "has 1 values of the treatment"),
     (lambda rows: rows.assign(visit=1.5), {}, "visit 1.5 for everybody"),
     (lambda rows: rows.assign(visit=np.where(rows.index < 7, np.nan, 1.0)), {},
      "7 rows whose visit is no finite number"),
     (lambda rows: rows.assign(visit=np.where(rows.index < 7, np.inf, 1.0)), {}, "has 7 rows"),
     (lambda rows: rows.assign(coin=rows["coin"].where(rows.index > 4)), {}, "of 5 members")],
)  # fmt: skip
def test_a_table_that_says_nothing_is_refused_by_name(
    changed: Callable[[pd.DataFrame], pd.DataFrame] | None,
    asked: dict[str, Any],
    said: str,
    tmp_path: Path,
) -> None:
    path = write(tmp_path, changed(drawn()) if changed else drawn())

    with pytest.raises(InputRefused, match=said):
        read(path, **{**ASKED, **asked})


@pytest.mark.parametrize("content", ["", '"open', "PAR1"])
def test_what_is_no_table_is_refused(content: str, tmp_path: Path) -> None:
    for name in ("trial.csv", "trial.parquet", "absent.csv"):
        if name != "absent.csv":
            (tmp_path / name).write_text(content)
        with pytest.raises(InputRefused, match=r"cannot be read as a table|has no"):
            read(tmp_path / name, treatment="coin", outcome="visit")
