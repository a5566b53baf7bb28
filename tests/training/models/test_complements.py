"""Directed pairs from sequences: a planted grinder after a coffee machine is found."""

import numpy as np
import pandas as pd
import pytest

from programme.errors import InputRefused
from training.models.complements import ComplementRules, complements

RULES = ComplementRules(members_min=10)


def planted(seed: int = 4, n_members: int = 300) -> pd.DataFrame:
    """Everybody buys bread; half start coffee one day, and grinders follow within weeks."""
    rng = np.random.default_rng(seed)
    rows: list[tuple[str, str, int]] = []
    for number in range(n_members):
        name = f"m{number:03d}"
        days = np.arange(360, 0, -rng.integers(5, 9))
        rows += [(name, "bread", int(day)) for day in days]
        rows += [(name, "milk", int(day)) for day in rng.choice(days, len(days) // 2, False)]
        if number % 2:
            started = int(rng.choice(days[(days < 280) & (days > 90)]))
            rows += [(name, "coffee", int(day)) for day in days[days <= started]]
            later = days[(days < started) & (days >= started - 50)]
            rows += [(name, "grinder", int(later[0]))]
        if number % 3 == 0:
            rows += [(name, "soap", int(rng.choice(days)))]
    return pd.DataFrame(rows, columns=["member_id", "product_id", "days_ago"])


def test_what_follows_is_named_and_the_way_back_is_not() -> None:
    found = complements(planted(), RULES)

    pairs = list(zip(found["source"], found["target"], strict=True))
    assert pairs[0] == ("coffee", "grinder")
    assert ("grinder", "coffee") not in pairs
    assert not {"soap", "bread"} & set(found["target"])
    best = found.iloc[0]
    assert best["members"] >= 100
    assert best["ratio"] > 1
    assert best["lift"] > RULES.lift_min


def test_pairs_of_one_kind_are_left_out() -> None:
    kinds = pd.Series({"coffee": "drinks", "grinder": "drinks", "bread": "food"})

    found = complements(planted(), RULES, kinds)

    assert ("coffee", "grinder") not in set(zip(found["source"], found["target"], strict=True))


def test_the_order_of_the_rows_does_not_matter() -> None:
    days = planted()

    pd.testing.assert_frame_equal(complements(days, RULES), complements(days.iloc[::-1], RULES))


def test_too_few_members_make_no_pair() -> None:
    assert complements(planted(), ComplementRules(members_min=290)).empty
    assert complements(planted(n_members=4), ComplementRules(members_min=30)).empty


@pytest.mark.parametrize("column", ["member_id", "product_id", "days_ago"])
def test_a_missing_column_is_named(column: str) -> None:
    with pytest.raises(InputRefused, match=column):
        complements(planted(n_members=4).drop(columns=column), RULES)


def test_no_days_are_refused() -> None:
    with pytest.raises(InputRefused, match="every row is missing"):
        complements(planted(n_members=4).head(0), RULES)
