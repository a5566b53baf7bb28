"""The page of tags is the rules' own."""

from pathlib import Path

from features.tags import listing, rules

PAGE = Path(__file__).parents[2] / "docs" / "tags.md"


def test_the_page_is_what_the_rules_declare() -> None:
    assert PAGE.read_text("utf-8") == listing.as_markdown(rules.read().expand(None)), (
        "docs/tags.md is old: .venv/bin/perennial tags --list > docs/tags.md"
    )
