"""Does uplift find whom an e-mail changes, and is choosing worth it: the Hillstrom experiment.

Run with `make bench-uplift HILLSTROM=path`, or `python -m experiments.bench_uplift --hillstrom
path`. 64,000 customers, a third each with men's, women's or no e-mail, two weeks of outcomes
(Hillstrom, 2008, The MineThatData e-mail analytics challenge). The file is not part of the project.

ranking  15 random splits, 60 % to learn and 40 % to judge: Qini of visits by inverse chances, for
         any e-mail and for women's; +- is the standard deviation over splits
policy   profit from spend (40 % margin, a contact costs .01) of nobody, each e-mail to all, a rule
         and learned policies, all doubly robust and cross-fitted; +- is half a 95 % interval
gates    whether ranking by uplift surely brings more than chance, on conversions and on visits: all
         members, five folds, doubly robust, paired intervals over members
"""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Table
from scipy import stats

from actions import gate
from actions.off_policy import Cohort, Estimate, Places, scores_of, uniform, value_of
from programme.errors import InputRefused
from training.intervals import Interval
from training.models.expected_outcomes import expected_outcomes
from training.models.trial import (
    Numbers,
    Trial,
    against_control,
    doubly_robust,
    inverse_chance,
)
from training.models.uplift import blended_ranks, fit
from training.models.uplift_learners import DEPTH, LEARN, LEARNERS, UPLIFT_TREES, answer, grower
from training.uplift_metrics import figures_of, judge
from training.uplift_rankings import (
    BLENDED,
    cross_fitted,
    learned,
    ranks_of,
    usual_rankings,
    with_blend,
)

PARTS = ("ranking", "policy", "gates")
ARMS = ("No E-Mail", "Mens E-Mail", "Womens E-Mail")
NUMBERS = ["recency", "history", "mens", "womens", "newbie"]
TEXTS = ["zip_code", "channel"]
SPLITS, TRAINED = 15, 0.6
MARGIN, CONTACT = 0.4, 0.01
FOLDS = 5
# The best learners of other measurements of the same protocol; see docs/decisions.
ANCHORS = {"any": 0.0048, "womens": 0.0078}


def main() -> None:
    """Measure what was asked for and print it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="Example: python -m experiments.bench_uplift --hillstrom hillstrom.parquet",
    )  # fmt: skip
    parser.add_argument("--hillstrom", type=Path, help="Parquet or CSV file of the experiment")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--splits", type=int, default=SPLITS)
    asked = parser.parse_args()
    console = Console(width=None if sys.stdout.isatty() else 120)
    if asked.hillstrom is None or not asked.hillstrom.is_file():
        console.print(
            f"Skipped: no Hillstrom file at {asked.hillstrom}. Nothing was measured. It is not "
            "part of the project; say where yours is with --hillstrom, or HILLSTROM= for make."
        )
        return
    rows = _read(asked.hillstrom)
    measure: dict[str, Callable[[], None]] = {
        "ranking": lambda: _rankings(console, rows, asked.splits),
        "policy": lambda: _policy(console, rows),
        "gates": lambda: _gates(console, rows),
    }
    for part in asked.only:
        measure[part]()


def _read(path: Path) -> pd.DataFrame:
    rows = pd.read_csv(path) if path.suffix == ".csv" else pd.read_parquet(path)
    lacking = {*NUMBERS, *TEXTS, "segment", "visit", "conversion", "spend"} - {*rows.columns}
    if lacking:
        raise InputRefused(
            f"{path} lacks {', '.join(sorted(lacking))}. Nothing was measured. Give the file of "
            "the Hillstrom experiment."
        )
    return rows


def _columns(rows: pd.DataFrame) -> Numbers:
    words = pd.get_dummies(rows[TEXTS])
    return np.asarray(pd.concat([rows[NUMBERS], words], axis=1), dtype=np.float64)


def _trial(rows: pd.DataFrame, which: str, outcome: str) -> Trial:
    if which == "any":
        arms, chance = (rows["segment"] != ARMS[0]).to_numpy(), 2 / 3
    else:
        rows = rows[rows["segment"] != ARMS[1]]
        arms, chance = (rows["segment"] == ARMS[2]).to_numpy(), 1 / 2
    return Trial.of(_columns(rows), arms, rows[outcome], chance)


def _rankings(console: Console, rows: pd.DataFrame, splits: int) -> None:
    for which in ANCHORS:
        _ranking(console, rows, which, splits)


def _ranking(console: Console, rows: pd.DataFrame, which: str, splits: int) -> None:
    trial = _trial(rows, which, "visit")
    bought = _trial(rows, which, "conversion").outcome
    found: dict[str, list[dict[str, float]]] = {}
    for seed in range(splits):
        order = np.random.default_rng(seed).permutation(len(trial))
        cut = round(TRAINED * len(trial))
        past, next_ones = trial.take(order[:cut]), trial.take(order[cut:])
        effects = inverse_chance(next_ones) * next_ones.outcome
        for name, score in _scores(past, bought[order[:cut]], next_ones.x, seed).items():
            found.setdefault(name, []).append(figures_of(score, effects))
    title = f"Hillstrom, {which} e-mail: ranking by the effect on visits, {splits} splits"
    table = Table("ranking", "Qini", "top 10 %", "top 30 %", "blend less this", title=title)
    ours = np.array([one["qini"] for one in found["blend"]])
    for name, figures in found.items():
        qini = np.array([one["qini"] for one in figures])
        top = [np.mean([one[f"uplift@{share}"] for one in figures]) for share in (10, 30)]
        gap = _over_splits(ours - qini) if name != "blend" else None
        table.add_row(
            name, f"{qini.mean():.5f} +- {qini.std(ddof=1):.4f}", *(f"{one:.1%}" for one in top),
            f"{gap.mean:+.5f} ({gap.low:+.5f} to {gap.high:+.5f})" if gap else "",
        )  # fmt: skip
    console.print(table)
    for name in ("blend", *LEARNERS):
        gap = _over_splits(np.array([one["qini"] for one in found[name]]) - ANCHORS[which])
        console.print(
            f"{name} less the best measured elsewhere, {ANCHORS[which]}: {gap.mean:+.5f} "
            f"({gap.low:+.5f} to {gap.high:+.5f})"
        )


def _scores(past: Trial, bought: Numbers, x: Numbers, seed: int) -> dict[str, Numbers]:
    models = learned(past, seed=seed)
    ours = with_blend({name: model.predict(x) for name, model in models.items()})
    grow, rng = grower(UPLIFT_TREES, DEPTH, seed), np.random.default_rng(seed)
    once = {f"{name}, fitted once": answer(LEARN[name](past, grow, rng), x) for name in LEARNERS}
    blended = blended_ranks([once[f"{name}, fitted once"] for name in BLENDED])
    transformed = grow(past.x, inverse_chance(past) * past.outcome, np.ones(len(past)))
    buyers = grow(past.x, bought, np.ones(len(past)))
    return {
        **ours, **once, "blend, fitted once": blended,
        "transformed outcome": np.asarray(transformed.predict(x)),
        "propensity to buy": np.asarray(buyers.predict(x)),
        **usual_rankings(past, x, seed=seed),
    }  # fmt: skip


def _over_splits(gaps: Numbers) -> Interval:
    """Return a mean over random splits with a 95 % interval.

    Splits share rows, so that their variance is corrected by test over training rows (Nadeau,
    Bengio, 2003, Machine Learning 52, corrected resampled t).
    """
    factor = 1 / len(gaps) + (1 - TRAINED) / TRAINED
    reach = float(stats.t.ppf(0.975, len(gaps) - 1) * gaps.std(ddof=1) * np.sqrt(factor))
    return Interval(float(gaps.mean()), float(gaps.mean()) - reach, float(gaps.mean()) + reach)


def _policy(console: Console, rows: pd.DataFrame) -> None:
    x, taken = _columns(rows), rows["segment"].map(ARMS.index).to_numpy(dtype=np.int64)
    profit = MARGIN * rows["spend"].to_numpy(dtype=np.float64) - CONTACT * (taken > 0)
    expected = expected_outcomes(x, taken, profit, actions=len(ARMS), seed=0)
    cohort = Cohort(taken, profit, np.full(len(rows), 1 / 3), expected)
    n = len(rows)
    policies: dict[str, Places] = {
        "nobody": uniform(0, n), "men's to all": uniform(1, n), "women's to all": uniform(2, n),
        "men's buyers get men's": np.where(rows["mens"] == 1, 1, 2).astype(np.int64),
        "learned, trees believed": _learned(x, taken, profit, believed=True),
        "learned": _learned(x, taken, profit, believed=False),
    }  # fmt: skip
    table = Table("policy", "IPS", "SNIPS", "DR", "trust", title="Hillstrom: profit a member")
    for name, policy in policies.items():
        value = value_of(policy, cohort)
        assert value.dr is not None
        shown = [_half(one) for one in (value.ips, value.snips, value.dr)]
        table.add_row(name, *shown, value.trust)
    console.print(table)
    best = max(
        ("nobody", "men's to all", "women's to all"),
        key=lambda name: float(scores_of(policies[name], cohort).mean()),
    )
    for name in ("men's buyers get men's", "learned, trees believed", "learned"):
        verdict = gate.judge(policies[name], policies[best], cohort, against=best)
        console.print(
            f"{name} less {best}: {_half(verdict.difference)}; standard error "
            f"{verdict.difference.standard_error:.4f}; differs for "
            f"{verdict.differing:.1%}\n  {verdict.reason}"
        )


def _learned(x: Numbers, taken: Places, profit: Numbers, *, believed: bool) -> Places:
    """Return for each member the action of most expected profit, learned on the other folds."""
    fold = np.random.default_rng(7).permutation(len(x)) % FOLDS
    effects = np.zeros((len(x), len(ARMS)))
    for number in range(FOLDS):
        inside, outside = fold == number, fold != number
        for arm in (1, 2):
            among, chance = against_control(taken[outside], np.full(len(ARMS), 1 / 3), arm)
            rows = np.flatnonzero(outside)[among]
            if believed:
                past = Trial.of(x[rows], taken[rows] == arm, profit[rows], chance)
                grow = grower(UPLIFT_TREES, DEPTH, number)
                half = LEARN["dr"](past, grow, np.random.default_rng(number))
                effects[inside, arm] = answer(half, x[inside])
                continue
            model = fit(
                x[rows], taken[rows] == arm, profit[rows], chance, learner="dr", seed=number
            )
            effects[inside, arm] = model.predict(x[inside])
    chosen: Places = effects.argmax(axis=1)
    return chosen


def _gates(console: Console, rows: pd.DataFrame) -> None:
    for which, outcome in (
        ("any", "conversion"), ("womens", "conversion"), ("any", "visit"), ("womens", "visit"),
    ):  # fmt: skip
        trial = _trial(rows, which, outcome)
        ranks, _ = cross_fitted(trial, learners=BLENDED, seed=0)
        taken = trial.treated.astype(np.int64)
        expected = expected_outcomes(trial.x, taken, trial.outcome, actions=2, seed=0)
        chance = np.where(taken == 1, trial.propensity, 1 - trial.propensity)
        cohort = Cohort(taken, trial.outcome, chance, expected)
        verdict = gate.judge_ranking(ranks_of(ranks["blend"]), cohort)
        console.print(f"{which} e-mail, {outcome}: {verdict.reason}")
        judged = judge(ranks, doubly_robust(trial, expected[:, 1], expected[:, 0]), seed=0)
        for name in ("s", "response", "risk first", "random"):
            own, gap = judged.interval(name), judged.gap("blend", name)
            console.print(
                f"  {name}: Qini {own.mean:.5f} ({own.low:.5f} to {own.high:.5f}), blend less "
                f"this {gap.mean:+.5f} ({gap.low:+.5f} to {gap.high:+.5f})"
            )


def _half(estimate: Estimate) -> str:
    return f"{estimate.value:.3f} +- {estimate.interval[1] - estimate.value:.3f}"


if __name__ == "__main__":
    main()
