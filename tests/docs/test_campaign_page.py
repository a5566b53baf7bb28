"""The page on campaigns: its files are read, and it names what there is."""

import tomllib
from pathlib import Path

from typer.testing import CliRunner

import perennial_act
from actions import brief, offers
from actions.dispatch import ATTEMPTS_MAX
from actions.effects import RATIO_ALARM
from actions.routes import SECRET_LENGTH_MIN, Routes
from actions.triggers import TriggersFile
from programme.settings import Programme
from serving.webhooks import KEY, MOMENT, SIGNATURE
from tests.docs.test_how_to import PAGES, blocks

PAGE = "run-a-campaign.md"


def test_its_files_are_read() -> None:
    files = {name: text for language, name, _, text in blocks(PAGE) if language == "toml"}

    asked = brief.read(files["autumn.toml"]).brief
    programme = Programme(name="shop", timezone="UTC", currency="EUR")
    folder = Path(offers.__file__).with_name("catalogues")
    catalogue = offers.read_file(folder / "retail.toml", programme)
    asked.chosen(catalogue)
    declared = TriggersFile.model_validate(tomllib.loads(files["triggers.toml"])).trigger
    assert {one.on for one in declared} == {"stage", "score", "points_expiring", "event"}
    assert all(catalogue.named(offer) for one in declared for offer in one.offers)
    routes = Routes.model_validate(tomllib.loads(files["channels.toml"]))
    assert routes.of("sms").via == "webhook" and routes.of("email").format == "parquet"


def test_its_commands_and_names_are_those_there_are() -> None:
    said = (PAGES / PAGE).read_text("utf-8")
    help_ = CliRunner().invoke(perennial_act.app, ["--help"], env={"COLUMNS": "200"}).output

    for verb in ("propose", "preview", "approve", "launch", "deliver", "suppress", "read", "close",
                 "feed", "trigger"):  # fmt: skip
        assert f"perennial act {verb}" in said or f"`{verb}`" in said
        assert verb in help_
    for name in (KEY, MOMENT, SIGNATURE):
        assert f"`{name}`" in said
    assert ATTEMPTS_MAX == 8 and "eight times in all" in said
    assert RATIO_ALARM == 0.001 and "p below 0.001" in said
    assert SECRET_LENGTH_MIN == 16 and "at least 16 characters" in said
