"""A trial's read-out on the terminal: effects, rankings with intervals, policies, verdicts."""

from dataclasses import asdict
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from actions.gate import Verdict
from actions.off_policy import Estimate
from actions.trial_table import TrialTable
from actions.uplift_readout import ArmReadout, Readout
from training.intervals import Interval


def show_readout(console: Console, table: TrialTable, found: Readout) -> None:
    """Print everything a table says."""
    _show_table(console, table)
    for arm in found.arms:
        _show_arm(console, table, arm)
    _show_policies(console, found)


def as_json(table: TrialTable, found: Readout) -> dict[str, Any]:
    """Return the same as numbers and texts."""
    return {
        "arms": {
            arm: int(size) for arm, size in zip(table.arms, np.bincount(table.taken), strict=True)
        },
        "chances_declared": table.declared,
        "sample_ratio_p": table.ratio if table.declared else None,
        "features": list(table.columns),
        "left_out": list(table.left_out),
        "effects": [_arm_json(arm) for arm in found.arms],
        "policies": {
            name: {**asdict(value), "trusted": value.trusted, "trust": value.trust}
            for name, value in found.policies.items()
        },
        "policy_verdict": {**_verdict_json(found.verdict), "against": found.against},
    }


def _show_table(console: Console, table: TrialTable) -> None:
    shares = table.chances.mean(axis=0)
    seen = np.bincount(table.taken)
    sizes = ", ".join(
        f"{arm} {size:,} ({share:.1%})"
        for arm, size, share in zip(table.arms, seen, shares, strict=True)
    )
    told = (
        f"chances as declared; arms of these sizes have p = {table.ratio:.2g}"
        if table.declared
        else "chances taken from the shares seen: right only if they were the same for everybody"
    )
    lines = [f"{len(table.taken):,} members: {sizes}", told]
    lines.append(f"{len(table.columns)} features: {', '.join(table.columns)}")
    if table.left_out:
        lines.append(f"left out, neither numbers nor groups: {', '.join(table.left_out)}")
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def _show_arm(console: Console, table: TrialTable, arm: ArmReadout) -> None:
    effect = arm.effect
    console.print(
        f"\n{arm.arm} beside {table.arms[0]}: on average {_estimate(effect)}, standard error "
        f"{effect.standard_error:.3g}, on {arm.members:,} members",
        markup=False, highlight=False, soft_wrap=True,
    )  # fmt: skip
    shown = Table(
        "ranking", "Qini", "AUUC", "RATE", "uplift, top 10 %", "uplift, top 30 %",
        f"Qini of {arm.best} less this",
    )  # fmt: skip
    for name in arm.judged.observed:
        figures = [
            _interval(arm.judged.interval(name, figure))
            for figure in ("qini", "auuc", "autoc", "uplift@10", "uplift@30")
        ]
        gap = "" if name == arm.best else _interval(arm.judged.gap(arm.best, name))
        shown.add_row(name, *figures, gap)
    console.print(shown)
    console.print(arm.verdict.reason, markup=False, highlight=False, soft_wrap=True)


def _show_policies(console: Console, found: Readout) -> None:
    console.print()
    shown = Table("policy, a member after costs", "IPS", "SNIPS", "DR", "carried by", "smallest "
                  "chance", "cut")  # fmt: skip
    for name, value in found.policies.items():
        shown.add_row(
            name, _estimate(value.ips, "\n"), _estimate(value.snips, "\n"),
            "" if value.dr is None else _estimate(value.dr, "\n"),
            f"{value.effective_members:,.0f}", f"{value.smallest_propensity:.3g}",
            f"{value.clipped_share:.1%}",
        )  # fmt: skip
    console.print(shown)
    differs = f"; it differs for {found.verdict.differing:.1%} of the members"
    console.print(found.verdict.reason + differs, markup=False, highlight=False, soft_wrap=True)


def _arm_json(arm: ArmReadout) -> dict[str, Any]:
    names = arm.judged.observed
    return {
        "arm": arm.arm,
        "members": arm.members,
        "average": asdict(arm.effect),
        "rankings": {
            name: {
                figure: asdict(arm.judged.interval(name, figure))
                for figure in arm.judged.drawn[name]
            }
            for name in names
        },
        "gaps": {
            name: asdict(arm.judged.gap(arm.best, name)) for name in names if name != arm.best
        },
        "best": arm.best,
        "verdict": _verdict_json(arm.verdict),
    }


def _verdict_json(verdict: Verdict) -> dict[str, Any]:
    return {
        "promoted": verdict.promoted,
        "difference": asdict(verdict.difference),
        "differing": verdict.differing,
        "reason": verdict.reason,
    }


def _estimate(estimate: Estimate, between: str = " ") -> str:
    low, high = estimate.interval
    return f"{estimate.value:.4g}{between}({low:.4g} to {high:.4g})"


def _interval(interval: Interval) -> str:
    return f"{interval.mean:.3g}\n{interval.low:.2g} to {interval.high:.2g}"
