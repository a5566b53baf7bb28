"""A little shop with a lake and a ledger, and campaigns in it whose truth is known."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from actions import outcomes
from actions.campaigns import Campaign
from actions.decisions import Decision
from features import engine
from features.ingest import ingest
from features.sources.export import Export
from features.sources.mapping import Mapping
from programme.database import Database
from programme.settings import Programme, Settings, open_programme
from serving.action_desk import ActionDesk
from serving.points import PointsDesk
from tests.actions import campaign as made
from tests.actions.campaign import NOW

END = NOW + timedelta(days=28)
CONTROL_SHARE = 0.2
PURCHASES = {
    "member": "member", "occurred_at": "at", "order": "order", "line": "line", "amount": "amount",
    "known_at": "known",
}  # fmt: skip
CONTACTS = {
    "contact": "id", "member": "member", "occurred_at": "at", "kind": "kind",
    "campaign": "campaign", "channel": "channel", "offer": "offer",
}  # fmt: skip
SHOP = {"name": "shop", "timezone": "Europe/Berlin", "currency": "EUR", "points_scale": 2}


def written(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def line(
    member: str, order: str, at: datetime, amount: float, known: datetime | None = None
) -> dict[str, str]:
    return {
        "member": member, "order": order, "line": "1", "at": written(at),
        "amount": f"{amount:.2f}", "known": written(known or at),
    }  # fmt: skip


def redeemed(member: str, number: str, at: datetime, campaign: str = "autumn") -> dict[str, str]:
    return {
        "id": number, "member": member, "at": written(at), "kind": "redeemed",
        "campaign": campaign, "channel": "sms", "offer": "voucher",
    }  # fmt: skip


@dataclass(frozen=True, eq=False)
class Shop:
    """A home with a lake, and the desk that reads its campaigns out."""

    settings: Settings
    points: PointsDesk

    @property
    def desk(self) -> ActionDesk:
        return ActionDesk(self.settings, self.points)

    @property
    def database(self) -> Database:
        return self.points.database

    @property
    def programme(self) -> Programme:
        return open_programme(self.settings)

    def take(
        self, table: str, rows: list[dict[str, str]], columns: dict[str, Any], at: datetime = END
    ) -> None:
        path = self.settings.home / "exports" / f"{table}-{written(at)}-{len(rows)}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        pd.DataFrame(rows).to_parquet(path, index=False)
        mapping = Mapping.model_validate({"source": "till", "programme": SHOP, table: columns})
        ingest(Export([path], mapping), self.settings, at + timedelta(minutes=1))

    def launch(self, of: list[Decision], campaign: str = "autumn") -> Campaign:
        return made.launch(self.database, self.settings, self.programme, campaign, of=of)

    def facts(self, campaign: Campaign, *, until: datetime, now: datetime) -> pd.DataFrame:
        with engine.connect(self.settings) as connection:
            return outcomes.outcomes(
                connection, self.settings, self.programme, campaign, until, now
            ).set_index("member_id")


def a_shop(home: Path) -> Shop:
    settings = Settings(home=home, threads=1, db_url=f"sqlite:///{home / 'programme.db'}")
    return Shop(settings, PointsDesk(settings))


def arms(members: list[str], seed: int = 4) -> dict[str, bool]:
    """Return who is contacted; the others are held back."""
    drawn = np.random.default_rng(seed).random(len(members)) >= CONTROL_SHARE
    return dict(zip(members, drawn.tolist(), strict=True))


def log(contacted: dict[str, bool], campaign: str = "autumn") -> list[Decision]:
    return [
        made.decision(campaign, member, "voucher", "treated" if is_contacted else "control")
        for member, is_contacted in contacted.items()
    ]
