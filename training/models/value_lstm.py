"""What a member will spend within the horizon: an LSTM over her weeks, several seeds averaged."""

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Self, TypeVar

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from safetensors.torch import load_file, save_file

from programme.errors import InputRefused
from training.models import folder
from training.models.inputs import value_labels, weekly_of
from training.models.recurrent import Recipe, fit_network, read_network, share_of_mean
from training.models.weekly import Scaling
from training.rows import MemberRows

WEIGHTS_FILE = "weights.safetensors"

Item = TypeVar("Item")
Answer = TypeVar("Answer")


class ValueLSTM:
    """Expected spend within the horizon, in cents: mean over networks of different seeds.

    One seed is not enough: on CDNOW the bias of single networks ran from -4 % to +25 %.

    Parameters
    ----------
    seed : of initial weights, batches and dropout; no global generator is read or moved
    n_seeds : networks to average
    recipe : size and schedule
    columns : static columns to read; None reads all feature columns of the rows it is fitted on
    num_threads : networks at work at once; the answer does not depend on it
    """

    kind = "value_lstm"

    def __init__(
        self,
        *,
        seed: int,
        n_seeds: int = 3,
        recipe: Recipe | None = None,
        columns: Sequence[str] | None = None,
        num_threads: int = 2,
    ) -> None:
        if n_seeds < 1:
            raise InputRefused(
                f"n_seeds is {n_seeds}; no model was made. Average at least one network, "
                "better three."
            )
        self.seed = seed
        self.n_seeds = n_seeds
        self.recipe = recipe or Recipe()
        self.num_threads = num_threads
        self.only_columns = tuple(columns or ())
        self.columns = self.only_columns

    def fit(self, rows: MemberRows, value_cents: ArrayLike) -> Self:
        """Learn from past rows and the cents spent in the horizon after each, shape (n,).

        Raises
        ------
        InputRefused
            When there are no rows, no weeks, a column is missing, or nobody spent anything.
        """
        values = value_labels(value_cents, len(rows), "The recurrent value model")
        weekly = weekly_of(rows)
        self.columns = self.only_columns or tuple(map(str, rows.features.columns))
        self.n_weeks_ = weekly.shape[1]
        self.scaling_ = Scaling.of(rows.features, weekly, self.columns)
        self.mean_cents_ = float(values.mean())
        steps = torch.from_numpy(self.scaling_.steps(weekly).astype(np.float32))
        static = torch.from_numpy(self.scaling_.static(rows.features, weekly).astype(np.float32))
        share = torch.from_numpy((values / self.mean_cents_).astype(np.float32))
        seeds = np.random.SeedSequence(self.seed).generate_state(self.n_seeds)
        self.networks_ = _each_on_one_thread(
            lambda seed: fit_network(self.recipe, steps, static, share, int(seed)),
            seeds,
            self.num_threads,
        )
        return self

    def predict(self, rows: MemberRows) -> NDArray[np.float64]:
        """Expected cents per row, shape (n,), above 0, in the order of the rows.

        In double precision, so that one row alone and the same row among thousands agree.
        """
        weekly = weekly_of(rows, self.n_weeks_)
        steps = torch.from_numpy(self.scaling_.steps(weekly))
        static = torch.from_numpy(self.scaling_.static(rows.features, weekly))
        shares = _each_on_one_thread(
            lambda network: share_of_mean(network, steps, static),
            self.networks_,
            self.num_threads if len(rows) > 1 else 1,
        )
        return np.asarray(np.mean(shares, axis=0) * self.mean_cents_)

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
            "recipe": asdict(self.recipe),
            "n_weeks": self.n_weeks_,
            "mean_cents": self.mean_cents_,
            "scaling": self.scaling_.to_dict(),
        }
        folder.write(path, self.kind, facts, [WEIGHTS_FILE])

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a saved model; a changed file is refused."""
        facts = folder.read(path, cls.kind)
        model = cls(
            seed=facts["seed"],
            n_seeds=facts["n_seeds"],
            recipe=Recipe(**facts["recipe"]),
            columns=facts["columns"],
            num_threads=facts["num_threads"],
        )
        model.n_weeks_ = facts["n_weeks"]
        model.mean_cents_ = facts["mean_cents"]
        model.scaling_ = Scaling.from_dict(facts["scaling"])
        weights = load_file(path / WEIGHTS_FILE)
        sizes = (len(model.scaling_.weekly_centre), len(model.scaling_.centre))
        model.networks_ = [
            read_network(model.recipe, *sizes, weights, prefix=f"{number}.")
            for number in range(model.n_seeds)
        ]
        return model


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
