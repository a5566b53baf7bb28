"""What is printed: every figure that is defined, and outside text as it is."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from features.ingest import Ingested
from features.usability import Finding, Report
from serving.batch import Scored
from serving.reports import terminal
from tests.little_programme import AS_OF, LittleProgramme

AWKWARD = "[/red] amount [bold]"


def shown(show: Any, *facts: Any) -> str:
    page = io.StringIO()
    show(Console(file=page, width=200), *facts)
    return page.getvalue()


def board(**changes: Any) -> dict[str, Any]:
    entries = [
        {
            "name": "model",
            "role": "model",
            "metrics": {"AP": 0.51234, "RMSE": 12_345.6},
            "interval": {"mean": 0.51234, "low": 0.4004, "high": 0.6},
            "difference": {"mean": 0.12, "low": -0.01, "high": 0.25},
        },
        {
            "name": "rule",
            "role": "rule",
            "metrics": {"AP": None, "RMSE": 99.5},
            "interval": {"mean": None, "low": None, "high": None},
            "difference": None,
        },
    ]
    population = {
        "name": "active",
        "primary": "AP",
        "rows": 1_234,
        "base_rate": 0.1,
        "test_as_ofs": ["2017-11-06", "2017-12-04"],
        "metrics": ["AP", "RMSE"],
        "entries": entries,
    }
    content = {"name": "churn_28d", "populations": [population], "winner": "model"}
    return content | {"verdict": "Skill [nan, nan]: grade C."} | changes


def test_a_leaderboard_shows_every_figure_and_leaves_undefined_ones_blank() -> None:
    page = shown(terminal.show_leaderboard, board())

    title = "churn_28d, active members (1,234 rows, judged at 2017-11-06, 2017-12-04)"
    assert title in " ".join(page.split())
    (model,) = (line for line in page.splitlines() if "│ model" in line)
    (rule,) = (line for line in page.splitlines() if "│ rule" in line)
    assert [cell.strip() for cell in model.split("│")[1:-1]] == [
        "model",
        "model",
        "0.5123",
        "12,346",
        "0.400 .. 0.600",
        "+0.1200 [-0.0100, +0.2500]",
    ]
    cells = [cell.strip() for cell in rule.split("│")[1:-1]]
    assert cells == ["rule", "rule", "", "99.5000", "", ""]
    assert "Skill [nan, nan]: grade C." in page


def test_a_leaderboard_says_what_a_campaign_would_earn_and_on_what_that_rests() -> None:
    said = {"most_cents_a_member": 478.4, "share_contacted": 0.314}
    undefined = {"most_cents_a_member": None, "share_contacted": None}
    costs = {"member_cents": 20_000, "offer_cents": 1_000, "contact_cents": 100, "save_rate": 0.3}
    campaign = {
        "assumed": costs,
        "least_probability": 0.16418,
        "by": {"model": said, "rule": undefined},
    }

    page = " ".join(
        shown(terminal.show_leaderboard, board(campaign=campaign, currency="EUR")).split()
    )
    # A yen has no hundredths.
    yen = " ".join(
        shown(terminal.show_leaderboard, board(campaign=campaign, currency="JPY")).split()
    )

    assert "Best campaign: model EUR 4.78 a member at 31% contacted; a contact pays from" in page
    assert "P(churn) 0.164. Assumed, not measured: a member is worth EUR 200.00, the offer" in page
    assert "model JPY 478 a member" in yen


@pytest.mark.parametrize(
    ("batch_no", "state"), [(3, "committed as batch 3"), (None, "nothing new")]
)
def test_a_usability_report_is_shown_as_found(batch_no: int | None, state: str) -> None:
    finding = Finding("cells", "error", "purchases", AWKWARD, 7, f"unreadable {AWKWARD}", "mend it")
    report = Report("till", "shop", "2024-01-01", 3, (), (finding,), ())

    page = shown(
        terminal.show_ingested,
        Ingested("till", batch_no, (), report, Path("reports/[3].json")),
    )

    assert f"unreadable {AWKWARD}; mend it" in page
    assert f"till: {state}. Report: reports/[3].json" in page


def test_a_snapshot_is_shown_with_its_members_and_its_key(trained: LittleProgramme) -> None:
    page = " ".join(shown(terminal.show_snapshot, trained.snapshot).split())

    members = trained.snapshot.features()
    active = int((members["population"] == "active").sum())
    assert f"Snapshot {AS_OF}: {len(members)} members ({active} active" in page
    assert f"feature set {trained.snapshot.feature_set}" in page
    assert f"Kept in {trained.snapshot.path}" in page


def scored(
    trained: LittleProgramme, folder: Path, bands: list[str], probabilities: list[float]
) -> Scored:
    members = pd.DataFrame(
        {
            "member_id": [f"{AWKWARD}{number}" for number in range(len(bands))],
            "churn_risk_band": bands,
            "churn_population": "active",
            "churn_probability": probabilities,
            "churn_percentile": 50,
            "value_cents": [100_000.0 * (number + 1) for number in range(len(bands))],
            "next_order_horizon_days": np.nan,
            "next_order_expected_on": None,
        }
    )
    members.to_parquet(folder / "[scores].parquet")
    return Scored(folder / "[scores].parquet", AS_OF, trained.programme)


def test_scores_are_summed_by_band_and_the_most_valuable_at_risk_are_named(
    trained: LittleProgramme, tmp_path: Path
) -> None:
    made = scored(trained, tmp_path, ["high", "high", "low"], [0.7, 0.9, 0.1])
    page = shown(terminal.show_scores, made)

    (high,) = (line for line in page.splitlines() if "│ high" in line)
    assert [cell.strip() for cell in high.split("│")[1:-1]] == [
        "high",
        "2",
        "2",
        "0.80",
        "EUR 3,000.00",
    ]
    assert page.index(f"{AWKWARD}1") < page.index(f"{AWKWARD}0")
    assert f"{AWKWARD}2" not in page
    assert f"All of them: {made.path}" in page


def test_where_nobody_is_at_risk_nobody_is_named(trained: LittleProgramme, tmp_path: Path) -> None:
    page = shown(terminal.show_scores, scored(trained, tmp_path, ["low"], [0.1]))

    assert "at risk" not in page
    assert "1 members scored" in page
