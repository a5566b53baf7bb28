"""The made-up programme is what its recipe says, and goes through the front door whole."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from experiments.synthetic import Recipe, World, __main__, grow
from experiments.synthetic import catalogue as goods
from experiments.synthetic.orders import Clock
from experiments.synthetic.recipe import BG_NBD
from experiments.synthetic.source import Synthetic, members_truth, write
from experiments.synthetic.tables import tables
from experiments.synthetic.truth import happened, histories, known_ahead, seen_ahead, uplift
from features import contracts, snapshot
from features.ingest import ingest
from programme.errors import InputRefused
from programme.settings import Settings
from training.labels import outcomes
from training.models.histories import Histories

SMALL = Recipe(members=150, days=126, seed=5, joining_days=60, return_share=0.05)


@pytest.fixture(scope="module")
def small() -> World:
    return grow(SMALL)


def test_the_same_recipe_is_the_same_world_and_another_seed_another(small: World) -> None:
    again, other = tables(grow(SMALL)), tables(grow(replace(SMALL, seed=6)))

    for name, table in tables(small).items():
        pd.testing.assert_frame_equal(table, again[name])
    assert not tables(small)["purchases"].equals(other["purchases"])


def test_another_part_of_the_recipe_leaves_who_joins_and_when_she_leaves(small: World) -> None:
    other = grow(replace(SMALL, campaigns=0, free_lines=3.0, return_share=0.0))

    np.testing.assert_array_equal(other.members.rate, small.members.rate)
    np.testing.assert_array_equal(other.left_at, small.left_at)


def test_nobody_orders_before_joining_after_leaving_or_after_the_end(small: World) -> None:
    orders = small.orders
    joined, left = small.members.joined_at[orders.member], small.left_at[orders.member]

    first = np.flatnonzero(np.diff(orders.member, prepend=-1))
    assert len(first) == len(small.members)
    np.testing.assert_allclose(orders.placed_at[first], small.members.joined_at, atol=1e-9)
    assert (orders.placed_at >= joined - 1e-9).all()
    assert (orders.placed_at <= np.minimum(left, SMALL.days) + 1e-9).all()
    assert (np.diff(orders.placed_at)[np.diff(orders.member) == 0] >= 0).all()


def test_under_bg_nbd_the_day_of_leaving_is_that_of_the_last_order() -> None:
    world = grow(replace(SMALL, counting=BG_NBD, campaigns=0))
    left = np.isfinite(world.left_at)
    last = np.full(len(world.members), -1.0)
    np.maximum.at(last, world.orders.member, world.orders.placed_at)

    assert left.sum() > 10
    np.testing.assert_allclose(last[left], world.left_at[left], atol=1e-9)


def test_the_lines_of_an_order_sum_to_its_cents_and_name_each_product_once(small: World) -> None:
    lines = small.lines
    total = np.bincount(lines.order, lines.net_cents, minlength=len(small.orders))

    np.testing.assert_array_equal(total, small.cents)
    assert (lines.net_cents >= 0).all()
    assert not pd.DataFrame({"o": lines.order, "p": lines.product}).duplicated().any()


def test_a_saturday_is_twice_a_monday_and_a_week_is_a_week() -> None:
    clock, days = Clock(SMALL), np.arange(0.0, 29.0)

    business = np.diff(clock.business(days))
    np.testing.assert_allclose(business[:7], SMALL.weekdays)
    np.testing.assert_allclose(business.reshape(4, 7).sum(axis=1), 7)
    np.testing.assert_allclose(clock.calendar(clock.business(days + 0.3)), days + 0.3)

    world = grow(Recipe(members=4_000, days=126, joining_days=56, campaigns=0))
    weekday = np.bincount(world.orders.placed_at.astype(int) % 7, minlength=7)
    assert weekday[5] / weekday[0] == pytest.approx(2.0, rel=0.1)


def test_the_truth_of_nobody_left_is_certain_silence(small: World) -> None:
    ahead = known_ahead(small, 100, 28)
    later = known_ahead(small, 100, 56)

    assert (ahead.silent[~ahead.alive] == 1).all()
    assert (ahead.orders[~ahead.alive] == 0).all()
    assert (later.silent <= ahead.silent + 1e-12).all()
    assert (later.orders >= ahead.orders).all()
    # Markov: whoever is expected to order seldom is silent at least as likely as that.
    assert (1 - ahead.silent <= ahead.orders + 1e-9).all()


def test_points_are_never_overspent_and_tiers_follow_what_was_earned(small: World) -> None:
    points = tables(small)["points"].sort_values(["member_id", "occurred_at", "kind"])

    balance = points.groupby("member_id", observed=True)["points"].cumsum()
    assert (balance >= 0).all()
    assert (points["kind"] == "REDEEM").any()
    earned = points[points["kind"] == "EARN"].groupby("member_id", observed=True)
    standing = pd.DataFrame({"points": earned["points"].sum(), "tier": earned["tier"].last()})
    assert (standing.loc[standing["points"] >= 1_000, "tier"] != "bronze").all()
    assert (standing.loc[standing["points"] < 1_000, "tier"] == "bronze").all()


def test_contacts_are_the_contacted_with_the_chance_they_were_drawn_with(small: World) -> None:
    contacts = tables(small)["contacts"]
    sent = contacts[contacts["kind"] == "sent"]

    for nth, campaign in enumerate(small.campaigns):
        listed = sent[sent["campaign_id"] == f"c{nth + 1}"].set_index("member_id")["propensity"]
        effects = uplift(small, campaign).set_index("member_id")
        contacted = effects[effects["arm"] == "offer"]
        pd.testing.assert_series_equal(listed, contacted["propensity"])
        assert (np.sign(effects["uplift_orders"]) * np.sign(effects["response"]) >= 0).all()


@pytest.fixture(scope="module")
def home(small: World, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    folder = tmp_path_factory.mktemp("world")
    write(small, folder / "tables")
    settings = Settings(home=folder / "home", threads=1)
    ended = datetime(2024, 1, 1, 12, tzinfo=UTC) + timedelta(days=SMALL.days - 1, hours=10)
    taken = ingest(Synthetic(folder / "tables"), settings, ended)
    assert {count.table for count in taken.counts} == set(tables(small))
    assert all(count.stored == count.read for count in taken.counts), "something was refused"
    return settings


def test_what_went_into_the_lake_comes_out_as_it_was(small: World, home: Settings) -> None:
    day = 98
    taken = snapshot.build(home, SMALL.first_day + timedelta(days=day))
    features = taken.features()

    member, seen = histories(small, day)
    assert list(features.index) == list(small.member_ids[member])
    # Dates are all a shop keeps of the hours: less than a day is lost, and orders of one day.
    found = Histories.of(features.reset_index())
    assert np.abs(found.T - seen.T).max() <= 1.5 / 7
    # A return is no purchase; a day on which all was brought back is none either.
    assert (found.x <= seen.x).all()
    assert found.x.sum() >= 0.85 * seen.x.sum()


def test_labels_of_the_lake_are_what_happened(small: World, home: Settings) -> None:
    day = 98
    as_of = SMALL.first_day + timedelta(days=day)
    taken = snapshot.build(home, as_of)
    members = list(taken.features().index)
    member, _ = histories(small, day)

    labelled = outcomes(home, as_of, 28, members, taken.lake_version)

    orders, cents = happened(small, member, day, day + 28)
    np.testing.assert_array_equal(labelled.churned, orders == 0)
    # Some was brought back: of these orders, and of those just before.
    assert labelled.value_cents.sum() == pytest.approx(0.95 * cents.sum(), rel=0.03)


def test_every_table_has_the_columns_of_its_contract(small: World) -> None:
    for name, table in tables(small).items():
        contract = contracts.TABLES[name]
        assert set(table.columns) <= set(contract.column_names)
        assert set(contract.key) <= set(table.columns)
        assert not table.duplicated(list(contract.key)).any()


def test_a_machine_is_followed_by_what_goes_with_it_and_not_the_other_way() -> None:
    world = grow(Recipe(members=3_000, days=364, seed=2, joining_days=120, campaigns=0))
    member, product = world.orders.member[world.lines.order], world.lines.product
    placed = world.orders.placed_at[world.lines.order]

    for machine, accessory in goods.pairs():
        first = pd.Series(placed[product == machine]).groupby(member[product == machine]).min()
        other = pd.Series(placed[product == accessory]).groupby(member[product == accessory])
        both = pd.concat([first.rename("a"), other.max().rename("b")], axis=1)
        owners = both[both["a"].notna()]
        # Six in ten, of those who ever came back; hardly anyone else buys the accessory.
        assert (owners["b"] > owners["a"]).mean() > 4 * both["b"].notna().sum() / 3_000 / 2
        assert (owners["b"] > owners["a"]).mean() > 0.25


def test_the_command_writes_tables_truth_and_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def call(*words: str) -> None:
        monkeypatch.setattr("sys.argv", ["synthetic", *words])
        __main__.main()

    wanted = ("--members", "40", "--days", "70", "--seed", "3", "--dropout", "bgnbd")
    call(*wanted, "--out", str(tmp_path / "made"), "--home", str(tmp_path / "home"))

    made = {path.name for path in (tmp_path / "made").rglob("*") if path.is_file()}
    assert {"purchases.parquet", "members.parquet", "recipe.json", "campaign_c1.parquet"} <= made
    assert (tmp_path / "home" / "perennial.toml").exists()
    truth = pd.read_parquet(tmp_path / "made" / "truth" / "members.parquet")
    assert len(truth) == 40
    assert truth["silent_probability_28d"].between(0, 1).all()
    with pytest.raises(SystemExit) as stopped:
        call(*wanted, "--out", str(tmp_path / "made"))
    assert stopped.value.code not in (0, None)
    assert "is not empty. Nothing was written" in " ".join(capsys.readouterr().err.split())
    with pytest.raises(SystemExit) as helped:
        call("--help")
    assert helped.value.code == 0
    assert __main__.EXAMPLE in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"members": 0}, "0 members"),
        ({"days": 20, "joining_days": 10}, "20 days are fewer"),
        ({"joining_days": 400}, "members join over 400 of 365 days"),
        ({"seed": -1}, "the seed -1 is negative"),
        ({"weekdays": (1.0,) * 6}, "not seven positive numbers"),
        ({"weekdays": (2.0,) * 7}, "not seven positive numbers of mean 1"),
        ({"campaigns": -1}, "-1 campaigns"),
        ({"campaign_days": 10}, "10 campaign days are not whole weeks"),
        ({"campaigns": 40}, "40 campaigns of 14 days do not fit"),
        ({"propensities": (0.5, 1.5)}, "not between 0 and 1"),
        ({"response": (-1.5, 0.0)}, "takes more than all orders away"),
        ({"free_lines": -1.0}, "-1.0 lines"),
    ],
)
def test_a_world_that_cannot_be_is_refused(change: dict[str, Any], said: str) -> None:
    with pytest.raises(InputRefused, match=f"no such world.*{said}"):
        Recipe(**change)


def test_questions_a_world_cannot_answer_are_refused(small: World) -> None:
    with pytest.raises(InputRefused, match="Day 127 is not within the 126 days"):
        known_ahead(small, 127, 28)
    with pytest.raises(InputRefused, match="30 days"):
        known_ahead(small, 98, 30)
    with pytest.raises(InputRefused, match="ran 3 campaigns"):
        seen_ahead(small, 98, 28)


def test_the_truth_of_every_member_is_written_for_the_end_of_the_data(small: World) -> None:
    truth = members_truth(small)

    assert list(truth["member_id"]) == list(small.member_ids)
    assert truth["left"].isna().sum() == (~np.isfinite(small.left_at)).sum()
    assert (truth.loc[truth["left"].notna(), "silent_probability_91d"] == 1).all()
