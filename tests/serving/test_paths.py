"""Members in paths: every id there can be arrives as it is."""

from urllib.parse import quote

import pytest
from fastapi import FastAPI
from hypothesis import example, given
from hypothesis import strategies as st
from starlette.testclient import TestClient

from serving.api.paths import Member
from serving.api.problems import HANDLERS
from serving.live import Live
from tests.serving.calling import HERE, NEAR, shell_of
from training.scores import MEMBER_ID_LENGTH_MAX

SCOPE = {"x-scope": "scores:read"}

api = FastAPI(openapi_url=None)
for kind, handler in HANDLERS.items():
    api.add_exception_handler(kind, handler)


@api.get("/v1/members/{member_id}", openapi_extra=SCOPE)
async def profile(member_id: Member) -> str:
    return member_id


@api.get("/v1/members/{member_id}/churn", openapi_extra=SCOPE)
async def churn(member_id: Member) -> str:
    return f"churn of {member_id}"


client = TestClient(shell_of(api, Live()), HERE, raise_server_exceptions=False, client=NEAR)
# All that the lake takes, any character but NUL; of . and .. clients make another path themselves.
IDS = st.text(
    st.characters(blacklist_categories=["Cs"], blacklist_characters="\0"),
    min_size=1, max_size=MEMBER_ID_LENGTH_MAX,
).filter(lambda one: one not in (".", ".."))  # fmt: skip


@example("north/4711")
@example("north/churn")
@example("/")
@example("a%2Fb")
@example("a%252Fb/c")
@example("50 %/café?x#y")
@given(IDS)
def test_every_member_is_reached_under_her_own_id(member_id: str) -> None:
    path = f"/v1/members/{quote(member_id, safe='')}"

    assert client.get(path).json() == member_id
    assert client.get(f"{path}/churn").json() == f"churn of {member_id}"


def test_an_escape_may_be_written_small() -> None:
    assert client.get("/v1/members/north%2f4711").json() == "north/4711"


@pytest.mark.parametrize("path", ["north%00", "%00", "a%2Fb%00c", "north/4711", "north/churn/"])
def test_what_is_no_id_and_no_route_is_not_found(path: str) -> None:
    response = client.get(f"/v1/members/{path}")

    assert response.status_code == 404
    assert response.headers["content-type"] == "application/problem+json"


def test_an_id_is_as_long_as_ids_may_be_and_no_longer() -> None:
    longest = quote("/" * MEMBER_ID_LENGTH_MAX, safe="")

    assert client.get(f"/v1/members/{longest}").status_code == 200
    assert client.get(f"/v1/members/{longest}%2F").status_code == 422
