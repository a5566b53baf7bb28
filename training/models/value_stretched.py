"""Value over a longer horizon than was ever seen whole: a shorter answer, stretched."""

from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from programme.errors import InputRefused
from training.models import folder, load_model
from training.models.classical import COUNTING, known_counting
from training.models.histories import COLUMNS, DAYS_PER_WEEK, Histories
from training.rows import MemberRows


class ValueStretched:
    """Expected cents within `to_days`, from a model of the first `from_days` of them.

    A young programme has no window as long as the horizon asked for. Members leave with time, so
    three times a quarter's spend is too much; how much too much, the classical model of her
    history knows: each member's answer is multiplied by the purchases it expects of her within
    the long horizon over those within the short one.

    Parameters
    ----------
    model : value model that answers for `from_days`
    counting : "bgnbd" or "pareto_nbd"
    from_days, to_days : whole weeks, the second the longer
    counting_fitted : parameters that are known already; `fit` finds them otherwise
    """

    kind = "value_stretched"

    def __init__(
        self,
        model: Any,
        counting: str,
        from_days: int,
        to_days: int,
        *,
        counting_fitted: Any = None,
    ) -> None:
        if not 0 < from_days < to_days:
            raise InputRefused(
                f"Cannot stretch a value from {from_days} to {to_days} days. No model was made. "
                "The second has to be longer."
            )
        self.models = {"model": model}
        self.counting = known_counting(counting)
        self.from_days = from_days
        self.to_days = to_days
        self.counting_ = counting_fitted
        self.columns = COLUMNS

    def fit(self, rows: MemberRows, value_cents: ArrayLike) -> Self:
        """Fit the model to the cents within `from_days`, and the counts to the histories.

        Raises
        ------
        InputRefused
            When there are no rows, a column is missing, or nobody spent anything.
        """
        self.models["model"].fit(rows, value_cents)
        newest = rows.take(rows.as_of == rows.as_of.max())
        self.counting_ = COUNTING[self.counting].fit(Histories.of(newest.features))
        return self

    def predict(self, rows: MemberRows) -> NDArray[np.float64]:
        """Expected cents within `to_days` per row, shape (n,), in the order of the rows."""
        return np.asarray(self.models["model"].predict(rows) * self.stretch(rows))

    def stretch(self, rows: MemberRows) -> NDArray[np.float64]:
        """Purchases expected within `to_days` over those within `from_days`; shape (n,), >= 1."""
        histories = Histories.of(rows.features)
        short, long = (
            self.counting_.expected_purchases(histories, days / DAYS_PER_WEEK)
            for days in (self.from_days, self.to_days)
        )
        most = self.to_days / self.from_days
        # Of a member who is as good as gone both are nothing; then time alone is the ratio.
        return np.where(short > 0, np.clip(long / np.maximum(short, 1e-300), 1.0, most), most)

    def save(self, path: Path) -> None:
        """Write the model into a folder of its own, and the counts' parameters as JSON."""
        path.mkdir(parents=True, exist_ok=True)
        self.models["model"].save(path / "model")
        facts = {
            "counting": self.counting,
            "from_days": self.from_days,
            "to_days": self.to_days,
            "parameters": self.counting_.as_dict(),
        }
        folder.write(path, self.kind, facts, [f"model/{folder.MODEL_FILE}"])

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read the model and the parameters."""
        facts = folder.read(path, cls.kind)
        return cls(
            load_model(path / "model"),
            facts["counting"],
            facts["from_days"],
            facts["to_days"],
            counting_fitted=COUNTING[facts["counting"]](**facts["parameters"]),
        )
