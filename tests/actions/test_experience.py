"""What campaigns teach: each judges what was learned before it; without a sure gain, nothing."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from actions import brief, campaigns, experience, launching, offers
from actions.audience import KNOWN
from actions.decisions import Decision, Scored
from actions.experience import Lesson
from actions.offers import Catalogue
from actions.policy import Costs
from features.ingest import ingest
from features.sources.export import Export
from features.sources.mapping import Mapping
from programme.database import Database
from programme.settings import Programme, Settings, open_programme

MEMBERS = 3_000
FIRST = datetime(2024, 3, 4, 9, tzinfo=UTC)
SECOND = FIRST + timedelta(days=35)
AFTER = SECOND + timedelta(days=35)
MAPPING = {
    "source": "till",
    "programme": {"name": "shop", "timezone": "UTC", "currency": "EUR"},
    "purchases": {"member": "member", "occurred_at": "at", "order": "order", "line": "line",
                  "amount": "amount"},
}  # fmt: skip
CATALOGUE = """
version = "1"
[[offer]]
id = "voucher"
kind = "win_back"
name = { en = "x", zh = "x" }
says = { en = "x", zh = "x" }
channel = "sms"
contact_cost = 0.5
"""


def decided(campaign: str, rng: np.random.Generator, x: np.ndarray) -> list[Decision]:
    """Return decisions in which every member had one chance in two to get the voucher."""
    got = rng.random(MEMBERS) < 0.5
    return [
        Decision(
            campaign, f"m{row}", "explored" if got[row] else "control", None, "voucher", 0.5,
            (Scored("voucher", 0.0, 0.0, 0.5),), tuple(x[row].tolist()), 1_000.0,
        )
        for row in range(MEMBERS)
    ]  # fmt: skip


class World:
    """A lake and a database in which campaigns happen and members answer as planted."""

    def __init__(self, home: Path, *, moved: float, cost: str = "0.5") -> None:
        self.settings, self.moved = Settings(home=home, threads=1), moved
        self.rng = np.random.default_rng(11)
        self.x = self.rng.normal(size=(MEMBERS, len(KNOWN)))
        self.rows = [
            {"member": f"m{row}", "at": "2024-01-01 10:00", "order": f"first-{row}", "line": 1,
             "amount": 10}
            for row in range(MEMBERS)
        ]  # fmt: skip
        self.ingest(FIRST - timedelta(days=1))
        self.programme: Programme = open_programme(self.settings)
        self.database = Database.open(self.settings)
        self.catalogue: Catalogue = offers.read(
            CATALOGUE.replace("contact_cost = 0.5", f"contact_cost = {cost}"), self.programme
        )
        campaigns.adopt(self.database, self.catalogue, now=FIRST)

    def ingest(self, now: datetime) -> None:
        path = self.settings.home / f"till-{now:%Y%m%d}.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        pd.DataFrame(self.rows).to_csv(path, index=False)
        ingest(Export([path], Mapping.model_validate(MAPPING)), self.settings, now)

    def campaign(self, name: str, at: datetime) -> None:
        """Hold a campaign: whoever is high in the first column is moved by the voucher."""
        asked = brief.read(f'campaign = "{name}"\noffers = ["voucher"]\ncontrol_share = 0.5\n')
        made = decided(name, self.rng, self.x)
        campaigns.propose(
            self.database, self.settings.home, asked, self.catalogue, made,
            {"known": list(KNOWN)}, as_of=at.date(), now=at,
        )  # fmt: skip
        campaigns.approve(self.database, name, by="Ada", now=at)
        launching.launch(self.database, self.programme, self.settings.home, name, now=at)
        for row, one in enumerate(made):
            effect = self.moved * (self.x[row, 0] > 0) * (one.arm == "explored")
            if self.rng.random() < 0.2 + effect:
                day = at + timedelta(days=int(self.rng.integers(1, 27)))
                self.rows.append({"member": f"m{row}", "at": f"{day:%Y-%m-%d %H:%M}",
                                  "order": f"{name}-{row}", "line": 1, "amount": 10})  # fmt: skip
        self.ingest(at + timedelta(days=29))

    def lesson(self, now: datetime) -> Lesson:
        found = experience.lessons(
            self.settings, self.programme, self.database, self.catalogue, self.catalogue.offers,
            now=now, seed=1,
        )  # fmt: skip
        return found["voucher"]


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "home"


def test_an_offer_that_moves_some_is_learned_from_one_campaign_and_judged_on_the_next(
    home: Path,
) -> None:
    world = World(home, moved=0.5)
    assert world.lesson(FIRST).reason == experience.NOT_YET

    world.campaign("spring", FIRST)
    assert world.lesson(FIRST + timedelta(days=27)).reason == experience.NOT_YET
    once = world.lesson(FIRST + timedelta(days=30))
    assert once.model is None and "the next one will judge" in once.reason

    world.campaign("summer", SECOND)
    twice = world.lesson(AFTER)
    assert twice.model is not None and "what was learned of voucher promoted" in twice.reason
    changes = twice.model.changes(world.x).mean
    assert changes[world.x[:, 0] > 0.5].mean() > 0.35
    assert abs(changes[world.x[:, 0] < -0.5].mean()) < 0.1
    assert date(2024, 4, 8) == SECOND.date()


def test_a_free_offer_that_moves_nobody_may_not_decide_and_the_reason_is_said(home: Path) -> None:
    world = World(home, moved=0.0, cost="0")
    world.campaign("spring", FIRST)
    world.campaign("summer", SECOND)

    found = world.lesson(AFTER)
    assert found.model is None
    assert "what was learned of voucher refused" in found.reason


def test_an_offer_that_costs_and_moves_nobody_is_learned_not_to_be_made(home: Path) -> None:
    world = World(home, moved=0.0, cost="0.5")
    world.campaign("spring", FIRST)
    world.campaign("summer", SECOND)

    found = world.lesson(AFTER)
    assert found.model is not None and "promoted" in found.reason
    profit, _ = found.model.profit(
        world.x, np.full(MEMBERS, 1_000.0), Costs(np.array([50.0]), np.array([0.0]))
    )
    assert (profit.mean < 0).mean() > 0.95


def test_a_campaign_whose_file_is_gone_teaches_nothing(home: Path) -> None:
    world = World(home, moved=0.5)
    world.campaign("spring", FIRST)
    for path in (home / "campaigns").glob("*.parquet"):
        path.write_bytes(b"PAR1")

    assert world.lesson(AFTER).reason == experience.NOT_YET
