"""Reading a campaign out of a lake: whom it counts, what it costs, and what it must not say."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, timedelta, timezone
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from actions import campaigns, history, looks, outcomes, readout
from actions.campaigns import Campaign
from actions.readout import OFFER_LEAST, ReadOut
from features.ingest import ingest
from features.sources.export import Export
from features.sources.mapping import Mapping
from programme.errors import InputRefused
from tests.actions import campaign as made
from tests.actions.campaign import NOW
from tests.actions.shop import (
    CONTACTS,
    END,
    PURCHASES,
    SHOP,
    Shop,
    a_shop,
    arms,
    line,
    log,
    redeemed,
    written,
)

MEMBERS, LIFT = 600, 20.0


@dataclass(frozen=True)
class Autumn:
    """A campaign whose truth is known.

    Every member who shops spent something before the launch, half as much after it, and `LIFT`
    more if she was assigned to contact. Every sixth never bought anything. Every fourth of those
    contacted redeemed. Five of those contacted were left alone after the decision.
    """

    shop: Shop
    campaign: Campaign
    contacted: dict[str, bool]
    unsent: tuple[str, ...]
    redemptions: int
    last_day: ReadOut


@pytest.fixture(scope="module")
def autumn(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Autumn]:
    shop = a_shop(tmp_path_factory.mktemp("autumn"))
    rng = np.random.default_rng(3)
    members = [f"m{number:03d}" for number in range(MEMBERS)]
    contacted = arms(members)
    lines, redemptions = [], []
    for number, (member, is_contacted) in enumerate(contacted.items()):
        if number % 6 == 0:
            continue
        usual = rng.gamma(4.0, 20.0)
        lines.append(line(member, f"{member}-before", NOW - timedelta(days=40), usual))
        after = usual / 2 + rng.normal(0.0, 4.0) + (LIFT if is_contacted else 0.0)
        lines.append(line(member, f"{member}-after", NOW + timedelta(days=14), max(0.01, after)))
        if is_contacted and number % 4 == 0:
            redemptions.append(redeemed(member, f"autumn/{member}", NOW + timedelta(days=14)))
    shop.take("purchases", lines, PURCHASES)
    shop.take("contacts", redemptions, CONTACTS)
    campaign = shop.launch(log(contacted))
    unsent = tuple(member for member in members if contacted[member])[:5]
    for member in unsent:
        history.suppress(shop.database, member, "a complaint", until=None, now=NOW)
    shop.desk.deliver(now=lambda: NOW, tell=lambda _: None)
    yield Autumn(
        shop, campaign, contacted, unsent, len(redemptions), shop.desk.read_out("autumn", now=END)
    )
    shop.points.close()


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    opened = a_shop(tmp_path)
    yield opened
    opened.points.close()


def test_everybody_counts_in_her_arm_whether_or_not_a_message_reached_her(autumn: Autumn) -> None:
    found, contacted = autumn.last_day, sum(autumn.contacted.values())

    assert (found.treated.members, found.control.members) == (contacted, MEMBERS - contacted)
    assert found.sent == contacted - len(autumn.unsent)


def test_who_bought_nothing_counts_as_nought(autumn: Autumn) -> None:
    silent = {f"m{number:03d}" for number in range(0, MEMBERS, 6)}
    of_treated = [member in silent for member, is_in in autumn.contacted.items() if is_in]

    assert autumn.last_day.treated.active == pytest.approx(1 - np.mean(of_treated))


def test_every_message_sent_and_every_redemption_costs(autumn: Autumn) -> None:
    found = autumn.last_day

    assert found.redemptions == autumn.redemptions
    assert found.cost_cents == pytest.approx(4 * found.sent + 500 * autumn.redemptions)


def test_a_planted_effect_is_found(autumn: Autumn) -> None:
    found = autumn.last_day
    rate = float(made.catalogue(autumn.shop.programme).file.margin_rate)
    contacted = [member for member, is_in in autumn.contacted.items() if is_in]
    shopping = np.mean([int(member[1:]) % 6 != 0 for member in contacted])
    margin = 100 * LIFT * shopping * rate
    profit = margin - found.cost_cents / len(contacted)

    assert found.complete
    assert found.stopped is None
    assert found.margin is not None
    assert found.profit is not None
    assert found.back is not None
    assert found.margin.interval[0] < margin < found.margin.interval[1]
    assert found.profit.interval[0] < profit < found.profit.interval[1]
    assert found.profit.always[0] < found.profit.interval[0]
    ratio = margin / (found.cost_cents / len(contacted)) - 1
    assert found.back.interval[0] < ratio < found.back.interval[1]


def test_spend_before_takes_noise_away(autumn: Autumn) -> None:
    assert 0.3 < autumn.last_day.variance_cut < 1.0


def test_before_the_horizon_has_passed_it_says_so_and_counts_nothing_later(autumn: Autumn) -> None:
    early = autumn.shop.desk.read_out("autumn", now=NOW + timedelta(days=10))

    assert not early.complete
    assert early.until == NOW + timedelta(days=10)
    assert early.treated.spend_cents == 0
    assert early.redemptions == 0


def test_an_instant_means_the_same_whatever_zone_it_is_written_in(autumn: Autumn) -> None:
    there = (NOW + timedelta(days=14, minutes=30)).astimezone(timezone(timedelta(hours=-9)))
    here = there.astimezone(UTC)

    assert (
        autumn.shop.desk.read_out("autumn", now=there).treated
        == autumn.shop.desk.read_out("autumn", now=here).treated
    )


def test_what_was_read_out_comes_back_from_its_json_as_it_was(autumn: Autumn) -> None:
    assert ReadOut.from_json(autumn.last_day.as_json()) == autumn.last_day


def test_the_last_daily_look_is_the_read_out(autumn: Autumn) -> None:
    shop = autumn.shop

    found = looks.looks(
        shop.settings, shop.programme, shop.database, autumn.campaign,
        made.catalogue(shop.programme), now=END,
    )  # fmt: skip

    assert [look.day for look in found] == list(range(1, 29))
    assert found[-1].profit == autumn.last_day.profit
    assert found[0].profit.difference == pytest.approx(-3.96, abs=0.05)  # only messages, 4 cents


def test_what_a_simulator_made_up_is_said_to_be_made_up(autumn: Autumn, shop: Shop) -> None:
    assert not autumn.last_day.simulated
    path = shop.settings.home / "made-up.parquet"
    pd.DataFrame([line("m1", "o1", NOW, 5.0)]).to_parquet(path, index=False)
    mapping = Mapping.model_validate(
        {"source": outcomes.SIMULATOR, "programme": SHOP, "purchases": PURCHASES}
    )
    ingest(Export([path], mapping), shop.settings, NOW + timedelta(hours=1))

    assert outcomes.is_simulated(shop.settings)


def test_spend_is_counted_from_the_launch_to_the_end_and_91_days_before(shop: Shop) -> None:
    moment = timedelta(seconds=1)
    shop.take("purchases", [
        line("m1", "too-early", NOW - timedelta(days=91) - moment, 1),
        line("m1", "first", NOW - timedelta(days=91), 2),
        line("m1", "last-before", NOW - moment, 4),
        line("m1", "at-launch", NOW, 8),
        line("m1", "last", END - moment, 16),
        line("m1", "too-late", END, 32),
    ], PURCHASES, END + timedelta(days=1))  # fmt: skip

    found = shop.facts(shop.launch(made.decided()), until=END, now=END).loc["m1"]

    assert (found["before"], found["spend"], found["orders"]) == (600, 2400, 2)


def test_a_correction_counts_once_and_a_return_is_no_order(shop: Shop) -> None:
    day = timedelta(days=1)
    shop.take("purchases", [
        line("m1", "wrong", NOW + day, 90),
        line("m2", "bought", NOW + day, 30),
        line("m2", "brought-back", NOW + 2 * day, -10),
        line("m3", "never", NOW + day, 50),
        line("m4", "not-known-yet", NOW + day, 70, known=NOW + 20 * day),
    ], PURCHASES)  # fmt: skip
    shop.take("purchases", [
        line("m1", "wrong", NOW + day, 9, known=NOW + 3 * day),
        line("m3", "never", NOW + day, 0, known=NOW + 3 * day),
    ], PURCHASES, END + day)  # fmt: skip

    found = shop.facts(shop.launch(made.decided()), until=END, now=NOW + 10 * day)

    assert found[["spend", "orders"]].T.to_dict("list") == {
        "m1": [900, 1], "m2": [2000, 1], "m3": [0, 0],
    }  # fmt: skip


def test_only_this_campaigns_redemptions_are_its_cost(shop: Shop) -> None:
    day = NOW + timedelta(days=1)
    shop.take("purchases", [line("m1", "o1", day, 5)], PURCHASES)
    shop.take("contacts", [
        redeemed("m1", "a", day), redeemed("m1", "b", day),
        redeemed("m1", "c", day, campaign="spring"), redeemed("m2", "d", END),
    ], CONTACTS, END + timedelta(days=1))  # fmt: skip

    found = shop.facts(shop.launch(made.decided()), until=END, now=END)

    assert found["redemptions"].to_dict() == {"m1": 2}


def test_who_was_merged_into_another_member_since_still_counts_in_her_arm(shop: Shop) -> None:
    day = NOW + timedelta(days=1)
    shop.take("purchases", [line("m1", "o1", day, 5), line("card-2", "o2", day, 7)], PURCHASES)
    campaign = shop.launch(made.decided())
    later = written(day + timedelta(days=5))
    keys = [{"key": key, "member": "m1", "known": later} for key in ("m1", "card-2")]
    shop.take("identities", keys, {
        "key": "key", "member": "member", "known_at": "known",
    })  # fmt: skip

    spend = shop.facts(campaign, until=END, now=END)["spend"].to_dict()

    assert spend == {"m1": 1200, "card-2": 1200}


def test_arms_that_are_not_those_drawn_stop_the_read_out(shop: Shop) -> None:
    members = [f"m{number}" for number in range(200)]
    shop.take("purchases", [line(member, member, NOW, 5) for member in members], PURCHASES)
    shop.launch(log({member: number >= 10 for number, member in enumerate(members)}))

    found = shop.desk.read_out("autumn", now=END)

    assert found.stopped == "sample_ratio"
    assert found.ratio_p_value < 1e-3
    assert (found.profit, found.margin, found.active, found.back) == (None, None, None, None)
    assert found.offers == ()


def test_an_offer_tried_on_a_handful_gets_no_interval(shop: Shop) -> None:
    members = [f"m{number}" for number in range(300)]
    shop.take("purchases", [line(member, member, NOW, 5) for member in members], PURCHASES)
    few = [
        replace(one, offer="letter") if number < OFFER_LEAST else one
        for number, one in enumerate(log(arms(members)))
    ]
    shop.launch(few)

    by_offer = {one.offer: one for one in shop.desk.read_out("autumn", now=END).offers}

    assert by_offer["letter"].profit is None
    assert by_offer["voucher"].profit is not None


def test_what_was_never_launched_cannot_be_read_out(shop: Shop) -> None:
    shop.take("purchases", [line("m1", "o1", NOW, 5)], PURCHASES)
    made.propose(shop.database, shop.settings, shop.programme)

    with pytest.raises(InputRefused, match="Launch it first"):
        shop.desk.read_out("autumn", now=END)
    assert campaigns.get(shop.database, "autumn").state == "proposed"


def rows_of(seed: int, effect: float, treated: int = 640, controls: int = 160) -> pd.DataFrame:
    """Return members as `outcomes.measured` does; contacted ones spend more and cost something."""
    rng = np.random.default_rng(seed)
    n = treated + controls
    is_treated = np.arange(n) < treated
    before = rng.gamma(0.6, 9_000.0, n)
    redemptions = (rng.random(n) < 0.1) & is_treated
    more = rng.normal(effect, 2 * abs(effect), n)
    spend = rng.gamma(0.8, 1_000.0 + before / 4) + is_treated * more
    return pd.DataFrame({
        "member_id": [f"m{place}" for place in range(n)], "treated": is_treated,
        "offer": "voucher", "spend": spend, "before": before, "orders": (spend > 500).astype(int),
        "redemptions": redemptions.astype(int), "sent": is_treated,
        "cost": 4.0 * is_treated + 500.0 * redemptions, "margin": 0.3 * spend,
    })  # fmt: skip


@pytest.mark.parametrize(
    ("effect", "runs", "least", "most"),
    [
        (400.0, 120, 0.88, 0.995),
        pytest.param(0.0, 1_000, 0.93, 0.97, marks=pytest.mark.slow),
        pytest.param(400.0, 1_000, 0.93, 0.97, marks=pytest.mark.slow),
    ],
)
def test_the_interval_of_the_close_holds_a_planted_effect_in_95_of_100_campaigns(
    effect: float, runs: int, least: float, most: float, shop: Shop
) -> None:
    shop.take("purchases", [line("m1", "o1", NOW, 5)], PURCHASES)
    campaign = shop.launch(made.decided())
    catalogue = made.catalogue(shop.programme)
    # A message costs 4 cents, and one in ten redeems 5 euros.
    truth = 0.3 * effect - 4.0 - 50.0
    held = held_always = 0
    for seed in range(runs):
        told = readout.compared(
            campaign, catalogue, rows_of(seed, effect), until=END, at=END, complete=True,
            counts={"left_alone": 0, "refused": 0}, simulated=True,
        ).profit  # fmt: skip
        assert told is not None
        held += told.interval[0] <= truth <= told.interval[1]
        held_always += told.always[0] <= truth <= told.always[1]

    assert least <= held / runs <= most
    assert held_always / runs >= 0.99
