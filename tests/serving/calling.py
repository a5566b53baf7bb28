"""A client over an application in this process."""

from starlette.testclient import TestClient

from serving.api.app import create_api
from serving.live import Live
from serving.points import PointsDesk
from serving.shell import Shell

HERE = "http://127.0.0.1:3000"


def client_of(live: Live, address: str = HERE, desk: PointsDesk | None = None) -> TestClient:
    """Return a client of the API in its shell, without BentoML around it."""
    api = create_api(live, desk or PointsDesk())
    shell = Shell(api, api.routes, lambda: live.reason or {"ready": True})
    return TestClient(shell, address, raise_server_exceptions=False)
