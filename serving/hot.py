"""The churn champion as a request asks it: rows of the online store in, scores and reasons out.

No frame is made. The store keeps a member's features in the order of `NUMBERS`; where each column
of the model stands among them is settled once, when the model is loaded.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy.special import logit

from programme.errors import NotReady
from serving.online.store import NUMBERS
from training.explain import FACT_COLUMNS, Explainer, Explanation
from training.models.inputs import Numbers
from training.percentiles import placed
from training.scores import CONTRIBUTION_DECIMALS, RISK_BANDS, RiskBand, RiskBands

if TYPE_CHECKING:  # whoever has a loaded model has imported what loads it
    from training.lookup import RegisteredModel

Doubles = NDArray[np.float64]

# Log-odds of a probability no closer to 0 or 1 than this.
NEAREST = 1e-9
_PLACE = {name: place for place, name in enumerate(NUMBERS)}
_FACT_PLACES = tuple((name, _PLACE[name]) for name in FACT_COLUMNS if name in _PLACE)
_FACT_TEXTS = tuple(name for name in FACT_COLUMNS if name not in _PLACE)


class NotFromRow(NotReady):
    """A churn model that reads what the online store does not hold, such as weeks of history."""


@dataclass(frozen=True, eq=False)
class Churned:
    """What a churn model says of n members.

    Parameters
    ----------
    raw : log-odds, shape (n,)
    probability : calibrated, shape (n,)
    percentile : from 1 to 100 among the members of the last publication, shape (n,)
    """

    raw: Doubles
    probability: Doubles
    percentile: NDArray[np.int64]


class ChurnScorer:
    """One version of a churn model over rows of the online store; it never changes.

    Safe to be asked by several threads at once.

    Parameters
    ----------
    name, version : of the registered model
    columns : what it reads, each one of `NUMBERS`
    model : with `raw_score` and `contributions`, each of them a sum over columns
    calibration : from log-odds to probabilities, rising
    marks : 100 rising probabilities: at percentile p the p-th is reached
    """

    def __init__(
        self,
        name: str,
        version: int,
        *,
        horizon_days: int,
        columns: Sequence[str],
        model: Any,
        calibration: Any,
        marks: Sequence[float],
        risk_bands: RiskBands = RISK_BANDS,
    ) -> None:
        self.name = name
        self.version = version
        self.horizon_days = horizon_days
        self.columns = tuple(columns)
        self.risk_bands = risk_bands
        self._model = model
        self._calibration = calibration
        self._marks = np.asarray(marks, dtype=np.float64)
        self._places = np.array([_PLACE[column] for column in self.columns], dtype=np.intp)
        self._explainer = Explainer(self.columns)

    @classmethod
    def of(
        cls,
        registered: "RegisteredModel",
        marks: Sequence[float],
        risk_bands: RiskBands = RISK_BANDS,
    ) -> Self:
        """Take up a loaded model.

        Parameters
        ----------
        marks : `Publication.percentiles["churn"]`, or `thresholds` of a population's probabilities

        Raises
        ------
        NotFromRow : if it cannot be asked from a row alone; what the store was last filled with
            is then answered instead.
        """
        bundle, model = registered.bundle, registered.bundle.model
        columns = tuple(model.columns)
        elsewhere = [column for column in columns if column not in _PLACE]
        if elsewhere or bundle.facts.n_weeks or not hasattr(model, "contributions"):
            wanted = ", ".join(elsewhere[:5]) or "weeks of history, or its reasons do not add up"
            raise NotFromRow(
                f"{registered.name}/{registered.version} cannot be asked from one row of the "
                f"online store ({wanted}). The scores of the last refresh are answered."
            )
        _use_one_thread(model)
        return cls(
            registered.name,
            registered.version,
            horizon_days=bundle.facts.horizon_days,
            columns=columns,
            model=model,
            calibration=bundle.calibration,
            marks=marks,
            risk_bands=risk_bands,
        )

    def score(self, rows: Doubles) -> Churned:
        """Score members.

        Parameters
        ----------
        rows : array of shape (n, len(NUMBERS)), as the store keeps them
        """
        raw = self._model.raw_score(Numbers(self.columns, rows[:, self._places]))
        probability = self._calibration.apply(raw)
        return Churned(raw, probability, self.percentiles(probability))

    def explain(
        self, rows: Doubles, texts: Sequence[Mapping[str, str]] | None = None
    ) -> list[Explanation]:
        """Say why, one explanation per row; a Shapley evaluation of every tree, so it takes long.

        Parameters
        ----------
        rows : as for `score`
        texts : of each member, `StoredMember.texts`
        """
        shares = self._model.contributions(Numbers(self.columns, rows[:, self._places]))
        return self._explainer.explain(shares, facts_of(rows, texts))

    def percentiles(self, probability: Doubles) -> NDArray[np.int64]:
        """Return from 1 to 100 where probabilities stand among the members last published."""
        return placed(probability, self._marks)

    def band(self, probability: float) -> RiskBand:
        """Return the risk band of a probability."""
        return self.risk_bands.of(probability)


def unexplained(probability: float) -> Explanation:
    """Return the log-odds of a stored probability, with no reasons: for what no row can tell."""
    inside = min(max(probability, NEAREST), 1 - NEAREST)
    raw = round(float(logit(inside)), CONTRIBUTION_DECIMALS)
    return Explanation(raw, raw, ())


def facts_of(
    rows: Doubles, texts: Sequence[Mapping[str, str]] | None = None
) -> list[dict[str, float | str]]:
    """Return what sentences may say of members, by column; a number that is absent is NaN."""
    known: list[dict[str, float | str]] = [
        {name: float(row[place]) for name, place in _FACT_PLACES} for row in rows
    ]
    for facts, said in zip(known, texts or (), strict=False):
        facts.update({name: said[name] for name in _FACT_TEXTS if name in said})
    return known


def _use_one_thread(model: Any) -> None:
    """One row is done before a second thread has woken; several requests would fight for cores."""
    from training.bundle import parts_of

    for part in parts_of(model):
        if hasattr(part, "num_threads"):
            part.num_threads = 1


__all__ = [
    "NUMBERS", "ChurnScorer", "Churned", "NotFromRow", "facts_of",
    "unexplained",
]  # fmt: skip
