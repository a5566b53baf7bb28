"""A client over an application in this process."""

from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI
from starlette.testclient import TestClient

from serving.access.gatekeeper import Gatekeeper
from serving.admission import Lane
from serving.api.app import create_api
from serving.live import Live
from serving.logs import Write
from serving.metrics import Page
from serving.points import PointsDesk
from serving.shell import Shell
from serving.ways import LaneName

HERE = "http://127.0.0.1:3000"
# Where a caller on this machine, and one elsewhere, seems to come from.
NEAR, FAR = ("127.0.0.1", 50_000), ("192.0.2.9", 50_000)


def client_of(
    live: Live,
    address: str = HERE,
    desk: PointsDesk | None = None,
    gatekeeper: Gatekeeper | None = None,
) -> TestClient:
    """Return a client of the API in its shell, without BentoML around it."""
    api = create_api(live, desk or PointsDesk())
    shell = shell_of(api, live, gatekeeper)
    return TestClient(shell, address, raise_server_exceptions=False, client=NEAR)


def shell_of(
    api: FastAPI,
    live: Live,
    gatekeeper: Gatekeeper | None = None,
    *,
    write: Write | None = None,
    page: Page | None = None,
    lanes: Mapping[LaneName, Lane] | None = None,
    **more: Any,
) -> Shell:
    """Return an API in its shell; callers on this machine need no key unless a gatekeeper says."""
    return Shell(
        api, api, gatekeeper or Gatekeeper(require_keys=False),
        lambda: live.reason or {"ready": True}, write=write, page=page, lanes=lanes, **more,
    )  # fmt: skip
