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
tried = FromHere(create_api(Live(), PointsDesk()))
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


@schema.parametrize()
@trying(8)
def test_every_route_keeps_its_promises(case: schemathesis.Case[Any]) -> None:
    case.call_and_validate()


@pytest.mark.slow
@schema.parametrize()
@trying(60)
def test_every_route_keeps_its_promises_when_it_is_tried_longer(
    case: schemathesis.Case[Any],
) -> None:
    case.call_and_validate()
