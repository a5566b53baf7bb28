"""The routes of campaigns: a whole life over HTTP, one shape of refusal, one effect, no echo."""

import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from actions import brief, campaigns, offers
from programme.settings import Settings
from serving.api.actions import _as_toml
from serving.api.actions_schemas import CampaignRequest
from serving.live import Live
from serving.points import PointsDesk
from tests.actions import campaign as made
from tests.little_programme import AS_OF, LittleProgramme
from tests.serving.calling import client_of
from tests.serving.test_action_desk import CATALOGUE

CANARY = "canary-4711"
JSON = {"Content-Type": "application/json"}
AUTUMN = {"campaign": "autumn", "offers": ["letter", "text"], "as_of": str(AS_OF)}


@pytest.fixture(scope="module")
def home(trained: LittleProgramme, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of the trained home: campaigns write into it."""
    copy = tmp_path_factory.mktemp("acting-api") / "home"
    shutil.copytree(trained.settings.home, copy)
    return copy


@pytest.fixture
def points(home: Path) -> Iterator[PointsDesk]:
    for left in home.glob("programme.db*"):
        left.unlink()
    shutil.rmtree(home / "outbox", ignore_errors=True)
    desk = PointsDesk(Settings(home=home, threads=1))
    yield desk
    desk.close()


@pytest.fixture
def client(points: PointsDesk) -> Iterator[TestClient]:
    with client_of(Live(), desk=points) as client:
        yield client


def adopt(client: TestClient, text: str = CATALOGUE, **headers: str) -> Any:
    return client.post("/v1/offers", json={"toml": text}, headers=headers)


def post(client: TestClient, path: str, body: Any = None, **headers: str) -> Any:
    return client.post(f"/v1/{path}", json=body or {}, headers=headers)


def by_hand(points: PointsDesk, name: str = "autumn") -> None:
    """Propose a campaign whose decisions are written down, so that nothing is worked out."""
    assert points.settings is not None
    now, programme = datetime.now(UTC), points.programme
    # An offer without an end: these routes act at the hour it is.
    text = made.CATALOGUE.replace("last_day = 2026-11-30\n", "")
    catalogue = offers.read(text, programme)
    asked = brief.read(f'campaign = "{name}"\noffers = ["voucher", "letter"]\n')
    of = [made.decision(name, "m1", "voucher"), made.decision(name, "m4", "voucher", "control")]
    campaigns.adopt(points.database, catalogue, now=now)
    campaigns.propose(
        points.database, points.settings.home, asked, catalogue, of, {}, as_of=AS_OF, now=now
    )


def test_a_campaign_lives_its_whole_life_over_http(client: TestClient) -> None:
    assert adopt(client).json() == {"version": "1", "new": True}
    listed = client.get("/v1/offers").json()
    assert [one["id"] for one in listed["offers"]] == ["letter", "text", "birthday", "bonus"]
    assert listed["offers"][1]["contact_cost_cents"] == 5.0

    answer = post(client, "campaigns", AUTUMN)
    assert answer.status_code == 200, answer.text
    proposed = answer.json()
    assert proposed["state"] == "proposed"
    assert sum(proposed["facts"]["arms"].values()) == 120
    approved = post(client, "campaigns/autumn/approve", {"by": "Ada"}).json()
    assert (approved["state"], approved["approved_by"]) == ("approved", "Ada")
    assert post(client, "campaigns/autumn/launch").json()["state"] == "launched"
    assert client.get("/v1/campaigns/autumn").json()["facts"] == proposed["facts"]
    assert [one["campaign_id"] for one in client.get("/v1/campaigns").json()["campaigns"]] == [
        "autumn"
    ]

    pages, cursor = list[dict[str, Any]](), None
    while True:
        asked = {"limit": 50, **({"cursor": cursor} if cursor else {})}
        page = client.get("/v1/campaigns/autumn/decisions", params=asked).json()
        pages += page["decisions"]
        if (cursor := page["next_cursor"]) is None:
            break
    ids = [one["member_id"] for one in pages]
    assert ids == sorted(ids) and len(set(ids)) == 120
    contacted = [one for one in pages if one["arm"] in ("treated", "explored")]
    done = post(client, "deliveries").json()
    # At night what asks for consent waits for the morning; nothing else can keep a message.
    assert done["sent"] + done["later"] == len(contacted) > 0
    early = client.get("/v1/campaigns/autumn/readout").json()
    assert (early["complete"], early["stopped"]) == (False, None)
    closed = post(client, "campaigns/autumn/close").json()
    assert client.get("/v1/campaigns/autumn/readout").json() == closed
    assert post(client, "campaigns/autumn/close").json() == closed


def test_why_is_told_in_the_language_that_is_accepted(
    client: TestClient, points: PointsDesk
) -> None:
    by_hand(points)
    post(client, "campaigns/autumn/approve", {"by": "Ada"})
    post(client, "campaigns/autumn/launch")

    english = client.get("/v1/members/m4/decisions")
    chinese = client.get("/v1/members/m4/decisions", headers={"Accept-Language": "zh-CN"})

    (one,), (other,) = english.json()["decisions"], chinese.json()["decisions"]
    assert (one["arm"], one["propensity"], one["message"]) == ("control", 0.7, None)
    assert [scored["refused"] for scored in one["considered"]] == [None, "capped"]
    assert one["considered"][1]["label"] != other["considered"][1]["label"]
    assert (english.headers["Content-Language"], chinese.headers["Content-Language"]) == (
        "en", "zh",
    )  # fmt: skip
    unknown = client.get("/v1/members/nobody/decisions")
    assert (unknown.status_code, unknown.json()["code"]) == (404, "nothing_decided")


def test_who_is_suppressed_gets_nothing_until_it_is_lifted(
    client: TestClient, points: PointsDesk
) -> None:
    by_hand(points)
    for step, body in (("approve", {"by": "Ada"}), ("launch", {})):
        post(client, f"campaigns/autumn/{step}", body)
    answer = client.put("/v1/members/m1/suppression", json={"reason": "open complaint"})
    assert answer.json() == {"member_id": "m1", "suppressed": True, "until": None}

    assert post(client, "deliveries").json()["refused"] == {"suppressed": 1}
    (told,) = client.get("/v1/members/m1/decisions").json()["decisions"]
    assert (told["message"], told["why"]) == ("refused", "suppressed")
    assert told["why_label"]
    lifted = client.delete("/v1/members/m1/suppression").json()
    assert lifted["suppressed"] is False


def test_refusals_are_told_apart_by_code_and_do_not_repeat_what_was_sent(
    client: TestClient, points: PointsDesk
) -> None:
    def code(answer: Any) -> tuple[int, str]:
        assert answer.headers["content-type"] == "application/problem+json"
        assert CANARY not in answer.text
        return answer.status_code, answer.json()["code"]

    assert code(client.get(f"/v1/campaigns/{CANARY}")) == (404, "unknown_campaign")
    assert code(post(client, f"campaigns/{CANARY}/launch")) == (404, "unknown_campaign")
    by_hand(points)
    assert code(client.get("/v1/campaigns/autumn/readout")) == (409, "not_launched")
    assert code(post(client, "campaigns/autumn/launch")) == (409, "not_approved")
    assert code(post(client, "campaigns/autumn/close")) == (409, "not_launched")
    by_hand(points, "winter")
    for name in ("autumn", "winter"):
        assert post(client, f"campaigns/{name}/approve", {"by": "Ada"}).status_code == 200
    assert post(client, "campaigns/autumn/launch").status_code == 200
    assert code(post(client, "campaigns/winter/launch")) == (409, "overtaken")
    assert code(post(client, "campaigns/autumn/approve", {"by": "Ada"})) == (409, "not_proposed")
    assert code(adopt(client, CATALOGUE)) == (409, "catalogue_conflict")
    assert code(post(client, "campaigns", {"campaign": "new", "offers": [CANARY]})) == (
        422, "unknown_offer",
    )  # fmt: skip
    again = {"campaign": "autumn", "offers": ["voucher"], "as_of": str(AS_OF)}
    assert code(post(client, "campaigns", again)) == (409, "already_begun")


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "campaigns", {"campaign": "a", "offers": ["x"], CANARY: 1}),
        ("POST", "campaigns", {"campaign": CANARY + " !", "offers": ["x"]}),
        ("POST", "campaigns", {"campaign": "a", "offers": ["x"], "budget": -1}),
        ("POST", "campaigns", {"campaign": "a", "offers": [], "name": CANARY}),
        ("POST", "campaigns", {"campaign": "a", "offers": [CANARY] * 101}),
        ("POST", "campaigns/autumn/approve", {"by": ""}),
        ("POST", "campaigns/autumn/approve", {"by": CANARY * 100}),
        ("POST", "offers", {"toml": ""}),
        ("POST", "offers", {"toml": f'version = "{CANARY} !"'}),
        ("PUT", "members/m1/suppression", {"reason": CANARY * 100}),
        ("PUT", "members/m1/suppression", {"reason": "x", "until": CANARY}),
        ("GET", "campaigns?limit=0", None),
        ("GET", "campaigns/autumn/decisions?limit=501", None),
        ("GET", f"members/{'m' * 65}/decisions", None),
    ],
)
def test_what_does_not_fit_is_a_problem_that_repeats_nothing(
    client: TestClient, method: str, path: str, body: Any
) -> None:
    answer = client.request(method, f"/v1/{path}", json=body, headers=JSON)

    assert answer.status_code == 422, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert CANARY not in answer.text


def test_a_key_that_comes_again_gets_the_first_answer(
    client: TestClient, points: PointsDesk
) -> None:
    first = adopt(client, **{"Idempotency-Key": "k1"})
    again = adopt(client, **{"Idempotency-Key": "k1"})
    without = adopt(client)
    other = adopt(client, CATALOGUE.replace('"1"', '"2"'), **{"Idempotency-Key": "k1"})

    assert first.json() == again.json() == {"version": "1", "new": True}
    assert without.json() == {"version": "1", "new": False}
    assert (other.status_code, other.json()["code"]) == (409, "key_reused")
    assert campaigns.catalogue_of(points.database, points.programme).version == "1"


def test_launched_and_delivered_twice_is_once(client: TestClient, points: PointsDesk) -> None:
    by_hand(points)
    post(client, "campaigns/autumn/approve", {"by": "Ada"})
    first, second = (post(client, "campaigns/autumn/launch").json() for _ in range(2))
    assert first == second
    post(client, "deliveries")
    assert post(client, "deliveries").json()["sent"] == 0


def test_a_brief_over_http_asks_for_what_its_file_would() -> None:
    body = CampaignRequest.model_validate(
        {"campaign": "a", "name": 'quoted "\\ \u007f 中', "offers": ["x"], "budget": "12.50",
         "capacity": {"sms": 3}, "namespace": {"name": "n", "first": 5, "end": 9},
         "as_of": "2024-09-02"}
    )  # fmt: skip
    asked = brief.read(_as_toml(body)).brief
    assert asked.model_dump() == body.model_dump(exclude={"as_of"})


def test_the_description_lists_every_route(client: TestClient) -> None:
    paths = client.get("/v1/openapi.json").json()["paths"]
    listed = {(method, path) for path, one in paths.items() for method in one}
    assert {
        ("get", "/v1/offers"), ("post", "/v1/offers"), ("get", "/v1/campaigns"),
        ("post", "/v1/campaigns"), ("get", "/v1/campaigns/{campaign_id}"),
        ("post", "/v1/campaigns/{campaign_id}/approve"),
        ("post", "/v1/campaigns/{campaign_id}/launch"),
        ("post", "/v1/campaigns/{campaign_id}/close"),
        ("get", "/v1/campaigns/{campaign_id}/readout"),
        ("get", "/v1/campaigns/{campaign_id}/decisions"),
        ("get", "/v1/members/{member_id}/decisions"),
        ("put", "/v1/members/{member_id}/suppression"),
        ("delete", "/v1/members/{member_id}/suppression"), ("post", "/v1/deliveries"),
    } <= listed  # fmt: skip
