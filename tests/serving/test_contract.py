"""The description of the API, tried by a machine: every route keeps what it promises."""

from datetime import UTC, datetime
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.config import SchemathesisConfig
from starlette.types import ASGIApp, Receive, Scope, Send

from loyalty.rulebook import adopt
from loyalty.rules import read
from serving.api.app import OPENAPI_PATH, create_api
from serving.live import Live
from serving.points import PointsDesk
from tests.loyalty.shop import RULES
from tests.serving.calling import NEAR, shell_of
from tests.serving.published import Published

SEED = 20_171_204


class FromHere:
    """The application that is tried; every request seems to come from this machine."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            scope = {**scope, "client": NEAR, "server": ("127.0.0.1", 3000)}
        await self.app(scope, receive, send)


# Described before there is a home; the home comes with the first test.
described = create_api(Live(), PointsDesk())
tried = FromHere(described)
schema = schemathesis.openapi.from_asgi(
    OPENAPI_PATH, tried, config=SchemathesisConfig.from_dict({"seed": SEED})
)


@pytest.fixture(scope="module", autouse=True)
def at_home(published: Published) -> None:
    desk = published.desk
    adopt(
        desk.database, desk.programme, read(RULES, desk.programme),
        now=datetime(2018, 1, 1, tzinfo=UTC),
    )  # fmt: skip
    tried.app = shell_of(create_api(published.live, desk), published.live)


def trying(examples: int) -> settings:
    return settings(
        max_examples=examples, deadline=None, derandomize=True,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip


def keeping(operation_id: str, examples: int) -> Any:
    """Return the test of one route, which has to be found under a name of its own.

    With one test for all, pytest 9.2 gives every route the test's name, and of one name xdist runs
    one.
    """

    @schema.include(operation_id=operation_id).parametrize()
    @trying(examples)
    def keeps(case: schemathesis.Case[Any]) -> None:
        case.call_and_validate()

    return keeps


for path in described.openapi()["paths"].values():
    for operation in path.values():
        name = f"test_{operation['operationId']}_keeps_its_promises"
        globals()[name] = keeping(operation["operationId"], 8)
        globals()[f"{name}_longer"] = pytest.mark.slow(keeping(operation["operationId"], 60))
