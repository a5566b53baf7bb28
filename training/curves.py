"""How much is captured by writing to the first so many: the curve a campaign is planned on."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

STEPS = 100


def gains(tested: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    """Return what each candidate captures in its first 1 %, 2 %, ... of the members.

    Parameters
    ----------
    tested : DataFrame with as_of, truth and a column of answers a name; higher comes first
    names : the candidates

    Returns
    -------
    DataFrame of 100 rows: `percent`, then per name the captured share of all that happened,
    mean over as_ofs on which something happened; ties in the order of the rows
    """
    made = pd.DataFrame({"percent": np.arange(1, STEPS + 1)})
    days = [part for _, part in tested.groupby("as_of", sort=True) if part["truth"].sum() > 0]
    for name in names:
        captured = [
            _captured(part["truth"].to_numpy(dtype=np.float64), part[name].to_numpy())
            for part in days
        ]
        made[name] = np.mean(captured, axis=0) if captured else np.nan
    return made


def _captured(truth: np.ndarray, score: np.ndarray) -> np.ndarray:
    ordered = truth[np.argsort(-score.astype(np.float64), kind="stable")].cumsum()
    # A share of the members is rounded up: 1 % of 30 is one member.
    first = np.ceil(np.arange(1, STEPS + 1) * len(truth) / STEPS).astype(int) - 1
    return np.asarray(ordered[first] / ordered[-1])
