"""How lists of products are judged by the benchmark: figures a member, then a line a model."""

from collections.abc import Mapping
from typing import Literal

import pandas as pd

from experiments.bench_models.lines import Aim, Line
from training.intervals import Interval, resampled
from training.metrics import judge_members, mean_of

SEED, DRAWS = 20_171_204, 1_000
Role = Literal["rule", "rival", "ours"]


def figures_of(named: pd.DataFrame, truth: pd.DataFrame) -> pd.DataFrame:
    """Return every member's figures at 5 and 10, indexed by member_id."""
    columns = {}
    for k in (10, 5):
        judged = judge_members(named, truth, k)
        for name, label in (("recall", "recall"), ("ndcg", "nDCG"), ("hit", "hit")):
            columns[f"{label}@{k}"] = judged[name]
    return pd.DataFrame(columns)


def lines_of(
    judged: Mapping[str, pd.DataFrame],
    roles: Mapping[str, Role],
    aims: Mapping[str, tuple[Aim, ...]],
    *,
    primary: str = "recall@10",
    further: Mapping[str, Mapping[str, float]] | None = None,
) -> tuple[Line, ...]:
    """Make a line a model; intervals and differences to the best rule are over the same members.

    Parameters
    ----------
    judged : per model a frame of figures, indexed by member_id, the same members for all
    further : per model figures that are of the whole list, not of members
    """
    some = next(iter(judged.values()))
    rows = pd.DataFrame({name: frame[primary].to_numpy() for name, frame in judged.items()})
    rows = rows.assign(as_of=0, member_id=some.index.to_numpy(), truth=1.0)
    observed, drawn = resampled(mean_of, rows, list(judged), seed=SEED, draws=DRAWS)
    best = max((name for name in judged if roles[name] == "rule"), key=lambda name: observed[name])
    return tuple(
        Line(
            name,
            roles[name],
            {**{str(c): float(frame[c].mean()) for c in frame}, **(further or {}).get(name, {})},
            {primary: Interval.of(observed[name], drawn[name])},
            {}
            if name == best
            else {primary: Interval.of(observed[name] - observed[best], drawn[name] - drawn[best])},
            aims.get(name, ()),
        )
        for name, frame in judged.items()
    )
