"""One run of a home's triggers: who fired, what the gates and the plan say, and the launch."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path

import numpy as np
import tomli_w

from actions import audience, brief, campaigns, triggers
from actions.brief import Asked
from actions.errors import UnknownCampaign
from actions.triggers import Trigger
from features.segments import segmentation
from loyalty.intake import remember
from programme.calendar import local_date
from serving.action_desk import ActionDesk, Described, Tell


@dataclass(frozen=True)
class Fired:
    """What one trigger did.

    Attributes
    ----------
    fired : members for whom it did, without those it reached lately
    over : of them, how many got no turn today
    campaign_id : None where nobody's turn had come
    again : it was run today already, and nothing was done
    """

    trigger: str
    fired: int = 0
    over: int = 0
    campaign_id: str | None = None
    contacted: int = 0
    control: int = 0
    refused: int = 0
    again: bool = False


def run(desk: ActionDesk, *, as_of: date | None, now: datetime, tell: Tell) -> list[Fired]:
    """Run every trigger once for this day.

    Raises
    ------
    InputRefused : if the triggers cannot be read, or one names an offer there is none of.
    """
    declared = triggers.read(desk.settings.home)
    catalogue = desk.catalogue
    for trigger in declared:
        brief.read(_text(trigger, date.min)).brief.chosen(catalogue)
    if not declared:
        return []
    described = desk.describe(as_of, tell)
    return [_run(desk, trigger, described, now, tell) for trigger in declared]


def _run(
    desk: ActionDesk, trigger: Trigger, described: Described, now: datetime, tell: Tell
) -> Fired:
    database, programme = desk.points.database, desk.points.programme
    day = local_date(now, programme.timezone)
    try:
        campaigns.get(database, trigger.campaign_id(day))
        return Fired(trigger.id, again=True)
    except UnknownCampaign:
        tell(f"asking whom {trigger.id} fires for")
    fired, watermark = _who(desk, trigger, described, now)
    members = triggers.debounced(database, trigger, fired, day)
    asked = brief.read(_text(trigger, day))
    everybody = audience.read(
        desk.settings, described.as_of, described.files, asked.brief.chosen(desk.catalogue)
    )
    # Who has no purchase yet is in no snapshot: nothing is known that an offer could be judged by.
    known = set(everybody.members.tolist())
    members = [member for member in members if member in known]
    turn = triggers.first_come(trigger, members, day)
    if not turn:
        remember(database, trigger.feed, watermark)
        return Fired(trigger.id)
    return _launch(desk, trigger, asked, described, turn, len(members), watermark, now, tell)


def _launch(
    desk: ActionDesk, trigger: Trigger, asked: Asked, described: Described, turn: Sequence[str],
    fired: int, watermark: str, now: datetime, tell: Tell,
) -> Fired:  # fmt: skip
    made, facts = desk.work_out(asked, described, now=now, tell=tell, only=np.array(turn))
    decided = list(made.decisions())
    launched = triggers.launch(
        desk.points.database, desk.points.programme, desk.settings.home, trigger, asked,
        made.catalogue, decided, facts, as_of=described.as_of, watermark=watermark, now=now,
    )  # fmt: skip
    if not launched:
        return Fired(trigger.id, again=True)
    arms = [one.arm for one in decided]
    return Fired(
        trigger.id, fired, fired - len(turn), asked.brief.campaign,
        arms.count("treated") + arms.count("explored"), arms.count("control"),
        arms.count("refused") + arms.count("left_alone"),
    )  # fmt: skip


def _who(
    desk: ActionDesk, trigger: Trigger, described: Described, now: datetime
) -> tuple[list[str], str]:
    """Return for whom a trigger fires, and up to where it has looked then."""
    database, looked = desk.points.database, triggers.looked_at(desk.points.database, trigger)
    if trigger.on == "points_expiring":
        return triggers.by_points(trigger, database, now=now), now.isoformat()
    if trigger.on == "event":
        found, last = triggers.by_event(
            trigger, desk.settings, desk.points.programme, int(looked or 0), now=now
        )
        return found, str(last)
    day = str(described.as_of)
    if looked is not None and looked >= day:
        return [], looked  # what changed by then was told before
    if trigger.on == "stage":
        segments = described.files.segments.parent / segmentation.TRANSITIONS
        return triggers.by_stage(trigger, segments), day
    before = _scored_before(desk.settings.home, described.as_of)
    if before is None:
        return [], day
    return triggers.by_score(trigger, before, described.files.scores), day


def _scored_before(home: Path, as_of: date) -> Path | None:
    """Return the newest scores of the latest earlier day that has any."""
    found = [
        (path.name[:10], path.stat().st_mtime_ns, path)
        for path in (home / "scores").glob("????-??-??_*.parquet")
        if path.name[:10] < str(as_of)
    ]
    return max(found)[2] if found else None


def _text(trigger: Trigger, day: date) -> str:
    """Return the brief of one day's campaign, as a file would say it."""
    return tomli_w.dumps(
        {
            "campaign": trigger.campaign_id(day), "name": f"trigger {trigger.id}",
            "offers": list(trigger.offers), "control_share": trigger.control_share,
        }
    )  # fmt: skip
