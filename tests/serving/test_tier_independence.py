"""A member's tier decides no offer: permute it and all it decided, and nothing else changes."""

import shutil
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from actions import brief, offers
from actions.audience import KNOWN
from actions.decisions import Decision
from actions.offers import TIER_DERIVED
from features import snapshot, table
from features.ingest import ingest
from features.sources.export import Export
from features.sources.mapping import Mapping
from serving.action_desk import ActionDesk
from serving.batch import score_all
from serving.points import PointsDesk
from tests import little_programme
from tests.little_programme import AS_OF, LittleProgramme

NOW = datetime(AS_OF.year, AS_OF.month, AS_OF.day, 9, tzinfo=UTC)
TIERS = {"silver": 1.0, "gold": 1.5, "diamond": 3.0}
FEED = {
    "source": "points",
    "programme": {"name": "little", "timezone": "Europe/Berlin", "currency": "EUR"},
    "points": {
        "posting": "id", "member": "member", "occurred_at": "day", "kind": "kind",
        "points": "points", "expires_at": "expires", "tier": "tier",
    },
}  # fmt: skip
CATALOGUE = """
version = "1"
[guards]
without_consent = "allow"
global_control = 0.1
""" + "".join(
    f"""
[[offer]]
id = "{name}"
kind = "{kind}"
name = {{ en = "x", zh = "x" }}
says = {{ en = "x", zh = "x" }}
channel = "{channel}"
contact_cost = 0.02
redeem_cost = {cost}
when = [{when}]
"""
    for name, kind, channel, cost, when in (
        ("letter", "win_back", "email", 0, ""),
        ("voucher", "win_back", "sms", 1, '{ column = "scores.churn_probability", top = 0.5 }'),
        ("more", "cross_sell", "app_push", 0.5, '{ column = "recency_days", at_most = 60 }'),
        ("busy", "nurture", "email", 0.5, '{ column = "days_since_points_earned", at_most = 40 }'),
    )
)
BRIEF = (
    'campaign = "autumn"\noffers = ["letter", "voucher", "more", "busy"]\nbudget = 40\n'
    "[capacity]\nsms = 30\nemail = 60\n"
)


def posted(tiers: Sequence[str]) -> pd.DataFrame:
    """Return what members earned and spent where these are their tiers: the same days, other sums.

    An earning is what she bought times her tier's multiplier; what she redeems she redeems in the
    same share of it.
    """
    rng = np.random.default_rng(3)
    rows = []
    for place, tier in enumerate(tiers):
        times = TIERS[tier]
        for number in range(int(rng.integers(1, 8))):
            day = AS_OF - timedelta(days=int(rng.integers(2, 150)))
            earned = int(rng.integers(10, 200))
            common = {"member": f"m{place:03d}", "day": day, "tier": tier,
                      "expires": day + timedelta(days=160)}  # fmt: skip
            rows.append({**common, "id": f"e{place}-{number}", "kind": "EARN",
                         "points": int(earned * times)})  # fmt: skip
            if rng.random() < 0.4:
                rows.append({**common, "id": f"r{place}-{number}", "kind": "REDEEM",
                             "points": -int(earned * times * 0.5), "expires": None})  # fmt: skip
    return pd.DataFrame(rows)


def decided(
    home: Path, template: Path, tiers: Sequence[str]
) -> tuple[LittleProgramme, list[Decision]]:
    home.mkdir()
    shutil.copy(template, home / "mlflow.db")
    little = little_programme.make(home)
    path = home / "points.csv"
    posted(tiers).to_csv(path, index=False)
    ingest(Export([path], Mapping.model_validate(FEED)), little.settings, NOW - timedelta(hours=1))
    little = LittleProgramme(
        little.settings, little.programme, snapshot.build(little.settings, AS_OF)
    )
    little_programme.train(little)
    score_all(little.settings, AS_OF, None, lambda _: None)
    points = PointsDesk(little.settings)
    try:
        desk = ActionDesk(little.settings, points)
        desk.adopt(offers.read(CATALOGUE, little.programme), now=NOW)
        _, proposal = desk.propose(brief.read(BRIEF), as_of=AS_OF, now=NOW, tell=lambda _: None)
        return little, list(proposal.decisions())
    finally:
        points.close()


def test_permuting_tiers_and_all_they_decided_changes_no_decision(
    mlflow_template: Path, tmp_path: Path
) -> None:
    rng = np.random.default_rng(5)
    tiers = rng.choice(list(TIERS), 120).tolist()
    other = rng.permutation(tiers).tolist()

    one, as_they_were = decided(tmp_path / "one", mlflow_template, tiers)
    two, permuted = decided(tmp_path / "two", mlflow_template, other)

    before, after = one.snapshot.features(), two.snapshot.features()
    # The permutation did reach the features; else this would show nothing.
    assert (before["tier"] != after["tier"]).mean() > 0.4
    assert (before["points_balance"] != after["points_balance"]).mean() > 0.3
    pd.testing.assert_frame_equal(
        before[list(table.MODEL_COLUMNS)], after[list(table.MODEL_COLUMNS)]
    )
    assert {row.arm for row in as_they_were} >= {"explored", "control", "refused"}
    # As text: what is not known of a member is NaN, which equals nothing.
    assert [(row, str(row.known)) for row in as_they_were] == [
        (row, str(row.known)) for row in permuted
    ]


def test_nothing_offers_are_learned_by_derives_from_a_tier() -> None:
    assert not TIER_DERIVED & set(KNOWN)
    assert not TIER_DERIVED & set(table.MODEL_COLUMNS)
    assert {"tier", "tier_days", "points_balance", "points_earned_364d"} <= TIER_DERIVED


@pytest.mark.parametrize("name", sorted(TIER_DERIVED))
def test_a_derived_column_is_for_reports_only(name: str) -> None:
    (column,) = (one for one in table.COLUMNS if one.name == name)
    assert column.use == "report"
