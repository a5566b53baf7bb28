"""How likely a silent member comes back within 91 days, as the programme's own past tells it.

The same silence means opposite things in two shops: of members silent for four of their own gaps,
most grocers see again and most record shops do not. So the chance is tabulated from earlier days
of the same programme, by who the member was (a beginner, her number of visits, just back) and by
the ratio of her silence to her own gap.

It is a period table, as demographers make of mortality, not a cohort table. A cohort whose 91
days have ended is at least 91 days old, and a programme drifts meanwhile. The chance to come back
in week j of a silence needs only j weeks to be seen: each week's is taken from the latest days
that show it, and the thirteen are multiplied together.
"""

from dataclasses import dataclass
from typing import Any

import duckdb
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.isotonic import IsotonicRegression

from features.cadence import PRIOR_GAPS
from programme.errors import NotReady

RETURN_DAYS, WEEK = 91, 7
_WEEKS = RETURN_DAYS // WEEK
# Days in which members could come back, and four weeks before them.
HISTORY_DAYS = RETURN_DAYS + 4 * WEEK
# Each week of silence is seen on so many past days, a week apart: enough of them even out the noise
# of small cells, and the table is still young. The figures here were chosen by the Brier score on
# earlier days of two shops; see docs/decisions/0007.
PERIOD_WEEKS = 6
RATIO_EDGES = (0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 20.0)
VISIT_EDGES = (2, 3, 5, 10)
NEW_DAYS, BACK_DAYS, LONG_GAP_DAYS = 60, 60, 365
ROWS = (
    "beginner", "1 visit", "2 visits", "3-4 visits", "5-9 visits", "10 visits or more", "just back",
)  # fmt: skip
_BEGINNER, _VISITS, _BACK = 0, 1, 6
# A silence of twice her gap or more with a smaller chance to end was a long one: who ended it is
# just back.
LONG_SILENCE_BELOW, LONG_SILENCE_FROM = 0.4, 2.0
# A cell is drawn towards its neighbour by so many members watched for a week.
PRIOR_MEMBERS = 20
# More members say nothing more of thirty-odd cells.
MEMBERS_MOST = 100_000

_RATIO_CLASS = " + ".join(f"cast({{ratio}} >= {edge} as integer)" for edge in RATIO_EDGES)
_VISIT_CLASS = " + ".join(f"cast({{visits}} >= {edge} as integer)" for edge in VISIT_EDGES)
# One row per class of members on past days `as_of - back`: how many, and in which week after
# that day they bought again (null: not before as_of).
_PAST = f"""
    select back, beginner, {_VISIT_CLASS.format(visits="visits")} as visit_class,
           -- Where nobody ever came twice there is no usual gap, and no edge is reached.
           coalesce({_RATIO_CLASS.format(ratio="silence / usual")}, 0) as ratio_class,
           {_VISIT_CLASS.format(visits="visits - 1")} as visit_class_before,
           case when visits < 2 or silence > {BACK_DAYS} then -1
                when last_gap >= {LONG_GAP_DAYS} then {len(RATIO_EDGES) + 1}
                else {_RATIO_CLASS.format(ratio="last_gap / usual_before")} end as gap_class,
           week, count(*) as members
    from (
        select back, oldest - back <= {NEW_DAYS} as beginner, visits, latest[1] - back as silence,
               (oldest - latest[1] + {PRIOR_GAPS} * gap_days)
                   / (visits - 1 + {PRIOR_GAPS}) as usual,
               latest[2] - latest[1] as last_gap,
               (oldest - latest[2] + {PRIOR_GAPS} * gap_days)
                   / (visits - 2 + {PRIOR_GAPS}) as usual_before,
               (back - next_ago) // {WEEK} as week
        from (
            select back, member_id, count(*) filter (where days_ago > back) as visits,
                   min(days_ago, 2) filter (where days_ago > back) as latest,
                   max(days_ago) as oldest,
                   max(days_ago) filter (where days_ago <= back) as next_ago
            from member_days cross join (select unnest({{backs}}) as back)
            where bought > 0 and hash(member_id) % {{parts}} = 0
            group by back, member_id
        ) cross join reference_programme
        where visits > 0
    ) group by all order by all"""


@dataclass(frozen=True)
class ReturnTable:
    """P(a purchase within 91 days) by kind of member (rows) and gap ratio (columns).

    Parameters
    ----------
    probability : array of shape (len(ROWS), len(RATIO_EDGES) + 1), never rising along a row
    members : same shape; members a cell was counted from, a mean over the past days
    """

    probability: NDArray[np.float64]
    members: NDArray[np.float64]

    def of(self, features: pd.DataFrame) -> NDArray[np.float64]:
        """Return the probability of each member, shape (n,).

        Parameters
        ----------
        features : of a snapshot
        """
        ratio = _classes(_values(features, "overdue_ratio_shrunk"), RATIO_EDGES)
        row = _VISITS + _classes(_values(features, "purchase_days"), VISIT_EDGES)
        row = np.where(_values(features, "tenure_days") <= NEW_DAYS, _BEGINNER, row)
        row = np.where(self.just_back(features), _BACK, row)
        return np.asarray(self.probability[row, ratio])

    def just_back(self, features: pd.DataFrame) -> NDArray[np.bool_]:
        """Return who bought lately after a silence that few end."""
        visits, gap = _values(features, "purchase_days"), _values(features, "gap_days_last")
        usual = _values(features, "gap_days_shrunk")
        # Her usual gap before that silence: it must not be measured by the silence itself.
        before = (usual * (visits - 1 + PRIOR_GAPS) - gap) / (visits - 2 + PRIOR_GAPS)
        gap_class = np.where(
            gap >= LONG_GAP_DAYS, len(RATIO_EDGES) + 1, _classes(gap / before, RATIO_EDGES)
        )
        known = (visits >= 2) & (_values(features, "recency_days") <= BACK_DAYS)
        long = _long_silences(self.probability)
        visit_class = _classes(visits - 1, VISIT_EDGES)
        return np.asarray(known & long[visit_class, np.where(known, gap_class, 0)])

    def as_json(self) -> dict[str, Any]:
        """Return plain values, to be kept and shown."""
        return {
            "rows": list(ROWS), "ratio_edges": list(RATIO_EDGES),
            "probability": self.probability.round(6).tolist(),
            "members": self.members.round(1).tolist(),
        }  # fmt: skip


def history_days(connection: duckdb.DuckDBPyConnection) -> int:
    """Return how old the programme's first purchase is.

    Parameters
    ----------
    connection : with the relations of a snapshot prepared
    """
    oldest = connection.execute("select max(days_ago) from member_days where bought > 0")
    return int(oldest.fetchall()[0][0] or 0)


def tabulate(connection: duckdb.DuckDBPyConnection) -> ReturnTable:
    """Count who came back, from the past days of a programme.

    Parameters
    ----------
    connection : with the relations of a snapshot prepared

    Raises
    ------
    NotReady : when the programme is younger than 91 days and four weeks
    """
    history = history_days(connection)
    if history < HISTORY_DAYS:
        days = "1 day" if history == 1 else f"{history} days"
        raise NotReady(
            f"The programme's first purchase is {days} old; stages need {HISTORY_DAYS}: "
            f"{RETURN_DAYS} in which members could come back, and four weeks before them. No "
            "stage was given. Wait, or ingest older purchases."
        )
    members = connection.execute(
        "select count(distinct member_id) from member_days where bought > 0"
    ).fetchall()[0][0]
    most = min(_WEEKS + PERIOD_WEEKS - 1, (history - 4 * WEEK) // WEEK)
    backs = [WEEK * k for k in range(1, most + 1)]
    sql = _PAST.format(backs=backs, parts=1 + int(members) // MEMBERS_MOST)
    return _table(connection.execute(sql).df())


def _table(past: pd.DataFrame) -> ReturnTable:
    """Make the table of the counts: once to know a long silence, then with its own row."""
    row = np.where(past["beginner"], _BEGINNER, _VISITS + past["visit_class"].to_numpy())
    first, _ = _probability(past, row)
    gap_class = past["gap_class"].to_numpy()
    long = _long_silences(first)[past["visit_class_before"].to_numpy(), gap_class]
    probability, members = _probability(past, np.where((gap_class >= 0) & long, _BACK, row))
    return ReturnTable(probability, members)


def _long_silences(probability: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return which silences few end, by visits before them and gap class; a year always is one."""
    long = probability[_VISITS:_BACK] < LONG_SILENCE_BELOW
    long[:, : 1 + RATIO_EDGES.index(LONG_SILENCE_FROM)] = False
    return np.hstack([long, np.ones((len(long), 1), dtype=bool)])


def _probability(
    past: pd.DataFrame, row: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    column = past["ratio_class"].to_numpy()
    members = past["members"].to_numpy(dtype=np.float64)
    back = past["back"].to_numpy() // WEEK
    week = past["week"].to_numpy(dtype=np.float64, na_value=np.inf)
    week = np.nan_to_num(week, nan=np.inf)
    shape = (len(ROWS), len(RATIO_EDGES) + 1)
    silent = np.ones(shape)
    seen_first = np.zeros(shape)
    for j in range(_WEEKS):
        # The days that show week j whole, the latest of them.
        shown = (back > j) & (back <= j + PERIOD_WEEKS)
        waiting, came = np.zeros(shape), np.zeros(shape)
        np.add.at(waiting, (row, column), np.where(shown & (week >= j), members, 0))
        np.add.at(came, (row, column), np.where(shown & (week == j), members, 0))
        silent *= 1 - _shrunk(came, waiting)
        if j == 0:
            seen_first = waiting / max(1, len(np.unique(back[shown])))
    falling = IsotonicRegression(increasing=False, y_min=0.0, y_max=1.0)
    position = np.arange(shape[1])
    smooth = [
        falling.fit_transform(position, line, sample_weight=weight + 1.0)
        for line, weight in zip(1 - silent, seen_first, strict=True)
    ]
    return np.asarray(smooth), seen_first


def _shrunk(came: NDArray[np.float64], waiting: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the rate of each cell, drawn towards that of the next shorter silence.

    The first cell of a row is drawn towards the row. An empty cell is thus like its neighbour: a
    young programme has not seen its longest silences yet, and the mean of a row is no guess.
    """
    overall = came.sum() / max(1.0, waiting.sum())
    near = (came.sum(axis=1) + PRIOR_MEMBERS * overall) / (waiting.sum(axis=1) + PRIOR_MEMBERS)
    rate = np.empty_like(came)
    for column in range(came.shape[1]):
        near = (came[:, column] + PRIOR_MEMBERS * near) / (waiting[:, column] + PRIOR_MEMBERS)
        rate[:, column] = near
    return rate


def _values(features: pd.DataFrame, name: str) -> NDArray[np.float64]:
    return features[name].to_numpy(dtype=np.float64, na_value=np.nan)


def _classes(values: NDArray[np.float64], edges: tuple[float, ...]) -> NDArray[np.int64]:
    """Return how many edges a value has reached; one that is not known has reached none."""
    return np.searchsorted(edges, np.nan_to_num(values, nan=-1.0), side="right").astype(np.int64)
