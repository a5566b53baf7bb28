"""The catalogue to begin with: it reads anywhere, asks for what there is, grades what it gives."""

from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from actions import audience, offers, reasons
from actions.audience import Files
from actions.offers import TIER_DERIVED, Catalogue, Offer
from actions.signs import Seen
from features import snapshot, table
from features.ingest import ingest
from features.sources import open_source
from features.tags import columns, explain, rules
from features.tags.columns import SCORES, SEGMENTS
from features.tags.comparison import Compare
from features.tags.conditions import Among
from programme.settings import Programme, Settings

RETAIL = Path(offers.__file__).parent / "catalogues" / "retail.toml"
AS_OF = date(2017, 10, 2)
DORMANCY, VALUE = ("late", "quiet", "gone"), ("low", "middle", "high")
GRADED = [f"win_back_{dormancy}_{value}" for dormancy in DORMANCY for value in VALUE]


def programme(currency: str = "EUR", scale: int = 0) -> Programme:
    return Programme(name="shop", timezone="Europe/Berlin", currency=currency, points_scale=scale)


def retail() -> Catalogue:
    return offers.read_file(RETAIL, programme())


def _columns(offer: Offer) -> set[str]:
    return {
        name
        for part in offer.conditions()
        if isinstance(part, Compare | Among)
        for name in part.columns()
    }


@pytest.mark.parametrize("currency", ["EUR", "JPY", "KWD"])
@pytest.mark.parametrize("scale", [0, 2])
def test_it_reads_for_any_currency_and_scale_of_points(currency: str, scale: int) -> None:
    catalogue = offers.read_file(RETAIL, programme(currency, scale))

    assert {offer.kind for offer in catalogue.offers} == set(offers.KINDS)
    assert catalogue.points(catalogue.named("anniversary")) == 200 * 10**scale


def test_every_tag_it_asks_for_exists(tmp_path: Path) -> None:
    known = rules.read(tmp_path).expand(None, None)

    retail().check_tags(known)


def test_it_asks_for_nothing_that_a_tier_decided_but_in_care() -> None:
    for offer in retail().offers:
        assert offer.kind == "care" or not _columns(offer) & TIER_DERIVED, offer.id


def test_a_marketer_reads_every_condition_in_her_own_words(tmp_path: Path) -> None:
    known = rules.read(tmp_path).expand(None, None)
    for offer in retail().offers:
        for name in _columns(offer):
            column = columns.find(name, frozenset(), "the test")
            chinese = explain.label(column, "zh", known)
            assert explain.label(column, "en", known)
            assert any("\u4e00" <= letter <= "\u9fff" for letter in chinese), name


def test_every_offer_asks_something_of_her() -> None:
    for offer in retail().offers:
        assert offer.when, f"{offer.id} would go to everybody"


def test_every_reason_has_an_offer_that_answers_it() -> None:
    assert [one.reason for one in retail().offers if one.reason] == list(reasons.REASONS)


def test_the_longer_silent_and_the_more_valuable_the_more_it_may_cost() -> None:
    def cost(offer_id: str) -> tuple[float, float]:
        offer = retail().named(offer_id)
        return float(offer.redeem_cost), float(offer.contact_cost)

    for value in VALUE:
        costs = [cost(f"win_back_{dormancy}_{value}") for dormancy in DORMANCY]
        assert costs == sorted(costs), value
    for dormancy in DORMANCY:
        costs = [cost(f"win_back_{dormancy}_{value}") for value in VALUE]
        assert costs == sorted(costs), dormancy


def test_only_care_passes_the_global_control() -> None:
    free = {offer.id for offer in retail().offers if not offer.is_withheld}

    assert free == {offer.id for offer in retail().offers if offer.kind == "care"}
    assert {one.id for one in retail().offers if one.entitlement} == {
        "points_expiring", "anniversary",
    }  # fmt: skip


def fits(folder: Path, features: pd.DataFrame, asked: list[Offer]) -> pd.DataFrame:
    """Ask the real audience of members of whom these features are known."""
    folder.mkdir(exist_ok=True)
    silent = features["recency_days"].to_numpy(np.float64)
    written = {
        "features": features.reindex(columns=list(table.ALL_COLUMNS)),
        "segments": pd.DataFrame(dict.fromkeys(SEGMENTS), features.index),
        "scores": pd.DataFrame(dict.fromkeys(SCORES), features.index).assign(
            churn_probability=silent / (silent + 28), value_margin_cents=np.nan
        ),
    }
    for name, frame in written.items():
        frame.rename_axis("member_id").reset_index().to_parquet(folder / f"{name}.parquet")
    files = Files(
        folder / "features.parquet", folder / "segments.parquet", folder / "scores.parquet"
    )
    found = audience.read(Settings(home=folder), AS_OF, files, asked)
    return pd.DataFrame(found.fits, index=found.members, columns=[one.id for one in asked])


@given(
    seed=st.integers(0, 2**32 - 1), silence=st.sampled_from([30.0, 120.0, 900.0]),
    n=st.integers(30, 60),
)  # fmt: skip
@settings(max_examples=15, deadline=None, phases=(Phase.explicit, Phase.generate))
def test_a_silent_member_is_in_one_graded_cell_and_any_other_in_none(
    tmp_path_factory: pytest.TempPathFactory, seed: int, silence: float, n: int
) -> None:
    rng = np.random.default_rng(seed)
    features = pd.DataFrame(
        {
            "recency_days": np.ceil(rng.exponential(silence, n)),
            "overdue_ratio_shrunk": rng.exponential(3, n),
            "spend_cents_mean": np.where(rng.random(n) < 0.1, np.nan, rng.gamma(2, 2_000, n)),
        },
        index=[f"m{one:02d}" for one in range(n)],
    )
    graded = [retail().named(one) for one in GRADED]

    found = fits(tmp_path_factory.mktemp("cells"), features, graded).loc[features.index]

    silent = features["recency_days"].between(28, 730) & (features["overdue_ratio_shrunk"] >= 2)
    known = features["spend_cents_mean"].notna()
    assert (found.sum(axis=1) == (silent & known)).all()


@pytest.mark.slow
def test_on_complete_journey_every_graded_cell_has_members_and_an_unknown_reason_says_why(
    tmp_path: Path,
) -> None:
    home = Settings(home=tmp_path, threads=2)
    ingest(open_source(["completejourney"], None), home, datetime(2018, 6, 1, tzinfo=UTC))
    features = snapshot.build(home, AS_OF).features()
    graded = [retail().named(one) for one in GRADED]

    counts = fits(tmp_path / "cells", features, graded).sum()

    # Read off this data on 2026-11-28; a cell of fewer than five could not be measured.
    assert counts.min() >= 15
    seen = Seen(AS_OF, features)
    assert reasons.unjudged(seen) == ["service"]
    late = (features["recency_days"] >= 28).to_numpy() & (
        features["overdue_ratio_shrunk"] >= 2
    ).to_numpy()
    days = [seen, Seen(date(2017, 8, 7), snapshot.build(home, date(2017, 8, 7)).features())]
    found = [one.reason for one in reasons.infer(days, late) if one is not None]
    assert {reason for reason in reasons.REASONS if found.count(reason)} == {
        "price", "need_gone", "habit_shift",
    }  # fmt: skip
