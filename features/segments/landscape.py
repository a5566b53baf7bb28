"""The map of the members: how lately and for how much they buy, coloured by their cluster."""

import io
import warnings
from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator
from numpy.typing import NDArray

from programme.words import MINOR_DIGITS, label

# Okabe & Ito's colours, told apart by colour-blind people too; the clusters of a map are eight
# at most.
COLOURS = (
    "#0072b2", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#56b4e9", "#7a5195", "#6b7a1f",
)  # fmt: skip
# More dots make no other picture, only a larger file.
DOTS_MOST = 4_000
_DAY_TICKS = (1, 3, 7, 14, 28, 91, 182, 364, 728)


def draw(
    members: pd.DataFrame,
    labels: Mapping[str, str],
    currency: str,
    language: str,
    seed: int,
) -> str:
    """Return the map as SVG.

    Parameters
    ----------
    members : of a segmentation, indexed by member_id
    labels : cluster ids and what people call them, in the order of colours and legend
    currency, language : of the axes
    seed : of the members shown, where there are too many

    Notes
    -----
    The same members make the same bytes. Letters stay letters, so any script is shown by whoever
    opens it; dots are one embedded picture, so the file stays small.
    """
    shown = members
    if len(members) > DOTS_MOST:
        drawn = np.random.default_rng(seed).choice(len(members), DOTS_MOST, replace=False)
        shown = members.iloc[np.sort(drawn)]
    unit = 10 ** MINOR_DIGITS.get(currency, 2)
    with (
        rc_context({"svg.fonttype": "none", "svg.hashsalt": "perennial"}),
        warnings.catch_warnings(),
    ):
        # Letters are not drawn here: that a font of this machine lacks them matters to nobody.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure = Figure(figsize=(9, 6.2), layout="constrained", dpi=110)
        axes = figure.subplots()
        _dots(axes, shown, labels, unit)
        _outliers(axes, shown, unit, label("segments.outliers", language))
        _axes(axes, shown, currency, language)
        if axes.get_legend_handles_labels()[0]:
            figure.legend(loc="outside lower center", ncols=2, frameon=False, markerscale=1.5)
        written = io.StringIO()
        figure.savefig(written, format="svg", metadata={"Date": None, "Creator": None})
    svg = written.getvalue()
    return svg[svg.index("<svg") :]


def _dots(axes: Axes, shown: pd.DataFrame, labels: Mapping[str, str], unit: int) -> None:
    for place, (name, text) in enumerate(labels.items()):
        own = shown[shown["cluster"] == name]
        colour = COLOURS[place % len(COLOURS)]
        x, y = _places(own, unit)
        axes.scatter(x, y, s=9, color=colour, alpha=0.45, linewidths=0, label=text, rasterized=True)
        if len(own):
            middle = (float(np.median(x)), float(np.median(y)))
            axes.annotate(
                name, middle, ha="center", va="center", color="white", weight="bold",
                bbox={"boxstyle": "circle,pad=0.35", "facecolor": colour, "edgecolor": "white"},
            )  # fmt: skip
    apart = shown[~shown["cluster"].isin(list(labels))]
    if len(apart):
        axes.scatter(
            *_places(apart, unit), s=9, color="#8a94a6", alpha=0.45, linewidths=0, rasterized=True
        )


def _outliers(axes: Axes, shown: pd.DataFrame, unit: int, text: str) -> None:
    alone = shown[shown["outlier"]]
    if len(alone):
        x, y = _places(alone, unit)
        axes.scatter(x, y, s=55, facecolors="none", edgecolors="#1d2433", linewidths=1, label=text)


def _axes(axes: Axes, shown: pd.DataFrame, currency: str, language: str) -> None:
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.invert_xaxis()
    latest = float(shown["recency_days"].max()) if len(shown) else 1.0
    ticks = [day for day in _DAY_TICKS if day <= max(latest, 1.0)]
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda day, _: f"{day:g}"))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda money, _: f"{money:,.10g}"))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.set_xlabel(label("segments.map_recency", language))
    axes.set_ylabel(label("segments.map_spend", language, currency=currency))
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="#e4e8f0", linewidth=0.6)
    axes.set_axisbelow(True)


def _places(members: pd.DataFrame, unit: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return days and spend, at least one day and one unit of currency: axes are logarithmic."""
    days = members["recency_days"].to_numpy(dtype=np.float64)
    spend = members["spend_cents_364d"].to_numpy(dtype=np.float64) / unit
    return np.maximum(days, 1.0), np.maximum(np.nan_to_num(spend), 1.0)
