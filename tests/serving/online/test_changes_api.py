"""The route of changes: following it leads through every change once, on both databases."""

import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

from programme.settings import PROGRAMME_FILE, Settings
from serving.live import Live
from serving.online import changes, cursor
from serving.points import PointsDesk
from tests.loyalty.shop import PROGRAMME
from tests.serving.calling import client_of

NOW = datetime(2018, 1, 1, 3, 0, 0, 250_000, UTC)
CANARY = "canary-4711"


@pytest.fixture
def desk(make_settings: Callable[[], Settings]) -> Iterator[PointsDesk]:
    made = make_settings()
    (made.home / PROGRAMME_FILE).write_text(PROGRAMME.as_toml())
    desk = PointsDesk(made)
    yield desk
    desk.close()


@pytest.fixture
def client(desk: PointsDesk) -> TestClient:
    return client_of(Live(), desk=desk)


def stage(desk: PointsDesk, member_id: str, before: str | None, after: str) -> None:
    then = None if before is None else {"stage": before}
    desk.database.write(
        lambda connection: changes.record(connection, member_id, then, {"stage": after}, NOW)
    )


def ask(client: TestClient, **params: Any) -> dict[str, Any]:
    response = client.get("/v1/changes", params=params)
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    assert set(answer) == {"changes", "next_cursor", "more"}
    return answer


def follow(client: TestClient, since: str, limit: int, **params: Any) -> Iterator[dict[str, Any]]:
    more = True
    while more:
        page = ask(client, since=since, limit=limit, **params)
        assert len(page["changes"]) <= limit
        yield from page["changes"]
        since, more = page["next_cursor"], page["more"]


def test_a_change_has_the_published_keys(client: TestClient, desk: PointsDesk) -> None:
    since = ask(client)["next_cursor"]
    stage(desk, "会员 1", "mature", "lost")

    (change,) = ask(client, since=since)["changes"]

    assert change == {
        "member_id": "会员 1", "what": "stage", "name": "", "before": "mature", "after": "lost",
        "changed_at": "2018-01-01T03:00:00.250000Z",
    }  # fmt: skip


def test_without_a_cursor_only_the_present_one_is_answered(
    client: TestClient, desk: PointsDesk
) -> None:
    stage(desk, "1", None, "new")

    first = ask(client)

    assert first["changes"] == []
    assert not first["more"]
    assert ask(client, since=first["next_cursor"]) == first  # also when nothing changed


@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_following_cursors_gives_every_change_once_in_order(
    client: TestClient, desk: PointsDesk, data: st.DataObject
) -> None:
    since = ask(client)["next_cursor"]
    count = data.draw(st.integers(0, 12))
    for number in range(count):
        stage(desk, f"m{number}", None, "new")
    limit = data.draw(st.integers(1, 5))

    assert [one["member_id"] for one in follow(client, since, limit)] == [
        f"m{number}" for number in range(count)
    ]


def test_following_cursors_beside_writers_gives_every_change_once(
    client: TestClient, desk: PointsDesk
) -> None:
    since = ask(client)["next_cursor"]

    def write(writer: int) -> None:
        for number in range(12):
            stage(desk, f"{writer}", str(number - 1), str(number))

    threads = [threading.Thread(target=write, args=(writer,)) for writer in range(3)]
    for thread in threads:
        thread.start()
    seen: list[dict[str, Any]] = []
    alive = True
    while alive:
        alive = any(thread.is_alive() for thread in threads)
        page = ask(client, since=since, limit=4)
        while page["more"]:
            seen += page["changes"]
            page = ask(client, since=page["next_cursor"], limit=4)
        seen += page["changes"]
        since = page["next_cursor"]

    for writer in range(3):
        own = [one["after"] for one in seen if one["member_id"] == str(writer)]
        assert own == [str(number) for number in range(12)]
    assert len(seen) == 36


def test_only_the_kinds_asked_for_are_told(client: TestClient, desk: PointsDesk) -> None:
    since = ask(client)["next_cursor"]
    told = {"stage": "new", "risk_band": "low", "segments": {"cluster": "1"}, "tags": ["tea"]}
    desk.database.write(lambda connection: changes.record(connection, "1", None, told, NOW))

    found = list(follow(client, since, 1, what=["tag", "risk_band"]))

    assert [(one["what"], one["name"], one["after"]) for one in found] == [
        ("risk_band", "", "low"), ("tag", "tea", "held"),
    ]  # fmt: skip


def test_a_cursor_from_before_what_is_kept_is_gone(client: TestClient, desk: PointsDesk) -> None:
    since = ask(client)["next_cursor"]
    stage(desk, "1", None, "new")
    stage(desk, "1", "new", "mature")
    changes.forget(desk.database, NOW + timedelta(days=1))

    response = client.get("/v1/changes", params={"since": since})

    assert response.status_code == 410
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["code"] == "cursor_too_old"
    assert "export everything" in response.json()["detail"]
    assert ask(client, since=ask(client)["next_cursor"])["changes"] == []


def test_a_cursor_of_another_database_is_gone_too(client: TestClient) -> None:
    response = client.get("/v1/changes", params={"since": cursor.written(99)})

    assert (response.status_code, response.json()["code"]) == (410, "cursor_unknown")


@pytest.mark.parametrize(
    ("params", "code"),
    [
        ({"since": CANARY}, None),
        ({"since": "A" * 18}, "cursor_unreadable"),
        ({"since": ""}, None),
        ({"limit": "0"}, None),
        ({"limit": "1001"}, None),
        ({"limit": CANARY}, None),
        ({"what": CANARY}, None),
        ({"what": ["tag"] * 5}, None),
    ],
)
def test_what_cannot_be_meant_is_refused(
    client: TestClient, params: dict[str, Any], code: str | None
) -> None:
    response = client.get("/v1/changes", params=params)

    assert response.status_code == 422
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json().get("code") == code
    assert CANARY not in response.text
