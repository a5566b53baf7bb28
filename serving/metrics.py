"""What the service counts of itself, and the page on which Prometheus reads it.

What is counted here while requests are answered costs well under a millionth of a second each, so
it lives in plain numbers of this process; the client library only writes the page. What is looked
up when the page is asked for comes from `serving.gauges`.
"""

import logging
import threading
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

# Below BentoML's own logger, so that it reaches the same lines of the same log.
logger = logging.getLogger("bentoml.perennial")

Kind = Literal["counter", "gauge", "histogram"]
Labels = tuple[str, ...]


@dataclass(frozen=True)
class Described:
    """One metric as its readers know it; never a member's id among its labels."""

    kind: Kind
    labels: Labels
    meaning: str


# Every metric there is: the page, the documentation and its test read this.
DESCRIBED: dict[str, Described] = {
    "perennial_requests_total": Described(
        "counter", ("method", "route", "status"), "requests answered, by route template"
    ),
    "perennial_request_seconds": Described(
        "histogram", ("method", "route"), "from the first byte to the last, body read included"
    ),
    "perennial_refused_total": Described(
        "counter", ("why",), "requests turned away before their route saw them"
    ),
    "perennial_in_work": Described(
        "gauge", ("lane",), "requests in work, those whose answer was given up included"
    ),
    "perennial_in_line": Described("gauge", ("lane",), "requests waiting for a place"),
    "perennial_body_bytes": Described("gauge", (), "memory held by bodies that are being read"),
    "perennial_ready": Described("gauge", (), "1: /readyz says 200"),
    "perennial_churn_probability": Described(
        "histogram", ("model", "version"), "churn probabilities answered"
    ),
    "perennial_unknown_members_total": Described(
        "counter", (), "members asked for whom the store does not have"
    ),
    "perennial_fallbacks_total": Described(
        "counter", ("why",), "scores answered as they were last written, not live"
    ),
    "perennial_model_info": Described(
        "gauge", ("model", "version", "digest", "checked"), "1: the churn champion in service"
    ),
    "perennial_champion_age_seconds": Described(
        "gauge", ("model",), "since the data the champion was trained on ends"
    ),
    "perennial_champion_taken_up_seconds": Described(
        "gauge", ("model",), "since this process took the champion up"
    ),
    "perennial_swaps_total": Described(
        "counter", ("result",), "champions taken up, and refused because they failed a check"
    ),
    "perennial_registry_look_seconds": Described(
        "gauge", (), "since the registry was last looked at"
    ),
    "perennial_trouble": Described(
        "gauge", ("what",), "1: broken or away, and the last good one stays"
    ),
    "perennial_shadow_scores_total": Described(
        "counter", ("champion", "challenger"), "scores a challenger made beside the champion"
    ),
    "perennial_shadow_difference_mean": Described(
        "gauge", ("champion", "challenger"), "mean absolute difference of the two probabilities"
    ),
    "perennial_shadow_dropped_total": Described(
        "counter", (), "scores a challenger was too slow to make"
    ),
    "perennial_inbox_accepted_total": Described(
        "counter", (), "purchases and events accepted, from the inbox's own numbers"
    ),
    "perennial_inbox_waiting": Described(
        "gauge", (), "accepted and not yet in the store; counting ends at 10,000"
    ),
    "perennial_refreshed_total": Described(
        "counter", (), "accepted and in the store; left out while counting ended early"
    ),
    "perennial_feature_age_seconds": Described(
        "gauge", (), "since the oldest of the rows that wait was accepted; 0: none waits"
    ),
    "perennial_published_age_seconds": Described(
        "gauge", (), "since everybody was last written to the store"
    ),
    "perennial_online_members": Described(
        "gauge", (), "members written when everybody was last written"
    ),
    "perennial_database_up": Described("gauge", (), "1: the database answered this page"),
    "perennial_idempotent_replays_total": Described(
        "counter", ("route",), "rows of purchases and events that came again and changed nothing"
    ),
    "perennial_log_lines_lost_total": Described(
        "counter", (), "lines nobody took from us fast enough"
    ),
}
REQUEST_SECONDS = (
    0.00025, 0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.25,
    0.5, 1.0, 2.5, 5.0, 10.0,
)  # fmt: skip
PROBABILITIES = (0.01, 0.02, 0.05, *(tenth / 10 for tenth in range(1, 10)), 0.95, 0.98, 1.0)


@dataclass(frozen=True)
class Sample:
    """One number of the page."""

    name: str
    value: float
    labels: Labels = ()


Source = Callable[[], Iterable[Sample]]


class Tally:
    """A count for each combination of labels; any thread."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._counts: dict[Labels, int] = {}
        self._lock = threading.Lock()

    def add(self, *labels: str, times: int = 1) -> None:
        """Count once more, or several times."""
        with self._lock:
            self._counts[labels] = self._counts.get(labels, 0) + times

    def samples(self) -> Iterator[Sample]:
        """Return what was counted; a count without labels is there from the beginning."""
        counts = dict(self._counts)
        if not DESCRIBED[self.name].labels:
            counts.setdefault((), 0)
        for labels, count in counts.items():
            yield Sample(self.name, count, labels)


class Spread:
    """How values spread over buckets, for each combination of labels; any thread."""

    def __init__(self, name: str, bounds: Sequence[float]) -> None:
        self.name = name
        self._bounds = tuple(bounds)
        self._array = np.array(bounds)
        self._found: dict[Labels, tuple[list[int], list[float]]] = {}
        self._lock = threading.Lock()

    def see(self, value: float, *labels: str) -> None:
        """Count one value."""
        with self._lock:
            counts, total = self._of(labels)
            counts[bisect_left(self._bounds, value)] += 1
            total[0] += value

    def see_all(self, values: NDArray[np.float64], *labels: str) -> None:
        """Count values, shape (n,)."""
        places = np.searchsorted(self._array, values)
        made = np.bincount(places, minlength=len(self._bounds) + 1).tolist()
        added = float(values.sum())
        with self._lock:
            counts, total = self._of(labels)
            counts[:] = [before + more for before, more in zip(counts, made, strict=True)]
            total[0] += added

    def family(self) -> HistogramMetricFamily:
        """Return what was counted as the page has it."""
        described = DESCRIBED[self.name]
        family = HistogramMetricFamily(self.name, described.meaning, labels=described.labels)
        with self._lock:
            found = {one: (list(c), t[0]) for one, (c, t) in self._found.items()}
        for labels, (counts, total) in found.items():
            reached, buckets = 0, []
            for bound, count in zip((*map(str, self._bounds), "+Inf"), counts, strict=True):
                reached += count
                buckets.append((bound, reached))
            family.add_metric(labels, buckets, total)
        return family

    def _of(self, labels: Labels) -> tuple[list[int], list[float]]:
        found = self._found.get(labels)
        if found is None:
            found = self._found[labels] = ([0] * (len(self._bounds) + 1), [0.0])
        return found


_requests = Tally("perennial_requests_total")
_refused = Tally("perennial_refused_total")
_unknown = Tally("perennial_unknown_members_total")
_fallbacks = Tally("perennial_fallbacks_total")
_replays = Tally("perennial_idempotent_replays_total")
_lost = Tally("perennial_log_lines_lost_total")
_seconds = Spread("perennial_request_seconds", REQUEST_SECONDS)
_probabilities = Spread("perennial_churn_probability", PROBABILITIES)
TALLIES = (_requests, _refused, _unknown, _fallbacks, _replays, _lost)
SPREADS = (_seconds, _probabilities)


def answered(method: str, route: str, status: int, seconds: float) -> None:
    """Count a request that was answered; `route` is a template of ours, never a path."""
    _requests.add(method, route, str(status))
    _seconds.see(seconds, method, route)


def refused(why: str) -> None:
    """Count a request turned away before its route saw it; `why` is a word of ours."""
    _refused.add(why)


def scored(model: str, version: int, probabilities: float | NDArray[np.float64]) -> None:
    """Count churn probabilities that were answered: one, or an array of shape (n,)."""
    if isinstance(probabilities, float):
        _probabilities.see(probabilities, model, str(version))
    elif len(probabilities):
        _probabilities.see_all(probabilities, model, str(version))


def not_known(members: int) -> None:
    """Count members asked for whom the store does not have."""
    if members:
        _unknown.add(times=members)


def fell_back(why: str, members: int = 1) -> None:
    """Count scores answered as they were last written; `why` is a word of ours."""
    _fallbacks.add(why, times=members)


def replayed(route: str, rows: int = 1) -> None:
    """Count rows that came again and changed nothing."""
    _replays.add(route, times=rows)


def line_lost(lines: int = 1) -> None:
    """Count lines of the log that could not be written."""
    _lost.add(times=lines)


class Page:
    """What Prometheus reads.

    Parameters
    ----------
    sources : asked whenever the page is; one that fails leaves its own numbers out, no others
    """

    def __init__(self, sources: Iterable[Source] = ()) -> None:
        self._sources = list(sources)
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(_Ours(self._sources))
        ProcessCollector(registry=self._registry)

    def add(self, source: Source) -> None:
        """Ask another source too."""
        self._sources.append(source)

    def text(self) -> bytes:
        """Return the page."""
        return generate_latest(self._registry)


class _Ours(Collector):
    def __init__(self, sources: list[Source]) -> None:
        self._sources = sources

    def collect(self) -> Iterator[Metric]:
        found: dict[str, list[Sample]] = {}
        for source in [*(tally.samples for tally in TALLIES), *self._sources]:
            try:
                samples = list(source())
            except Exception as error:  # a page with a hole tells more than none
                logger.warning("a source of metrics failed (%s)", type(error).__name__)
                continue
            for sample in samples:
                found.setdefault(sample.name, []).append(sample)
        for name, samples in found.items():
            yield _family(name, samples)
        for spread in SPREADS:
            yield spread.family()


def _family(name: str, samples: Iterable[Sample]) -> Metric:
    described = DESCRIBED[name]
    make = CounterMetricFamily if described.kind == "counter" else GaugeMetricFamily
    family: CounterMetricFamily | GaugeMetricFamily = make(
        name, described.meaning, labels=described.labels
    )
    for sample in samples:
        family.add_metric(sample.labels, sample.value)
    return family


def as_markdown() -> str:
    """Return the table of metrics for the documentation."""
    rows = [
        f"| `{name}` | {one.kind} | {', '.join(one.labels) or '-'} | {one.meaning} |"
        for name, one in DESCRIBED.items()
    ]
    return "\n".join(["| metric | kind | labels | says |", "|---|---|---|---|", *rows]) + "\n"
