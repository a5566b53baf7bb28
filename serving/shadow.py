"""The challenger beside the champion: it scores a share of the members asked for, and nobody waits.

What it would have said is only counted: no member's id or score is kept. A line a minute goes to
the log and to `shadow.jsonl` in the home.
"""

import contextlib
import json
import logging
import queue
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from programme.settings import Settings
from training.scores import RISK_BANDS, RiskBands

if TYPE_CHECKING:
    from serving.hot import ChurnScorer

Doubles = NDArray[np.float64]

SHADOW_FILE = "shadow.jsonl"
LINE_SECONDS = 60.0
# Requests that may wait for the challenger; more are let go and counted.
WAITING_MAX = 64
# The last so many pairs tell how alike the two rank members.
PAIRS_MAX = 5_000
FILE_BYTES_MAX = 8 << 20
SHARES = (0.1, 0.5, 0.9)

logger = logging.getLogger("bentoml.perennial")


@dataclass(frozen=True)
class Pair:
    """Who is compared: versions of one registered name."""

    name: str
    champion: int
    challenger: int


def is_sampled(member_id: str, share: float) -> bool:
    """Tell whether a member is among the share that is looked at; always the same members."""
    digest = blake2b(member_id.encode("utf-8", "replace"), digest_size=8, person=b"shadow").digest()
    return int.from_bytes(digest, "big") < share * 2**64


@dataclass
class Comparison:
    """Sums over scores of two versions for the same rows; sums of two add up to that of both."""

    n: int = 0
    champion_sum: float = 0.0
    challenger_sum: float = 0.0
    difference_sum: float = 0.0
    flips: dict[str, int] = field(default_factory=dict)
    pairs: Doubles = field(default_factory=lambda: np.empty((0, 2)))

    def see(self, champion: Doubles, challenger: Doubles, bands: RiskBands = RISK_BANDS) -> None:
        """Count the probabilities both gave for the same rows, shape (n,) each."""
        self.n += len(champion)
        self.champion_sum += float(champion.sum())
        self.challenger_sum += float(challenger.sum())
        self.difference_sum += float(np.abs(champion - challenger).sum())
        for before, after in zip(champion.tolist(), challenger.tolist(), strict=True):
            if bands.of(before) != bands.of(after):
                flip = f"{bands.of(before)} > {bands.of(after)}"
                self.flips[flip] = self.flips.get(flip, 0) + 1
        both = np.column_stack([champion, challenger])
        self.pairs = np.concatenate([self.pairs, both])[-PAIRS_MAX:]

    def add(self, other: "Comparison") -> None:
        """Add what another one counted later."""
        self.n += other.n
        self.champion_sum += other.champion_sum
        self.challenger_sum += other.challenger_sum
        self.difference_sum += other.difference_sum
        for flip, count in other.flips.items():
            self.flips[flip] = self.flips.get(flip, 0) + count
        self.pairs = np.concatenate([self.pairs, other.pairs])[-PAIRS_MAX:]

    def told(self) -> dict[str, Any]:
        """Return JSON values; of no row at all only that there was none."""
        if not self.n:
            return {"n": 0}
        champion, challenger = self.pairs.T
        return {
            "n": self.n,
            "champion_mean": self.champion_sum / self.n,
            "challenger_mean": self.challenger_sum / self.n,
            "difference_mean": self.difference_sum / self.n,
            "rank_correlation": _rank_correlation(self.pairs),
            "champion_quantiles": _quantiles(champion),
            "challenger_quantiles": _quantiles(challenger),
            "difference_quantiles": _quantiles(np.abs(champion - challenger)),
            "band_flips": dict(sorted(self.flips.items())),
        }


@dataclass(frozen=True, eq=False)
class _Asked:
    pair: Pair
    scorer: "ChurnScorer"
    rows: Doubles
    champion: Doubles


class Shadow:
    """Scores a share of what is answered with the challenger too, in a thread of its own."""

    def __init__(self) -> None:
        self._challenger: tuple[str, int, ChurnScorer] | None = None
        self._share = 0.0
        self._waiting: queue.Queue[_Asked | None] = queue.Queue(WAITING_MAX)
        self._lock = threading.Lock()
        self._totals: dict[Pair, Comparison] = {}
        self._fresh: dict[Pair, Comparison] = {}
        self._thread: threading.Thread | None = None
        self._stopped = threading.Event()
        self.dropped = 0
        self.failed = 0

    @property
    def challenger(self) -> tuple[str, int] | None:
        """Return name and version of the challenger that is asked too; None: there is none."""
        return self._challenger[:2] if self._challenger else None

    def follow(self, name: str, version: int, scorer: "ChurnScorer") -> None:
        """Ask this challenger from now on."""
        self._challenger = (name, version, scorer)

    def rest(self) -> None:
        """Ask no challenger until there is one again."""
        self._challenger = None

    def offer(
        self, champion: int, member_ids: Sequence[str], rows: Doubles, probabilities: Doubles
    ) -> None:
        """Hand over what was just answered; returns at once, whatever the challenger does.

        Parameters
        ----------
        champion : the version that answered
        member_ids : of the rows, to choose by; they are not kept
        rows : array of shape (n, n_numbers), as the online store holds them
        probabilities : array of shape (n,), what the champion said
        """
        found = self._challenger
        if found is None or self._thread is None:
            return
        name, version, scorer = found
        chosen = [at for at, one in enumerate(member_ids) if is_sampled(one, self._share)]
        if not chosen or version == champion:
            return
        asked = _Asked(
            Pair(name, champion, version), scorer, rows[chosen].copy(), probabilities[chosen].copy()
        )
        try:
            self._waiting.put_nowait(asked)
        except queue.Full:
            self.dropped += len(chosen)

    def start(self, settings: Settings, now: Callable[[], datetime]) -> None:
        """Begin to score what is offered, and to write a line a minute."""
        if self._thread is not None or not settings.shadow_share:
            return
        self._share = settings.shadow_share
        self._stopped.clear()
        self._thread = threading.Thread(
            target=self._keep_scoring, args=(settings, now), name="challenger", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """Score what waits, write the last line and end."""
        thread, self._thread = self._thread, None
        if thread is None:
            return
        self._stopped.set()
        with contextlib.suppress(queue.Full):
            self._waiting.put_nowait(None)
        thread.join(5.0)

    def report(self) -> list[dict[str, Any]]:
        """Return what was counted since the start, one entry per pair of versions."""
        with self._lock:
            found = []
            for pair in self._totals.keys() | self._fresh.keys():
                both = Comparison()
                for part in (self._totals.get(pair), self._fresh.get(pair)):
                    if part is not None:
                        both.add(part)
                found.append({**vars(pair), **both.told()})
        found.sort(key=lambda entry: (entry["name"], entry["champion"], entry["challenger"]))
        return found

    def _keep_scoring(self, settings: Settings, now: Callable[[], datetime]) -> None:
        since = now()
        while True:
            left = LINE_SECONDS - (now() - since).total_seconds()
            asked: _Asked | None = None
            if left > 0 and not self._stopped.is_set():
                with contextlib.suppress(queue.Empty):
                    asked = self._waiting.get(timeout=min(left, LINE_SECONDS))
            elif self._stopped.is_set():
                with contextlib.suppress(queue.Empty):
                    asked = self._waiting.get_nowait()
            if asked is not None:
                self._score(asked)
            ended = self._stopped.is_set() and self._waiting.empty()
            if ended or (now() - since).total_seconds() >= LINE_SECONDS:
                self._write(settings, since, now())
                since = now()
            if ended:
                return

    def _score(self, asked: _Asked) -> None:
        try:
            said = asked.scorer.score(asked.rows).probability
        except Exception:  # a challenger may be anything; the champion's answers go on
            if not self.failed:
                logger.exception("the challenger %s cannot score", asked.pair)
            self.failed += len(asked.rows)
            return
        with self._lock:
            self._fresh.setdefault(asked.pair, Comparison()).see(asked.champion, said)

    def _write(self, settings: Settings, since: datetime, until: datetime) -> None:
        with self._lock:
            fresh, self._fresh = self._fresh, {}
            for pair, seen in fresh.items():
                self._totals.setdefault(pair, Comparison()).add(seen)
        times = {"since": since.isoformat(), "until": until.isoformat()}
        for pair, seen in fresh.items():
            counted = {"dropped": self.dropped, "failed": self.failed}
            line = json.dumps({**times, **vars(pair), **seen.told(), **counted}, allow_nan=False)
            logger.info("shadow %s", line)
            try:
                _append(settings.home / SHADOW_FILE, line)
            except OSError as error:
                logger.warning("the challenger's line was not written: %s", error)


def read(settings: Settings) -> list[dict[str, Any]]:
    """Return what the lines of a home add up to, one entry per pair of versions.

    Counts, means and flips add up exactly; the rank correlation is the mean of the lines', by n.
    """
    lines: list[dict[str, Any]] = []
    for path in (_older(settings.home / SHADOW_FILE), settings.home / SHADOW_FILE):
        if path.exists():
            lines += _whole_lines(path.read_text("utf-8").splitlines())
    pairs: dict[Pair, list[dict[str, Any]]] = {}
    for line in lines:
        pairs.setdefault(Pair(line["name"], line["champion"], line["challenger"]), []).append(line)
    return [_added_up(pair, said) for pair, said in pairs.items()]


def _added_up(pair: Pair, lines: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    n = sum(line["n"] for line in lines)
    flips: dict[str, int] = {}
    for line in lines:
        for flip, count in line["band_flips"].items():
            flips[flip] = flips.get(flip, 0) + count
    entry: dict[str, Any] = {**vars(pair), "since": lines[0]["since"], "until": lines[-1]["until"]}
    entry["n"] = n
    for name in ("champion_mean", "challenger_mean", "difference_mean"):
        entry[name] = sum(line["n"] * line[name] for line in lines) / n
    ranked = [line for line in lines if line["rank_correlation"] is not None]
    weight = sum(line["n"] for line in ranked)
    entry["rank_correlation"] = (
        sum(line["n"] * line["rank_correlation"] for line in ranked) / weight if weight else None
    )
    return entry | {"band_flips": dict(sorted(flips.items()))}


def _whole_lines(lines: Iterable[str]) -> list[dict[str, Any]]:
    """Leave out a line that a power cut tore."""
    found = []
    for line in lines:
        with contextlib.suppress(ValueError):
            found.append(json.loads(line))
    return found


def _append(path: Path, line: str) -> None:
    if path.exists() and path.stat().st_size > FILE_BYTES_MAX:
        path.replace(_older(path))
    with path.open("a", encoding="utf-8") as file:
        file.write(line + "\n")


def _older(path: Path) -> Path:
    return path.with_suffix(".before.jsonl")


def _quantiles(values: Doubles) -> list[float]:
    return [float(value) for value in np.quantile(values, SHARES)]


def _rank_correlation(pairs: Doubles) -> float | None:
    """Return Spearman's correlation, ties sharing their rank; None where one is constant."""
    if (pairs == pairs[0]).all(axis=0).any():
        return None
    ranks = pd.DataFrame(pairs).rank().to_numpy()
    return float(np.corrcoef(ranks, rowvar=False)[0, 1])
