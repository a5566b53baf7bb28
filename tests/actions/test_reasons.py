"""Inferred reasons: rules one can check, no tier, nothing where little is known, labelled."""

import json
from datetime import date, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actions import reasons, signs
from actions.offers import TIER_DERIVED, Offer
from actions.reasons import REASONS, Inferred, infer
from actions.signs import LIFE_GOODS, READS, Seen
from features import table
from programme import words
from programme.errors import InputRefused
from tests.little_programme import AS_OF, LittleProgramme

DAY = date(2024, 9, 2)
N = 400
HER = "m007"


def members(seed: int = 1, n: int = N) -> pd.DataFrame:
    """Return members who all still come, each a little different, none of them extreme."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame({"member_id": [f"m{one:03d}" for one in range(n)]}).set_index("member_id")
    near = {name: 0.2 + 0.001 * rng.random(n) for name in signs.DAYPARTS}
    values: dict[str, Any] = {
        "recency_days": rng.integers(1, 14, n), "purchase_days_84d": rng.integers(8, 20, n),
        "purchase_days_182d": 30, "purchase_days_364d": rng.integers(30, 60, n),
        "orders_182d": 30, "complaints_364d": 0, "services_364d": 0,
        "return_rate_shrunk": 0.02 + 0.01 * rng.random(n), "return_orders_364d": 1,
        "return_share_364d": 0.01, "days_since_return": 200,
        "discount_share_84d": 0.15 + 0.02 * rng.random(n),
        "discount_share_364d": 0.05 + 0.02 * rng.random(n),
        "discount_trend_84d": 0.02 * (rng.random(n) - 0.5),
        "full_price_orders_share_364d": 0.3 + 0.1 * rng.random(n),
        "discount_orders_share_364d": 0.7, "coupon_orders_share_364d": 0.05 * rng.random(n),
        "days_since_coupon": 30.0, "price_trend_182d": 0.05 * (rng.random(n) - 0.5),
        "lost_category_share_84d": 0.4, "top_category_momentum": 0.02 * (rng.random(n) - 0.5),
        "basket_lines_trend_84d": 0.1 * (rng.random(n) - 0.5),
        "gap_trend": 0.2 * (rng.random(n) - 0.5), "gap_days_mean": 7.0,
        "gap_days_mean_recent": 7.0, "home_store_changed_84d": 0.0, "top_channel": "shop", **near,
    }  # fmt: skip
    return frame.assign(**values)


EXTREME: dict[str, tuple[str, dict[str, float | str]]] = {
    "complaint": ("service", {"complaints_364d": 2}),
    "calls": ("service", {"services_364d": 6}),
    "returns": (
        "service",
        {"return_rate_shrunk": 0.2, "return_orders_364d": 4, "days_since_return": 20},
    ),
    "dependence": ("price", {"discount_trend_84d": 0.2, "discount_share_84d": 0.4}),
    "deals_only": (
        "price", {"discount_share_364d": 0.4, "full_price_orders_share_364d": 0.01},
    ),
    "coupons": ("price", {"coupon_orders_share_364d": 0.6, "days_since_coupon": 9}),
    "trading_down": ("price", {"price_trend_182d": -0.4}),
    "life": ("need_gone", {"goods.baby.days_364d": 12, "goods.baby.last_days": 150}),
    "categories": ("need_gone", {"lost_category_share_84d": 0.9}),
    "favourite": ("need_gone", {"top_category_momentum": -0.3}),
    "thinning": ("habit_shift", {"gap_trend": 0.9, "gap_days_mean_recent": 21}),
    "store": ("habit_shift", {"home_store_changed_84d": 1}),
    "daypart": (
        "habit_shift", {"night_share_182d": 0.9, **dict.fromkeys(signs.DAYPARTS[:4], 0.025)},
    ),
    "channel": ("habit_shift", {"top_channel": "app"}),
}  # fmt: skip


def changed(frame: pd.DataFrame, who: str, facts: dict[str, float | str]) -> pd.DataFrame:
    new = frame.astype({name: object if isinstance(value, str) else float
                        for name, value in facts.items() if name in frame})  # fmt: skip
    for name, value in facts.items():
        if name not in new:
            new[name] = np.nan
        new.loc[who, name] = value
    return new


def of(frame: pd.DataFrame, **more: object) -> dict[str, Inferred | None]:
    """Infer of everybody, with the same members a season before behind the day."""
    days = [Seen(DAY, frame), Seen(DAY - timedelta(days=84), members())]
    found = infer(days, np.ones(len(frame), dtype=bool), **more)  # type: ignore[arg-type]
    return dict(zip(frame.index, found, strict=True))


def drivers(frame: pd.DataFrame, code: str) -> pd.Series:
    """Say that one driver raised her score and others raised everybody's."""
    usual: list[dict[str, Any]] = [
        {"code": other, "contribution": 1.0, "parameters": {}}
        for other in ("promotion", "rhythm", "category_change", "returns")
    ]
    told = pd.Series(json.dumps(usual), index=frame.index)
    told[HER] = json.dumps([*usual, {"code": code, "contribution": 6.0, "parameters": {}}])
    return told


def test_no_reason_can_read_what_a_tier_decided() -> None:
    assert not READS & TIER_DERIVED
    assert READS - set(table.ALL_COLUMNS) == {"survey"} | {
        f"goods.{kind}.{fact}" for kind in LIFE_GOODS for fact in ("days_364d", "last_days")
    }


@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=10, deadline=None)
def test_whatever_a_tier_says_every_reason_stays(seed: int) -> None:
    rng = np.random.default_rng(seed)
    frame = members(seed % 5)
    for who, (_, facts) in zip(frame.index, EXTREME.values(), strict=False):
        frame = changed(frame, who, facts)
    tiers = {name: rng.permutation(np.arange(N, dtype=float)) for name in sorted(TIER_DERIVED)}

    assert of(frame) == of(frame.assign(**tiers))


@pytest.mark.parametrize("sign", EXTREME)
def test_who_is_extreme_in_one_way_alone_gets_that_reason(sign: str) -> None:
    reason, facts = EXTREME[sign]

    found = of(changed(members(), HER, facts))[HER]

    assert found is not None
    assert (found.reason, found.evidence) == (reason, sign)


@pytest.mark.parametrize("sign", EXTREME)
@pytest.mark.parametrize("language", words.LANGUAGES)
def test_every_sign_is_said_with_its_facts_and_as_inferred(sign: str, language: str) -> None:
    found = of(changed(members(), HER, EXTREME[sign][1]))[HER]
    assert found is not None

    said = found.said(language)

    label = {"en": "Inferred: ", "zh": "推断："}[language]  # noqa: RUF001 - a Chinese colon
    assert said.startswith(label)
    first = words.codes(language)[f"inferred.{found.reason}.{sign}"][0]
    assert first.needs <= found.facts.keys(), "the most telling wording could not be said"


def test_price_is_said_as_a_marketer_would_say_it() -> None:
    facts = EXTREME["dependence"][1]

    found = of(changed(members(), HER, facts))[HER]

    assert found is not None
    assert found.said("en") == (
        "Inferred: price — bought at 40% off the full price in the last 12 weeks, 20% in the 12 "
        "before"
    )


def test_who_is_as_the_others_gets_no_reason() -> None:
    few = [one for one in of(members()).values() if one is not None]

    assert few == []


@pytest.mark.parametrize("thin", [{"purchase_days_364d": 7}, {"purchase_days_84d": 2}])
@pytest.mark.parametrize("sign", sorted(EXTREME.keys() - {"complaint", "life"}))
def test_where_little_is_known_of_her_nothing_is_inferred(
    sign: str, thin: dict[str, float | str]
) -> None:
    frame = changed(changed(members(), HER, EXTREME[sign][1]), HER, thin)

    assert of(frame)[HER] is None


@pytest.mark.parametrize("sign", sorted(EXTREME.keys() - {"complaint", "life", "channel"}))
def test_a_small_programme_has_no_quantiles_to_be_extreme_in(sign: str) -> None:
    frame = changed(members(n=90), HER, EXTREME[sign][1])

    assert of(frame)[HER] is None


def test_what_everybody_has_sets_nobody_apart() -> None:
    frame = members().assign(discount_trend_84d=0.2, discount_share_84d=0.4)

    assert not any(of(frame).values())


def test_a_column_that_is_not_known_is_no_sign_and_no_fault() -> None:
    frame = changed(members(), HER, EXTREME["trading_down"][1])
    short = frame[["recency_days", "purchase_days_84d", "purchase_days_182d",
                   "purchase_days_364d", "price_trend_182d"]]  # fmt: skip

    found = infer([Seen(DAY, short)], np.ones(N, dtype=bool))[list(frame.index).index(HER)]

    assert found is not None
    assert found.reason == "price"


def test_what_she_said_decides_whatever_she_did() -> None:
    frame = changed(members(), HER, EXTREME["deals_only"][1] | EXTREME["complaint"][1])

    found = of(frame, drivers=drivers(frame, "promotion"))[HER]

    assert found is not None
    assert found.evidence == "complaint"


@pytest.mark.parametrize(
    ("code", "reason"), [("promotion", "price"), ("category_change", "need_gone")]
)
def test_of_two_signs_the_one_whose_driver_raised_her_score_counts(code: str, reason: str) -> None:
    both = EXTREME["deals_only"][1] | EXTREME["categories"][1]
    frame = changed(members(), HER, both)

    found = of(frame, drivers=drivers(frame, code))[HER]

    assert found is not None
    assert found.reason == reason


def test_drivers_never_make_a_reason_that_no_sign_shows() -> None:
    frame = members()

    assert not any(of(frame, drivers=drivers(frame, "promotion")).values())


def test_the_order_of_members_does_not_matter() -> None:
    frame = changed(members(), HER, EXTREME["favourite"][1])
    mixed = frame.sample(frac=1, random_state=3)

    assert of(frame) == of(mixed)


@given(st.lists(st.booleans(), min_size=N, max_size=N))
@settings(max_examples=10, deadline=None)
def test_only_of_those_asked_is_anything_said_and_the_others_change_nothing(
    asked: list[bool],
) -> None:
    frame = members()
    for who, (_, facts) in zip(frame.index, EXTREME.values(), strict=False):
        frame = changed(frame, who, facts)
    everybody = of(frame).values()

    some = infer([Seen(DAY, frame), Seen(DAY - timedelta(days=84), members())], np.array(asked))

    assert some == [one if mine else None for one, mine in zip(everybody, asked, strict=True)]


def test_a_silent_member_is_judged_as_when_she_still_came() -> None:
    before = changed(members(), HER, EXTREME["dependence"][1])
    gone = changed(members(), HER, {"recency_days": 70, "purchase_days_84d": 1})
    days = [Seen(DAY, gone), Seen(DAY - timedelta(days=63), before)]

    found = infer(days, np.ones(N, dtype=bool))[list(before.index).index(HER)]

    assert found is not None
    assert found.reason == "price"
    assert found.facts["silent_days"] == 70
    assert found.said("en").endswith("; nothing bought for 70 days since")


def test_who_held_a_reason_keeps_it_a_little_longer() -> None:
    frame = members()
    rises = frame["discount_trend_84d"].rank(pct=True)
    frame["discount_trend_84d"] = 0.02 + 0.1 * rises
    frame["discount_share_84d"] = 0.2 + 0.1 * rises
    just_below = str((rises - 0.87).abs().idxmin())
    held = pd.Series({just_below: "price"})

    assert of(frame)[just_below] is None
    kept = of(frame, held=held)[just_below]
    assert kept is not None
    assert kept.reason == "price"
    assert of(frame, held=pd.Series({just_below: "need_gone"}))[just_below] is None


def test_a_bad_answer_to_a_survey_is_service_trouble() -> None:
    rng = np.random.default_rng(2)
    frame = members().assign(survey=rng.integers(7, 11, N).astype(float))

    found = of(changed(frame, HER, {"survey": 1}))[HER]

    assert found is not None
    assert (found.reason, found.evidence) == ("service", "survey")


def test_an_offer_with_a_reason_is_for_members_with_that_reason_only() -> None:
    found = [Inferred("price", "coupons", {}), None, Inferred("service", "complaint", {})]
    says = {"en": "a", "zh": "b"}
    any_member = {"kind": "win_back", "name": says, "says": says, "channel": "email"}
    offers = [Offer.model_validate({"id": f"for_{reason}".lower(), "reason": reason, **any_member})
              for reason in ("price", "need_gone", None)]  # fmt: skip

    suits = reasons.answers(found, offers)

    assert suits.tolist() == [[True, False, True], [False, False, True], [False, False, True]]


def test_what_the_data_do_not_carry_is_said() -> None:
    nothing_of_service = members().drop(columns=["complaints_364d", "services_364d"])
    nothing_of_service["days_since_return"] = np.nan

    assert reasons.unjudged(Seen(DAY, members())) == []
    assert reasons.unjudged(Seen(DAY, nothing_of_service)) == ["service"]
    for language in words.LANGUAGES:
        for reason in REASONS:
            assert words.label(f"inferred.unjudged.{reason}", language)


def test_bad_questions_are_refused_by_name() -> None:
    frame, everybody = members(), np.ones(N, dtype=bool)
    seen = Seen(DAY, frame)

    with pytest.raises(InputRefused, match="there is none"):
        infer([], everybody)
    with pytest.raises(InputRefused, match="newest first"):
        infer([seen, seen], everybody)
    with pytest.raises(InputRefused, match="no recency_days"):
        infer([Seen(DAY, frame.drop(columns="recency_days"))], everybody)
    with pytest.raises(InputRefused, match="'m000' has two rows"):
        infer([Seen(DAY, pd.concat([frame, frame.head(1)]))], np.ones(N + 1, dtype=bool))
    with pytest.raises(InputRefused, match="there are 400"):
        infer([seen], everybody[1:])


def test_reasons_of_a_real_home_read_what_is_there(trained: LittleProgramme) -> None:
    days, told = reasons.read(trained.settings, AS_OF)

    # Another test may have built an earlier day of the same home.
    assert days[0].as_of == AS_OF
    assert told is None
    assert set(days[0].features) <= READS
    found = infer(days, np.ones(len(days[0].features), dtype=bool))
    assert {one.reason for one in found if one is not None} <= set(REASONS)
