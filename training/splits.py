"""When to learn, when to choose, when to judge: as_ofs forward in time, a horizon apart."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from programme.calendar import require_whole_weeks
from programme.errors import InputRefused


@dataclass(frozen=True)
class Plan:
    """The as_ofs of one target.

    Parameters
    ----------
    horizon_days : length of every label window
    validation, test : as_ofs, oldest first; each label window ends where the next begins
    serve : end of the data; what is served learns from everything before it
    begins : day of the first purchase
    warmup_days : history a training row needs
    step_days, train_max : distance of training as_ofs and how many at most
    """

    horizon_days: int
    validation: tuple[date, ...]
    test: tuple[date, ...]
    serve: date
    begins: date
    warmup_days: int
    step_days: int
    train_max: int

    @property
    def judged(self) -> tuple[date, ...]:
        """Return the as_ofs at which every candidate answers, oldest first."""
        return (*self.validation, *self.test)

    def train_as_ofs(self, judged_at: date, label_days: int | None = None) -> tuple[date, ...]:
        """Return the as_ofs a model that answers at `judged_at` may learn from, newest first.

        Their label windows end by `judged_at`: nothing it learns from lies in its future.

        Parameters
        ----------
        label_days : length of the labels it learns from; None: the horizon's
        """
        newest = judged_at - timedelta(days=label_days or self.horizon_days)
        oldest = self.begins + timedelta(days=self.warmup_days)
        steps = (newest - timedelta(days=self.step_days * k) for k in range(self.train_max))
        return tuple(day for day in steps if day >= oldest)


def require_past(learned: Sequence[date], judged_at: date, horizon_days: int) -> None:
    """Refuse to learn from labels that reach past the day a model answers at.

    Parameters
    ----------
    learned : training as_ofs; each one's label window is `[as_of, as_of + horizon_days)`

    Raises
    ------
    InputRefused : if one ends after `judged_at`: the same weeks would be learned and judged.
    """
    newest = judged_at - timedelta(days=horizon_days)
    late = sorted(day for day in learned if day > newest)
    if late:
        raise InputRefused(
            f"Labels of {', '.join(map(str, late))} reach {horizon_days} days on, past the day the "
            f"model answers at, {judged_at}: it would learn what it is judged on. Nothing was "
            f"learned. Train on as_ofs until {newest}."
        )


def plan(
    *,
    begins: date,
    ends: date,
    horizon_days: int,
    tests: int,
    validations: int,
    step_days: int,
    train_max: int,
    warmup_days: int,
) -> Plan:
    """Lay out as many as_ofs as the data allow, tests last.

    Parameters
    ----------
    begins, ends : day of the first purchase; first day with no data
    tests, validations : wanted at most; one of each is the least
    step_days : whole weeks between training as_ofs, so that weekdays stay comparable

    Raises
    ------
    InputRefused : if the history is too short to learn, choose and judge apart.
    """
    require_whole_weeks(horizon_days, "The horizon")
    require_whole_weeks(step_days, "The step between training as_ofs")
    horizon = timedelta(days=horizon_days)
    first_judged = begins + timedelta(days=warmup_days) + horizon
    possible: list[date] = []
    day = ends - horizon
    while day >= first_judged and len(possible) < tests + validations:
        possible.append(day)
        day -= horizon
    if len(possible) < 2:
        needed = warmup_days + 3 * horizon_days
        raise InputRefused(
            f"{(ends - begins).days} days of history, from {begins} to {ends}, are too few to "
            f"learn, choose and judge forward in time with a horizon of {horizon_days} days. "
            f"Nothing was trained. {needed} days are needed: wait, or name the targets whose "
            "horizon is shorter (perennial train churn), or state shorter horizons when the "
            "programme's first rows are ingested into a new home."
        )
    n_tests = min(tests, max(1, len(possible) - validations))
    ordered = tuple(reversed(possible))
    return Plan(
        horizon_days=horizon_days,
        validation=ordered[:-n_tests],
        test=ordered[-n_tests:],
        serve=ends,
        begins=begins,
        warmup_days=warmup_days,
        step_days=step_days,
        train_max=train_max,
    )
