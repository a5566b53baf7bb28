"""What a member will spend within the horizon: an LSTM over her weeks, several seeds averaged."""

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Literal, Self, TypeVar

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from safetensors.torch import load_file, save_file

from programme.errors import InputRefused
from training.models import folder
from training.models.horizons import additions, checked_horizons
from training.models.inputs import weekly_of
from training.models.recurrent import Recipe, all_shares, fit_network, read_network
from training.models.weekly import ScaledRows, Scaling
from training.rows import MemberRows

WEIGHTS_FILE = "weights.safetensors"
# The sum over fewer members is mostly chance; a ratio further out than this is a fault of theirs.
ROWS_TO_RECALIBRATE = 500
RATIO_MOST = 2.0

Device = Literal["auto", "cpu", "cuda"]
Item = TypeVar("Item")
Answer = TypeVar("Answer")


class ValueLSTM:
    """Expected spend within one or several horizons, in cents: mean over networks of many seeds.

    One seed is not enough: on CDNOW the bias of single networks ran from -4 % to +25 %.

    Parameters
    ----------
    seed : of initial weights, batches and dropout; no global generator is read or moved
    n_seeds : networks to average
    recipe : size and schedule
    columns : static columns to read; None reads all feature columns of the rows it is fitted on
    horizons_days : of the answers, growing; () answers for whatever one horizon it is fitted to
    rows_max : beyond so many rows each network learns from its own seeded sample of them, so
        that time and memory are bounded and the networks together still see most rows
    num_threads : networks at work at once; the answer does not depend on it
    device : where it learns; "auto" takes a GPU if there is one. Answers are always computed on
        the processor, in double precision
    """

    kind = "value_lstm"

    def __init__(
        self,
        *,
        seed: int,
        n_seeds: int = 5,
        recipe: Recipe | None = None,
        columns: Sequence[str] | None = None,
        horizons_days: Sequence[int] = (),
        rows_max: int | None = None,
        num_threads: int = 2,
        device: Device = "auto",
    ) -> None:
        if n_seeds < 1:
            raise InputRefused(
                f"n_seeds is {n_seeds}; no model was made. Average at least one network, "
                "better five."
            )
        self.seed = seed
        self.n_seeds = n_seeds
        self.recipe = recipe or Recipe()
        self.horizons_days = checked_horizons(horizons_days)
        self.rows_max = rows_max
        self.num_threads = num_threads
        self.device = device
        self.only_columns = tuple(columns or ())
        self.columns = self.only_columns

    def fit(self, rows: MemberRows, value_cents: ArrayLike) -> Self:
        """Learn from past rows and the cents spent after each.

        Parameters
        ----------
        value_cents : shape (n,), or (n, n_horizons) by the end of each horizon, NaN where it has
            not ended yet: such a row teaches the shorter horizons, and is nearer to the day of use

        Raises
        ------
        InputRefused
            When there are no rows, no weeks, a column is missing, or nobody spent anything.
        """
        added = additions(value_cents, len(rows), "The recurrent value model")
        if self.horizons_days and added.shape[1] != len(self.horizons_days):
            raise InputRefused(
                f"The recurrent value model answers for {list(self.horizons_days)} days and was "
                f"given values for {added.shape[1]} horizons. Nothing was fitted. Give one a "
                "horizon."
            )
        place = _place(self.device)
        seeds = [int(s) for s in np.random.SeedSequence(self.seed).generate_state(self.n_seeds)]
        samples = [self._sample(len(rows), seed) for seed in seeds]
        used = np.unique(np.concatenate(samples))
        newest = _newest(rows, added)
        latest, came = rows.take(newest), added[newest]
        rows, added = rows.take(used), added[used]
        weekly = weekly_of(rows)
        self.columns = self.only_columns or tuple(map(str, rows.features.columns))
        self.n_weeks_ = weekly.shape[1]
        self.scaling_ = Scaling.of(rows.features, weekly, self.columns)
        self.mean_cents_ = np.nanmean(added, axis=0)
        inputs = ScaledRows(self.scaling_, rows.features, weekly)
        share = (added / self.mean_cents_).astype(np.float32)
        self.networks_ = _each_on_one_thread(
            lambda task: fit_network(self.recipe, inputs, share, *task, place),
            [(np.searchsorted(used, s), seed) for s, seed in zip(samples, seeds, strict=True)],
            self.num_threads if place.type == "cpu" else 1,
        )
        self._recalibrate(latest, came)
        return self

    def _recalibrate(self, latest: MemberRows, came: NDArray[np.float64]) -> None:
        """Make the sums of the latest window come out right, horizon by horizon.

        The networks learn from many days, and members drift: what was right on their mean is too
        much on the last of them where a cohort grows old. Ranks do not change.
        """
        if len(latest) < ROWS_TO_RECALIBRATE:
            return
        expected = np.diff(self.predict_horizons(latest), axis=1, prepend=0.0)
        ratio = came.sum(axis=0) / expected.sum(axis=0)
        self.mean_cents_ = self.mean_cents_ * np.clip(ratio, 1 / RATIO_MOST, RATIO_MOST)

    def _sample(self, n_rows: int, seed: int) -> NDArray[np.int64]:
        if self.rows_max is None or n_rows <= self.rows_max:
            return np.arange(n_rows)
        return np.random.default_rng(seed).choice(n_rows, self.rows_max, replace=False)

    def predict(self, rows: MemberRows) -> NDArray[np.float64]:
        """Expected cents within the last horizon, shape (n,), above 0, in the order of the rows.

        In double precision, so that one row alone and the same row among thousands agree.
        """
        return np.asarray(self.predict_horizons(rows)[:, -1])

    def predict_horizons(self, rows: MemberRows) -> NDArray[np.float64]:
        """Expected cents within each horizon, shape (n, n_horizons), never falling along a row."""
        weekly = weekly_of(rows, self.n_weeks_)
        inputs = ScaledRows(self.scaling_, rows.features, weekly)
        shares = _each_on_one_thread(
            lambda network: all_shares(network, inputs),
            self.networks_,
            self.num_threads if len(rows) > 1 else 1,
        )
        return np.cumsum(np.mean(shares, axis=0) * self.mean_cents_, axis=1)

    def save(self, path: Path) -> None:
        """Write the weights as safetensors and the rest as JSON."""
        path.mkdir(parents=True, exist_ok=True)
        weights = {
            f"{number}.{name}": tensor.contiguous()
            for number, network in enumerate(self.networks_)
            for name, tensor in network.state_dict().items()
        }
        save_file(weights, path / WEIGHTS_FILE)
        facts = {
            "columns": self.columns,
            "seed": self.seed,
            "n_seeds": self.n_seeds,
            "num_threads": self.num_threads,
            "rows_max": self.rows_max,
            "device": self.device,
            "horizons_days": self.horizons_days,
            "recipe": asdict(self.recipe),
            "n_weeks": self.n_weeks_,
            "mean_cents": self.mean_cents_.tolist(),
            "scaling": self.scaling_.to_dict(),
        }
        folder.write(path, self.kind, facts, [WEIGHTS_FILE])

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a saved model; a changed file is refused."""
        facts = folder.read(path, cls.kind)
        own = ("seed", "n_seeds", "columns", "horizons_days", "rows_max", "num_threads", "device")
        model = cls(recipe=Recipe(**facts["recipe"]), **{name: facts[name] for name in own})
        model.n_weeks_ = facts["n_weeks"]
        model.mean_cents_ = np.array(facts["mean_cents"], dtype=np.float64)
        model.scaling_ = Scaling.from_dict(facts["scaling"])
        weights = load_file(path / WEIGHTS_FILE)
        sizes = (len(model.scaling_.weekly_centre), len(model.scaling_.centre))
        model.networks_ = [
            read_network(model.recipe, *sizes, len(model.mean_cents_), weights, prefix=f"{number}.")
            for number in range(model.n_seeds)
        ]
        return model


def _newest(rows: MemberRows, added: NDArray[np.float64]) -> NDArray[np.intp]:
    """Return the positions of the newest day whose every horizon has ended."""
    whole = np.flatnonzero(~np.isnan(added[:, -1]))
    return np.asarray(whole[rows.as_of[whole] == rows.as_of[whole].max()])


def _place(device: Device) -> torch.device:
    """Return where to learn.

    Raises
    ------
    InputRefused : when a GPU is asked for and there is none
    """
    present = torch.cuda.is_available()
    if device == "cuda" and not present:
        raise InputRefused(
            "device is cuda and torch sees no GPU here. Nothing was fitted. Say auto or cpu, or "
            "install a torch build for this GPU."
        )
    return torch.device("cuda" if present and device != "cpu" else "cpu")


def _each_on_one_thread(
    work: Callable[[Item], Answer], items: Iterable[Item], num_threads: int
) -> list[Answer]:
    """Do the same for several networks at once, each on one thread.

    Torch's own two threads wait for each other at every one of thousands of small steps: twice
    as fast on an idle machine, twenty times slower (measured) when something else wants a core.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        if num_threads == 1:
            return [work(item) for item in items]
        with ThreadPoolExecutor(num_threads) as pool:
            return list(pool.map(work, items))
    finally:
        torch.set_num_threads(before)
