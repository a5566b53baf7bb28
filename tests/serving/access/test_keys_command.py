"""Keys on the command line: shown once, listed without secrets, refused in one line."""

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from typer.testing import CliRunner, Result

import perennial
import perennial_keys
from programme.database import Database
from programme.errors import InputRefused, NotReady
from programme.settings import PROGRAMME_FILE, Settings
from serving.access import keys
from serving.access.gatekeeper import Caller, Gatekeeper, Refusal
from serving.reports.console import console
from tests.loyalty.shop import PROGRAMME

KEY = re.compile(r"^pk_[a-z2-9]{12}\.[\w-]{43}$", re.MULTILINE)
Ask = Callable[..., Result]


@pytest.fixture
def home(make_settings: Callable[[], Settings], monkeypatch: pytest.MonkeyPatch) -> Settings:
    settings = make_settings()
    (settings.home / PROGRAMME_FILE).write_text(PROGRAMME.as_toml())
    monkeypatch.setenv("PERENNIAL_HOME", str(settings.home))
    monkeypatch.setenv("PERENNIAL_DB_URL", settings.db_url)
    monkeypatch.setattr(console, "width", 200, raising=False)
    return settings


def ask(*words: str) -> Result:
    return CliRunner().invoke(perennial.app, ["keys", *words])


def done(*words: str) -> str:
    said = ask(*words)
    assert said.exit_code == 0, said.output
    return said.stdout


def told(*words: str) -> Any:
    return json.loads(done(*words, "--json"))


def admitted(settings: Settings, sent: str, scope: str) -> Caller | Refusal:
    database, keeper = Database.open(settings), Gatekeeper()
    keeper.refresh(database, monotonic_ns=0)
    database.close()
    return keeper.admit(
        [(b"authorization", b"Bearer " + sent.encode())], loopback=False, scope_wanted=scope,
        monotonic_ns=0, now=datetime.now(UTC),
    )  # fmt: skip


def test_a_key_that_was_made_opens_what_it_should_until_it_is_revoked(home: Settings) -> None:
    printed = done("create", "crm", "--scopes", "scores:read, loyalty:read")
    (sent,) = KEY.findall(printed)

    assert printed.splitlines()[-1] == sent
    opened = admitted(home, sent, "loyalty:read")
    assert opened == Caller(sent.partition(".")[0], frozenset({"scores:read", "loyalty:read"}))
    assert getattr(admitted(home, sent, "loyalty:write"), "status", 200) == 403
    assert "is revoked" in done("revoke", "crm")
    assert getattr(admitted(home, sent, "scores:read"), "status", 200) == 401


def test_what_is_left_out_has_a_sensible_value(home: Settings) -> None:
    made = told("create", "crm")

    assert made["scopes"] == ["scores:read", "members:read"]
    assert (made["per_second"], made["expires_at"], made["state"]) == (50, None, "live")
    assert KEY.match(made["key"])
    assert isinstance(admitted(home, made["key"], "members:read"), Caller)


@pytest.mark.usefixtures("home")
def test_a_list_shows_no_secret_and_what_is_over_only_when_asked() -> None:
    made = told("create", "crm", "--expires", "2100-01-01", "--per-second", "7")
    told("create", "[bold]till", "--scopes", "purchases:write")
    revoked = told("revoke", "[bold]till")
    secret = made["key"].partition(".")[2]

    shown, everything = done("list"), done("list", "--all")
    listed = told("list", "--all")
    assert "crm" in shown
    assert "2100-01-01 00:00 UTC" in shown
    assert "till" not in shown
    assert "[bold]till" in everything
    assert "revoked" in everything
    assert [(key["name"], key["state"]) for key in listed] == [
        ("crm", "live"), ("[bold]till", "revoked"),
    ]  # fmt: skip
    assert revoked["revoked_at"] is not None
    for printed in (shown, everything, json.dumps(listed)):
        assert secret not in printed
        assert "secret" not in printed
        assert keys.hash_of(secret.encode()).hex() not in printed


def test_both_keys_of_a_rotation_open_and_the_old_one_has_an_end(home: Settings) -> None:
    old = told("create", "crm")
    printed = done("rotate", "crm", "--keep-days", "3")
    (new,) = KEY.findall(printed)

    for sent in (old["key"], new):
        assert isinstance(admitted(home, sent, "scores:read"), Caller)
    first, second = told("list")
    ends = datetime.fromisoformat(first["expires_at"]) - datetime.now(UTC)
    assert timedelta(days=2, hours=23) < ends <= timedelta(days=3)
    assert (second["key_id"], second["expires_at"]) == (new.partition(".")[0], None)
    assert f"{old['key_id']} ends at" in printed


@pytest.mark.usefixtures("home")
def test_rotating_with_nothing_kept_ends_the_old_key_at_once() -> None:
    told("create", "crm")
    new = told("rotate", "crm", "--keep-days", "0")

    assert [key["key_id"] for key in told("list")] == [new["key_id"]]


@pytest.mark.usefixtures("home")
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("create", "crm", "--scopes", "scores:write"), "no scope 'scores:write'"),
        (("create", "crm", "--scopes", " , "), "opens nothing"),
        (("create", ""), "is no name"),
        (("create", "crm", "--expires", "2020-01-01"), "has ended already"),
        (("create", "crm", "--expires", "soon"), "is no instant"),
        (("revoke", "nobody"), "No key has that id"),
        (("rotate", "nobody"), "No key has that id"),
    ],
)
def test_what_cannot_be_done_is_refused_in_a_sentence(words: tuple[str, ...], said: str) -> None:
    refused = ask(*words)

    assert isinstance(refused.exception, InputRefused)
    assert said in str(refused.exception)
    assert told("list") == []
    assert "make one: perennial keys create NAME" in done("list")


def test_a_misspelt_home_gets_no_key(tmp_path: Any) -> None:
    refused = ask("create", "crm", "--home", str(tmp_path / "hoem"))

    assert isinstance(refused.exception, NotReady)
    assert not (tmp_path / "hoem").exists()


def test_every_verb_has_an_example() -> None:
    for command in perennial_keys.app.registered_commands:
        assert (command.epilog or "").startswith("Example: perennial keys ")


def test_scopes_are_listed() -> None:
    printed = done("scopes")

    assert "purchases:write" in printed
    assert "bring purchases" in printed
