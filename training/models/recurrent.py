"""One recurrent network: its shape, how it learns, what it answers."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from training.models.weekly import chunks

# exp(8) is 3,000 times the mean value: further out the network may not go, in either direction.
LOG_VALUE_MAX = 8.0


@dataclass(frozen=True)
class Recipe:
    """Size and schedule of the network.

    Parameters
    ----------
    units : of the LSTM
    head_units : of the layer between the LSTM and the answer
    n_epochs : passes over the rows
    batch_size : rows per step
    learning_rate : peak of the one-cycle schedule
    weight_decay : of AdamW
    dropout : before and after the head layer, in [0, 1)
    """

    units: int = 24
    head_units: int = 32
    n_epochs: int = 6
    batch_size: int = 512
    learning_rate: float = 5e-3
    weight_decay: float = 2e-2
    dropout: float = 0.3


class Inputs(Protocol):
    """Rows a network reads, standardised when asked for: only one batch is ever laid out."""

    n_weekly: int
    n_static: int

    def __len__(self) -> int:
        """Count the rows."""

    def batch(self, rows: slice | NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        """Return weeks of shape (n, n_weeks, n_weekly) and statics of shape (n, n_static)."""


class Network(nn.Module):
    """Weeks through an LSTM, joined by the static inputs: what each period adds to the value.

    The answer for a horizon is the sum over the periods that end by it, and each addend is an
    exponential: so the answers never fall from one horizon to the next.
    """

    log_correction: Tensor

    def __init__(self, recipe: Recipe, n_weekly: int, n_static: int, n_periods: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(n_weekly, recipe.units)
        self.hidden = nn.Linear(recipe.units + n_static, recipe.head_units)
        self.answer = nn.Linear(recipe.head_units, n_periods)
        # A straight way past the network: most of next quarter's spend is last quarter's.
        self.straight = nn.Linear(n_static, n_periods)
        # Set after training so that the training rows are expected to spend what they spent.
        self.register_buffer("log_correction", torch.zeros(n_periods))

    def forward(self, steps: Tensor, static: Tensor, drop: Callable[[Tensor], Tensor]) -> Tensor:
        """Log of each period's expected value over its mean; (n, n_periods).

        Parameters
        ----------
        steps, static : as `Inputs.batch` returns them
        drop : dropout while learning, nothing else afterwards
        """
        _, (last, _) = self.lstm(steps.transpose(0, 1))
        joined = drop(torch.cat([last[0], static], dim=1))
        bent = self.answer(drop(torch.relu(self.hidden(joined))))
        log_share = bent + self.straight(static)
        clamped: Tensor = log_share.clamp(-LOG_VALUE_MAX, LOG_VALUE_MAX)
        return clamped + self.log_correction


def tweedie_deviance(log_mean: Tensor, value: Tensor) -> Tensor:
    """Mean unit deviance at power 1.5, up to a term without the mean.

    Parameters
    ----------
    log_mean : log mu, any shape
    value : y >= 0, of the same shape; NaN is not known, and left out of the mean

    Source
    ------
    Jorgensen (1987), Exponential Dispersion Models, JRSS B 49(2): with p = 1.5,
    d / 2 = -y mu^(1-p) / (1-p) + mu^(2-p) / (2-p) + const = 2 (y mu^-0.5 + mu^0.5) + const.
    """
    known = ~torch.isnan(value)
    half = torch.exp(log_mean[known] / 2)
    return 2 * (value[known] / half + half).mean()


def fit_network(
    recipe: Recipe,
    inputs: Inputs,
    share: NDArray[np.float32],
    rows: NDArray[np.int64],
    seed: int,
    device: torch.device,
) -> Network:
    """Learn from some rows, in batches drawn by `seed`; the network returned is double precision.

    Parameters
    ----------
    rows : positions to learn from
    share : shape (n, n_periods), value of each period over the period's mean; NaN: not known yet
    device : the network learns there and comes back to the processor
    """
    generator = torch.Generator().manual_seed(seed)
    sizes = (inputs.n_weekly, inputs.n_static, share.shape[1])
    network = _new_network(recipe, *sizes, generator).to(device)
    optimiser = torch.optim.AdamW(
        network.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay
    )
    n_batches = -(-len(rows) // recipe.batch_size)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, max_lr=recipe.learning_rate, total_steps=recipe.n_epochs * n_batches + 1
    )

    def drop(values: Tensor) -> Tensor:
        # Drawn on the processor: the same network wherever it learns, up to rounding.
        kept = torch.rand(values.shape, generator=generator) >= recipe.dropout
        return values * kept.to(device) / (1 - recipe.dropout)

    for _ in range(recipe.n_epochs):
        for batch in torch.randperm(len(rows), generator=generator).split(recipe.batch_size):
            some = rows[batch.numpy()]
            steps, static = (part.to(device) for part in inputs.batch(some))
            truth = torch.from_numpy(share[some]).to(device)
            optimiser.zero_grad()
            tweedie_deviance(network(steps, static, drop), truth).backward()
            nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimiser.step()
            schedule.step()
    network = network.cpu().double()
    network.log_correction -= torch.from_numpy(_log_bias(network, inputs, share, rows))
    return network


def _log_bias(
    network: Network, inputs: Inputs, share: NDArray[np.float32], rows: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Log of what was expected over what came, on the rows that know it; shape (n_periods,)."""
    expected, came = np.zeros(share.shape[1]), np.zeros(share.shape[1])
    for chunk in chunks(len(rows)):
        some = rows[chunk]
        known = ~np.isnan(share[some])
        expected += (shares(network, *inputs.batch(some)) * known).sum(axis=0)
        came += np.nansum(share[some].astype(np.float64), axis=0)
    return np.log(np.maximum(expected, 1e-12) / np.maximum(came, 1e-12))


def _new_network(
    recipe: Recipe, n_weekly: int, n_static: int, n_periods: int, generator: torch.Generator
) -> Network:
    """Draw torch's usual initial weights, U(-1, 1) / sqrt(inputs), from our own generator."""
    network = _empty_network(recipe, n_weekly, n_static, n_periods).to_empty(device="cpu")
    network.log_correction.zero_()
    with torch.no_grad():
        for name, weights in network.named_parameters():
            layer = network.get_submodule(name.partition(".")[0])
            inputs = layer.in_features if isinstance(layer, nn.Linear) else recipe.units
            weights.uniform_(-(inputs**-0.5), inputs**-0.5, generator=generator)
    return network


def _empty_network(recipe: Recipe, n_weekly: int, n_static: int, n_periods: int) -> Network:
    with torch.device("meta"):  # shapes only: torch's global generator does not move
        return Network(recipe, n_weekly, n_static, n_periods)


def shares(network: Network, steps: Tensor, static: Tensor) -> NDArray[np.float64]:
    """Expected value of each period over its mean, in double precision; shape (n, n_periods)."""
    with torch.inference_mode():
        log_share = network(steps.double(), static.double(), lambda values: values)
        answer: NDArray[np.float64] = torch.exp(log_share).numpy()
    return answer


def all_shares(network: Network, inputs: Inputs) -> NDArray[np.float64]:
    """Expected value of each period over its mean for every row, a chunk at a time."""
    answers = [np.empty((0, network.answer.out_features))]
    answers += [shares(network, *inputs.batch(chunk)) for chunk in chunks(len(inputs))]
    return np.concatenate(answers)


def read_network(
    recipe: Recipe,
    n_weekly: int,
    n_static: int,
    n_periods: int,
    weights: Mapping[str, Tensor],
    *,
    prefix: str,
) -> Network:
    """Make a fitted network from the saved weights whose names begin with `prefix`."""
    network = _empty_network(recipe, n_weekly, n_static, n_periods)
    own = {name.removeprefix(prefix): w for name, w in weights.items() if name.startswith(prefix)}
    network.load_state_dict(own, assign=True)
    return network
