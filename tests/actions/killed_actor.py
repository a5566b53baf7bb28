"""Carry one campaign through, from wherever a killed predecessor left it; run as a process."""

import os
import sys
from datetime import UTC, datetime
from pathlib import Path

from actions import campaigns, launching
from actions.decisions import Decision
from actions.dispatch import Deliverer
from actions.guardrails import History
from actions.routes import Routes
from loyalty.terms import Terms
from programme.database import Database
from programme.errors import InputRefused
from programme.settings import Programme, Settings
from serving.webhooks import post
from tests.actions import campaign as made

SHOP = Programme(name="shop", timezone="Europe/Berlin", currency="EUR", points_scale=2)
CHANNELS = ("voucher", "letter", "gift")
MEMBERS = 90


def decided(campaign: str) -> list[Decision]:
    """Return who gets what: every tenth member is held back, the others go three ways."""
    return [
        made.decision(
            campaign, f"m{row:02d}", CHANNELS[row % 3], "control" if row % 10 == 9 else "treated"
        )
        for row in range(MEMBERS)
    ]


def act(settings: Settings, url: str, campaign: str, at: datetime) -> None:
    """Do every step that was not done yet."""
    database = Database.open(settings)
    try:
        try:
            made.propose(database, settings, SHOP, campaign, of=decided(campaign), now=at)
            campaigns.approve(database, campaign, by="Ada", now=at)
        except InputRefused:
            pass  # approved before, by one who was killed since
        launching.launch(database, SHOP, settings.home, campaign, now=at)
        routes = {"sms": {"via": "webhook", "url": url, "secret_env": "HOOK_KEY"}}
        Deliverer(
            database, SHOP, settings.home, Routes.model_validate({"route": routes}),
            lambda _: made.catalogue(SHOP), History, Terms("Europe/Berlin", 2), post,
        ).run(now=lambda: at, tell=lambda _: None)  # fmt: skip
    finally:
        database.close()


if __name__ == "__main__":
    home, url, campaign, at = sys.argv[1:]
    # The parent kills from here on: what is imported before is not what is tested.
    os.write(1, b"ready\n")
    act(Settings(home=Path(home)), url, campaign, datetime.fromisoformat(at).astimezone(UTC))
    os.write(1, b"done\n")
