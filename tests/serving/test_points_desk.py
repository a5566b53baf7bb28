"""The desk opens a ledger only as it was counted."""

from pathlib import Path

import pytest

from loyalty.points import post
from loyalty.postings import Request
from programme.errors import InputRefused
from programme.settings import PROGRAMME_FILE, Settings
from serving.points import PointsDesk
from tests.loyalty.shop import NOW, PROGRAMME


def test_a_scale_that_was_edited_after_points_were_posted_opens_nothing(
    desk: PointsDesk, tmp_path: Path
) -> None:
    post(desk.database, desk.rules.terms(NOW), Request("OPENING", "o1", "ann", 12_50), now=NOW)
    edited = PROGRAMME.model_copy(update={"points_scale": 0})
    (tmp_path / PROGRAMME_FILE).write_text(edited.as_toml())

    with pytest.raises(InputRefused, match=r"is 0, .* made with 2.*points_scale = 2"):
        _ = PointsDesk(Settings(home=tmp_path)).database

    (tmp_path / PROGRAMME_FILE).write_text(PROGRAMME.as_toml())
    again = PointsDesk(Settings(home=tmp_path))
    assert again.database.dialect == "sqlite"
    again.close()
