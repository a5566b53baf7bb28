"""The command line: every verb from an export to a file of scores, every refusal in one line."""

import contextlib
import errno
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn
from unittest import mock

import pandas as pd
import pytest
import typer

import perennial
from features import snapshot
from programme.settings import Settings
from serving import start as starting
from tests.training import grocer
from training import registry

REPOSITORY = Path(__file__).parents[1]
VERBS = (
    "ingest", "features", "segments", "tags", "profile", "train", "leaderboard", "promote",
    "score", "serve",
)  # fmt: skip
# What each verb needs to get as far as looking for the programme.
ASKING = {
    "features": (),
    "segments": (),
    "profile": ("m001",),
    "tags": (),
    "train": ("churn",),
    "leaderboard": (),
    "score": (),
}
CHEAP = "repeat_28d"


@dataclass(frozen=True)
class Said:
    """What a command answered."""

    exit_code: int
    out: str
    err: str


def run(*words: str | Path) -> Said:
    """Run `perennial` in this process as the shell would."""
    out, err = io.StringIO(), io.StringIO()
    with (
        mock.patch.object(sys, "argv", ["perennial", *map(str, words)]),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            perennial.main()
            exit_code: Any = 0
        except SystemExit as exited:
            exit_code = exited.code or 0
    return Said(int(exit_code), out.getvalue(), err.getvalue())


def done(*words: str | Path) -> Said:
    said = run(*words)
    assert said.exit_code == 0, said.err
    return said


@dataclass(frozen=True)
class Journey:
    """A home that was filled and trained by commands alone, and what they said."""

    home: Path
    exports: tuple[Path, ...]
    said: dict[str, Said]

    def again(self, *words: str | Path) -> Said:
        return done(*words, "--home", self.home)


@pytest.fixture(scope="module")
def journey(mlflow_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Journey:
    folder = tmp_path_factory.mktemp("journey")
    home = folder / "home"
    home.mkdir()
    shutil.copy(mlflow_template, home / "mlflow.db")
    receipts = grocer.purchases(n_members=90, n_days=36 * 7)
    exports = (folder / "north.csv", folder / "south.csv")
    half = receipts["member"] < "m045"
    for path, rows in zip(exports, (receipts[half], receipts[~half]), strict=True):
        rows.to_csv(path, index=False)
    mapping, config = folder / "mapping.toml", folder / "config.toml"
    mapping.write_text(
        grocer.as_toml(grocer.mapping(grocer.ALL_COLUMNS, value_horizon_days=28)), "utf-8"
    )
    config.write_text(grocer.as_toml(grocer.TINY), "utf-8")
    said = {
        "ingest": done("ingest", *exports, "--mapping", mapping, "--home", home),
        "features": done("features", "--home", home),
        "train": done("--home", home, "train", "--config", config),
    }
    return Journey(home, (*exports, mapping, config), said)


@pytest.mark.parametrize("verb", VERBS)
def test_the_help_of_every_verb_has_an_example_and_names_the_home(verb: str) -> None:
    said = done(verb, "--help")

    assert f"Example: perennial {verb}" in said.out
    assert "--home" in said.out


def test_the_help_names_every_verb_and_gives_an_example() -> None:
    said = done("--help")

    assert "Example: perennial --home var/cdnow ingest cdnow" in " ".join(said.out.split())
    assert all(verb in said.out for verb in VERBS)


def test_it_runs_as_a_module_under_its_own_name() -> None:
    command = [sys.executable, "-m", "perennial", "--help"]

    finished = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True)

    assert "Usage: perennial [OPTIONS] COMMAND" in finished.stdout


@pytest.mark.parametrize("verb", ASKING)
def test_the_home_may_stand_before_or_after_the_verb(verb: str, tmp_path: Path) -> None:
    before = run("--home", tmp_path, verb, *ASKING[verb])
    after = run(verb, *ASKING[verb], "--home", tmp_path)

    assert before == after
    assert before.exit_code == 3
    assert before.err.startswith(f"NotReady: {tmp_path} holds no programme yet")


def test_the_home_after_the_verb_wins(tmp_path: Path) -> None:
    said = run("--home", tmp_path / "one", "features", "--home", tmp_path / "two")

    assert f"NotReady: {tmp_path / 'two'} holds" in said.err


def test_the_home_may_come_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PERENNIAL_HOME", str(tmp_path))

    assert f"NotReady: {tmp_path} holds" in run("features").err


@pytest.mark.parametrize("words", [("--home", "HOME", "serve"), ("serve", "--home", "HOME")])
def test_serving_starts_on_the_home_and_port_that_were_named(
    words: Sequence[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[tuple[Settings, str, int]] = []

    def start(settings: Settings, host: str, port: int, *, no_worker: bool) -> NoReturn:
        assert not no_worker
        started.append((settings, host, port))
        raise SystemExit(0)

    monkeypatch.setattr(starting, "run", start)

    done(*(str(tmp_path) if word == "HOME" else word for word in words), "--port", "3456")

    ((settings, host, port),) = started
    assert (settings.home, host, port) == (tmp_path, "127.0.0.1", 3456)


def in_one_line(said: Said) -> bool:
    return said.err.count("\n") == 1 and "Traceback" not in said.err


@pytest.mark.parametrize("verb", ASKING)
def test_before_anything_was_ingested_a_verb_says_so_in_one_line(verb: str, tmp_path: Path) -> None:
    said = run(verb, *ASKING[verb], "--home", tmp_path)

    assert said.exit_code == 3
    assert in_one_line(said)
    assert "perennial ingest" in said.err


def test_a_home_that_is_a_file_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", "utf-8")

    said = run("ingest", "cdnow", "--home", tmp_path / "file")

    assert said.exit_code == 1
    assert "Traceback" not in said.err
    assert said.err.splitlines()[-1].startswith(("NotADirectoryError: ", "FileExistsError: "))


def test_an_unknown_variable_is_refused_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PERENNIAL_TIMEZONE", "UTC")

    said = run("features", "--home", tmp_path)

    assert said.exit_code == 2
    assert in_one_line(said)
    assert said.err.startswith("InputRefused: The environment sets PERENNIAL_TIMEZONE")


def test_an_unknown_variable_ends_the_process_with_2(tmp_path: Path) -> None:
    finished = subprocess.run(
        [sys.executable, "-m", "perennial", "features", "--home", str(tmp_path)],
        cwd=REPOSITORY,
        env={**os.environ, "PERENNIAL_THREAD": "2", "COLUMNS": "40"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert finished.returncode == 2
    assert in_one_line(Said(2, finished.stdout, finished.stderr))


# Runs a verb whose work is replaced, so that an interrupt meets it in the middle.
INTERRUPTED = """
import sys, time, perennial
from pathlib import Path
from features import engine, snapshot
from programme.settings import Settings
from serving.reports import console

def in_a_query():
    numbers = "range(10_000_000)"
    asked = f"select sum(hash(a.range * b.range)) from {numbers} a, {numbers} b"
    with engine.connect(Settings(home=Path(sys.argv[-1]))) as connection:
        connection.execute(asked).fetchall()

def asked_to_end_in_a_query():
    with console.ends_on_request():
        in_a_query()

def asleep():
    time.sleep(60)

def swallowed():
    try:
        time.sleep(60)
    except KeyboardInterrupt:
        raise ValueError("a library's own words") from None

def build(*_, **__):
    print("working", flush=True)
    WORK()

snapshot.build = build
sys.argv = ["perennial", "features", "--as-of", "2024-01-01", "--home", sys.argv[-1]]
perennial.main()
"""


def stopped(work: str, number: signal.Signals, home: Path) -> tuple[int, list[str]]:
    """Send a signal to a command in the middle of its work; return its exit code and its errors."""
    script = INTERRUPTED.replace("WORK()", f"{work}()")
    command = [sys.executable, "-c", script, str(home)]
    with subprocess.Popen(
        command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        # Who runs the tests in the background of a script hands down that interrupts are ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as process:  # fmt: skip
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "working\n"
            time.sleep(0.5)
            process.send_signal(number)
            _, err = process.communicate(timeout=60)
        finally:
            process.kill()
    return process.returncode, err.splitlines()


@pytest.mark.parametrize("work", ["in_a_query", "asleep", "swallowed"])
def test_an_interrupt_is_one_line_and_130_whatever_it_meets(work: str, tmp_path: Path) -> None:
    code, err = stopped(work, signal.SIGINT, tmp_path)

    assert code == 130, err
    assert err == [
        "features: building 2024-01-01",
        "Stopped. What was not finished was not kept; run it again.",
    ]


def test_a_request_to_end_does_not_wait_for_a_query(tmp_path: Path) -> None:
    code, err = stopped("asked_to_end_in_a_query", signal.SIGTERM, tmp_path)

    assert code == 128 + signal.SIGTERM
    assert err == ["features: building 2024-01-01"]


def test_an_interrupt_is_handled_as_before_once_a_command_has_ended() -> None:
    before = signal.getsignal(signal.SIGINT)

    done("--help")

    assert signal.getsignal(signal.SIGINT) is before


def test_a_file_of_the_lake_that_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    grocer.take(Settings(home=tmp_path), grocer.purchases(n_members=5, n_days=28))
    for path in (tmp_path / "lake").glob("*/*.parquet"):
        path.unlink()

    said = run("features", "--home", tmp_path)

    assert said.exit_code == 1
    assert "Traceback" not in said.err
    assert said.err.splitlines()[-1].startswith("IOException: ")
    assert "The command did not end. Check that the file is there" in said.err


@pytest.mark.parametrize("number", [errno.EROFS, errno.ENOSPC, errno.EACCES])
def test_a_place_that_takes_no_file_is_one_line(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def build(*_: object) -> NoReturn:
        raise OSError(number, os.strerror(number), str(tmp_path))

    monkeypatch.setattr(snapshot, "build", build)

    said = run("features", "--as-of", "2024-01-01", "--home", tmp_path)

    assert said.exit_code == 1
    assert f"[Errno {number}] {os.strerror(number)}" in said.err
    assert "The command did not end. Name a place that can be written to." in said.err
    assert "Traceback" not in said.err


def test_a_fault_of_ours_keeps_its_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def build(*_: object) -> NoReturn:
        raise ZeroDivisionError

    monkeypatch.setattr(snapshot, "build", build)

    with pytest.raises(ZeroDivisionError):
        run("features", "--as-of", "2024-01-01", "--home", tmp_path)


@pytest.mark.parametrize(
    ("words", "one", "other"),
    [
        (("tags", "--report", "--out", "tags.csv"), "--report", "--out"),
        (("tags", "--report", "--member", "m001"), "--report", "--member"),
        (("tags", "--report", "--segments", "s.parquet"), "--report", "--segments"),
        (("tags", "--list", "--report"), "--list", "--report"),
        (("tags", "--list", "--out", "tags.csv"), "--list", "--out"),
        (("tags", "--list", "--as-of", "2024-01-01"), "--list", "--as-of"),
        (("tags", "--list", "--sensitive"), "--list", "--sensitive"),
        (("tags", "--list", "--language", "zh"), "--list", "--language"),
        (("features", "--list", "--as-of", "2024-01-01"), "--list", "--as-of"),
    ],
)
def test_options_that_cannot_be_had_together_are_both_named(
    words: Sequence[str], one: str, other: str, tmp_path: Path
) -> None:
    said = run(*words, "--home", tmp_path)

    assert said.exit_code == 2
    assert in_one_line(said)
    assert said.err.startswith(f"InputRefused: {one} and {other} do not go together: ")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("verb", "option", "name", "why"),
    [
        ("segments", "--html", "file/page.html", "is not a folder"),
        ("segments", "--html", ".", "is a folder"),
        ("segments", "--html", "map.svg", "ends in none of .html, .htm"),
        ("segments", "--out", "file/rows.csv", "is not a folder"),
        ("segments", "--moved", "file/deep/rows.csv", "is not a folder"),
        ("tags", "--out", "file/tags.csv", "is not a folder"),
        ("score", "--out", "file/scores.parquet", "is not a folder"),
        ("score", "--out", "scores.csv", "ends in none of .parquet"),
        ("score", "--out", "/proc/scores.parquet", "cannot be written to"),
    ],
)
def test_a_place_is_refused_before_the_long_work(
    verb: str, option: str, name: str, why: str, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("", "utf-8")

    said = run(verb, option, tmp_path / name, "--home", tmp_path / "home")

    # Even of a home that holds nothing: that is asked later.
    assert said.exit_code == 2
    assert in_one_line(said)
    assert why in said.err


@pytest.mark.parametrize("name", ["", "..", "../w", "a/../b", "/tmp/w", ".w", "w\n", "w" * 81])
def test_a_workers_name_names_no_other_place(name: str, tmp_path: Path) -> None:
    said = run("worker", "--once", "--workers-name", name, "--home", tmp_path)

    assert said.exit_code == 2
    assert in_one_line(said)
    assert said.err.startswith(f"InputRefused: {name!r:.80} names no worker. None was begun. ")


def test_help_shows_what_stands_in_square_brackets() -> None:
    """Typer takes them for mark-up where they are not escaped, and leaves them out."""

    def commands(command: Any) -> Iterator[Any]:
        yield command
        for one in getattr(command, "commands", {}).values():
            yield from commands(one)

    for command in commands(typer.main.get_command(perennial.app)):
        options = [getattr(one, "help", None) for one in command.params]
        for text in (command.help, command.epilog, *options):
            assert re.search(r"(?<!\\)\[", text or "") is None, (command.name, text)
    assert "[retrain]" in done("retrain", "--help").out


def test_every_step_reports_what_it_made(journey: Journey) -> None:
    ingested, built, trained = (journey.said[verb] for verb in ("ingest", "features", "train"))

    assert "Data usability: till" in ingested.out
    assert re.search(r"^purchases: [\d,]+ rows read: [\d,]+ new, 0 corrected", ingested.out, re.M)
    assert "till: committed as batch 1" in ingested.out
    assert f"Snapshot {grocer.FIRST_DAY + pd.Timedelta(weeks=36):%Y}" in built.out
    for name in ("churn_28d", "value_28d", "repeat_28d", "explore_28d", "next_order"):
        assert f"{name} version 1: the first champion." in trained.out
    assert re.search(r"^train: churn: learning recency_rule for 20\d\d-", trained.err, re.M)


def test_ingesting_again_is_nothing_new(journey: Journey) -> None:
    north, south, mapping, _ = journey.exports

    said = done("--home", journey.home, "ingest", north, south, "--mapping", mapping)

    assert "till: nothing new" in said.out


def test_leaderboards_are_valid_json(journey: Journey) -> None:
    said = journey.again("leaderboard", "--json")

    boards = json.loads(said.out, parse_constant=refuse)
    assert [board["name"] for board in boards] == [
        "churn_28d",
        "value_28d",
        "repeat_28d",
        "explore_28d",
        "next_order",
    ]
    assert {board["champion"] for board in boards} == {1}


def refuse(constant: str) -> NoReturn:
    raise AssertionError(f"{constant} is not JSON")


def test_one_leaderboard_is_shown_with_its_verdict(journey: Journey) -> None:
    said = journey.again("leaderboard", "churn")

    assert "churn_28d, active members" in said.out
    assert "lightgbm_reference" in said.out
    assert "Best on validation (AP): " in said.out
    assert "value_28d" not in said.out


def champion(journey: Journey) -> int | None:
    return registry.champion_version(Settings(home=journey.home), CHEAP)


def test_a_version_is_promoted_and_rolled_back(journey: Journey) -> None:
    config = journey.exports[-1]
    journey.again("train", "repeat", "--config", config)
    assert champion(journey) == 2

    steps: list[tuple[Callable[[], Said], int]] = [
        (lambda: journey.again("promote", CHEAP, "1"), 1),
        (lambda: journey.again("promote", CHEAP, "--roll-back"), 2),
        (lambda: journey.again("promote", CHEAP, "1"), 1),
    ]
    for step, version in steps:
        assert f"{CHEAP}: version {version} is the champion." in step().out
        assert champion(journey) == version


@pytest.mark.parametrize(
    "words",
    [
        ("promote", CHEAP),
        ("promote", CHEAP, "1", "--roll-back"),
        ("promote", CHEAP, "99"),
        ("promote", "churn_29d", "1"),
        ("promote", "value_28d", "--roll-back"),
        ("train", "churm"),
        ("train", "--config", "absent.toml"),
        ("leaderboard", "churm"),
        ("features", "--as-of", "2024-02-30"),
        ("features", "--as-of", "2031-01-01"),
        ("score", "--as-of", "2001-01-01"),
        ("segments", "--as-of", "2001-01-01"),
        ("segments", "--against", "2030-01-01"),
        ("segments", "--out", "members.xlsx"),
        ("segments", "--language", "xx"),
        ("segments", "--cuts", "absent.toml"),
        ("profile", "nobody"),
        ("tags", "--as-of", "2001-01-01"),
        ("tags", "--member", "nobody"),
        ("tags", "--member", "m001", "--language", "fr"),
        ("tags", "--out", "tags.xlsx"),
        ("tags", "--report", "--as-of", "2031-01-01"),
        ("tags", "--segments", "absent.parquet"),
        ("ingest", "absent.csv"),
        ("ingest", "cdnow"),
    ],
)
def test_a_mistake_is_refused_in_one_line_and_moves_nothing(
    journey: Journey, words: Sequence[str]
) -> None:
    before = champion(journey)

    said = run(*words, "--home", journey.home)

    assert said.exit_code == 2
    assert said.err.splitlines()[-1].startswith(("InputRefused: ", "ChampionMoved: "))
    assert "Traceback" not in said.err
    assert champion(journey) == before


def test_segments_are_shown_and_exported_with_who_moved(journey: Journey, tmp_path: Path) -> None:
    against = f"{grocer.FIRST_DAY + pd.Timedelta(weeks=30):%Y-%m-%d}"
    rows, moved, page = (tmp_path / name for name in ("rows.csv", "moved.parquet", "page.html"))

    said = journey.again(
        "segments", "--against", against, "--out", rows, "--moved", moved, "--html", page
    )

    members = pd.read_csv(rows)
    assert members["member_id"].is_unique
    assert f"Stages of {against} (rows)" in said.out
    assert set(pd.read_parquet(moved)["member_id"]) <= {*members["member_id"]}
    assert page.with_suffix(".svg").exists()
    assert "segments: grouping members who are alike" in said.err


def test_the_page_of_each_language_has_a_file_of_its_own(journey: Journey) -> None:
    english, chinese = (
        journey.again("segments", "--language", language).out for language in ("en", "zh")
    )

    pages = sorted((journey.home / "reports").glob("segments-*.html"))
    assert [page.stem[-3:] for page in pages] == ["-en", "-zh"]
    assert str(pages[0]) in english and str(pages[1]) in chinese
    said = pages[1].read_text("utf-8")
    assert "。</p>" in said and "}.</p>" not in said and "数.</p>" not in said
    assert english.count("…") == chinese.count("…") == 0
    for word in ("Members", "meaning", "of spend", "Clusters", "Every", "Map"):
        assert word not in chinese, word
    assert "会员占比" in chinese and "地图与表格" in chinese


def test_a_member_has_a_profile_in_words_and_in_json(journey: Journey) -> None:
    shown = journey.again("profile", "m001", "--language", "zh").out
    told = json.loads(journey.again("profile", "m001", "--json").out, parse_constant=refuse)

    assert "recency_days" in shown
    assert "会员m001" in shown and "生命周期阶段：" in shown and "含义" in shown  # noqa: RUF001
    assert not re.search(r"^ *(population|stage|cluster|outlier|tags):", shown, re.M)
    assert told["features"]["recency_days"] >= 1
    assert told["segments"]["rfm"] in shown


def test_scores_are_written_for_every_member_and_are_the_same_twice(
    journey: Journey, tmp_path: Path
) -> None:
    once, twice = tmp_path / "once.parquet", tmp_path / "twice.parquet"

    said = journey.again("score", "--out", once)
    journey.again("score", "--out", twice)

    written = pd.read_parquet(once)
    assert once.read_bytes() == twice.read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "once.parquet", "once.parquet.manifest.json", "tags-of-once.parquet",
        "tags-of-twice.parquet", "twice.parquet", "twice.parquet.manifest.json",
    ]  # fmt: skip
    assert f"{len(written):,} members scored as of" in said.out
    assert str(once) in said.out
    assert written["member_id"].is_unique


def test_scores_of_an_earlier_day_land_in_the_home(journey: Journey) -> None:
    day = f"{grocer.FIRST_DAY + pd.Timedelta(weeks=30):%Y-%m-%d}"

    journey.again("score", "--as-of", day)

    (path,) = (journey.home / "scores").glob(f"{day}_*.parquet")
    assert set(pd.read_parquet(path)["as_of"].astype(str)) == {day}


def test_tags_are_counted_explained_judged_listed_and_written(
    journey: Journey, tmp_path: Path
) -> None:
    out = tmp_path / "tags.csv"

    counted = journey.again("tags", "--out", out)
    english = journey.again("tags", "--member", "m001")
    chinese = journey.again("tags", "--member", "m001", "--language", "zh")
    judged = journey.again("tags", "--report")
    in_chinese = journey.again("tags", "--language", "zh").out
    judged_in_chinese = journey.again("tags", "--report", "--language", "zh").out
    listed = journey.again("tags", "--list")

    assert "tags as of" in counted.out
    assert "sensitive tags are off" in counted.out
    assert "tags held, written to" in counted.out
    assert out.read_text("utf-8").startswith("member_id,tag,since\n")
    assert "Member m001 holds" in english.out and "at least" in english.out
    assert "会员m001" in chinese.out and "至少" in chinese.out
    assert "tags pass everything" in judged.out
    (page,) = (journey.home / "reports").glob("tags-*.html")
    # The till knows no categories: what reads them is neither offered nor judged.
    assert "Overdue" in page.read_text("utf-8")
    assert "Mother and baby" not in page.read_text("utf-8")
    assert json.loads(page.with_suffix(".json").read_text("utf-8"), parse_constant=refuse)
    assert listed.out.startswith("# Tags")
    assert "有人持有" in in_chinese and "保存在" in in_chinese and "Kept" not in in_chinese
    assert "全部达标" in judged_in_chinese and "翻转率" in judged_in_chinese


def test_before_anything_was_trained_there_is_nothing_to_score_with(
    mlflow_template: Path, tmp_path: Path
) -> None:
    shutil.copy(mlflow_template, tmp_path / "mlflow.db")
    grocer.take(Settings(home=tmp_path), grocer.purchases(n_members=5, n_days=28))

    for verb in ("score", "leaderboard"):
        said = run(verb, "--home", tmp_path)
        assert said.exit_code == 3
        assert "perennial train --home" in said.err
