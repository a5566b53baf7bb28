"""From gates to a proposal: what is scarce is never exceeded, every chance is accounted for."""

from datetime import date, timedelta
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import pytest

from actions import brief, guardrails, offers, planner
from actions.arms import is_held_out
from actions.audience import FACTS, KNOWN, Audience
from actions.brief import Brief
from actions.decisions import CONTACTED
from actions.guardrails import FREE, GATES, History
from actions.offers import Catalogue
from actions.planner import Expected, Proposal
from programme.errors import InputRefused
from programme.settings import Programme

DAY = date(2026, 1, 5)
MEMBERS = 1_500
CATALOGUE = """
version = "1"
[guards]
without_consent = "allow"
[[offer]]
id = "text"
kind = "win_back"
name = { en = "x", zh = "x" }
says = { en = "x", zh = "x" }
channel = "sms"
contact_cost = 0.05
stock = 600
[[offer]]
id = "letter"
kind = "cross_sell"
name = { en = "x", zh = "x" }
says = { en = "x", zh = "x" }
channel = "email"
contact_cost = 0.01
redeem_cost = 2
[[offer]]
id = "push"
kind = "nurture"
name = { en = "x", zh = "x" }
says = { en = "x", zh = "x" }
channel = "app_push"
redeem_cost = 1
"""
BRIEF = (
    'campaign = "{name}"\noffers = ["text", "letter", "push"]\nbudget = 60\n'
    "[capacity]\nsms = 200\nemail = 150\n"
)


@pytest.fixture
def catalogue(shop: Programme) -> Catalogue:
    return offers.read(CATALOGUE, shop)


def asked(name: str, more: str = "") -> Brief:
    return brief.read(BRIEF.format(name=name) + more).brief


def audience() -> Audience:
    return Audience(
        DAY, np.array([f"m{row:04d}" for row in range(MEMBERS)]), np.ones((MEMBERS, 3), bool),
        pd.DataFrame(0.0, range(MEMBERS), list(FACTS)), np.zeros((MEMBERS, len(KNOWN))),
        np.full(MEMBERS, np.nan),
    )  # fmt: skip


def expected(seed: int, learned: bool = True, **more: Any) -> Expected:
    rng = np.random.default_rng(seed)
    profits = rng.normal(20, 60, (MEMBERS, 3))
    plain = {
        "profits": profits, "errors": np.full((MEMBERS, 3), 30.0),
        "worth": rng.random((MEMBERS, 3)) < 0.7, "costs": np.array([[5.0, 21.0, 10.0]]),
        "learned": (learned,) * 3, "reasons": ("because",) * 3,
        "harmed": np.zeros(MEMBERS, bool), "value": np.full(MEMBERS, 500.0),
    }  # fmt: skip
    return Expected(**{**plain, **more})


def propose(
    catalogue: Catalogue, name: str = "spring", *, history: History | None = None,
    day: date = DAY, taken: dict[str, int] | None = None, of: Expected | None = None,
) -> Proposal:  # fmt: skip
    everybody, rows = audience(), np.arange(MEMBERS)
    codes = guardrails.refusals(
        everybody.members, everybody.fits, catalogue.offers, catalogue.file.guards,
        history or History(), day,
    )  # fmt: skip
    return planner.propose(
        asked(name), catalogue, everybody, rows, codes, of or expected(3), seed=1, taken=taken
    )


@pytest.mark.parametrize("learned", [True, False])
def test_every_member_is_accounted_for_and_every_chance_adds_up(
    catalogue: Catalogue, learned: bool
) -> None:
    made = propose(catalogue, of=expected(3, learned))
    decided = list(made.decisions())
    facts = made.facts(models={}, spread_cents=900.0, before=0.6)

    assert len(decided) == MEMBERS == sum(facts["arms"].values())
    for one in decided:
        chances = {scored.offer: scored.chance for scored in one.considered}
        assert all(scored.chance == 0 for scored in one.considered if scored.refused is not None)
        nobody = 1 - sum(chances.values())
        done = one.offer if one.arm in CONTACTED else None
        assert one.propensity == pytest.approx(nobody if done is None else chances[done])
        if not learned:
            assert one.planned is None
        if one.planned is not None:
            score = next(scored for scored in one.considered if scored.offer == one.planned)
            assert score.profit is not None and score.error is not None
            assert score.profit > 1.9 * score.error
    assert facts["used"]["budget"] <= 6_000 and facts["used"]["channel sms"] <= 200
    assert facts["power"]["with_before_cents"] < facts["power"]["detectable_cents"]
    gates = {gate for one in decided for gate in (s.refused for s in one.considered) if gate}
    assert gates == {"global_control", "not_worth_it"} <= set(GATES)


def test_members_whom_everything_harms_are_left_alone_and_counted(catalogue: Catalogue) -> None:
    harmed = np.arange(MEMBERS) % 4 == 0
    made = propose(catalogue, of=expected(3, harmed=harmed))

    assert made.facts(models={}, spread_cents=1.0, before=0.0)["harmed"] == harmed.sum()
    assert (made.codes[harmed] != FREE).all()
    assert (made.drawing.chances[harmed] == 0).all()


def test_a_stock_lasts_over_campaigns_and_then_refuses(catalogue: Catalogue) -> None:
    left = propose(catalogue, taken={"text": 590})
    assert left.drawing.used["offer text"] <= 10
    gone = propose(catalogue, taken={"text": 600})
    assert "offer text" not in gone.drawing.used
    assert all(
        scored.refused is not None and scored.chance == 0
        for one in gone.decisions() for scored in one.considered if scored.offer == "text"
    )  # fmt: skip


def test_nothing_is_exceeded_over_a_year_of_weekly_campaigns(catalogue: Catalogue) -> None:
    log = pd.DataFrame({"member_id": [], "channel": [], "kind": [], "day": []})
    by_id = {offer.id: offer for offer in catalogue.offers}
    taken = dict.fromkeys(by_id, 0)
    for week in range(52):
        day = DAY + timedelta(days=7 * week)
        made = propose(
            catalogue, f"week-{week}", history=History(contacts=log), day=day, taken=taken,
            of=expected(week),
        )  # fmt: skip
        assert all(
            used <= there_is.capacity + 1e-6
            for used, there_is in zip(made.drawing.used.values(), made.resources(), strict=True)
        )
        sent = [one for one in made.decisions() if one.arm in CONTACTED and one.offer]
        for one in sent:
            assert one.offer is not None
            taken[one.offer] += 1
        rows = [
            (one.member_id, by_id[one.offer].channel, by_id[one.offer].kind, day)
            for one in sent if one.offer
        ]  # fmt: skip
        log = pd.concat([log, pd.DataFrame(rows, columns=list(log.columns))], ignore_index=True)

    assert len(log) > 2_000 and taken["text"] <= 600
    held = {m for m in audience().members if is_held_out("first", m, 0.05)}
    assert not held & set(log["member_id"])
    for _, mine in log.groupby("member_id"):
        days = sorted(mine["day"])
        within = [sum(one <= other < one + timedelta(days=7) for other in days) for one in days]
        assert max(within) <= 2
        texts = sorted(mine.loc[mine["channel"] == "sms", "day"])
        assert all((b - a).days >= 14 for a, b in pairwise(texts))
        for _, alike in mine.groupby("kind"):
            gaps = np.diff([one.toordinal() for one in sorted(alike["day"])])
            assert (gaps >= 28).all()


def test_profits_that_are_no_numbers_are_refused(catalogue: Catalogue) -> None:
    profits = expected(3).profits
    profits[7, 1] = np.nan
    with pytest.raises(InputRefused, match="1 expected profits of campaign spring"):
        propose(catalogue, of=expected(3, profits=profits))


def test_a_campaign_that_grows_keeps_members_in_their_arms(catalogue: Catalogue) -> None:
    members, offers_of_all = audience().members, expected(3, learned=False)
    found: dict[str, str] = {}
    for name, share, grows in (("one", 0.3, None), ("two", 0.8, "one"), ("three", 1.0, "one")):
        its = asked(name).model_copy(update={"coverage": share, "grows": grows})
        rows = planner.open_to(its, members)
        assert set(found) <= set(members[rows].tolist())
        made = planner.propose(
            its, catalogue, audience(), rows, np.zeros((len(rows), 3), np.int8),
            Expected(**{**vars(offers_of_all), "profits": offers_of_all.profits[rows],
                        "errors": offers_of_all.errors[rows], "worth": offers_of_all.worth[rows],
                        "harmed": offers_of_all.harmed[rows], "value": offers_of_all.value[rows]}),
            seed=1,
        )  # fmt: skip
        now = {one.member_id: one.arm for one in made.decisions()}
        for member, arm in found.items():
            # Somebody may be left alone now or then; nobody changes sides.
            told = {one for one in (arm, now[member]) if one not in ("left_alone", "refused")}
            sides = {one == "control" for one in told}
            assert len(sides) <= 1
        found |= now
    assert len(found) == MEMBERS


def test_coverage_only_ever_adds_members(catalogue: Catalogue) -> None:
    members = audience().members
    before: set[int] = set()
    for share in (0.1, 0.4, 0.75, 1.0):
        its = asked("spring").model_copy(update={"coverage": share})
        now = set(planner.open_to(its, members).tolist())
        assert before <= now
        before = now
    assert len(before) == MEMBERS
    assert catalogue.version == "1"
