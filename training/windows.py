"""Which columns mean the same on the days learned from and on later days."""

import re
from collections.abc import Sequence
from datetime import date

from training.splits import Plan

_WINDOW = re.compile(r"_(\d+)d$")


def settled(columns: Sequence[str], begins: date, learned_at: Sequence[date]) -> tuple[str, ...]:
    """Leave out columns over windows that were longer than the history on most days.

    In a young programme "spend of the last 182 days" is all spend ever, on every day learned
    from. On a later day it has grown with the history, or is half a year's and nothing for
    members who came first. A model has seen neither: on CDNOW trees expected 41 % too little of
    everybody, on Complete Journey too much.

    Parameters
    ----------
    columns : names; a window is the number of days a name ends in
    begins : day of the first purchase
    learned_at : days of the training rows
    """

    def stays(name: str) -> bool:
        found = _WINDOW.search(name)
        if found is None:
            return True
        n_whole = sum((day - begins).days > int(found[1]) for day in learned_at)
        return 2 * n_whole >= len(learned_at)

    return tuple(name for name in columns if stays(name))


def settled_throughout(columns: Sequence[str], plan: Plan) -> tuple[str, ...]:
    """Leave out columns that are not settled on a test day or the day of service.

    Validation days come first and have the least history: to ask it of them too would leave a
    young programme with hardly a window at all.
    """
    for asked_at in (*plan.test, plan.serve):
        columns = settled(columns, plan.begins, plan.train_as_ofs(asked_at))
    return tuple(columns)
