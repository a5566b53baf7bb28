"""What is named to a member depends neither on who else is asked about, nor on how many at once."""

import numpy as np
import pandas as pd
import pytest

from tests.little_programme import LittleProgramme
from training import population
from training.champions import Champions
from training.population import product_lists
from training.shelf import Shelf
from training.views import SnapshotView


@pytest.mark.parametrize("target", ["repeat", "explore"])
@pytest.mark.parametrize("weight", [0.0, 0.7])
def test_lists_are_the_same_few_at_a_time_and_in_any_order(
    trained: LittleProgramme, monkeypatch: pytest.MonkeyPatch, target: str, weight: float
) -> None:
    champion = getattr(Champions.load(trained.settings), target)
    view = SnapshotView(trained.snapshot)
    products, members = view.products(), view.features().index
    nothing_bought = pd.Index([*members[:40], "nobody", "no one", "none", *members[40:]])
    rates = pd.Series(np.linspace(0.05, 0.6, 9), [f"p{n:02d}" for n in range(9)])
    shelf = Shelf(frozenset({"p11"}), margin_rate=rates, margin_weight=weight)

    def lists(rows: pd.DataFrame) -> list[object]:
        made = product_lists(champion.bundle.model, rows, nothing_bought, target, shelf)
        return [made.of(place) for place in range(len(nothing_bought))]

    whole = lists(products)
    monkeypatch.setattr(population, "MEMBERS_AT_ONCE", 3)
    assert lists(products.sample(frac=1.0, random_state=4)) == whole
    assert any(whole)
    if target == "repeat":
        assert whole[40:43] == [(), (), ()]
