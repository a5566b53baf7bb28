"""The plots a training run keeps: gains, deciles, intervals, the campaign, what moves a score."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from training.leaderboard import Leaderboard, Yardstick


def gains(tested: pd.DataFrame, names: Sequence[str]) -> Figure:
    """Draw the share of all that happened among the members each candidate puts first."""
    figure = Figure(figsize=(6.4, 4.8), layout="constrained")
    axes = figure.subplots()
    truth = tested["truth"].to_numpy(dtype=np.float64)
    share = np.arange(1, len(truth) + 1) / len(truth)
    total = truth.sum() or 1.0  # nothing happened: nothing was captured
    for name in names:
        order = np.argsort(-tested[name].to_numpy(dtype=np.float64), kind="stable")
        axes.plot(share, truth[order].cumsum() / total, label=name)
    axes.plot([0, 1], [0, 1], linestyle=":", color="grey", label="at random")
    axes.set(xlabel="share of members, best first", ylabel="share captured", title="Gains")
    axes.legend()
    return figure


def bars(strength: "pd.Series[float]") -> Figure:
    """Draw how strongly each column moves the score."""
    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.subplots()
    axes.barh(strength.index[::-1].astype(str), strength[::-1])
    axes.set(xlabel="mean |contribution| to the log-odds", title="What moves the score")
    return figure


def deciles(board: Leaderboard, yardstick: Yardstick) -> Figure:
    """Draw what was expected and what happened, by tenths of the members."""
    figure = Figure(figsize=(6.4, 4.8), layout="constrained")
    axes = figure.subplots()
    table = board.deciles
    assert table is not None
    axes.plot(table["decile"], table["predicted_mean"], marker="o", label="expected")
    axes.bar(table["decile"], table["actual_mean"], color="lightgrey", label="actual")
    axes.set(xlabel="decile", ylabel=yardstick.target, title=f"{board.winner} on the test days")
    axes.legend()
    return figure


def intervals(board: Leaderboard) -> Figure:
    """Draw every candidate's primary figure with its 95 % interval, one panel a population."""
    figure = Figure(figsize=(4.8 * len(board.standings), 4.8), layout="constrained")
    panels = np.atleast_1d(np.asarray(figure.subplots(1, len(board.standings))))
    for axes, standing in zip(panels, board.standings, strict=True):
        known = [entry for entry in standing.entries if np.isfinite(entry.interval.mean)][::-1]
        means = np.array([entry.interval.mean for entry in known])
        reach = [
            np.maximum(means - [entry.interval.low for entry in known], 0.0),
            np.maximum(np.array([entry.interval.high for entry in known]) - means, 0.0),
        ]
        names = [entry.name for entry in known]
        axes.errorbar(means, np.arange(len(known)), xerr=reach, fmt="o", capsize=3)
        axes.set_yticks(np.arange(len(known)), names)
        axes.set(xlabel=standing.primary, title=f"{standing.population}, {standing.rows:,} rows")
    return figure


def campaign(board: Leaderboard) -> Figure:
    """Draw what contacting the members at risk, likeliest first, would have earned."""
    figure = Figure(figsize=(6.4, 4.8), layout="constrained")
    axes = figure.subplots()
    for name, said in board.campaign["by"].items():
        curve = said["curve"]
        profit = np.array(curve["profit_cents"]) / 100 / board.campaign["members"]
        axes.plot(curve["share"], profit, label=name)
    axes.axhline(0, linestyle=":", color="grey")
    axes.set(
        xlabel="share of members contacted",
        ylabel="profit a member, units of currency",
        title="Campaign, at the assumed costs and save rate",
    )
    axes.legend()
    return figure
