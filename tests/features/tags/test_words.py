"""What a tag says of a member is true of all who hold it, those who stay by the exit included."""

import re
from collections.abc import Iterator

import pytest

from features.tags import rules
from features.tags.comparison import Compare
from features.tags.declared import Tag

TAGS = rules.read().expand(None, sensitive=True).tags
NUMBERS = {
    "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8,
    "nine": 9, "ten": 10, "fourteen": 14, "twenty": 20,
}  # fmt: skip
PARTS = {
    "half": 2, "third": 3, "quarter": 4, "fifth": 5, "sixth": 6, "seventh": 7, "eighth": 8,
    "tenth": 10,
}  # fmt: skip
_COUNT = "|".join(NUMBERS)
# "At least two baskets in five", "more than one of her gaps in seven".
OF_MANY = re.compile(rf"(?:at least|more than) ({_COUNT}) [\w' ]*?\bin ({_COUNT})\b", re.IGNORECASE)
# "At least two fifths of", "more than a quarter of".
OF_ALL = re.compile(
    rf"(?:at least|more than) (a|{_COUNT}) ({'|'.join(PARTS)})s? (?:of|off)\b", re.IGNORECASE
)
PLACE = re.compile(r"(?:top|lowest) (\d+) %")
AMONG = re.compile(rf"\bamong the ({'|'.join(PARTS)})\b", re.IGNORECASE)


def said_shares(tag: Tag) -> Iterator[float]:
    for part, whole in OF_MANY.findall(tag.says.en):
        yield NUMBERS[part.lower()] / NUMBERS[whole.lower()]
    for many, part in OF_ALL.findall(tag.says.en):
        yield (1 if many.lower() == "a" else NUMBERS[many.lower()]) / PARTS[part.lower()]


def loosest(tag: Tag, name: str) -> list[float]:
    """Return the value at which a holder stays, of each comparison of a kind."""
    compared = [one for one in tag.rule if isinstance(one, Compare)]
    given = [(getattr(one, name), one.exit) for one in compared]
    return [
        float(enter if stay is None else stay)
        for enter, stay in given
        if enter is not None
    ]  # fmt: skip


SHARES = [tag for tag in TAGS if list(said_shares(tag)) and loosest(tag, "at_least")]
PLACES = [tag for tag in TAGS if PLACE.search(tag.says.en)]


def test_there_is_something_to_hold_to_the_thresholds() -> None:
    assert len(SHARES) >= 60 and len(PLACES) >= 6


@pytest.mark.parametrize("tag", SHARES, ids=lambda tag: tag.id)
def test_a_share_that_is_said_is_reached_by_all_who_stay(tag: Tag) -> None:
    bounds = [bound for bound in loosest(tag, "at_least") if bound < 1.5]
    # "At least four in five from Monday to Friday" is at most a fifth at the weekend.
    bounds += [1 - bound for bound in loosest(tag, "at_most") if bound < 1]

    for said in said_shares(tag):
        assert any(said <= bound + 1e-9 for bound in bounds), (tag.says.en, said, bounds)


@pytest.mark.parametrize("tag", PLACES, ids=lambda tag: tag.id)
def test_a_place_that_is_said_is_kept_by_all_who_stay(tag: Tag) -> None:
    (said,) = (int(found) for found in PLACE.findall(tag.says.en))
    shares = [*loosest(tag, "top"), *loosest(tag, "bottom")]
    # Percentiles of scores count from 1 to 100: the 86th and better are 15 of them.
    shares += [(101 - bound) / 100 for bound in loosest(tag, "at_least")]
    shares += [bound / 100 for bound in loosest(tag, "at_most")]

    assert shares and all(share <= said / 100 + 1e-9 for share in shares), (tag.says.en, shares)
    assert f"{said}%" in tag.says.zh


def test_nobody_is_said_to_be_among_fewer_than_stay() -> None:
    for tag in TAGS:
        for part in AMONG.findall(tag.says.en):
            shares = [*loosest(tag, "top"), *loosest(tag, "bottom")]
            assert all(share <= 1 / PARTS[part.lower()] + 1e-9 for share in shares), tag.says.en


def test_a_change_that_may_have_stopped_is_not_said_to_go_on() -> None:
    for tag in TAGS:
        stopped = [
            one.column
            for one in tag.rule
            if isinstance(one, Compare) and one.exit == 0
            and any(word in one.column for word in ("trend", "momentum", "season_"))
        ]  # fmt: skip
        if stopped:
            assert re.search("since|gone back|not back", tag.says.en), tag.says.en
            assert re.search("此后|尚未", tag.says.zh), tag.says.zh
