"""Every model and every naive rule on the same members and days; the grade with its interval."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from training import metrics, order_metrics
from training.config import Campaign
from training.forecasts import Candidate, Forecasts
from training.intervals import Interval, grade, resampled
from training.metrics import Doubles
from training.profit import campaign_curve, campaign_metric, maximum_profit
from training.splits import Plan
from training.standings import (
    Standing,
    Yardstick,
    as_probability,
    defined,
    headline,
    mean_over_days,
    standings,
)

__all__ = [
    "CHURN", "EXPLORE", "NEXT_ORDER", "REPEAT", "VALUE", "Leaderboard", "Yardstick", "headline",
]  # fmt: skip


def _rmse_in_currency(truth_cents: Doubles, expected_cents: Doubles) -> float:
    return metrics.rmse(truth_cents, expected_cents) / metrics.UNIT_CENTS


CHURN = Yardstick(
    "churn",
    "AP",
    {
        "AUC": metrics.auc,
        "AP": metrics.average_precision,
        "lift@10%": metrics.top_decile_lift,
    },
    {"Brier": metrics.brier, "Brier skill": metrics.brier_skill, "ECE": metrics.ece},
)
VALUE = Yardstick(
    "value",
    "Gini",
    {
        "Gini": metrics.normalised_gini,
        "Spearman": metrics.spearman,
        "RMSE": _rmse_in_currency,
        "bias": metrics.aggregate_bias,
        "decile MAPE": metrics.decile_mape,
        "top 1%": partial(metrics.share_captured, share=0.01),
        "top 5%": partial(metrics.share_captured, share=0.05),
        "top 10%": partial(metrics.share_captured, share=0.10),
    },
    {},
    # The promise of finding high potential early: what the tenth named first goes on to spend.
    newcomers={"top 10% share": metrics.top_decile_share},
)
REPEAT = Yardstick("repeat", "recall@10", {"recall@10": metrics.mean_of}, {}, truth_is_best=True)
EXPLORE = replace(REPEAT, target="explore")
NEXT_ORDER = Yardstick(
    "next_order",
    "1-IBS",
    {"1-IBS": metrics.mean_of},
    {},
    truth_is_best=True,
    details={
        "MAE days": ("next_days", ":median", order_metrics.absolute_error),
        "C-index": ("next_days", ":mean", order_metrics.concordance),
        "coverage 80%": ("next_days", ":covered", metrics.mean_of),
        "width days": ("next_days", ":width", metrics.mean_of),
    },
)


def in_money(campaign: Campaign) -> Yardstick:
    """Return the yardstick of churn with what a campaign of these costs would earn."""
    return replace(
        CHURN, metrics={**CHURN.metrics, "EMPC": campaign_metric(campaign)}, campaign=campaign
    )


@dataclass(frozen=True)
class Leaderboard:
    """One target judged.

    Parameters
    ----------
    validation : primary metric of every candidate on the validation as_ofs, active members
    winner : best on validation; may be a rule
    best_rule : the strongest rule on the test as_ofs: the rival the grade is against
    skill : (winner - best rule) / (perfect - best rule), with its 95 % interval over members
    served : the winner, or the best rule when the grade is C
    beside : what is served minus each reference, on the primary metric, paired over members
    campaign : churn only; what contacting the members at risk would have earned on the test as_ofs
    """

    target: str
    horizon_days: int
    primary: str
    plan: Plan
    validation: Mapping[str, float]
    winner: str
    best_rule: str
    served: str
    skill: Interval
    grade: str
    standings: tuple[Standing, ...]
    beside: Mapping[str, Interval]
    deciles: pd.DataFrame | None = None
    campaign: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Return what the winner is registered as; see `registry.name_of`."""
        own = self.target == "next_order"
        return self.target if own else f"{self.target}_{self.horizon_days}d"

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON values, as the command line shows it; undefined: None."""
        days = [str(day) for day in self.plan.test]
        return {
            "name": self.name,
            "target": self.target,
            "horizon_days": self.horizon_days,
            "primary": self.primary,
            "validation_as_ofs": [str(day) for day in self.plan.validation],
            "validation": defined(self.validation),
            "winner": self.winner,
            "served": self.served,
            "best_rule": self.best_rule,
            "skill": defined(vars(self.skill)),
            "grade": self.grade,
            "beside": {name: defined(vars(gain)) for name, gain in self.beside.items()},
            "verdict": self.verdict(),
            "campaign": dict(self.campaign),
            "populations": [
                {**standing.to_dict(), "test_as_ofs": days} for standing in self.standings
            ],
        }

    def verdict(self) -> str:
        """Say in one sentence what is served and why."""
        won = (
            f"Best on validation ({self.primary}): {self.winner}. On the test days its skill over "
            f"the best rule, {self.best_rule}, is {self.skill.mean:.3f} "
            f"[{self.skill.low:.3f}, {self.skill.high:.3f}]: grade {self.grade}."
        )
        if self.served != self.winner:
            won += f" That is not enough to replace a rule: {self.served} is served."
        else:
            won += f" Served: {self.served}."
        for name, gain in self.beside.items():
            won += (
                f" Beside {name} it stands at {gain.mean:+.4f} "
                f"[{gain.low:+.4f}, {gain.high:+.4f}] {self.primary}."
            )
        return won


def judge(
    yardstick: Yardstick,
    forecasts: Forecasts,
    candidates: tuple[Candidate, ...],
    plan: Plan,
    *,
    seed: int,
    draws: int,
) -> Leaderboard:
    """Choose on validation, grade on test.

    Parameters
    ----------
    forecasts : of every candidate at every judged as_of
    seed, draws : of the bootstrap over members; a member is drawn in all her as_ofs at once

    Returns
    -------
    the leaderboard; the headline and the choice are of active members, dormant ones stand apart
    """
    primary = yardstick.metrics[yardstick.primary]
    names = [candidate.name for candidate in candidates]
    chosen_on = headline(forecasts.at(plan.validation))
    validation = {name: mean_over_days(primary, chosen_on, name) for name in names}
    eligible = [c.name for c in candidates if c.role != "reference"]
    winner = max(eligible, key=lambda name: validation[name])
    tested = headline(forecasts.at(plan.test))
    # Of recommendations, `truth` is what a perfect list would reach, judged like a candidate.
    columns = [*names, "truth"] if yardstick.truth_is_best else names
    observed, drawn = resampled(primary, tested, columns, seed=seed, draws=draws)
    best_rule = max(
        (c.name for c in candidates if c.role == "rule"), key=lambda name: observed[name]
    )
    skill = Interval.of(
        _skill(observed[winner], observed[best_rule], observed.get("truth", 1.0)),
        _skill(drawn[winner], drawn[best_rule], drawn.get("truth", 1.0)),
    )
    earned = grade(skill)
    served = best_rule if earned == "C" else winner
    return Leaderboard(
        target=yardstick.target,
        horizon_days=plan.horizon_days,
        primary=yardstick.primary,
        plan=plan,
        validation=validation,
        winner=winner,
        best_rule=best_rule,
        served=served,
        skill=skill,
        grade=earned,
        standings=standings(yardstick, forecasts, candidates, plan, seed=seed, draws=draws),
        beside={
            c.name: Interval.of(observed[served] - observed[c.name], drawn[served] - drawn[c.name])
            for c in candidates
            if c.role == "reference"
        },
        deciles=_deciles(yardstick, forecasts, tested, winner, plan),
        campaign=_campaign(yardstick, forecasts, tested, (winner, best_rule), plan),
    )


def difference(
    yardstick: Yardstick,
    forecasts: Forecasts,
    as_ofs: tuple[date, ...],
    challenger: str,
    incumbent: str,
    *,
    seed: int,
    draws: int,
) -> Interval:
    """Return the primary metric of one candidate minus another's, paired over members."""
    tested = headline(forecasts.at(as_ofs))
    primary = yardstick.metrics[yardstick.primary]
    observed, drawn = resampled(primary, tested, (challenger, incumbent), seed=seed, draws=draws)
    return Interval.of(
        observed[challenger] - observed[incumbent], drawn[challenger] - drawn[incumbent]
    )


def _skill(model: Any, rule: Any, perfect: Any) -> Any:
    """Return the share of the way from the rule to perfection that the model goes.

    Undefined where the rule is perfect: nothing can be won, so the rule is served.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.divide(model - rule, perfect - rule)


def _deciles(
    yardstick: Yardstick, forecasts: Forecasts, tested: pd.DataFrame, winner: str, plan: Plan
) -> pd.DataFrame | None:
    if yardstick.truth_is_best:
        return None
    rows = tested
    if yardstick.calibrated:
        rows = as_probability(tested, forecasts, winner, plan)
    return metrics.decile_table(rows["truth"].to_numpy(), rows[winner].to_numpy())


def _campaign(
    yardstick: Yardstick,
    forecasts: Forecasts,
    tested: pd.DataFrame,
    names: tuple[str, str],
    plan: Plan,
) -> dict[str, Any]:
    """Return what a campaign would have earned by the model and by the rule, as JSON values."""
    if yardstick.campaign is None:
        return {}
    costs = yardstick.campaign
    curves = {}
    for name in dict.fromkeys(names):
        rows = as_probability(tested, forecasts, name, plan)
        truth, said = rows["truth"].to_numpy(), rows[name].to_numpy()
        profit, share = maximum_profit(truth, said, costs)
        curves[name] = {
            **defined({"most_cents_a_member": profit, "share_contacted": share}),
            "share_above_least_probability": float((said >= costs.least_probability).mean()),
            "curve": campaign_curve(truth, said, costs).to_dict("list"),
        }
    return {
        "assumed": costs.model_dump(),
        "least_probability": costs.least_probability,
        "members": len(tested),
        "by": curves,
    }
