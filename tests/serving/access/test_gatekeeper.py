"""Who comes in, who does not, and that those who do not learn nothing."""

import hmac
import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from programme.database import Database
from programme.settings import PROGRAMME_FILE, Settings
from serving.access import gatekeeper, keys
from serving.access.gatekeeper import (
    BURST_SECONDS,
    HERE,
    KEYS_AGE_MAX_SECONDS,
    Caller,
    Gatekeeper,
    Refusal,
    may_bind,
    why_not_bind,
)
from serving.access.scopes import SCOPES
from tests.loyalty.shop import PROGRAMME

NOW = datetime(2026, 3, 1, 9, tzinfo=UTC)
DAY = timedelta(days=1)
NANO = 1_000_000_000
OWN_HOST = (b"host", b"127.0.0.1:3000")


def knowing(database: Database, *, require_keys: bool = False) -> Gatekeeper:
    keeper = Gatekeeper(require_keys=require_keys)
    keeper.refresh(database, monotonic_ns=0)
    return keeper


def ask(
    keeper: Gatekeeper, *headers: tuple[bytes, bytes], loopback: bool = False,
    scope: str = "scores:read", at: int = 0, now: datetime = NOW,
) -> Caller | Refusal:  # fmt: skip
    return keeper.admit(
        [OWN_HOST, *headers], loopback=loopback, scope_wanted=scope, monotonic_ns=at, now=now
    )


def bearing(sent: str | bytes) -> tuple[bytes, bytes]:
    return b"authorization", b"Bearer " + (sent.encode() if isinstance(sent, str) else sent)


def status(answer: Caller | Refusal) -> int:
    return answer.status if isinstance(answer, Refusal) else 200


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=20)
@given(held=st.sets(st.sampled_from(sorted(SCOPES)), min_size=1), header=st.booleans())
def test_a_key_opens_its_scopes_and_no_other(
    database: Database, held: set[str], header: bool
) -> None:
    key, sent = keys.create(database, "crm", held, now=NOW)
    keeper = knowing(database)
    carried = (b"x-api-key", sent.encode()) if header else bearing(sent)

    for scope in SCOPES:
        answer = ask(keeper, carried, scope=scope)
        if scope in held:
            assert answer == Caller(key.key_id, frozenset(held))
        else:
            assert isinstance(answer, Refusal)
            assert (answer.status, answer.code) == (403, "scope_missing")
            assert f'scope="{scope}"' in answer.headers["WWW-Authenticate"]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=15)
@given(
    later=st.lists(
        st.sampled_from(["make", "rotate", "revoke another", "revoke again", "read"]), max_size=6
    )
)
def test_a_revoked_key_never_opens_anything_again(database: Database, later: list[str]) -> None:
    key, sent = keys.create(database, "crm", SCOPES, now=NOW)
    other, _ = keys.create(database, f"other {key.key_id[3:]}", SCOPES, now=NOW)
    keeper = knowing(database)
    assert status(ask(keeper, bearing(sent))) == 200
    keys.revoke(database, key.key_id, now=NOW)

    for step, what in enumerate(later):
        if what == "make":
            keys.create(database, "crm", SCOPES, now=NOW)
        elif what == "rotate" and "revoke another" not in later[:step]:
            keys.rotate(database, other.key_id, keep=DAY, now=NOW)
        elif what.startswith("revoke"):
            which = key if what == "revoke again" else other
            keys.revoke(database, which.key_id, now=NOW + DAY)
        keeper.refresh(database, monotonic_ns=0)
        for now in (NOW - DAY, NOW, NOW + 1000 * DAY):
            assert status(ask(keeper, bearing(sent), now=now, loopback=True)) == 401


def test_a_key_opens_until_the_instant_it_expires(database: Database) -> None:
    _, sent = keys.create(database, "crm", SCOPES, now=NOW, expires_at=NOW + DAY)
    keeper = knowing(database)

    almost = NOW + DAY - timedelta(microseconds=1)
    assert status(ask(keeper, bearing(sent), now=almost)) == 200
    assert status(ask(keeper, bearing(sent), now=NOW + DAY)) == 401


def test_both_keys_of_a_rotation_open_until_the_old_one_ends(database: Database) -> None:
    _, old = keys.create(database, "crm", SCOPES, now=NOW)
    _, new, _ = keys.rotate(database, "crm", keep=7 * DAY, now=NOW)
    keeper = knowing(database)

    seen = [
        [status(ask(keeper, bearing(sent), now=now)) for sent in (old, new)]
        for now in (NOW, NOW + 7 * DAY)
    ]
    assert seen == [[200, 200], [401, 200]]


# {id} and {secret} are those of a key there is.
BAD: dict[str, bytes] = {
    "empty": b"",
    "only the id": b"{id}",
    "no secret": b"{id}.",
    "only the secret": b"{secret}",
    "one letter more": b"{id}.{secret}x",
    "a letter before": b"x{id}.{secret}",
    "another's secret": b"{id}." + b"A" * 43,
    "another's id": b"pk_aaaaaaaaaaaa.{secret}",
    "its hash": b"{id}.{hash}",
    "unicode": "pk_密钥.秘密".encode(),
    "no text at all": b"\xff\xfe\x80.\x81",
    "NUL": b"{id}.{secret}\0",
    "huge": b"{id}.{secret}" + b"x" * 60_000,
    "huge id": b"pk_" + b"x" * 60_000,
    "many dots": b"." * 200,
    "two keys in one": b"{id}.{secret}, {id}.{secret}",
    "injected": b"' or 1=1 --",
}


def filled(template: bytes, sent: str) -> bytes:
    key_id, _, secret = sent.encode().partition(b".")
    digest = keys.hash_of(secret).hex().encode()
    for name, value in ((b"{id}", key_id), (b"{secret}", secret), (b"{hash}", digest)):
        template = template.replace(name, value)
    return template


@pytest.fixture(scope="module")
def some(tmp_path_factory: pytest.TempPathFactory) -> tuple[Gatekeeper, str]:
    """Return a gatekeeper who knows one key, and that key."""
    database = Database.open(Settings(home=tmp_path_factory.mktemp("keys")))
    _, sent = keys.create(database, "crm", SCOPES, now=NOW, per_second=10_000)
    keeper = knowing(database)
    database.close()
    return keeper, sent


@pytest.mark.parametrize("loopback", [True, False], ids=["here", "elsewhere"])
@pytest.mark.parametrize("header", [b"authorization", b"x-api-key"])
@pytest.mark.parametrize("what", BAD)
def test_a_wrong_key_is_refused_in_one_shape_and_compared_like_a_right_one(
    some: tuple[Gatekeeper, str], what: str, header: bytes, loopback: bool,
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    keeper, sent = some
    compared: list[tuple[int, int]] = []
    real = hmac.compare_digest

    def watched(one: Any, other: Any) -> bool:
        assert isinstance(one, bytes)
        assert isinstance(other, bytes)
        compared.append((len(one), len(other)))
        return real(one, other)

    monkeypatch.setattr("hmac.compare_digest", watched)
    value = filled(BAD[what], sent)
    with caplog.at_level(logging.DEBUG):
        answer = ask(
            keeper, bearing(value) if header == b"authorization" else (header, value),
            loopback=loopback,
        )  # fmt: skip

    assert isinstance(answer, Refusal)
    assert (answer.status, answer.code) == (401, "key_refused")
    assert answer.detail == gatekeeper.REFUSALS["key_refused"][1]
    assert answer.headers == {"WWW-Authenticate": 'Bearer realm="perennial", error="invalid_token"'}
    # The log may have the id of a key there is; of what was sent otherwise it has nothing.
    assert answer.key_id in (None, sent.partition(".")[0])
    assert sent.partition(".")[2] not in repr(answer)
    assert compared == [(32, 32)]
    assert caplog.text == ""


@given(value=st.binary(max_size=300))
def test_no_bytes_whatever_open_the_door(some: tuple[Gatekeeper, str], value: bytes) -> None:
    for header in ((b"authorization", value), (b"x-api-key", value), bearing(value)):
        assert status(ask(some[0], header, loopback=True)) == 401


def test_refusals_of_every_kind_of_dead_key_are_alike(database: Database) -> None:
    made = [keys.create(database, name, SCOPES, now=NOW, expires_at=NOW + DAY) for name in "abc"]
    keys.revoke(database, "b", now=NOW)
    keeper = knowing(database)
    wrong = made[2][1][:-1] + ("A" if made[2][1][-1] != "A" else "B")

    answers = [
        ask(keeper, bearing(sent), now=NOW + DAY)
        for sent in (made[0][1], made[1][1], wrong, "pk_nobody.x")
    ]

    shapes = {(a.status, a.code, a.detail, tuple(a.headers.items())) for a in answers
              if isinstance(a, Refusal)}  # fmt: skip
    assert len(answers) == 4
    assert len(shapes) == 1


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ([b"Bearer {}"], 200),
        ([b"bearer {}"], 200),
        ([b"BEARER   {}  "], 200),
        ([b"Bearer {}", b"Bearer {}"], 200),
        ([b"Bearer {}", b"Bearer other"], 401),
        ([b"Basic dTpw"], 401),
        ([b"{}"], 401),
        ([b"Bearer"], 401),
    ],
)
def test_the_header_is_read_as_its_standard_says(
    some: tuple[Gatekeeper, str], headers: list[bytes], expected: int
) -> None:
    keeper, sent = some
    given_ = [(b"authorization", one.replace(b"{}", sent.encode())) for one in headers]

    assert status(ask(keeper, *given_, loopback=True)) == expected


def test_a_proxys_own_password_does_not_hide_a_key(some: tuple[Gatekeeper, str]) -> None:
    keeper, sent = some
    basic, own = (b"authorization", b"Basic dTpw"), (b"x-api-key", sent.encode())

    assert status(ask(keeper, basic, own)) == 200
    assert status(ask(keeper, bearing("pk_other.x"), own)) == 401


def test_this_machine_needs_no_key_and_everybody_else_does(database: Database) -> None:
    for made in range(2):  # without any key, and with one
        keeper = knowing(database)
        needed = ask(keeper)

        assert ask(keeper, loopback=True) == HERE
        assert frozenset(SCOPES) == HERE.scopes
        assert isinstance(needed, Refusal)
        assert (needed.status, needed.code) == (401, "key_needed")
        assert needed.headers == {"WWW-Authenticate": 'Bearer realm="perennial"'}
        if not made:
            keys.create(database, "crm", SCOPES, now=NOW)


def test_with_require_keys_this_machine_needs_one_too(database: Database) -> None:
    _, sent = keys.create(database, "crm", SCOPES, now=NOW)
    keeper = knowing(database, require_keys=True)

    assert status(ask(keeper, loopback=True)) == 401
    assert status(ask(keeper, bearing(sent), loopback=True)) == 200


@pytest.mark.parametrize(
    "header", [b"forwarded", b"x-forwarded-for", b"x-forwarded-host", b"x-real-ip", b"via"]
)
def test_what_a_proxy_on_this_machine_passed_on_is_not_from_this_machine(
    some: tuple[Gatekeeper, str], header: bytes
) -> None:
    keeper, sent = some

    assert status(ask(keeper, (header, b"127.0.0.1"), loopback=True)) == 401
    assert status(ask(keeper, (header, b"127.0.0.1"), bearing(sent), loopback=True)) == 200


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        (b"127.0.0.1", 200),
        (b"127.0.0.1:3000", 200),
        (b"127.0.0.9:3000", 200),
        (b"localhost:3000", 200),
        (b"LocalHost", 200),
        (b"[::1]:3000", 200),
        (b"crm.example.com", 401),
        (b"rebound.attacker.example:3000", 401),
        (b"127.0.0.1.attacker.example", 401),
        (b"localhost.attacker.example", 401),
        (b"192.168.1.7:3000", 401),
        (b"\xff\xfe", 401),
        (b"", 401),
    ],
)
def test_a_name_from_elsewhere_that_leads_here_is_not_from_here(
    some: tuple[Gatekeeper, str], host: bytes, expected: int
) -> None:
    answer = some[0].admit(
        [(b"host", host)], loopback=True, scope_wanted="scores:read", monotonic_ns=0, now=NOW
    )

    assert status(answer) == expected


def test_a_key_asks_as_often_as_it_may_and_is_told_when_again(database: Database) -> None:
    _, sent = keys.create(database, "crm", SCOPES, now=NOW, per_second=3)
    _, other = keys.create(database, "till", SCOPES, now=NOW, per_second=3)
    keeper = knowing(database)

    seen = [ask(keeper, bearing(sent)) for _ in range(3 * BURST_SECONDS + 1)]

    assert [status(answer) for answer in seen] == [200] * 3 * BURST_SECONDS + [429]
    assert isinstance(seen[-1], Refusal)
    assert seen[-1].headers == {"Retry-After": "1"}
    assert status(ask(keeper, bearing(other))) == 200
    keeper.refresh(database, monotonic_ns=0)  # reading the keys again gives nothing away
    assert status(ask(keeper, bearing(sent))) == 429
    assert status(ask(keeper, bearing(sent), at=NANO)) == 200


def test_keys_that_were_not_read_open_nothing_and_say_so(database: Database) -> None:
    _, sent = keys.create(database, "crm", SCOPES, now=NOW)
    keeper, late = Gatekeeper(require_keys=False), KEYS_AGE_MAX_SECONDS * NANO
    unread = ask(keeper, bearing(sent))
    keeper.refresh(database, monotonic_ns=0)

    assert isinstance(unread, Refusal)
    assert (unread.status, unread.code, unread.headers) == (
        503,
        "keys_unread",
        {"Retry-After": "3"},
    )
    assert status(ask(keeper, bearing(sent), at=late)) == 200
    # A database that is away for long must not keep a revoked key alive.
    assert status(ask(keeper, bearing(sent), at=late + 1)) == 503
    assert ask(keeper, loopback=True, at=late + 1) == HERE


def test_before_it_knows_its_settings_nobody_comes_in() -> None:
    assert status(ask(Gatekeeper(), loopback=True)) == 401


def within(seconds: float, condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def test_a_running_service_learns_of_keys_made_and_revoked_within_seconds(
    make_settings: Callable[[], Settings],
) -> None:
    settings = make_settings()
    keeper = Gatekeeper()
    keeper.start(settings)  # a home without a programme, and so without keys

    def seen(sent: str) -> int:
        return status(ask(keeper, bearing(sent), at=time.monotonic_ns(), now=datetime.now(UTC)))

    try:
        assert ask(keeper, loopback=True) == HERE
        assert seen("pk_nobody.x") == 401
        (settings.home / PROGRAMME_FILE).write_text(PROGRAMME.as_toml())
        database = Database.open(settings)
        _, sent = keys.create(database, "crm", SCOPES, now=datetime.now(UTC))
        assert within(5, lambda: seen(sent) == 200)
        keys.revoke(database, "crm", now=datetime.now(UTC))
        assert within(5, lambda: seen(sent) == 401)
        database.close()
    finally:
        keeper.stop()


def test_a_database_that_cannot_be_trusted_is_complained_of_once_and_found_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gatekeeper, "LOOK_EVERY_SECONDS", 0.05)
    home = Settings(home=tmp_path)
    (tmp_path / PROGRAMME_FILE).write_text(PROGRAMME.as_toml())
    (tmp_path / "programme.db").write_bytes(b"this is no database" * 100)
    keeper = Gatekeeper()

    with caplog.at_level(logging.WARNING, "bentoml.perennial"):
        keeper.start(home)
        try:
            time.sleep(0.4)
            refused = ask(keeper, bearing("pk_a.b"), at=time.monotonic_ns())
            (tmp_path / "programme.db").unlink()
            database = Database.open(home)
            _, sent = keys.create(database, "crm", SCOPES, now=NOW)
            database.close()
            found = within(
                5, lambda: status(ask(keeper, bearing(sent), at=time.monotonic_ns())) == 200
            )
        finally:
            keeper.stop()

    assert status(refused) == 503
    assert found
    assert [record.getMessage() for record in caplog.records if "damaged" in record.getMessage()]
    assert len(caplog.records) == 1


def test_a_request_is_judged_in_millionths_of_a_second(some: tuple[Gatekeeper, str]) -> None:
    keeper, sent = some
    headers = [
        OWN_HOST, (b"user-agent", b"crm/1"), (b"accept", b"*/*"), (b"accept-encoding", b"gzip"),
        (b"connection", b"keep-alive"), (b"content-type", b"application/json"),
        (b"content-length", b"40"), bearing(sent),
    ]  # fmt: skip

    def cost(at: int) -> float:
        begun = time.process_time_ns()
        for _ in range(500):
            keeper.admit(
                headers, loopback=False, scope_wanted="scores:read", monotonic_ns=at, now=NOW
            )
        return (time.process_time_ns() - begun) / 500

    # The least of several: others share the machine.
    assert min(cost(at * NANO) for at in range(1, 20)) < 30_000


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_this_machine_may_be_listened_on_without_keys(host: str) -> None:
    def unreachable() -> bool:
        raise AssertionError("the database was asked")

    assert may_bind(host, unreachable)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7", "example.com", ""])
def test_what_others_reach_may_be_listened_on_with_keys_only(host: str) -> None:
    assert not may_bind(host, lambda: False)
    assert may_bind(host, lambda: True)
    assert "has no keys yet. It did not start" in why_not_bind(host)


def test_the_environment_can_ask_everybody_for_a_key(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    seen = []
    for asked in ("false", "true"):
        monkeypatch.setenv("PERENNIAL_REQUIRE_KEYS", asked)
        keeper = Gatekeeper()
        keeper.start(Settings.load(tmp_path))
        seen.append(status(ask(keeper, loopback=True)))
        keeper.stop()

    assert seen == [200, 401]
