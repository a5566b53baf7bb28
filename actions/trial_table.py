"""A table of a randomised experiment, read and checked: one row a member, whoever ran it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

from actions.effects import RATIO_ALARM, Numbers, sample_ratio
from actions.off_policy import Places
from programme.errors import InputRefused
from training.models.trial import Trial, against_control, inverse_chance

# With fewer in an arm nothing can be learned on four fifths of them.
LEAST = 200
MOST_ARMS = 20
# A text of more values than this tells single members apart, or is no group.
MOST_VALUES = 20
CONTROLS = ("0", "control", "none", "false")


@dataclass(frozen=True, eq=False)
class TrialTable:
    """An experiment's members, their arms and their chances.

    Attributes
    ----------
    arms : names, the control first
    taken : place of each member's arm, of shape (n,)
    outcome : of shape (n,)
    chances : of each arm for each member, of shape (n, arms)
    declared : whether the chances were, or are the shares seen
    x, columns : what was known before, of shape (n, columns), and what each is
    left_out : columns that could not be used
    ratio : how likely arms of these sizes are under the chances declared
    """

    arms: tuple[str, ...]
    taken: Places
    outcome: Numbers
    chances: Numbers
    declared: bool
    x: Numbers
    columns: tuple[str, ...]
    left_out: tuple[str, ...]
    ratio: float

    @property
    def propensity(self) -> Numbers:
        """Return each member's chance of the arm she is in."""
        own: Numbers = self.chances[np.arange(len(self.taken)), self.taken]
        return own

    def trial(self, arm: int, outcome: Numbers | None = None) -> Trial:
        """Return the trial of one arm against the control, of another outcome if given."""
        among, chance = against_control(self.taken, self.chances, arm)
        wanted = self.outcome if outcome is None else outcome
        return Trial.of(self.x[among], self.taken[among] == arm, wanted[among], chance)


def read(
    path: Path,
    *,
    treatment: str,
    outcome: str,
    propensity: str | None = None,
    features: Sequence[str] = (),
    control: str | None = None,
) -> TrialTable:
    """Read and check a table.

    Parameters
    ----------
    path : CSV or Parquet
    treatment, outcome : columns
    propensity : the chance of the treatment: a number, a column, or `arm=number` and `arm=column`
        separated by commas where there are several arms; None takes the shares seen, which is
        right only if the chance was the same for everybody
    features : columns known before the treatment; none stands for all others
    control : the value of `treatment` that is no treatment

    Raises
    ------
    InputRefused
        When the table cannot be read or lacks a column; the outcome is not finite or does not
        vary; an arm is too small; a chance is not between 0 and 1; the arms are not as large as
        the chances say; or a feature differs between arms as only a later one can.
    """
    rows = _rows(path)
    for name in (treatment, outcome, *features):
        if name not in rows.columns:
            raise _refused(f"has no column {name}", f"It has {', '.join(map(str, rows.columns))}.")
    arms, taken = _arms(rows[treatment], control)
    result = _outcome(rows[outcome])
    chances, used = _chances(rows, propensity, arms, taken)
    wanted = list(features) or [
        str(name) for name in rows.columns if name not in {treatment, outcome, *used}
    ]
    if {treatment, outcome} & set(wanted):
        raise _refused("has its treatment or its outcome among the features", "Leave them out.")
    x, columns, left_out = _features(rows[wanted])
    if features and left_out:
        raise _refused(
            f"has features that are no numbers and no groups: {', '.join(left_out)}",
            f"Texts may have {MOST_VALUES} values.",
        )
    ratio = _ratio(taken, chances, arms)
    table = TrialTable(
        arms, taken, result, chances, propensity is not None, x, columns, left_out, ratio
    )
    _refuse_later_columns(table)
    return table


def _rows(path: Path) -> pd.DataFrame:
    try:
        rows = pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path)
    except (OSError, ValueError) as error:
        raise InputRefused(
            f"{path} cannot be read as a table ({type(error).__name__}: {error}). Nothing was "
            "fitted. Give a CSV file with a row of headings, or a .parquet file."
        ) from error
    if not len(rows):
        raise _refused("has no rows", "Give one row a member.")
    return rows


def _arms(column: pd.Series, control: str | None) -> tuple[tuple[str, ...], Places]:
    if column.isna().any():
        raise _refused(
            f"does not say the treatment of {int(column.isna().sum())} members",
            "Name those without a treatment too.",
        )
    whole = pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column)
    if whole and (column % 1 == 0).all():
        column = column.astype("int64")
    said = column.astype(str)
    names = sorted(said.unique())
    if not 1 < len(names) <= MOST_ARMS:
        raise _refused(
            f"has {len(names)} values of the treatment, such as {names[0]}",
            f"An experiment has 2 to {MOST_ARMS} arms.",
        )
    if control is None:
        control = next((name for name in names if name.lower() in CONTROLS), None)
    if control not in names:
        raise _refused(
            f"has the treatments {', '.join(names)}, and {control or 'none of them'} as control",
            "Say with --control which of them is no treatment.",
        )
    arms = (control, *(name for name in names if name != control))
    taken = said.map(arms.index).to_numpy(dtype=np.int64)
    for arm, size in zip(arms, np.bincount(taken), strict=True):
        if size < LEAST:
            raise _refused(f"has {size} members in arm {arm}", f"It takes {LEAST} to learn.")
    return arms, taken


def _outcome(column: pd.Series) -> Numbers:
    try:
        values = column.to_numpy(dtype=np.float64, na_value=np.nan)
    except (TypeError, ValueError) as error:
        raise _refused(f"has no numbers as {column.name}", "Give the outcome as one.") from error
    if not np.isfinite(values).all():
        bad = int((~np.isfinite(values)).sum())
        raise _refused(
            f"has {bad} rows whose {column.name} is no finite number",
            "Nothing happened is 0; leave out whoever's outcome is not known, if that does not "
            "depend on the arm.",
        )
    if not np.ptp(values):
        raise _refused(f"has {column.name} {values[0]:g} for everybody", "Nothing can be learned.")
    return values


def _chances(
    rows: pd.DataFrame, propensity: str | None, arms: tuple[str, ...], taken: Places
) -> tuple[Numbers, list[str]]:
    """Return the chance of each arm for each member, and the columns that said it."""
    n = len(rows)
    if propensity is None:
        return np.tile(np.bincount(taken) / n, (n, 1)), []
    if "=" in propensity:
        given = dict(part.strip().rsplit("=", 1) for part in propensity.split(",") if "=" in part)
    else:
        given = {arms[1]: propensity} if len(arms) == 2 else {}
    strange = [arm for arm in given if arm not in arms]
    if strange or not {*arms[1:]} <= given.keys():
        raise _refused(
            f"has the arms {', '.join(arms)}, and {propensity} does not give the chance of each",
            f"Say {','.join(f'{arm}=SHARE' for arm in arms[1:])}, each a number or a column.",
        )
    used = [name for name in given.values() if name in rows.columns]
    read = {arm: _chance(rows, said) for arm, said in given.items()}
    read.setdefault(arms[0], 1 - np.sum([read[arm] for arm in arms[1:]], axis=0))
    chances = np.column_stack([read[arm] for arm in arms])
    # NaN fails every comparison.
    fair = ((chances > 0) & (chances < 1)).all(axis=1) & (chances.sum(axis=1) < 1 + 1e-6)
    if not fair.all():
        shown = ", ".join(f"{chance:.4g}" for chance in chances[~fair][0])
        raise _refused(
            f"gives {int((~fair).sum())} members chances that are not between 0 and 1 or make more "
            f"than one, such as {shown} for {', '.join(arms)}",
            "Leave out whoever could get only one arm: she says nothing of its effect.",
        )
    return chances, used


def _chance(rows: pd.DataFrame, said: str) -> Numbers:
    if said in rows.columns:
        return np.asarray(pd.to_numeric(rows[said], errors="coerce"), dtype=np.float64)
    try:
        return np.full(len(rows), float(said))
    except ValueError as error:
        raise _refused(
            f"has no column {said}, and that is no number", "Say the chance of the treatment."
        ) from error


def _features(rows: pd.DataFrame) -> tuple[Numbers, tuple[str, ...], tuple[str, ...]]:
    made: dict[str, Numbers] = {}
    left_out = []
    for name, column in rows.items():
        if pd.api.types.is_numeric_dtype(column) or pd.api.types.is_bool_dtype(column):
            values = column.to_numpy(dtype=np.float64, na_value=np.nan)
            made[str(name)] = np.where(np.isinf(values), np.nan, values)
        elif column.nunique() <= MOST_VALUES and not pd.api.types.is_datetime64_any_dtype(column):
            said = column.astype(str).where(column.notna())
            for value in sorted(said.dropna().unique()):
                made[f"{name}={value}"] = (said == value).to_numpy(dtype=np.float64)
        else:
            left_out.append(str(name))
    x = np.column_stack(list(made.values())) if made else np.empty((len(rows), 0))
    return x, tuple(made), tuple(left_out)


def _ratio(taken: Places, chances: Numbers, arms: tuple[str, ...]) -> float:
    counts, expected = np.bincount(taken, minlength=len(arms)), chances.sum(axis=0)
    ratio = sample_ratio(counts.tolist(), expected.tolist())
    if ratio < RATIO_ALARM:
        seen = ", ".join(
            f"{arm} {count:,} instead of {meant:,.0f}"
            for arm, count, meant in zip(arms, counts, expected, strict=True)
        )
        raise _refused(
            f"has arms that are not those declared ({seen}; p = {ratio:.1e})",
            "Something took members from one arm and not from another: find it first.",
        )
    return ratio


def _refuse_later_columns(table: TrialTable) -> None:
    """Refuse a feature that the treatment changed: it was measured afterwards."""
    tests = (len(table.arms) - 1) * max(1, len(table.columns))
    for arm in range(1, len(table.arms)):
        trial = table.trial(arm)
        for place, name in enumerate(table.columns):
            column = trial.x[:, place]
            known = np.isfinite(column)
            filled = np.where(known, column, column[known].mean() if known.any() else 0.0)
            apart = inverse_chance(trial) * (filled - filled.mean())
            spread = float(apart.std(ddof=1))
            if not spread:
                continue
            distance = abs(float(apart.mean())) / (spread / np.sqrt(len(apart)))
            chance = 2 * float(stats.norm.sf(distance)) * tests
            if chance < RATIO_ALARM:
                raise _refused(
                    f"has a column {name} that differs between {table.arms[arm]} and "
                    f"{table.arms[0]} more than chance allows (p = {chance:.1e})",
                    "Either it was measured after the treatment: name with --features those that "
                    "were known before. Or the arms were not drawn by the chances given.",
                )


def _refused(what: str, remedy: str) -> InputRefused:
    return InputRefused(f"The table {what}. Nothing was fitted. {remedy}")
