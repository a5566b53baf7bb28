import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.api.language import choose

OFFERED = ["en", "zh"]


@pytest.mark.parametrize(
    ("accepted", "spoken"),
    [
        (None, "en"),
        ("", "en"),
        ("zh", "zh"),
        ("zh-Hans-CN, en;q=0.5", "zh"),
        ("en;q=0.2, zh-CN;q=0.9", "zh"),
        ("fr, de;q=0.9", "en"),
        ("zh;q=0", "en"),
        ("ZH-cn", "zh"),
        ("*", "en"),
        ("zh;q=nonsense", "en"),
    ],
)
def test_the_best_liked_offered_language_is_spoken(accepted: str | None, spoken: str) -> None:
    assert choose(accepted, OFFERED) == spoken


@given(st.text(max_size=600))
def test_any_header_gives_an_offered_language(accepted: str) -> None:
    assert choose(accepted, OFFERED) in OFFERED
