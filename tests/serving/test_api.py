import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import httpx2
import pytest
from starlette.testclient import TestClient

from serving.hot import ChurnScorer
from serving.live import Live
from serving.shell import BODY_BYTES_MAX, HEADERS
from tests.little_programme import AS_OF, LittleProgramme
from tests.serving.calling import client_of
from tests.serving.published import Published

CANARY = "canary-4711"


@pytest.fixture(scope="module")
def live(published: Published) -> Live:
    return published.live


@pytest.fixture(scope="module")
def client(published: Published) -> Iterator[TestClient]:
    with client_of(published.live, desk=published.desk) as client:
        yield client


def ask(client: TestClient, *members: str, **headers: str) -> Any:
    return client.post("/v1/scores", json={"member_ids": list(members)}, headers=headers)


def assert_is_a_problem(response: httpx2.Response, status: int) -> dict[str, Any]:
    problem: dict[str, Any] = response.json()
    assert response.status_code == status
    assert response.headers["content-type"] == "application/problem+json"
    assert problem["status"] == status
    assert problem["title"]
    assert problem["detail"]
    assert CANARY not in response.text
    return problem


def test_members_are_answered_in_the_order_asked(client: TestClient) -> None:
    answer = ask(client, "m003", "nobody", "m001").json()

    assert [s["member_id"] for s in answer["scores"]] == ["m003", "nobody", "m001"]
    assert answer["scores"][1] == {"member_id": "nobody", "known": False}


def test_the_answer_has_the_published_keys(client: TestClient) -> None:
    (score,) = ask(client, "m001").json()["scores"]

    assert list(score) == [
        "member_id", "known", "as_of", "data_as_of", "churn", "value", "next_products",
        "next_order",
    ]  # fmt: skip
    assert score["as_of"] == AS_OF.isoformat()
    assert score["data_as_of"].endswith("Z")
    assert set(score["churn"]) == {
        "churn_probability", "horizon_days", "percentile", "risk_band", "population", "eligible",
        "base", "raw_score", "drivers", "no_single_driver", "model_name", "model_version",
    }  # fmt: skip
    assert set(score["churn"]["drivers"][0]) == {
        "code", "label", "value", "parameters", "contribution", "direction", "importance",
    }  # fmt: skip
    assert set(score["next_products"]) == {"repeat", "explore"}
    assert set(score["next_order"]) == {
        "expected_on", "earliest_on", "latest_on", "horizon_days", "p_by", "due", "exact",
        "model_name", "model_version",
    }  # fmt: skip


@pytest.mark.parametrize(("language", "word"), [("en", "not what causes"), ("zh", "因果")])
def test_the_caveat_goes_with_the_reasons(client: TestClient, language: str, word: str) -> None:
    answer = client.post("/v1/scores", json={"member_ids": ["m001"], "language": language}).json()

    assert word in answer["caveat"]
    for target in ("churn", "value"):
        said = answer["scores"][0][target]
        highest = [each for each in said["drivers"] if each["importance"] == "high"]
        assert said["no_single_driver"] == (not highest)


def test_contributions_add_up_to_the_raw_score_in_the_text_that_is_sent(
    client: TestClient,
) -> None:
    text = ask(client, *(f"m{number:03d}" for number in range(40))).text
    answer = json.loads(text, parse_float=Decimal, parse_int=Decimal)

    for member in answer["scores"]:
        for target in ("churn", "value"):
            score = member[target]
            total = score["base"] + sum(driver["contribution"] for driver in score["drivers"])
            assert total == score["raw_score"]


def test_money_is_whole_cents_in_the_programmes_currency(client: TestClient) -> None:
    (score,) = ask(client, "m001").json()["scores"]

    assert isinstance(score["value"]["value_cents"], int)
    assert isinstance(score["value"]["error_cents"], int)
    value = score["value"]
    for name in ("low_cents", "high_cents", "historic_cents", "total_cents"):
        assert isinstance(value[name], int), name
    assert value["low_cents"] <= value["high_cents"]
    assert value["historic_cents"] + value["value_cents"] == value["total_cents"]
    assert value["interval_level"] == 0.8
    assert score["value"]["currency"] == "EUR"
    assert score["value"]["exact"] is False


def test_the_next_order_says_what_is_due_and_since_when(client: TestClient) -> None:
    members = [f"m{number:03d}" for number in range(40)]

    english = ask(client, *members).json()["scores"]
    chinese = ask(client, *members, **{"Accept-Language": "zh"}).json()["scores"]

    due = [one for score in english for one in score["next_order"]["due"]]
    assert {one["overdue"] for one in due} == {True, False}
    for one in due:
        assert one["overdue"] == (one["due_on"] < AS_OF.isoformat())
        assert one["label"].startswith("Overdue: " if one["overdue"] else "Needed about every ")
    assert all("天前" in one["label"] for score in chinese for one in score["next_order"]["due"])
    assert {score["next_order"]["exact"] for score in english} == {False}
    assert None in {score["next_order"]["latest_on"] for score in english}


@pytest.mark.parametrize(
    ("body", "header", "language", "start"),
    [
        (None, "en", "en", "Last visit "),
        (None, "zh-CN,zh;q=0.9,en;q=0.1", "zh", "距上次到店"),
        ("zh", "en", "zh", "距上次到店"),
        (None, "fr", "en", "Last visit "),
    ],
)
def test_reasons_come_in_the_language_asked_for(
    client: TestClient, body: str | None, header: str, language: str, start: str
) -> None:
    response = client.post(
        "/v1/scores",
        json={"member_ids": ["m001"], "language": body},
        headers={"Accept-Language": header},
    )

    drivers = response.json()["scores"][0]["churn"]["drivers"]
    (recency,) = [driver for driver in drivers if driver["code"] == "recency"]
    assert response.headers["content-language"] == language
    assert recency["label"].startswith(start)


def test_500_members_are_answered_and_501_are_not(client: TestClient) -> None:
    assert len(ask(client, *["m001"] * 500).json()["scores"]) == 500

    problem = assert_is_a_problem(ask(client, *["m001"] * 501), 422)
    assert problem["errors"][0]["at"] == "member_ids"


@pytest.mark.parametrize(
    ("body", "at"),
    [
        ({}, "member_ids"),
        ({"member_ids": []}, "member_ids"),
        ({"member_ids": [""]}, "member_ids.0"),
        ({"member_ids": ["m001", CANARY * 10]}, "member_ids.1"),
        ({"member_ids": [17]}, "member_ids.0"),
        ({"member_ids": CANARY}, "member_ids"),
        ({"member_ids": ["m001"], "language": CANARY}, "language"),
        ({"member_ids": ["m001"], CANARY: 1}, "(a key there is none of)"),
        ([CANARY], "body"),
        (CANARY, "body"),
    ],
)
def test_a_request_that_does_not_fit_is_refused_where_and_without_echo(
    client: TestClient, body: object, at: str
) -> None:
    problem = assert_is_a_problem(client.post("/v1/scores", json=body), 422)

    assert problem["errors"][0]["at"] == at


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{" + CANARY.encode(),
        b'{"member_ids": ["\xff"]}',
        b"[" * 50_000,
        b'{"member_ids": ["a"]} ' + CANARY.encode(),
    ],
)
def test_what_is_not_json_is_refused(client: TestClient, content: bytes) -> None:
    response = client.post(
        "/v1/scores", content=content, headers={"Content-Type": "application/json"}
    )

    assert_is_a_problem(response, 422 if content == b"" else 400)


@pytest.mark.parametrize("content", [b'{"member_ids": [NaN]}', b'{"member_ids": ["\\ud800"]}'])
def test_values_json_should_not_have_are_refused(client: TestClient, content: bytes) -> None:
    response = client.post(
        "/v1/scores", content=content, headers={"Content-Type": "application/json"}
    )

    assert_is_a_problem(response, 422)


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", ""])
def test_a_body_of_another_type_is_refused(client: TestClient, kind: str) -> None:
    response = client.post(
        "/v1/scores", content=b'{"member_ids": ["m001"]}', headers={"Content-Type": kind}
    )

    assert_is_a_problem(response, 415)


def test_a_body_too_large_is_refused_whether_announced_or_not(client: TestClient) -> None:
    def dribble() -> Iterator[bytes]:
        for _ in range(BODY_BYTES_MAX // 65_536 + 2):
            yield b" " * 65_536

    kind = {"Content-Type": "application/json"}

    assert_is_a_problem(client.post("/v1/scores", json=["x" * BODY_BYTES_MAX]), 413)
    assert_is_a_problem(client.post("/v1/scores", content=dribble(), headers=kind), 413)


def test_the_largest_legal_request_fits(client: TestClient) -> None:
    # 500 ids of 64 characters outside the basic plane, each escaped to 12 bytes.
    response = ask(client, *["\U0001f6d2" * 64] * 500)

    assert response.status_code == 200
    assert not any(score["known"] for score in response.json()["scores"])


@pytest.mark.parametrize(
    "path", ["/", "/docs.json", "/schema.json", "/v1", "/v1/nonsense", "/static_content/index.css"]
)
def test_an_unknown_route_is_a_problem(client: TestClient, path: str) -> None:
    assert_is_a_problem(client.get(path), 404)


def test_another_method_is_a_problem_that_names_the_right_one(client: TestClient) -> None:
    response = client.get("/v1/scores")

    assert_is_a_problem(response, 405)
    assert response.headers["allow"] == "POST"


def test_every_answer_forbids_scripts_and_storing(client: TestClient) -> None:
    for response in (ask(client, "m001"), client.get("/"), client.get("/readyz")):
        assert {name: response.headers[name] for name in HEADERS} == HEADERS


def test_a_connection_from_elsewhere_needs_a_key(live: Live) -> None:
    open_client = client_of(live, "http://192.0.2.7:3000")

    for response in (ask(open_client, CANARY), open_client.get("/metrics")):
        assert_is_a_problem(response, 401)


def test_without_champions_every_route_says_why(trained: LittleProgramme) -> None:
    waiting = Live()
    waiting.refresh(trained.settings.model_copy(update={"home": trained.settings.home / "none"}))
    client = client_of(waiting)

    for response in (client.get("/readyz"), ask(client, "m001")):
        problem = assert_is_a_problem(response, 503)
        assert "holds no programme yet" in problem["detail"]
        assert "perennial ingest" in problem["detail"]
        assert int(response.headers["retry-after"]) > 0


def test_a_fault_of_ours_is_a_500_that_tells_nothing(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError(CANARY)

    monkeypatch.setattr(ChurnScorer, "score", fail)

    assert_is_a_problem(ask(client, "m001"), 500)


def test_the_description_promises_what_is_answered(client: TestClient) -> None:
    described = client.get("/v1/openapi.json").json()

    post = described["paths"]["/v1/scores"]["post"]
    assert set(post["responses"]) == {
        "200", "400", "401", "403", "413", "415", "422", "429", "500", "503", "504",
    }  # fmt: skip
    for status, response in post["responses"].items():
        kind = "application/json" if status == "200" else "application/problem+json"
        assert list(response["content"]) == [kind]
    assert "HTTPValidationError" not in described["components"]["schemas"]
    assert described["components"]["schemas"]["ScoresRequest"]["additionalProperties"] is False
