"""The report: judged on a pair of days, on what came after, in files that can be read."""

import csv
import json
from datetime import date, timedelta
from pathlib import Path

import pandas as pd
import pytest

from features import engine, snapshot, table
from features.lake import Lake
from features.tags import outcomes, quality, report, rules
from features.tags.outcomes import OUTCOMES
from features.tags.store import Tagged
from programme.errors import InputRefused
from programme.settings import Settings
from tests.features import shop
from tests.features.shop import AS_OF, MIDNIGHT, ZONE, Till, contact, line, product
from tests.features.tags.conftest import write_few
from tests.features.tags.test_store import mine, own_tags

pytestmark = pytest.mark.usefixtures("few_rules")
Judged = tuple[quality.Report, Tagged]
DAY, HOUR = timedelta(days=1), timedelta(hours=1)
LATER = AS_OF + timedelta(days=28)
SATURDAY = MIDNIGHT + 6 * DAY  # as_of is a Sunday


def happened(home: Settings) -> pd.DataFrame:
    """Return what the members of `AS_OF` did in the 28 days after it."""
    taken = snapshot.build(home, AS_OF)
    lake = Lake(home)
    members = f"select member_id from read_parquet({engine.text(taken.path / 'features.parquet')})"
    with engine.connect(home) as connection:
        table.prepare(connection, lake, lake.manifest(), LATER, ZONE, frozen=taken.reference)
        outcomes.measure(connection, members, 28, ("baby",), (("BABY FOODS", "baby"),))
        return connection.execute("select * from tag_outcomes").df().set_index("member_id")


def test_outcomes_are_counted_by_hand(home: Settings) -> None:
    catalogue = [product("milk", "MILK", private_label=True),
                 product("puree", "BABY FOODS", private_label=False)]  # fmt: skip
    before = MIDNIGHT - 40 * DAY
    rows = [
        line("ann", before, 1_000, product_id="milk"),
        line("bob", before, 1_000, product_id="milk"),
        # Saturday noon: two lines, one new category; a quarter off, with a coupon.
        line("ann", SATURDAY + 12 * HOUR, 900, product_id="milk", order_id="s", line_no="1",
             discount_cents=300, coupon_cents=50, store_id="north"),
        line("ann", SATURDAY + 12 * HOUR, 600, product_id="puree", order_id="s", line_no="2",
             discount_cents=200, store_id="north"),
        # Monday evening at full price elsewhere, and one on the day after the horizon.
        line("ann", SATURDAY + 2 * DAY + 18 * HOUR, 500, product_id="milk", store_id="south"),
        line("ann", MIDNIGHT + 28 * DAY + HOUR, 7_777, product_id="milk"),
        line(None, MIDNIGHT + 50 * DAY),
    ]  # fmt: skip
    answers = [contact("ann", MIDNIGHT + DAY, kind="redeemed", contact_id="c")]
    shop.take(home, Till(rows, catalogue, contacts=answers))

    found = happened(home)
    ann, bob = (found.loc[name].to_dict() for name in ("ann", "bob"))

    expected = {
        "buys": 1, "spend": 2_000, "orders": 2, "purchase_days": 2, "basket_cents": 1_000,
        "discount_share": 500 / 2_500, "coupon": 1, "full_price_share": 0.5, "deep_share": 0.5,
        "weekend_share": 0.5, "saturday_share": 0.5, "monday_share": 0.5, "lunch_share": 0.5,
        "evening_share": 0.5, "after_work_share": 0.5, "stores": 2, "categories": 2,
        "new_categories": 1, "private_share": 2 / 3, "goods.baby": 1, "leaves": 0, "returns": 0,
        "redeems": 1,
    }  # fmt: skip
    assert {name: ann[name] for name in expected} == pytest.approx(expected)
    did = {"buys": 0, "leaves": 1, "spend": 0, "redeems": 0, "goods.baby": 0}
    assert {name: bob[name] for name in did} == did
    assert all(pd.isna(bob[name]) for name in ("discount_share", "weekend_share", "price_index"))


def test_every_outcome_has_words_and_is_measured(home: Settings) -> None:
    shop.take(home, shop.year())

    assert set(OUTCOMES) | {"goods.baby"} == set(happened(home).columns)
    for name in OUTCOMES:
        assert outcomes.words(name, "en", {}) and outcomes.words(name, "zh", {})
    assert outcomes.words("goods.baby", "zh", {"baby": "母婴用品"}) == "会购买母婴用品"


@pytest.fixture(scope="module")
def judged_year(tmp_path_factory: pytest.TempPathFactory) -> Judged:
    """Return the report on a year of a few rules, for tests that look at it."""
    folder = tmp_path_factory.mktemp("judged")
    home = Settings(home=folder / "home", threads=2)
    shop.take(home, shop.year(baskets=60))
    own_tags(
        home,
        mine('{ column = "purchase_days", at_least = 0 }', "everybody"),
        mine('{ column = "purchase_days", at_least = 999 }', "nobody"),
        mine('{ tag = "nobody" }', "like_nobody"),
        mine('{ column = "purchase_days", at_least = 1 }').replace(
            'en = "mine"', 'en = "<b>mine</b>"'
        ),
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rules, "BUILT_IN", write_few(folder / "few"))
        return quality.judge(home, AS_OF)


def test_a_report_is_judged_on_a_pair_of_days_with_memory(judged_year: Judged) -> None:
    judged, tagged = judged_year

    assert (judged.before, judged.as_of) == (AS_OF - timedelta(days=28), AS_OF)
    assert judged.memory == tuple(AS_OF - timedelta(days=28 * n) for n in (4, 3, 2))
    assert tagged.meta["chain"] == 4
    of = {one.id: one for one in judged.tags}
    everybody, nobody = of["everybody"], of["nobody"]
    assert (everybody.coverage, everybody.flip_rate) == (1.0, 0.0)
    assert "coverage" in everybody.failures
    # Nobody bought in the four weeks after, so nothing can be said of buying.
    assert everybody.lift.value is None
    # Held since the first of five days, 28 apart.
    assert everybody.age_days == 112
    assert (nobody.members, nobody.flip_rate, nobody.age_days) == (0, None, None)
    assert nobody.failures == ("coverage", "flip rate")
    assert not any(one.counted for one in (everybody, nobody, of["like_nobody"]))


def test_the_files_can_be_read_and_say_the_same(judged_year: Judged, tmp_path: Path) -> None:
    judged, tagged = judged_year

    page = report.write(tmp_path / "reports", judged, tagged.rules)

    content = json.loads(page.with_suffix(".json").read_text("utf-8"))
    with page.with_suffix(".csv").open(encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    text = page.read_text("utf-8")
    assert [row["id"] for row in lines] == [row["id"] for row in content["tags"]]
    assert content["criteria"]["flip_rate_below"] == 0.2
    assert str(AS_OF) in text and "&lt;b&gt;mine&lt;/b&gt;" in text and "<b>mine</b>" not in text


@pytest.mark.parametrize(
    ("day", "says"),
    [
        (AS_OF + timedelta(days=40), "what members did until 2024-06-14, and .* Choose a day from"),
        (AS_OF - timedelta(days=375), "the tags of 2023-03-01, and the data .* Choose a day from"),
    ],
)
def test_a_day_that_cannot_be_judged_is_refused(day: date, says: str, home: Settings) -> None:
    shop.take(home, shop.year())

    with pytest.raises(InputRefused, match=says):
        quality.judge(home, day)


def test_data_too_short_to_judge_say_from_which_day_they_can_be(home: Settings) -> None:
    days = [line("ann", MIDNIGHT + n * DAY) for n in range(57)]
    shop.take(home, Till(days[:50]))

    with pytest.raises(InputRefused) as refused:
        quality.judge(home, AS_OF + timedelta(days=22))

    # 28 days with tags before it and the day of the first purchase; 28 days after it.
    assert "The first day that can be judged is 2024-05-06" in str(refused.value)
    assert "once the data reach 2024-06-03" in str(refused.value)
    shop.take(home, Till(days))
    judged, _ = quality.judge(home, date(2024, 5, 6))
    assert (judged.before, judged.memory) == (date(2024, 4, 8), ())


def test_tags_of_segments_are_judged_with_the_others(judged_year: Judged) -> None:
    judged, tagged = judged_year

    of_segments = {one.id for one in judged.tags if one.family == "segment"}
    assert of_segments == {one.id for one in tagged.rules.tags if one.family == "segment"}
    assert "rfm_champions" in of_segments
    held = tagged.wide()[sorted(of_segments)].notna()
    assert held.any(axis=1).all()


def test_no_more_than_so_many_of_goods_count(monkeypatch: pytest.MonkeyPatch) -> None:
    ours = rules.read().expand(None)
    fond = [one for one in ours.tags if one.of_goods]
    rows = [(one, 10, 0.1, None, None, None, None, 0.0) for one in fond]
    monkeypatch.setattr(quality, "OF_GOODS_MOST", 1)

    found = quality._counted(rows, 100)

    assert sum(counts for counts, _ in found.values()) == 1
    assert len(fond) == 2
