"""The routes of points and tiers: one shape, one effect, no echo."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from programme.settings import PROGRAMME_FILE, Settings
from serving.live import Live
from serving.points import PointsDesk
from tests.loyalty.shop import PROGRAMME
from tests.serving.calling import client_of

CANARY = "canary-4711"


@pytest.fixture
def client(desk: PointsDesk) -> Iterator[TestClient]:
    with client_of(Live(), desk=desk) as client:
        yield client


def purchase(order_id: str, cents: int, **more: Any) -> dict[str, Any]:
    # Yesterday, and never on the day on which points count three times.
    moment = datetime.now(UTC) - timedelta(days=1)
    moment -= timedelta(days=3 * (moment.day in (7, 8, 9)))
    return {
        "source": "till", "order_id": order_id, "line_no": "1", "member_id": "ann",
        "occurred_at": moment.isoformat(), "net_cents": cents, **more,
    }  # fmt: skip


def earn(client: TestClient, *purchases: dict[str, Any], **headers: str) -> Any:
    body = {"purchases": list(purchases)}
    return client.post("/v1/loyalty/purchases", json=body, headers=headers)


def ask(client: TestClient, route: str, **body: Any) -> Any:
    return client.post(f"/v1/loyalty/{route}", json=body)


def test_a_purchase_earns_and_a_balance_a_ledger_and_a_tier_say_so(client: TestClient) -> None:
    answer = earn(client, purchase("o1", 120_000)).json()

    assert [posting["points"] for posting in answer["postings"]] == [120_000]
    balance = client.get("/v1/members/ann/balance").json()
    assert (balance["active"], balance["points_scale"]) == (120_000, 2)
    assert balance["expiring"] == 120_000
    ledger = client.get("/v1/members/ann/ledger").json()
    assert ledger == {"postings": answer["postings"], "next_cursor": None}
    tier = client.get("/v1/members/ann/tier").json()
    assert (tier["tier"], tier["next_tier"], tier["to_next"]) == ("gold", "diamond", 380_000)
    assert tier["benefits"] == ["free delivery", "birthday gift"]


def test_points_are_redeemed_returned_given_and_adjusted(client: TestClient) -> None:
    earn(client, purchase("o1", 10_000), purchase("o2", 10_000, member_id="bob"))

    spent = ask(client, "redemptions", posting_id="r1", member_id="ann", points=4_000).json()
    back = ask(
        client, "reversals", posting_id="v1", member_id="ann", reverses="r1", points=1_000
    ).json()
    given = ask(
        client, "transfers", posting_id="t1", member_id="ann", to_member_id="bob", points=2_000
    ).json()
    fixed = ask(
        client, "adjustments", posting_id="a1", member_id="bob", points=-500, reason="typo"
    ).json()

    assert [p["balance"] for p in (spent, back, given, fixed)] == [6_000, 7_000, 5_000, 11_500]
    assert [p["kind"] for p in (spent, back, given, fixed)] == [
        "REDEEM", "REVERSE", "TRANSFER", "ADJUST",
    ]  # fmt: skip


def test_the_same_request_has_one_effect_and_one_answer(client: TestClient) -> None:
    earn(client, purchase("o1", 10_000))
    asked = {"posting_id": "r1", "member_id": "ann", "points": 4_000}

    first, again = (ask(client, "redemptions", **asked) for _ in range(2))
    other = ask(client, "redemptions", **{**asked, "points": 5_000})

    assert first.json() == again.json()
    assert (other.status_code, other.json()["code"]) == (409, "posting_conflict")
    assert client.get("/v1/members/ann/balance").json()["active"] == 6_000


def test_an_idempotency_key_gives_the_first_answer_again(client: TestClient) -> None:
    lines = [purchase("o1", 10_000)]
    first = earn(client, *lines, **{"Idempotency-Key": "k1"})
    again = earn(client, *lines, **{"Idempotency-Key": "k1"})
    without = earn(client, *lines)
    other = earn(client, purchase("o2", 1), **{"Idempotency-Key": "k1"})

    assert first.json()["postings"]
    assert again.json() == first.json()
    assert without.json() == {"postings": [], "known": 1, "refused": []}
    assert (other.status_code, other.json()["code"]) == (409, "posting_conflict")


def test_a_refused_request_does_not_burn_its_key(client: TestClient) -> None:
    headers = {"Idempotency-Key": "k1"}
    body = {"posting_id": "r1", "member_id": "ann", "points": 4_000}
    earn(client, purchase("o1", 1_000))

    refused = client.post("/v1/loyalty/redemptions", json=body, headers=headers)
    earn(client, purchase("o2", 9_000))
    done = client.post("/v1/loyalty/redemptions", json=body, headers=headers)

    assert (refused.status_code, done.status_code) == (409, 200)


def test_a_simulation_posts_nothing_and_names_the_rules(client: TestClient) -> None:
    line = {"line_no": "1", "net_cents": 1_000, "category": "FOOD/FRESH"}

    answer = ask(client, "simulate", occurred_at="2018-06-08T04:00:00Z", lines=[line]).json()

    assert answer["points"] == 6_000
    assert {rule["rule"] for rule in answer["rules"]} == {"fresh food counts double", "member day"}
    assert client.get("/v1/members/ann/balance").status_code == 404


def test_a_ledger_is_read_page_by_page(client: TestClient) -> None:
    earn(client, *(purchase(f"o{n}", 100) for n in range(5)))
    seen: list[int] = []
    query = "?limit=2"

    while query:
        page = client.get(f"/v1/members/ann/ledger{query}").json()
        seen += [posting["posting_no"] for posting in page["postings"]]
        cursor = page["next_cursor"]
        query = f"?limit=2&cursor={cursor}" if cursor else ""

    assert seen == [5, 4, 3, 2, 1]


def test_a_line_that_is_refused_is_named_and_the_others_earn(client: TestClient) -> None:
    old = purchase("o1", 100, occurred_at="1999-01-01T00:00:00Z")

    answer = earn(client, old, purchase("o2", 200)).json()

    assert [posting["points"] for posting in answer["postings"]] == [200]
    assert [(line["index"], line["code"]) for line in answer["refused"]] == [(0, "outside_limits")]


@pytest.mark.parametrize(
    ("route", "body", "status", "code"),
    [
        ("redemptions", {"member_id": CANARY}, 404, "unknown_member"),
        ("redemptions", {"points": 10**9}, 422, "outside_limits"),
        ("redemptions", {"points": 101}, 409, "insufficient_points"),
        ("redemptions", {"member_id": f"{CANARY}\n"}, 422, "malformed"),
        ("redemptions", {"points": 0}, 422, None),
        ("redemptions", {"points": -5}, 422, None),
        ("redemptions", {"points": 1.5}, 422, None),
        ("redemptions", {"points": "5"}, 422, None),
        ("redemptions", {"points": 10**30}, 422, None),
        ("redemptions", {"posting_id": "a#b"}, 422, None),
        ("redemptions", {"posting_id": "a b"}, 422, None),
        ("redemptions", {"posting_id": "王"}, 422, None),
        ("redemptions", {"member_id": "x" * 65}, 422, None),
        ("redemptions", {CANARY: 1}, 422, None),
        ("reversals", {"reverses": CANARY}, 404, "unknown_posting"),
        ("adjustments", {"points": 0, "reason": "x"}, 422, "malformed"),
        ("adjustments", {}, 422, None),
        ("transfers", {"to_member_id": "ann"}, 422, "malformed"),
    ],
)
def test_what_cannot_be_meant_is_refused_in_one_shape(
    client: TestClient, route: str, body: dict[str, Any], status: int, code: str | None
) -> None:
    earn(client, purchase("o1", 100))

    sound = {"posting_id": "r", "member_id": "ann", "points": 1}

    answer = ask(client, route, **{**sound, **body})

    assert answer.headers["content-type"] == "application/problem+json"
    assert (answer.status_code, answer.json().get("code")) == (status, code)
    assert CANARY not in answer.text
    assert client.get("/v1/members/ann/balance").json()["active"] == 100


def test_a_line_in_another_currency_is_told_both(client: TestClient) -> None:
    answer = earn(client, purchase("o1", 100, currency="USD")).json()

    refused = answer["refused"][0]
    assert refused["code"] == "wrong_currency"
    assert "'USD'" in refused["detail"]
    assert "CNY" in refused["detail"]


def test_a_line_that_came_with_other_content_is_a_conflict(client: TestClient) -> None:
    line = purchase("o1", 100)
    earn(client, line)

    answer = earn(client, {**line, "net_cents": 101}).json()

    assert [each["code"] for each in answer["refused"]] == ["posting_conflict"]


def test_an_order_from_before_the_first_rules_is_named_and_no_fault_of_ours(
    client: TestClient,
) -> None:
    lines = [{"line_no": "1", "net_cents": 1_000}]

    answer = ask(client, "simulate", occurred_at="2017-12-30T04:00:00Z", lines=lines)

    assert (answer.status_code, answer.json()["code"]) == (422, "outside_limits")


def test_without_rules_the_answer_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / PROGRAMME_FILE).write_text(PROGRAMME.as_toml())
    desk = PointsDesk(Settings(home=tmp_path))

    with client_of(Live(), desk=desk) as client:
        answer = client.get("/v1/members/ann/balance")

    assert answer.status_code == 503
    assert "perennial points rules" in answer.json()["detail"]
    desk.close()
