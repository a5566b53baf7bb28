"""The page of columns is the code's own."""

from pathlib import Path

from features import listing, table

PAGE = Path(__file__).parents[2] / "docs" / "features.md"


def test_the_page_is_what_the_code_lists() -> None:
    assert PAGE.read_text("utf-8") == listing.as_markdown(), (
        "docs/features.md is old: .venv/bin/perennial features --list > docs/features.md"
    )


def test_every_column_says_what_it_is() -> None:
    for group in table.GROUPS:
        for column in group.columns:
            assert column.unit and len(column.meaning) > 3, column.name
            assert column.absent is not None or column.empty or group.empty
