import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.segments import lifecycle
from features.segments.lifecycle import STAGES, stages, transitions
from features.segments.return_table import RATIO_EDGES, ROWS, ReturnTable
from tests.features.segments.worlds import members

TODAY = pd.Timestamp("2024-04-07")
_COLUMNS = len(RATIO_EDGES) + 1
# The chance falls in even steps with the silence, whoever the member is.
FALLING = ReturnTable(
    np.tile(np.linspace(0.98, 0.02, _COLUMNS), (len(ROWS), 1)),
    np.full((len(ROWS), _COLUMNS), 50.0),
)

# Each example makes tables, a few hundredths of a second.
some = settings(max_examples=25)


def flat(chance: float) -> ReturnTable:
    """Return a table that gives everybody the same chance."""
    return ReturnTable(np.full_like(FALLING.probability, chance), FALLING.members)


def stage_of(chance: float = 0.9, **facts: float) -> str:
    return str(stages(members(facts), flat(chance), TODAY)["stage"].iloc[0])


@pytest.mark.parametrize(
    ("facts", "stage"),
    [
        ({"tenure_days": 30}, "new"),
        ({"tenure_days": 30, "chance": 0.49}, "declining"),
        ({"spend_season_84d": np.log(1.3)}, "growing"),
        ({"spend_season_84d": np.log(1.2)}, "mature"),
        ({"spend_season_84d": np.log(0.8)}, "mature"),
        ({"spend_season_84d": np.log(0.7)}, "declining"),
        ({"spend_season_84d": np.log(0.7), "tenure_days": 160}, "mature"),
        ({"spend_season_84d": np.nan}, "mature"),
        ({"chance": 0.69}, "declining"),
        ({"chance": 0.39}, "dormant"),
        ({"chance": 0.09}, "lost"),
        ({"recency_days": 365}, "lost"),
        ({"gap_days_last": 365, "gap_days_shrunk": 20}, "reactivated"),
        ({"gap_days_last": 365, "gap_days_shrunk": 20, "recency_days": 61}, "mature"),
    ],
)
def test_each_stage_has_its_rule(facts: dict[str, float], stage: str) -> None:
    assert stage_of(**facts) == stage


@some
@given(
    ratio=st.floats(0, 30), visits=st.integers(1, 200), tenure=st.integers(1, 2_000),
    recency=st.integers(1, 2_000), season=st.floats(-3, 3), gap=st.integers(1, 900),
)  # fmt: skip
def test_every_member_is_in_one_known_stage(
    ratio: float, visits: int, tenure: int, recency: int, season: float, gap: int
) -> None:
    table = members(
        {
            "overdue_ratio_shrunk": ratio, "purchase_days": visits, "tenure_days": tenure,
            "recency_days": recency, "spend_season_84d": season, "gap_days_last": gap,
        }
    )  # fmt: skip

    assert stages(table, FALLING, TODAY)["stage"].iloc[0] in STAGES


def given_before(stage: str, since_days: int, chance: float = 0.9, days: int = 28) -> pd.DataFrame:
    """Return what was said of m000 some days ago."""
    return pd.DataFrame(
        {
            "stage": stage,
            "stage_since": TODAY - pd.Timedelta(days=since_days),
            "return_probability": chance,
            "as_of": TODAY - pd.Timedelta(days=days),
        },
        index=["m000"],
    )


@pytest.mark.parametrize(
    ("chance", "kept"),
    [(0.41, "dormant"), (0.44, "dormant"), (0.46, "declining"), (0.36, "dormant")],
)
def test_a_stage_is_left_only_well_past_its_edge(chance: float, kept: str) -> None:
    before = given_before("dormant", since_days=90, chance=chance)

    now = stages(members({}), flat(chance), TODAY, before)

    assert now["stage"].iloc[0] == kept
    assert (now["stage_since"].iloc[0] == TODAY) == (kept != "dormant")


@some
@given(wobble=st.lists(st.floats(0.65, 0.75), min_size=1, max_size=12))
def test_a_chance_that_wobbles_about_an_edge_never_flips_the_stage(wobble: list[float]) -> None:
    table, day, before = members({}), TODAY, given_before("mature", since_days=60, chance=0.7)
    seen = set()
    for chance in wobble:
        # The fall of a chance is a decline of its own; here it never falls by as much.
        now = stages(table, flat(chance), day, before)
        seen.add(now["stage"].iloc[0])
        before, day = now.assign(as_of=day), day + pd.Timedelta(days=28)

    assert seen == {"mature"}


@pytest.mark.parametrize(("since", "kept"), [(13, "mature"), (14, "dormant")])
def test_no_stage_is_left_within_two_weeks(since: int, kept: str) -> None:
    before = given_before("mature", since_days=since, chance=0.3)

    assert stages(members({}), flat(0.3), TODAY, before)["stage"].iloc[0] == kept


def test_coming_back_counts_at_once() -> None:
    before = given_before("lost", since_days=1, chance=0.05)
    back = members({"gap_days_last": 400, "gap_days_shrunk": 20, "recency_days": 1})

    assert stages(back, flat(0.6), TODAY, before)["stage"].iloc[0] == "reactivated"


@pytest.mark.parametrize(
    ("chance_before", "days", "stage"),
    [(0.9, 28, "declining"), (0.86, 28, "mature"), (0.9, 35, "mature")],
)
def test_a_steep_fall_within_four_weeks_is_a_decline(
    chance_before: float, days: int, stage: str
) -> None:
    before = given_before("mature", since_days=90, chance=chance_before, days=days)

    assert stages(members({}), flat(0.72), TODAY, before)["stage"].iloc[0] == stage


def test_every_change_is_one_event_with_its_reason() -> None:
    table = members({}, {}, {})
    before = pd.concat(
        [given_before("mature", 90), given_before("lost", 90).rename({"m000": "m001"})]
    )
    now = stages(table, flat(0.9), TODAY, before)

    events = transitions(now, before, TODAY)

    assert events[["member_id", "to_stage"]].to_numpy().tolist() == [
        ["m001", "mature"],
        ["m002", "mature"],
    ]
    assert events["from_stage"].iloc[0] == "lost"
    assert pd.isna(events["from_stage"].iloc[1])
    assert events["return_probability_before"].iloc[0] == 0.9
    assert (events["occurred_on"] == TODAY).all()


def test_a_first_day_has_no_events() -> None:
    now = stages(members({}), flat(0.9), TODAY)

    assert transitions(now, None, TODAY).empty


def test_a_stage_that_is_not_known_is_not_held() -> None:
    before = given_before("mature", since_days=3).iloc[:0]

    assert stages(members({}), flat(0.3), TODAY, before)["stage"].iloc[0] == "dormant"


def test_its_words_are_all_known() -> None:
    assert set(lifecycle.STAGES) == {
        "new", "growing", "mature", "declining", "dormant", "lost", "reactivated",
    }  # fmt: skip
