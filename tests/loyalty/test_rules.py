"""Rules are checked whole before they are used; a version that was adopted never changes."""

from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import pytest

from loyalty import rules as written
from loyalty.rulebook import Rulebook, adopt, load
from loyalty.rules import read, read_file
from programme.database import Database
from programme.errors import InputRefused, NotReady
from tests.loyalty.shop import NOW, PROGRAMME, RULES, rules

WRONG = {
    "points = 1\n": ["points = 'one'\n", "points = -1\n", "poins = 1\n"],
    "unit = 1.00": ["unit = 0", "unit = nan", "unit = inf"],
    "valid_from = 2018-01-01": ['valid_from = "soon"', "valid_from = 3", ""],
    'version = "2018-01"': ['version = "a b"', "version = 1", ""],
    "factor = 2": ["factor = -2", "factor = 1001"],
    'category = "TOBACCO"': ["", "category = 7"],
    "days_of_month = [8]": ["days_of_month = [0]", "days_of_month = [32]", "days_of_month = 8"],
    "daily_cap = 200": ["daily_cap = 0.001", "daily_cap = -1"],
    'kind = "review"': ['kind = "check_in"'],
    "from_value = true": ["", "from_value = true\npoints = 3"],
    "max_points = 800\n": [""],
    'window = "year"': ['window = "rolling"', 'window = "decade"', 'window = "year"\ndays = 3'],
    "grace_days = 30": ["grace_days = 365", "grace_days = -1"],
    "threshold = 1000": ["threshold = 0", "threshold = 6000", "threshold = 10.001"],
    "retain = 800": ["retain = 1001"],
    'name = "gold"': ['name = "silver"', 'name = ""'],
    'name = "silver"\n': ['name = "silver"\nthreshold = 5\n'],
    'until = "days"': ['until = "forever"'],
    "count = 365": ["count = -1", "count = 1.5"],
}


@pytest.mark.parametrize(
    ("right", "wrong"), [(right, wrong) for right in WRONG for wrong in WRONG[right]]
)
def test_a_mistake_in_the_rules_names_the_key_and_changes_nothing(right: str, wrong: str) -> None:
    assert right in RULES

    with pytest.raises(InputRefused, match="No rule was changed") as refused:
        read(RULES.replace(right, wrong, 1), PROGRAMME, "my.toml")

    assert "my.toml" in str(refused.value)
    assert "Input should" not in str(refused.value)


def test_a_file_that_is_not_toml_or_not_there_is_said_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(InputRefused, match="is not TOML"):
        read("= 3", PROGRAMME)
    with pytest.raises(InputRefused, match="cannot be read"):
        read_file(tmp_path / "none.toml", PROGRAMME)


def test_the_example_is_good_rules_at_every_scale_of_points() -> None:
    text = Path(written.__file__).with_name("example.toml").read_text("utf-8")

    for scale in (0, 2, 4):
        found = read(text, PROGRAMME.model_copy(update={"points_scale": scale}))
        assert found.points(found.file.earn.points) == 10**scale


def test_the_version_of_a_day_is_the_last_that_began_by_then(database: Database) -> None:
    first = rules()
    second = rules(**{'"2018-01"': '"2018-06"', "2018-01-01": "2018-06-01"})
    for version in (second, first):
        assert adopt(database, PROGRAMME, version, now=NOW)

    book = load(database, PROGRAMME)

    assert book.on(date(2018, 5, 31)).version == "2018-01"
    assert book.on(date(2018, 6, 1)).version == "2018-06"
    with pytest.raises(NotReady, match="perennial points rules"):
        book.on(date(2017, 12, 31))


def test_an_adopted_version_is_kept_and_never_changed(database: Database) -> None:
    first = rules()
    assert adopt(database, PROGRAMME, first, now=NOW)
    assert not adopt(database, PROGRAMME, first, now=NOW + timedelta(days=1))

    with pytest.raises(InputRefused, match="other content"):
        adopt(database, PROGRAMME, rules(**{"points = 1\n": "points = 2\n"}), now=NOW)
    with pytest.raises(InputRefused, match="another valid_from"):
        adopt(database, PROGRAMME, rules(**{'"2018-01"': '"2018-02"'}), now=NOW)
    assert [known.version for known in load(database, PROGRAMME).versions] == ["2018-01"]


def test_books_that_are_closed_stay_closed(database: Database) -> None:
    shut = "[limits]\nclosed_through = 2018-03-31\n\n[points]"
    adopt(database, PROGRAMME, rules(**{"[points]": shut}), now=NOW)
    later = {'"2018-01"': '"b"', "2018-01-01": "2019-01-01"}

    for opened in ({}, {"[points]": shut.replace("03-31", "02-28")}):
        with pytest.raises(InputRefused, match="close the books through 2018-03-31, and b"):
            adopt(database, PROGRAMME, rules(**later, **opened), now=NOW)
    assert adopt(database, PROGRAMME, rules(**later, **{"[points]": shut}), now=NOW)


def test_a_rulebook_sorts_what_it_is_given() -> None:
    later = rules(**{'"2018-01"': '"b"', "2018-01-01": "2019-01-01"})

    book = Rulebook(PROGRAMME, [later, rules()])

    assert [known.version for known in book.versions] == ["2018-01", "b"]
    assert replace(later) == later
