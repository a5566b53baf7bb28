"""One recurrent network: its shape, how it learns, what it answers."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

# exp(8) is 3,000 times the mean value: further out the network may not go, in either direction.
LOG_VALUE_MAX = 8.0
ROWS_PER_CHUNK = 4_096


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
    weight_decay: float = 1e-3
    dropout: float = 0.1


class Network(nn.Module):
    """Weeks through an LSTM, joined by the static inputs: log of value over the mean value."""

    log_correction: Tensor

    def __init__(self, recipe: Recipe, n_weekly: int, n_static: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(n_weekly, recipe.units)
        self.hidden = nn.Linear(recipe.units + n_static, recipe.head_units)
        self.answer = nn.Linear(recipe.head_units, 1)
        # A straight way past the network: most of next quarter's spend is last quarter's.
        self.straight = nn.Linear(n_static, 1)
        # Set after training so that the training rows are expected to spend what they spent.
        self.register_buffer("log_correction", torch.zeros(()))

    def forward(self, steps: Tensor, static: Tensor, drop: Callable[[Tensor], Tensor]) -> Tensor:
        """Log of expected value over the mean; (n, n_weeks, 7), (n, n_static) -> (n,)."""
        _, (last, _) = self.lstm(steps.transpose(0, 1))
        joined = drop(torch.cat([last[0], static], dim=1))
        bent = self.answer(drop(torch.relu(self.hidden(joined))))
        log_share = (bent + self.straight(static)).squeeze(1)
        clamped: Tensor = log_share.clamp(-LOG_VALUE_MAX, LOG_VALUE_MAX)
        return clamped + self.log_correction


def tweedie_deviance(log_mean: Tensor, value: Tensor) -> Tensor:
    """Mean unit deviance at power 1.5, up to a term without the mean.

    Parameters
    ----------
    log_mean : log mu, shape (n,)
    value : y >= 0, shape (n,)

    Source
    ------
    Jorgensen (1987), Exponential Dispersion Models, JRSS B 49(2): with p = 1.5,
    d / 2 = -y mu^(1-p) / (1-p) + mu^(2-p) / (2-p) + const = 2 (y mu^-0.5 + mu^0.5) + const.
    """
    half = torch.exp(log_mean / 2)
    return 2 * (value / half + half).mean()


def fit_network(recipe: Recipe, steps: Tensor, static: Tensor, share: Tensor, seed: int) -> Network:
    """Learn from all rows, in batches drawn by `seed`; the network returned is double precision.

    Parameters
    ----------
    steps : float32, shape (n, n_weeks, n_weekly), standardised
    static : float32, shape (n, n_static), standardised
    share : float32, shape (n,), value over the mean value
    """
    generator = torch.Generator().manual_seed(seed)
    network = _new_network(recipe, steps.shape[2], static.shape[1], generator)
    optimiser = torch.optim.AdamW(
        network.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay
    )
    n_batches = -(-len(share) // recipe.batch_size)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, max_lr=recipe.learning_rate, total_steps=recipe.n_epochs * n_batches + 1
    )

    def drop(inputs: Tensor) -> Tensor:
        kept = torch.rand(inputs.shape, generator=generator) >= recipe.dropout
        return inputs * kept / (1 - recipe.dropout)

    for _ in range(recipe.n_epochs):
        for batch in torch.randperm(len(share), generator=generator).split(recipe.batch_size):
            optimiser.zero_grad()
            loss = tweedie_deviance(network(steps[batch], static[batch], drop), share[batch])
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimiser.step()
            schedule.step()
    network = network.double()
    expected = share_of_mean(network, steps.double(), static.double()).mean()
    network.log_correction -= float(np.log(expected))
    return network


def _new_network(
    recipe: Recipe, n_weekly: int, n_static: int, generator: torch.Generator
) -> Network:
    """Draw torch's usual initial weights, U(-1, 1) / sqrt(inputs), from our own generator."""
    network = _empty_network(recipe, n_weekly, n_static).to_empty(device="cpu")
    network.log_correction.zero_()
    with torch.no_grad():
        for name, weights in network.named_parameters():
            layer = network.get_submodule(name.partition(".")[0])
            inputs = layer.in_features if isinstance(layer, nn.Linear) else recipe.units
            weights.uniform_(-(inputs**-0.5), inputs**-0.5, generator=generator)
    return network


def _empty_network(recipe: Recipe, n_weekly: int, n_static: int) -> Network:
    with torch.device("meta"):  # shapes only: torch's global generator does not move
        return Network(recipe, n_weekly, n_static)


def share_of_mean(network: Network, steps: Tensor, static: Tensor) -> NDArray[np.float64]:
    """Expected value over the mean value, shape (n,)."""
    answers = [np.empty(0)]
    with torch.inference_mode():
        for start in range(0, len(steps), ROWS_PER_CHUNK):
            chunk = slice(start, start + ROWS_PER_CHUNK)
            log_share = network(steps[chunk], static[chunk], lambda inputs: inputs)
            answers.append(torch.exp(log_share).numpy())
    return np.concatenate(answers)


def read_network(
    recipe: Recipe, n_weekly: int, n_static: int, weights: Mapping[str, Tensor], *, prefix: str
) -> Network:
    """Make a fitted network from the saved weights whose names begin with `prefix`."""
    network = _empty_network(recipe, n_weekly, n_static)
    own = {name.removeprefix(prefix): w for name, w in weights.items() if name.startswith(prefix)}
    network.load_state_dict(own, assign=True)
    return network
