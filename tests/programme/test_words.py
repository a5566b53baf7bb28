import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from programme import words
from programme.errors import InputRefused
from training import explain

days = st.floats(0, 5_000)


def test_both_languages_say_the_same_codes_with_the_same_facts() -> None:
    english, chinese = words.codes("en"), words.codes("zh")

    assert english.keys() == chinese.keys()
    for code, sentences in english.items():
        assert [s.needs for s in sentences] == [s.needs for s in chinese[code]], code


def test_every_sentence_uses_its_facts_in_the_same_units_in_both_languages() -> None:
    def units(text: str) -> set[tuple[str | None, str | None]]:
        return {(name, unit) for _, name, unit, _ in string.Formatter().parse(text) if name}

    for code, sentences in words.codes("en").items():
        chinese = words.codes("zh")[code]
        assert [units(s.text) for s in sentences] == [units(s.text) for s in chinese], code


def test_every_code_can_be_said_without_any_fact() -> None:
    for language in words.LANGUAGES:
        for code, sentences in words.codes(language).items():
            assert sentences[-1].needs == frozenset(), code
            assert words.label(code, language) == sentences[-1].text


def test_every_driver_has_a_sentence_and_gives_the_facts_it_needs() -> None:
    for rule in explain.DRIVERS:
        for sentence in words.codes("en")[f"driver.{rule.code}"]:
            assert sentence.needs <= {*rule.facts, "currency"}, rule.code


def test_the_last_visit_is_said_with_the_members_own_habit() -> None:
    facts: dict[str, words.Fact] = {"recency_days": 34.0, "gap_days_mean": 9.2}

    assert words.label("driver.recency", "en", **facts) == (
        "Last visit 34 days ago, usually every 9 days"
    )
    assert words.label("driver.recency", "zh", **facts) == (
        "距上次到店34天，平时约每9天一次"  # noqa: RUF001 - Chinese has a comma of its own
    )


def test_a_member_without_a_habit_gets_the_sentence_without_it() -> None:
    said = words.label("driver.recency", "en", recency_days=1.0, gap_days_mean=float("nan"))

    assert said == "Last visit 1 day ago; too few visits to know the usual gap"


def test_small_numbers_keep_a_decimal_and_large_ones_do_not() -> None:
    said = words.label("driver.recency", "en", recency_days=1.46, gap_days_mean=1_234.6)

    assert said == "Last visit 1.5 days ago, usually every 1,235 days"


@pytest.mark.parametrize(
    ("currency", "cents", "said"),
    [
        ("EUR", 123_456.0, "EUR 1,234.56"),
        ("JPY", 1_234.0, "JPY 1,234"),
        ("KWD", 1_500.0, "KWD 1.500"),
    ],
)
def test_money_is_said_in_whole_units_of_its_currency(
    currency: str, cents: float, said: str
) -> None:
    # JPY has no minor unit and KWD a thousandth: ISO 4217.
    text = words.label("driver.spend_level", "en", spend_cents_mean=cents, currency=currency)

    assert text == f"Spends {said} a visit"


@pytest.mark.parametrize(
    ("tenure", "said"), [(40.0, "40 days"), (100.0, "3 months"), (800.0, "2 years")]
)
def test_long_spans_are_said_in_the_unit_one_would_use(tenure: float, said: str) -> None:
    assert words.label("driver.tenure", "en", tenure_days=tenure) == f"First visit {said} ago"


@given(recency=days, gap=days)
def test_a_sentence_names_the_rounded_facts_and_nothing_else(recency: float, gap: float) -> None:
    said = words.label("driver.recency", "en", recency_days=recency, gap_days_mean=gap)

    numbers = [float(word.replace(",", "")) for word in said.split() if word[0].isdigit()]
    assert numbers == [words.rounded(recency), words.rounded(gap)]


def test_no_sentence_shows_the_name_of_a_column() -> None:
    for language in words.LANGUAGES:
        for code, sentences in words.codes(language).items():
            for sentence in sentences:
                shown = "".join(text for text, *_ in string.Formatter().parse(sentence.text))
                assert "_" not in shown, code


def test_text_from_the_data_is_shown_as_it_is() -> None:
    said = words.label(
        "driver.breadth", "en", category_count_364d=3.0, top_category="{recency_days:days}"
    )

    assert said == "Buys from 3 categories, mostly {recency_days:days}"


def test_a_language_we_do_not_speak_is_refused_by_name() -> None:
    with pytest.raises(InputRefused, match=r"'fr'.*en, zh"):
        words.label("driver.other", "fr")


def test_an_unknown_code_is_a_fault_of_ours() -> None:
    with pytest.raises(KeyError):
        words.label("driver.nonsense", "en")
