"""Which champions are due to be trained again, and why: one question a cron may ask every night."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd

from features import snapshot
from programme.errors import PerennialError
from programme.settings import Settings, open_programme
from training import leaderboard, records, registry
from training.baskets import Baskets
from training.bundle import Bundle, Target
from training.config import TrainConfig
from training.dataset import Dataset, member_rows
from training.drift import column_drift, psi
from training.forecasts import Progress, wanted_products
from training.intervals import Interval, resampled
from training.leaderboard import Yardstick
from training.promotion import answers, told
from training.train import TARGETS, checked_targets, train

# Of the columns a model reads, those that together move most of its answers.
STRONGEST_COLUMNS = 10
REASON_ROWS = 1_000
_CHAMPION = "champion"
_YARDSTICKS: Mapping[str, Yardstick] = {
    "churn": leaderboard.CHURN,
    "value": leaderboard.VALUE,
    "repeat": leaderboard.REPEAT,
    "explore": leaderboard.EXPLORE,
    "next_order": leaderboard.NEXT_ORDER,
}


@dataclass(frozen=True)
class Review:
    """One registered model looked at.

    Parameters
    ----------
    target, name : such as churn and churn_28d
    figures : what was measured: age_days, psi_answers, psi_columns, figure_then, figure_since
    due : why it should be trained again, one sentence each; empty when it is not due
    """

    target: Target
    name: str
    figures: Mapping[str, float]
    due: tuple[str, ...]


def review(
    settings: Settings,
    config: TrainConfig,
    targets: Sequence[str] | None = None,
    progress: Progress = lambda _: None,
) -> list[Review]:
    """Look at each champion as of the midnight after the last purchase.

    A target that was never trained is due, where it was named or nothing was trained at all;
    otherwise the programme has chosen to do without it.
    """
    programme = open_programme(settings)
    today = snapshot.default_as_of(settings)
    names = {target: registry.name_of(target, programme) for target in checked_targets(targets)}
    champions = {t: registry.champion_version(settings, name) for t, name in names.items()}
    found = []
    for target, name in names.items():
        if champions[target] is None and not targets and any(champions.values()):
            continue
        progress(f"{target}: looking at {name}")
        found.append(_review(settings, config, target, name, today))
    return found


def retrain(
    settings: Settings,
    config: TrainConfig,
    targets: Sequence[str] | None,
    trained_at: datetime,
    progress: Progress = lambda _: None,
) -> tuple[list[Review], list[dict[str, Any]]]:
    """Train what is due; return all reviews and the leaderboards of what was trained.

    Raises
    ------
    NotReady : if another training is under way.
    """
    reviews = review(settings, config, targets, progress)
    due = [found.target for found in reviews if found.due]
    everything = not targets and len(due) == len(TARGETS)
    if not due:
        return reviews, []
    return reviews, train(settings, config, None if everything else due, trained_at, progress)


def _review(
    settings: Settings, config: TrainConfig, target: Target, name: str, today: date
) -> Review:
    if registry.champion_version(settings, name) is None:
        return Review(target, name, {}, ("it was never trained.",))
    try:
        champion = registry.load(settings, name).bundle
    except PerennialError as error:
        return Review(target, name, {}, (f"the champion cannot be loaded: {error}",))
    checks: tuple[Callable[..., tuple[dict[str, float], str]], ...] = (_age, _drift, _loss)
    figures: dict[str, float] = {}
    due = []
    for check in checks:
        measured, why = check(settings, config, name, champion, today)
        figures |= measured
        if why:
            due.append(why)
    return Review(target, name, figures, tuple(due))


def _age(
    settings: Settings,  # noqa: ARG001 - the checks are called alike
    config: TrainConfig,
    name: str,  # noqa: ARG001
    champion: Bundle,
    today: date,
) -> tuple[dict[str, float], str]:
    age, most = (today - champion.facts.data_until).days, config.retrain.age_days_max
    why = f"{age} days of data came since it learned; {most} is the limit." if age > most else ""
    return {"age_days": float(age)}, why


def _drift(
    settings: Settings,
    config: TrainConfig,
    name: str,  # noqa: ARG001
    champion: Bundle,
    today: date,
) -> tuple[dict[str, float], str]:
    """Compare the members of the day it learned for with today's: its answers, then columns."""
    facts, limit = champion.facts, config.retrain.psi_max
    if facts.target not in ("churn", "value") or facts.data_until >= today:
        return {}, ""
    days = (facts.data_until, today)
    weeks, most = facts.n_weeks, config.members_max
    rows = [member_rows(snapshot.build(settings, day), weeks, most)[0] for day in days]
    before, after = (told(champion, each) for each in rows)
    then, now = (each.features for each in rows)
    columns = _strongest(champion, then)
    found = column_drift(then[columns], now[columns])
    drifts = {"psi_answers": psi(before, after), "psi_columns": float(found.iloc[0])}
    between = f"between {days[0]} and {days[1]}; {limit:g} is the limit"
    if drifts["psi_answers"] > limit:
        return drifts, f"its answers drifted (PSI {drifts['psi_answers']:.2f} {between})."
    if drifts["psi_columns"] > limit:
        why = f"{found.index[0]}, among what moves its answers most, drifted"
        return drifts, f"{why} (PSI {drifts['psi_columns']:.2f} {between})."
    return drifts, ""


def _strongest(champion: Bundle, rows: pd.DataFrame) -> list[str]:
    """Return the columns that move its answers, or those of its surrogate, most."""
    model = champion.surrogate if champion.surrogate is not None else champion.model
    parts = np.asarray(model.contributions(rows.iloc[:REASON_ROWS]), dtype=np.float64)[:, :-1]
    strength = pd.Series(np.abs(parts).mean(axis=0), index=list(model.columns))
    return list(strength.nlargest(STRONGEST_COLUMNS).index)


def _loss(
    settings: Settings, config: TrainConfig, name: str, champion: Bundle, today: date
) -> tuple[dict[str, float], str]:
    """Judge it on the latest day whose window is over and that it did not learn from."""
    facts = champion.facts
    day = today - timedelta(days=facts.horizon_days)
    if day < facts.data_until:
        return {}, ""
    since = _since(settings, config, champion, day)
    then = _then(settings, name)
    figures = {"figure_then": then, "figure_since": since.mean}
    least = then * (1 - config.retrain.loss_max)
    why = ""
    if since.high < least:
        primary = _YARDSTICKS[facts.target].primary
        why = (
            f"it lost: {primary} {since.mean:.3f} [{since.low:.3f}, {since.high:.3f}] on {day}, "
            f"{then:.3f} when it was judged; {least:.3f} is the limit."
        )
    return figures, why


def _since(settings: Settings, config: TrainConfig, champion: Bundle, day: date) -> Interval:
    facts = champion.facts
    if facts.target in ("repeat", "explore"):
        baskets = Baskets(settings, facts.horizon_days)
        truth = wanted_products(facts.target, baskets.before(day), baskets.after(day))
        members = sorted(truth["member_id"].unique())
        active = np.isin(members, baskets.active(day))
    else:
        present = Dataset(settings, facts.horizon_days, members_max=config.members_max).at(day)
        members, active = list(present.rows.member_id), present.active
    # What a recommender, or a curve of the next order, is judged by carries the truth in it.
    known = np.zeros(len(members))
    if facts.target == "churn":
        known = present.churned
    elif facts.target == "value":
        known = np.maximum(present.value_cents, 0.0)
    if not members:
        return Interval(float("nan"), float("nan"), float("nan"))
    frame = pd.DataFrame(
        {
            "as_of": np.datetime64(day, "D"),
            "member_id": members,
            "active": active,
            "truth": known,
            _CHAMPION: answers(settings, champion, day, members),
        }
    )
    yardstick = _YARDSTICKS[facts.target]
    observed, drawn = resampled(
        yardstick.metrics[yardstick.primary], leaderboard.headline(frame), (_CHAMPION,),
        seed=config.seed, draws=config.draws,
    )  # fmt: skip
    return Interval.of(observed[_CHAMPION], drawn[_CHAMPION])


def _then(settings: Settings, name: str) -> float:
    """Return the champion's figure on the test days it was judged on."""
    card = records.card_of(settings, name)
    return float(card["performance"]["populations"][0]["figures"][card["performance"]["primary"]])
