"""The routes of intake: on disk before the answer, each row once, each bad row by name."""

import json
import logging
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import insert
from starlette.testclient import TestClient

from programme.database import Database
from programme.settings import Settings
from serving.live import Live
from serving.online import together
from serving.online.inbox import accept
from serving.online.rows import PurchaseRow
from serving.online.tables import INBOX
from serving.points import PointsDesk
from tests.serving.calling import client_of
from tests.serving.online.intake.till import found_home, kept

CANARY = "canary-4711"
HOUR = timedelta(hours=1)


@pytest.fixture
def desk(make_settings: Callable[[], Settings]) -> Iterator[PointsDesk]:
    desk = PointsDesk(found_home(make_settings()))
    yield desk
    desk.close()


@pytest.fixture
def client(desk: PointsDesk) -> Iterator[TestClient]:
    with client_of(Live(), desk=desk) as client:
        yield client


def ago(hours: float = 1) -> str:
    return (datetime.now(UTC) - hours * HOUR).isoformat()


def line(order_id: str = "o1", **more: Any) -> dict[str, Any]:
    return {
        "order_id": order_id, "line_no": "1", "source_key": "ann", "occurred_at": ago(24),
        "net_cents": 1_000, **more,
    }  # fmt: skip


def event(event_id: str = "e1", **more: Any) -> dict[str, Any]:
    given = {"event_id": event_id, "source_key": "ann", "occurred_at": ago(24), "kind": "view"}
    return given | more


def send(client: TestClient, *rows: dict[str, Any], **headers: str) -> Any:
    what = "events" if "event_id" in rows[0] else "purchases"
    return client.post(f"/v1/{what}", json={what: list(rows)}, headers=headers)


def test_what_was_accepted_is_on_disk_and_waits(client: TestClient, desk: PointsDesk) -> None:
    before = datetime.now(UTC)
    bought, seen = line(source="till", quantity=2), event(value=5)

    answers = [send(client, bought), send(client, seen)]

    assert [answer.status_code for answer in answers] == [202, 202]
    assert answers[0].json() == {"accepted": 1, "known": 0, "refused": [], "last_seq": 1}
    purchase, looked = kept(desk.database)
    assert json.loads(purchase.content)["quantity"] == 2.0
    assert (purchase.source, looked.source, looked.source_key) == ("till", "api", "ann")
    # Known from when we were told, by our own clock.
    assert before <= purchase.accepted_at <= looked.accepted_at <= datetime.now(UTC)
    waiting = client.get("/v1/intake").json()
    assert waiting["rows"] == 2
    assert datetime.fromisoformat(waiting["since"]) == purchase.accepted_at


def test_sent_again_rows_are_known_and_corrected_they_are_kept(client: TestClient) -> None:
    lines = [line("o1"), line("o2")]
    first = send(client, *lines).json()
    again = send(client, *lines).json()
    other = send(client, lines[0], line("o2", net_cents=5)).json()

    assert again == {"accepted": 0, "known": 2, "refused": [], "last_seq": first["last_seq"]}
    assert other == {"accepted": 1, "known": 1, "refused": [], "last_seq": 3}


def test_a_key_gives_the_first_answer_again_and_no_other_rows(
    client: TestClient, desk: PointsDesk
) -> None:
    key = {"Idempotency-Key": "k1"}
    mine = line()
    first, again = send(client, mine, **key), send(client, mine, **key)
    other = send(client, line("o2"), **key)

    assert first.json() == again.json()
    assert (other.status_code, other.json()["code"]) == (409, "posting_conflict")
    assert len(kept(desk.database)) == 1
    assert send(client, mine).json()["known"] == 1
    # A key of one route says nothing about another's.
    assert send(client, event(), **key).json()["accepted"] == 1


BAD_ROWS: list[tuple[dict[str, Any], str, str]] = [
    (line(order_id=""), "missing", "order_id"),
    (line(line_no=""), "missing", "line_no"),
    (line(source_key="m" * 65), "too_long", "source_key"),
    (line(product_id=f"{CANARY}\0"), "nul_character", "product_id"),
    (line(net_cents=10**9 + 1), "out_of_range", "net_cents"),
    (line(net_cents=-1, quantity=1), "wrong_sign", "quantity"),
    (line(returns_order_id=CANARY), "wrong_sign", "net_cents"),
    (line(coupon_cents=-1), "negative", "coupon_cents"),
    (line(quantity=2e9), "out_of_range", "quantity"),
    (line(occurred_at="1969-12-31T23:59:59Z"), "out_of_range", "occurred_at"),
    (line(occurred_at="0001-01-01T00:00:00+14:00"), "out_of_range", "occurred_at"),
    (line(occurred_at="9999-12-31T23:59:59-14:00"), "in_the_future", "occurred_at"),
    (line(occurred_at="2999-01-01T00:00:00Z"), "in_the_future", "occurred_at"),
    (event(event_id=""), "missing", "event_id"),
    (event(kind=CANARY), "unknown_kind", "kind"),
    (event(kind=""), "missing", "kind"),
    (event(duration_seconds=-1), "out_of_range", "duration_seconds"),
]


@pytest.mark.parametrize(("bad", "code", "column"), BAD_ROWS)
def test_a_bad_row_is_refused_by_its_place_and_the_others_are_kept(
    sqlite_client: TestClient, bad: dict[str, Any], code: str, column: str
) -> None:
    good = [event(f"good{n}") if "event_id" in bad else line(f"good{n}") for n in range(2)]

    answer = send(sqlite_client, good[0], bad, good[1])

    found = answer.json()
    assert (answer.status_code, found["accepted"]) == (202, 2)
    (refused,) = found["refused"]
    assert (refused["index"], refused["code"]) == (1, code)
    assert refused["detail"].startswith(f"{column}: ")
    assert CANARY not in answer.text


def test_the_minute_after_now_is_refused_with_what_to_check(sqlite_client: TestClient) -> None:
    (refused,) = send(sqlite_client, line(occurred_at=ago(-1 / 60))).json()["refused"]

    # Near midnight it is tomorrow already.
    assert refused["code"] in ("known_before_it_happened", "in_the_future")
    assert "clock" in refused["detail"]


def test_if_all_are_refused_nothing_is_kept(sqlite_client: TestClient) -> None:
    answer = send(sqlite_client, line(net_cents=10**10)).json()

    assert (answer["accepted"], answer["known"], answer["last_seq"]) == (0, 0, None)


@pytest.mark.parametrize(
    ("route", "body", "at"),
    [
        ("purchases", {"purchases": []}, "purchases"),
        ("purchases", {"purchases": [line()] * 1_001}, "purchases"),
        ("purchases", {}, "purchases"),
        ("purchases", {"purchases": [{}]}, "purchases.0.order_id"),
        ("purchases", {"purchases": [line(known_at=ago())]}, "purchases.0.(a key"),
        ("purchases", {"purchases": [line(occurred_at="2024-01-01T00:00:00")]}, "occurred_at"),
        ("purchases", {"purchases": [line(occurred_at=1_700_000_000)]}, "occurred_at"),
        ("purchases", {"purchases": [line(occurred_at="1700000000")]}, "occurred_at"),
        ("purchases", {"purchases": [line(occurred_at="2024-02-30T00:00:00Z")]}, "occurred_at"),
        ("purchases", {"purchases": [line(net_cents=1.5)]}, "net_cents"),
        ("purchases", {"purchases": [line(net_cents="1000")]}, "net_cents"),
        ("purchases", {"purchases": [line(net_cents=True)]}, "net_cents"),
        ("purchases", {"purchases": [line(net_cents=10**30)]}, "net_cents"),
        ("purchases", {"purchases": [line(quantity=True)]}, "quantity"),
        ("purchases", {"purchases": [line(quantity="2")]}, "quantity"),
        ("purchases", {"purchases": [line(source="")]}, "source"),
        ("purchases", {"purchases": [line(source=None)]}, "source"),
        ("purchases", {"purchases": [line(channel="x" * 1_001)]}, "channel"),
        ("events", {"events": [event(kind=None)]}, "kind"),
        ("events", {"events": [event(value=1e300)]}, "value"),
        ("events", {"events": [line()]}, "events.0"),
    ],
)
def test_a_request_that_cannot_be_read_keeps_nothing(
    sqlite_client: TestClient, route: str, body: dict[str, Any], at: str
) -> None:
    answer = sqlite_client.post(f"/v1/{route}", json=body)

    assert answer.status_code == 422
    assert any(at in fault["at"] for fault in answer.json()["errors"])
    assert sqlite_client.get("/v1/intake").json()["rows"] == 0


@pytest.mark.parametrize(
    "written", ["NaN", "1e999", "-Infinity", '"\\ud800"', '{"deep": ' * 5_000 + "1" + "}" * 5_000]
)
def test_what_is_no_value_is_refused_without_a_fault_of_ours(
    sqlite_client: TestClient, written: str
) -> None:
    text = json.dumps({"purchases": [line(quantity="HERE")]})
    for body in (text.replace('"HERE"', written), text.replace('"ann"', written)):
        answer = sqlite_client.post(
            "/v1/purchases", content=body, headers={"Content-Type": "application/json"}
        )

        assert answer.status_code in (400, 422)
        assert answer.headers["content-type"] == "application/problem+json"


def test_no_row_is_written_to_a_log(
    sqlite_client: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        send(sqlite_client, line(source_key=CANARY))
        send(sqlite_client, line(net_cents=CANARY))

    assert CANARY not in caplog.text


def test_two_hundred_deliveries_at_once_are_one_row(client: TestClient, desk: PointsDesk) -> None:
    mine = line()
    with ThreadPoolExecutor(20) as pool:
        found = list(pool.map(lambda _: send(client, mine).json(), range(200)))

    assert sum(one["accepted"] for one in found) == 1
    assert sum(one["known"] for one in found) == 199
    assert len(kept(desk.database)) == 1


def test_requests_that_wait_share_a_commit(
    client: TestClient, desk: PointsDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    commits, held = [], threading.Event()
    write = Database.write

    def slow(database: Database, work: Any) -> Any:
        commits.append(1)
        held.wait(5)
        return write(database, work)

    send(client, line("warm"))
    monkeypatch.setattr(Database, "write", slow)
    with ThreadPoolExecutor(30) as pool:
        sent = [pool.submit(send, client, line(f"o{n}")) for n in range(30)]
        while not commits:
            pass
        threading.Timer(0.3, held.set).start()
        found = [one.result() for one in sent]

    assert {one.status_code for one in found} == {202}
    assert len(kept(desk.database)) == 31
    assert len(commits) <= 10


def test_a_full_inbox_says_when_to_come_again(
    client: TestClient, desk: PointsDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(together, "ROWS_WAITING_MAX", 1)

    answer = send(client, line("o1"), line("o2"))

    assert answer.status_code == 503
    assert int(answer.headers["Retry-After"]) > 0
    assert kept(desk.database) == []
    assert send(client, line("o1")).status_code == 202


def test_one_delivery_that_fails_spoils_no_other(
    client: TestClient, desk: PointsDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    started, held = threading.Event(), threading.Event()

    def picky(connection: Any, rows: list[PurchaseRow], now: datetime) -> Any:
        started.set()
        held.wait(5)
        found = accept(connection, rows, now)
        if any(row.order_id == "fault" for row in rows):
            # A second row of one number: what the database itself refuses.
            connection.execute(insert(INBOX).values(seq=found[-1].seq))
        return found

    monkeypatch.setattr(together, "accept", picky)
    with ThreadPoolExecutor(5) as pool:
        first = pool.submit(send, client, line("first"))
        started.wait()
        rest = [pool.submit(send, client, line(name)) for name in ("a", "fault", "b")]
        threading.Timer(0.5, held.set).start()
        codes = [one.result().status_code for one in (first, *rest)]

    assert codes == [202, 202, 500, 202]
    stored = sorted(json.loads(row.content)["order_id"] for row in kept(desk.database))
    assert stored == ["a", "b", "first"]


def test_a_home_without_a_programme_says_what_comes_first(
    make_settings: Callable[[], Settings],
) -> None:
    with client_of(Live(), desk=PointsDesk(make_settings())) as client:
        answer = send(client, line())

    assert answer.status_code == 503
    assert "Ingest something first" in answer.json()["detail"]


@pytest.fixture
def sqlite_client(tmp_path: Any) -> Iterator[TestClient]:
    desk = PointsDesk(found_home(Settings(home=tmp_path / "home")))
    with client_of(Live(), desk=desk) as client:
        yield client
    desk.close()
