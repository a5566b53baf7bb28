"""The catalogue: what is refused is named, and no tier gets in by any door."""

import pytest

from actions import offers
from features import table
from features.points import POINTS
from features.tags import rules
from programme.errors import InputRefused
from programme.settings import Programme

OFFER = """
version = "1"
[[offer]]
id = "voucher"
kind = "win_back"
name = { en = "Five off", zh = "减五元" }
says = { en = "Five euros off your next basket", zh = "下次购物减五元" }
channel = "sms"
contact_cost = 0.045
redeem_cost = 5
when = [{ column = "recency_days", at_least = 60 }]
"""


def test_a_catalogue_reads_and_prices_are_in_minor_units(shop: Programme) -> None:
    read = offers.read(OFFER, shop)

    assert read.minor_units(read.named("voucher").contact_cost) == 4.5
    assert read.minor_units(read.named("voucher").redeem_cost) == 500
    assert read.digest != offers.read(OFFER.replace("60", "61"), shop).digest


@pytest.mark.parametrize(
    ("was", "is_now", "said"),
    [
        ('channel = "sms"', 'channel = "sms"\ntier = "gold"', "offer.voucher.tier: there is no"),
        ('channel = "sms"', 'channel = "pigeon"', "it must be one of"),
        ("contact_cost = 0.045", "contact_cost = -1", "it must be at least 0"),
        ("contact_cost = 0.045", "contact_cost = nan", "number"),
        ("redeem_cost = 5", "redeem_cost = 1e30", "it must be at most"),
        ('id = "voucher"', 'id = "Fünf"', "it must match"),
        ("at_least = 60 }", "at_least = inf }", "finite"),
        ("recency_days", "recency_dais", "Did you mean recency_days"),
        ("recency_days", "habits.first_days", "no such column"),
        ("recency_days", "goods.baby.days_364d", "no such column"),
        ('kind = "win_back"', 'kind = "win_back"\nentitlement = true', "of kind care can be"),
        ('kind = "win_back"', 'kind = "care"\nreason = "price"', "only an offer of kind win_back"),
        ('channel = "sms"', 'channel = "points"', "says how many points"),
        ('channel = "sms"', 'channel = "sms"\npoints = 0.001', "finer than 2 decimal places"),
        ('channel = "sms"', 'channel = "sms"\nstock = 0', "it must be at least 1"),
        ('channel = "sms"', 'first_day = 2026-02-01\nlast_day = 2026-01-01\nchannel = "sms"',
         "last_day lies before first_day"),
        ('version = "1"', "", "version: it is missing"),
        ('version = "1"', 'version = "1"\n[guards]\nquiet_from = 25', "it must be at most 23"),
        ('version = "1"', "version = 1 2", "is not TOML"),
        ('version = "1"', "x = " + "[" * 20_000, "is not TOML"),
        ("contact_cost = 0.045", "contact_cost = 1e-999999999", "no number that can be worked"),
    ],
)  # fmt: skip
def test_a_faulty_catalogue_is_refused_by_name(
    shop: Programme, was: str, is_now: str, said: str
) -> None:
    assert was in OFFER
    with pytest.raises(InputRefused, match="No offer was read") as refused:
        offers.read(OFFER.replace(was, is_now, 1), shop)
    assert said in str(refused.value)


def test_two_offers_of_one_name_are_refused(shop: Programme) -> None:
    with pytest.raises(InputRefused, match="two offers are called voucher"):
        offers.read(OFFER + OFFER.replace('version = "1"', ""), shop)


@pytest.mark.parametrize("column", [column.name for column in POINTS.columns])
def test_no_offer_that_changes_what_members_buy_reads_what_a_tier_decided(
    shop: Programme, column: str
) -> None:
    how = 'among = ["gold"]' if column == "tier" else "at_least = 1"
    text = OFFER.replace("recency_days", column).replace("at_least = 60", how)

    if column in table.MODEL_COLUMNS:
        assert offers.read(text, shop)
    else:
        with pytest.raises(InputRefused, match="a tier decided"):
            offers.read(text, shop)


def test_a_notice_about_expiring_points_may_read_them_and_still_no_tier(shop: Programme) -> None:
    care = OFFER.replace("win_back", "care")

    assert offers.read(care.replace("recency_days", "points_expiring_28d"), shop)
    with pytest.raises(InputRefused, match="a tier decided"):
        offers.read(care.replace("recency_days", "tier_days"), shop)


def test_a_tag_that_reads_what_a_tier_multiplied_taints_the_offer_that_asks_for_it(
    shop: Programme,
) -> None:
    known = rules.read().expand(None)
    asks = OFFER.replace('column = "recency_days", at_least = 60', 'tag = "points_saver"')

    with pytest.raises(InputRefused, match="which reads points_"):
        offers.read(asks, shop).check_tags(known)
    offers.read(asks.replace("win_back", "care"), shop).check_tags(known)
    with pytest.raises(InputRefused, match="which nobody declared"):
        offers.read(asks.replace("points_saver", "no_such_tag"), shop).check_tags(known)
