from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.segments import rfm
from features.segments.rfm import Cuts
from programme.errors import InputRefused
from tests.features.segments.worlds import members, tables

# Each example makes tables, a few hundredths of a second.
some = settings(max_examples=25)


def test_ten_members_are_scored_as_by_hand() -> None:
    # Ranks of ten different values are .05, .15 ... .95: two members to each fifth.
    table = members(
        *(
            {"recency_days": n + 1, "purchase_days_364d": n + 1, "spend_cents_364d": 100 * (9 - n)}
            for n in range(10)
        )
    )

    scored = rfm.scores(table)

    assert scored["rfm"].tolist() == [
        "515", "515", "424", "424", "333", "333", "242", "242", "151", "151",
    ]  # fmt: skip


def test_a_tie_takes_the_score_of_its_middle() -> None:
    # Eight of ten bought once: they hold the ranks .05 to .75, whose middle is .4, the upper end
    # of the second fifth. None of them may be told apart by where her row stands.
    table = members(*[{"purchase_days_364d": 1}] * 8, *[{"purchase_days_364d": 7}] * 2)

    assert rfm.scores(table)["f"].tolist() == [2] * 8 + [5] * 2


@some
@given(table=tables(), gone=st.integers(0, 9))
def test_whoever_bought_nothing_this_year_is_dormant_and_moves_nobody(
    table: pd.DataFrame, gone: int
) -> None:
    # However many stay away, and whatever they had before.
    away = members(*[{"purchase_days_364d": 0, "spend_cents_364d": 0, "recency_days": 400}] * gone)
    away.index = pd.Index([f"away{n}" for n in range(gone)], name="member_id")
    before = pd.DataFrame({"r": 5}, index=away.index)

    scored = rfm.scores(pd.concat([table, away]), previous=before)

    absent = scored[(table["purchase_days_364d"] == 0).reindex(scored.index, fill_value=True)]
    assert set(absent["rfm"]) <= {"111"}
    assert set(absent["rfm_group"]) <= {"dormant"}
    pd.testing.assert_frame_equal(scored.loc[table.index], rfm.scores(table))


def test_a_shop_most_members_left_has_no_promising_members_among_them() -> None:
    # Ranked among all, the middle of eight who stay away was .4: "22", and "promising".
    left = {"purchase_days_364d": 0, "spend_cents_364d": 0}
    table = members(
        *({**left, "recency_days": 365 + n} for n in range(8)),
        {"recency_days": 9, "purchase_days_364d": 1, "spend_cents_364d": 500},
        {"recency_days": 3, "purchase_days_364d": 9, "spend_cents_364d": 9_000},
    )

    scored = rfm.scores(table)

    # Two who shop hold the ranks .25 and .75.
    assert scored["rfm"].tolist() == ["111"] * 8 + ["222", "444"]


@some
@given(table=tables())
def test_equal_members_have_equal_scores(table: pd.DataFrame) -> None:
    scored = rfm.scores(table)

    shops = table["purchase_days_364d"] > 0
    for name, column in rfm.MEASURES.items():
        assert scored.groupby([table[column], shops])[name].nunique().max() == 1


@some
@given(table=tables(least=2))
def test_better_is_never_scored_lower(table: pd.DataFrame) -> None:
    scored = rfm.scores(table)

    table = table[table["purchase_days_364d"] > 0]
    for name, column in rfm.MEASURES.items():
        better = table[column].sort_values(ascending=name != "r").index
        assert scored.loc[better, name].is_monotonic_increasing


@some
@given(table=tables(), seed=st.integers(0, 9))
def test_the_order_of_rows_does_not_matter(table: pd.DataFrame, seed: int) -> None:
    shuffled = table.sample(frac=1, random_state=seed)

    pd.testing.assert_frame_equal(rfm.scores(shuffled).sort_index(), rfm.scores(table))


def test_every_cell_has_one_group_and_every_group_but_prospects_a_cell() -> None:
    groups = [rfm.group_of(r, f, m) for r, f, m in product(rfm.SCORES, repeat=3)]

    assert set(groups) == set(rfm.GROUPS) - {"prospects"}
    assert rfm.group_of(5, 5, 5) == "champions"
    assert rfm.group_of(1, 1, 1) == "dormant"
    assert rfm.group_of(5, 1, 1) == "new"


@given(r=st.sampled_from(rfm.SCORES), f=st.sampled_from(rfm.SCORES), m=st.sampled_from(rfm.SCORES))
def test_frequency_and_value_weigh_the_same(r: int, f: int, m: int) -> None:
    assert rfm.group_of(r, f, m) == rfm.group_of(r, m, f)


def test_own_cut_points_move_the_scores() -> None:
    table = members(*({"spend_cents_364d": n} for n in range(100)))

    scored = rfm.scores(table, Cuts(m=(0.5, 0.8, 0.95, 0.99)))

    assert scored["m"].value_counts().sort_index().tolist() == [50, 30, 15, 4, 1]


@pytest.mark.parametrize(
    "cuts", [(0.4, 0.2, 0.6, 0.8), (0.2, 0.2, 0.6, 0.8), (0.2, 0.4, 0.6), (0.0, 0.4, 0.6, 0.8),
             (0.2, 0.4, 0.6, 1.0), (0.2, float("nan"), 0.6, 0.8)]
)  # fmt: skip
def test_cut_points_out_of_order_are_refused(cuts: tuple[float, ...]) -> None:
    with pytest.raises(InputRefused, match=r"cut points of f are .* No score was made"):
        Cuts(f=cuts)


def test_cut_points_are_read_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "cuts.toml"
    path.write_text("m = [0.5, 0.8, 0.95, 0.99]\n", "utf-8")

    assert Cuts.read(path) == Cuts(m=(0.5, 0.8, 0.95, 0.99))


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("x = [0.2, 0.4, 0.6, 0.8]", "there is no key 'x'"),
        ("r = 0.2", "r is 0.2, not a list"),
        ("r = ['a', 0.4, 0.6, 0.8]", "not a list of four numbers"),
        ("r = [true, 0.4, 0.6, 0.8]", "not a list of four numbers"),
        ("r = [0.8, 0.6, 0.4, 0.2]", "cut points of r"),
        ("r = [", "is not TOML"),
    ],
)
def test_a_file_of_cut_points_that_cannot_be_used_is_refused(
    text: str, fault: str, tmp_path: Path
) -> None:
    path = tmp_path / "cuts.toml"
    path.write_text(text, "utf-8")

    with pytest.raises(InputRefused, match=fault):
        Cuts.read(path)


def test_a_file_of_cut_points_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputRefused, match=r"absent\.toml is not a file"):
        Cuts.read(tmp_path / "absent.toml")


def test_recency_keeps_its_score_until_it_is_well_past_the_cut() -> None:
    table = members(*({"recency_days": n + 1} for n in range(100)))
    before = rfm.scores(table)
    # m019 stood last in the best fifth; two days more leave her in it, twenty do not.
    nearly, far = table.copy(), table.copy()
    nearly.loc["m019", "recency_days"] = 22.5
    far.loc["m019", "recency_days"] = 40.5

    assert before.loc["m019", "r"] == 5
    assert rfm.scores(nearly).loc["m019", "r"] == 4
    assert rfm.scores(nearly, previous=before).loc["m019", "r"] == 5
    assert rfm.scores(far, previous=before).loc["m019", "r"] == 4


def test_one_member_stands_in_the_middle() -> None:
    assert rfm.scores(members({}))["rfm"].tolist() == ["333"]


def test_no_member_has_no_score() -> None:
    scored = rfm.scores(members({}).iloc[:0])

    assert list(scored.columns) == ["r", "f", "m", "rfm", "rfm_group"]
    assert scored.empty


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_measure_that_is_no_number_is_refused(value: float) -> None:
    with pytest.raises(InputRefused, match="spend_cents_364d is absent or infinite for 1 of 2"):
        rfm.scores(members({}, {"spend_cents_364d": value}))


def test_a_table_without_a_measure_is_refused() -> None:
    with pytest.raises(InputRefused, match="no column 'recency_days'"):
        rfm.scores(members({}).drop(columns="recency_days"))
