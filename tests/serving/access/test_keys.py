"""Keys are kept without their secrets, end when they should, and never begin again."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import text

from programme.database import Database
from programme.errors import InputRefused
from programme.settings import PROGRAMME_FILE, Settings
from serving.access import keys
from serving.access.scopes import SCOPES

NOW = datetime(2026, 3, 1, 9, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    database = Database.open(Settings(home=tmp_path_factory.mktemp("keys")))
    yield database
    database.close()


def test_what_is_made_is_what_is_listed(database: Database) -> None:
    made, _ = keys.create(
        database, "北京 crm", ["scores:read", "loyalty:write"], now=NOW, per_second=7,
        expires_at=NOW + DAY,
    )  # fmt: skip

    (found,) = keys.every(database)
    assert found == made
    assert (found.state(NOW), found.state(NOW + DAY)) == ("live", "expired")


def test_no_secret_is_in_the_database_or_in_what_a_key_shows(database: Database) -> None:
    key, sent = keys.create(database, "crm", SCOPES, now=NOW)

    secret = sent.partition(".")[2]
    with database.read() as connection:
        (row,) = connection.execute(text("select * from api_keys")).all()
    assert sent.startswith(f"{key.key_id}.")
    assert secret not in repr((tuple(row), key))
    assert key.secret_hash.hex() not in repr(key)
    assert row.secret_hash == keys.hash_of(secret.encode()).hex()


def test_secrets_have_256_bits_and_are_never_alike(database: Database) -> None:
    sent = [keys.create(database, "crm", SCOPES, now=NOW)[1] for _ in range(20)]

    assert len({one.partition(".")[2] for one in sent}) == 20
    # 43 characters of 6 bits hold 32 bytes.
    assert {len(one.partition(".")[2]) for one in sent} == {43}


def test_a_revoked_key_stays_revoked_since_when_it_was(database: Database) -> None:
    key, _ = keys.create(database, "crm", SCOPES, now=NOW)

    first = keys.revoke(database, key.key_id, now=NOW + DAY)
    again = keys.revoke(database, key.key_id, now=NOW + 2 * DAY)

    assert first.revoked_at == again.revoked_at == NOW + DAY
    with pytest.raises(InputRefused, match=f"{key.key_id} is revoked. Nothing was changed"):
        keys.rotate(database, key.key_id, keep=DAY, now=NOW + 3 * DAY)


def test_rotating_leaves_two_live_keys_until_the_old_one_ends(database: Database) -> None:
    old, _ = keys.create(database, "crm", ["scores:read"], now=NOW, per_second=9)

    new, sent, ended = keys.rotate(database, "crm", keep=7 * DAY, now=NOW + DAY)

    assert (new.name, new.scopes, new.per_second, new.expires_at) == (
        "crm", old.scopes, 9, None,
    )  # fmt: skip
    assert sent.startswith(new.key_id)
    assert ended.key_id == old.key_id
    states = [[key.state(NOW + days * DAY) for key in keys.every(database)] for days in (1, 7, 8)]
    assert states == [["live", "live"], ["live", "live"], ["expired", "live"]]


def test_rotating_never_prolongs_the_old_key_and_gives_the_new_one_as_long(
    database: Database,
) -> None:
    keys.create(database, "crm", SCOPES, now=NOW, expires_at=NOW + 10 * DAY)

    new, _, old = keys.rotate(database, "crm", keep=30 * DAY, now=NOW + 8 * DAY)

    assert old.expires_at == NOW + 10 * DAY
    assert new.expires_at == NOW + 18 * DAY


def test_a_name_that_two_live_keys_have_is_asked_about(database: Database) -> None:
    ids = [keys.create(database, "crm", SCOPES, now=NOW)[0].key_id for _ in range(2)]

    with pytest.raises(InputRefused, match="2 live keys have the name 'crm'") as refusal:
        keys.revoke(database, "crm", now=NOW)
    assert all(one in str(refusal.value) for one in ids)
    keys.revoke(database, ids[0], now=NOW)

    assert keys.revoke(database, "crm", now=NOW).key_id == ids[1]


def test_a_secret_typed_in_the_wrong_place_is_not_repeated(database: Database) -> None:
    _, sent = keys.create(database, "crm", SCOPES, now=NOW)

    with pytest.raises(InputRefused, match="No key has that id") as refusal:
        keys.revoke(database, sent, now=NOW)
    assert sent.partition(".")[2] not in str(refusal.value)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"name": ""}, "is no name"),
        ({"name": "x" * 101}, "is no name"),
        ({"name": "two\nlines"}, "is no name"),
        ({"name": "pk_mine"}, "is no name"),
        ({"scopes": []}, "opens nothing"),
        ({"scopes": ["scores:read", "scores:write"]}, "no scope 'scores:write'"),
        ({"per_second": 0}, "0 requests a second"),
        ({"per_second": 10_001}, "from 1 to 10000"),
        ({"expires_at": NOW}, "has ended already"),
    ],
)
def test_what_cannot_be_a_key_is_not_made(
    change: dict[str, object], said: str, empty: Database
) -> None:
    asked = {"name": "crm", "scopes": ["scores:read"], "now": NOW, **change}

    with pytest.raises(InputRefused, match=said):
        keys.create(empty, **asked)  # type: ignore[arg-type]

    assert keys.every(empty) == []


def test_only_a_live_key_counts_as_one(make_settings: Callable[[], Settings]) -> None:
    settings = make_settings()
    (settings.home / PROGRAMME_FILE).write_text("")
    database = Database.open(settings)
    seen = [keys.exist(settings, now=NOW)]
    keys.create(database, "a", SCOPES, now=NOW, expires_at=NOW + DAY)
    seen += [keys.exist(settings, now=NOW), keys.exist(settings, now=NOW + DAY)]
    keys.create(database, "b", SCOPES, now=NOW)
    seen.append(keys.exist(settings, now=NOW + DAY))
    keys.revoke(database, "b", now=NOW)
    seen.append(keys.exist(settings, now=NOW + DAY))
    database.close()

    assert seen == [False, True, False, True, False]


def test_asking_a_folder_that_is_no_home_makes_none_of_it(tmp_path: Path) -> None:
    assert not keys.exist(Settings(home=tmp_path / "nowhere"), now=NOW)
    assert not (tmp_path / "nowhere").exists()
