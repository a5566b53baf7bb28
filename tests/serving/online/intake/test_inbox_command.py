"""The command line of the inbox says how far things are, for people and for programs."""

import json
from pathlib import Path

from typer.testing import CliRunner

import perennial
from programme.database import Database
from programme.errors import NotReady
from programme.settings import Settings
from serving.online.kafka_source import Letter, keep
from serving.online.rows import Fault
from tests.serving.online.intake.till import NOW, event, found_home, hand_in, line


def asked(home: Path, *words: str) -> str:
    done = CliRunner().invoke(perennial.app, ["--home", str(home), "inbox", *words])
    assert done.exit_code == 0, done.output
    return done.output


def test_show_flush_and_dead_say_what_there_is(tmp_path: Path) -> None:
    home = found_home(Settings(home=tmp_path / "home"))
    database = Database.open(home)
    hand_in(database, [line(), event()])
    keep(database, [Letter("till", 0, 1, b"x", Fault("malformed_message", ""))] * 2, NOW)

    before = json.loads(asked(home.home, "show", "--json"))
    flushed = asked(home.home, "flush")
    again = asked(home.home, "flush")
    after = json.loads(asked(home.home, "show", "--json"))

    waiting = {"rows": 2, "since": NOW.isoformat()}
    assert before == {"last": 2, "position": 0, "waiting": waiting}
    assert after == {"last": 2, "position": 2, "waiting": waiting}
    assert "the lake holds the inbox up to row 2" in flushed
    assert "nothing had come since the last flush" in again
    assert json.loads(asked(home.home, "dead", "--json")) == [
        {"topic": "till", "reason": "malformed_message", "column": None, "messages": 1}
    ]
    assert "1 of till: malformed_message" in asked(home.home, "dead")
    database.close()


def test_a_home_without_a_programme_is_told_what_comes_first(tmp_path: Path) -> None:
    done = CliRunner().invoke(perennial.app, ["--home", str(tmp_path), "inbox", "flush"])

    assert isinstance(done.exception, NotReady)
    assert "Ingest something first" in str(done.exception)
