"""What is answered of one member, of segments and tags, and of the models behind it all."""

import json
import math
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.testclient import TestClient

from features import table
from programme.words import codes
from serving.live import Live
from serving.online.store import NUMBERS, OnlineStore
from serving.points import PointsDesk
from tests.little_programme import AS_OF
from tests.serving.calling import client_of
from tests.serving.published import PUBLISHED_AT, Published

PARTS = ("churn", "value", "next-order", "recommendations", "explanation")
CANARY = "canary-4711"


@pytest.fixture(scope="module")
def client(published: Published) -> Iterator[TestClient]:
    with client_of(published.live, desk=published.desk) as client:
        yield client


def ask(client: TestClient, path: str, language: str = "en") -> dict[str, Any]:
    response = client.get(path, headers={"Accept-Language": language})
    assert response.status_code == 200, response.text
    # NaN would have been no JSON.
    found: dict[str, Any] = json.loads(response.text, parse_constant=lambda _: pytest.fail("NaN"))
    return found


def scores(client: TestClient, member_id: str) -> dict[str, Any]:
    answer = client.post("/v1/scores", json={"member_ids": [member_id]}).json()
    (found,) = answer["scores"]
    return dict(found)


def test_a_profile_has_the_published_keys(client: TestClient) -> None:
    profile = ask(client, "/v1/members/m001")

    assert list(profile) == [
        "member_id", "population", "stage", "segments", "tags", "scores", "features", "as_of",
        "tags_as_of", "data_as_of", "updated_at",
    ]  # fmt: skip
    assert profile["member_id"] == "m001"
    assert profile["as_of"] == AS_OF.isoformat()
    assert profile["data_as_of"].endswith("Z")
    assert profile["updated_at"] == PUBLISHED_AT.isoformat().replace("+00:00", "Z")
    assert set(profile["scores"]) == {"churn", "value", "next_order_expected_on"}


def test_a_profile_has_every_feature_of_the_store_and_absent_is_null(
    client: TestClient, published: Published
) -> None:
    row = OnlineStore(published.desk.database).read(["m001"])["m001"]
    numbers = dict(zip(NUMBERS, row.features.tolist(), strict=True))

    features = ask(client, "/v1/members/m001")["features"]

    assert [one["code"] for one in features] == list(table.ALL_COLUMNS)
    for one in features:
        stored = row.texts.get(one["code"], numbers.get(one["code"], math.nan))
        absent = isinstance(stored, float) and math.isnan(stored)
        assert one["value"] == (None if absent else stored)
        assert one["unit"] and one["meaning"] and one["label"]
    assert any(one["value"] is None for one in features)


@pytest.mark.parametrize(
    ("language", "words"),
    [("en", "Last purchase {:.0f} days ago"), ("zh", "上次购买在{:.0f}天前")],
)
def test_features_segments_and_tags_are_said_in_the_language_asked_for(
    client: TestClient, language: str, words: str
) -> None:
    response = client.get("/v1/members/m001", headers={"Accept-Language": f"{language}, fr;q=0.1"})
    profile = response.json()

    assert response.headers["content-language"] == language
    recency = profile["features"][0]
    assert recency["label"] == words.format(recency["value"])
    for one in (profile["stage"], *profile["segments"], *profile["tags"]):
        is_chinese = any("\u4e00" <= letter <= "\u9fff" for letter in one["label"])
        assert is_chinese == (language == "zh")
    assert profile["tags"]
    assert all(tag["says"] for tag in profile["tags"])


def test_features_that_have_words_exist_and_say_their_value_alone() -> None:
    for language in ("en", "zh"):
        worded = [code for code in codes(language) if code.startswith("feature.")]
        for code in worded:
            name = code.removeprefix("feature.")
            assert name in table.ALL_COLUMNS
            (said, _) = codes(language)[code]
            assert said.needs - {"currency"} == {name}


def test_the_routes_of_a_member_answer_what_scores_answers(client: TestClient) -> None:
    said = scores(client, "m001")

    for path, part in (
        ("churn", "churn"), ("value", "value"), ("next-order", "next_order"),
        ("recommendations", "next_products"),
    ):  # fmt: skip
        answer = ask(client, f"/v1/members/m001/{path}")
        assert answer[part] == said[part]
        assert {name: answer[name] for name in ("member_id", "as_of", "data_as_of")} == {
            name: said[name] for name in ("member_id", "as_of", "data_as_of")
        }
    profile = ask(client, "/v1/members/m001")["scores"]
    assert profile["churn"].items() <= said["churn"].items()
    assert profile["value"].items() <= said["value"].items()


def test_reasons_are_left_out_when_nobody_wants_them(client: TestClient) -> None:
    for part in ("churn", "value"):
        answer = ask(client, f"/v1/members/m001/{part}?drivers=false")
        assert not answer[part].get("drivers")


@pytest.mark.parametrize(("language", "word"), [("en", "the risk"), ("zh", "流失风险")])
def test_an_explanation_adds_up_and_says_how_exact_it_is(
    client: TestClient, language: str, word: str
) -> None:
    said = ask(client, "/v1/members/m001/explanation", language)

    churn, value = said["churn"], said["value"]
    for part in (churn, value):
        total = part["base"] + sum(driver["contribution"] for driver in part["drivers"])
        assert total == pytest.approx(part["raw_score"], abs=1e-9)
    assert (churn["exact"], churn["error_cents"]) == (True, None)
    assert value["exact"] is False
    assert value["error_cents"] >= 0
    worth_saying = [one for one in churn["drivers"] if one["importance"] != "low"]
    assert len(churn["sentences"]) == len(worth_saying) > 0
    assert all(word in sentence for sentence in churn["sentences"])
    assert said["caveat"]


@pytest.mark.parametrize("part", ["", *(f"/{part}" for part in PARTS)])
@pytest.mark.parametrize("member_id", ["nemo", CANARY, "会员", "a b", "a/b", "' or 1=1", "%2e%2e"])
def test_a_member_nobody_knows_is_a_404(client: TestClient, part: str, member_id: str) -> None:
    response = client.get(f"/v1/members/{quote(member_id, safe='')}{part}")

    assert response.status_code == 404
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["code"] == "unknown_member"
    assert member_id not in response.text


@given(member_id=st.text(st.characters(codec="utf-8"), min_size=1, max_size=64))
def test_any_id_is_answered_in_our_one_shape(client: TestClient, member_id: str) -> None:
    response = client.get(f"/v1/members/{quote(member_id, safe='')}/churn")

    assert response.status_code in (200, 404)
    if response.status_code == 404:
        assert response.headers["content-type"] == "application/problem+json"


def test_an_id_that_is_too_long_is_refused(client: TestClient) -> None:
    response = client.get(f"/v1/members/{CANARY * 6}/churn")

    assert response.status_code == 422
    assert CANARY not in response.text


def test_segments_say_how_everybody_is_divided(client: TestClient, published: Published) -> None:
    answer = ask(client, "/v1/segments")

    assert answer["as_of"] == AS_OF.isoformat()
    assert answer["published_at"] == PUBLISHED_AT.isoformat().replace("+00:00", "Z")
    assert [one["kind"] for one in answer["kinds"]] == ["stage", "rfm_group", "cluster"]
    for kind in answer["kinds"]:
        sizes = [group["members"] for group in kind["groups"]]
        assert sum(sizes) == answer["members"]
        assert sum(group["member_share"] for group in kind["groups"]) == pytest.approx(1)
        assert kind["notes"]
    stages = {group["name"]: group["members"] for group in answer["kinds"][0]["groups"]}
    rows = OnlineStore(published.desk.database).read([f"m{n:03d}" for n in range(500)])
    stored = [row.traits["stage"] for row in rows.values()]
    assert stages == {name: stored.count(name) for name in set(stored)}


def test_tags_are_paged_by_their_codes_and_each_comes_once(
    client: TestClient, published: Published
) -> None:
    everything = ask(client, "/v1/tags?limit=500")["tags"]
    seen: list[dict[str, Any]] = []
    path = "/v1/tags?limit=37"
    while path:
        page = ask(client, path)
        assert len(page["tags"]) <= 37
        seen += page["tags"]
        follow = page["next_cursor"]
        path = f"/v1/tags?limit=37&cursor={quote(follow)}" if follow else ""

    assert seen == everything
    assert [tag["code"] for tag in seen] == sorted(tag["code"] for tag in seen)
    rows = OnlineStore(published.desk.database).read([f"m{n:03d}" for n in range(500)])
    held = [code for row in rows.values() for code in row.traits["tags"]]
    assert {tag["code"]: tag["members"] for tag in seen if tag["members"]} == {
        code: held.count(code) for code in set(held)
    }
    for tag in seen:
        assert tag["label"] and tag["says"] and tag["rule"] and tag["window_days"] > 0


def test_models_are_listed_with_what_is_in_service(client: TestClient) -> None:
    answer = ask(client, "/v1/models")

    champions = {one["target"]: one for one in answer["models"] if one["alias"] == "champion"}
    assert set(champions) == {"churn", "value", "repeat", "explore", "next_order"}
    assert champions["churn"]["version"] == 1
    assert any("churn_28d/1" in part for part in answer["in_service"])
    assert answer["shadow"] == []


def test_before_anybody_is_written_every_route_says_what_to_do(desk: PointsDesk) -> None:
    client = client_of(Live(), desk=desk)

    for path in ("/v1/segments", "/v1/tags", "/v1/members/m001", "/v1/members/m001/churn"):
        response = client.get(path)
        assert response.status_code == 503
        assert response.headers["content-type"] == "application/problem+json"
        assert int(response.headers["retry-after"]) > 0
    assert client.get("/v1/models").json() == {"models": [], "in_service": [], "shadow": []}


@pytest.mark.parametrize("path", ["/v1/tags?limit=0", "/v1/tags?limit=501", "/v1/tags?cursor="])
def test_a_page_that_cannot_be_is_refused(client: TestClient, path: str) -> None:
    assert client.get(path).status_code == 422
