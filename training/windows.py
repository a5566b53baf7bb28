"""Which columns mean the same on the days learned from and on the day asked about."""

import re
from collections.abc import Sequence
from datetime import date

from training.splits import Plan

_WINDOW = re.compile(r"_(\d+)d$")


def settled(
    columns: Sequence[str], begins: date, learned_at: Sequence[date], asked_at: date
) -> tuple[str, ...]:
    """Leave out columns over windows that were longer than the history and no longer are.

    In a young programme "spend of the last 182 days" is all spend ever, on every day learned
    from; on the day asked about it is half a year's, and nothing for members who came first. A
    model has never seen such members: on CDNOW trees then expected 41 % too little of everybody.

    Parameters
    ----------
    columns : names; a window is the number of days a name ends in
    begins : day of the first purchase
    learned_at : days of the training rows
    asked_at : day of the answers
    """

    def stays(name: str) -> bool:
        found = _WINDOW.search(name)
        if found is None or (asked_at - begins).days <= int(found[1]):
            return True
        n_whole = sum((day - begins).days > int(found[1]) for day in learned_at)
        return 2 * n_whole >= len(learned_at)

    return tuple(name for name in columns if stays(name))


def settled_throughout(columns: Sequence[str], plan: Plan) -> tuple[str, ...]:
    """Leave out columns that are not settled on some day of a plan, so that all days compare."""
    for asked_at in (*plan.judged, plan.serve):
        columns = settled(columns, plan.begins, plan.train_as_ofs(asked_at), asked_at)
    return tuple(columns)
