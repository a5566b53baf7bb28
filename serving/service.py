"""The BentoML service: `bentoml serve serving.service:MemberIntelligence`, or `perennial serve`."""

import gc
import os
import socket
import sys
from pathlib import Path
from typing import Any, NoReturn

import bentoml
import click
from bentoml.exceptions import BentoMLConfigException
from starlette.types import ASGIApp

from programme.errors import InputRefused
from programme.settings import ENV_PREFIX, Settings
from serving.api.app import create_api
from serving.live import Live
from serving.points import PointsDesk
from serving.shell import Shell, is_loopback

LOOPBACK, PORT = "127.0.0.1", 3000
# BentoML leaves one timer per request in memory until the timeout passes: keep it short.
ANSWER_SECONDS_MAX = 5
REQUESTS_AT_ONCE_MAX = 64
DRAIN_SECONDS_MAX = 10

LIVE = Live()
DESK = PointsDesk()
API = create_api(LIVE, DESK)


class ShelledService(bentoml.Service[Any]):  # type: ignore[misc] # BentoML types it as Any
    """A BentoML service whose whole application wears our shell."""

    def to_asgi(self, is_main: bool = True) -> ASGIApp:
        """Return the application BentoML's worker serves."""
        return Shell(super().to_asgi(is_main), API.routes, readiness)


@bentoml.service(
    name="member_intelligence",
    service_class=ShelledService,
    http={"host": LOOPBACK, "port": PORT},
    traffic={"timeout": ANSWER_SECONDS_MAX, "max_concurrency": REQUESTS_AT_ONCE_MAX},
    # Threads of numerical libraries fight each other for the core that answers.
    envs=[{"name": "OMP_NUM_THREADS", "value": "1"}],
)
@bentoml.asgi_app(API, path="/")
class MemberIntelligence:
    """Scores known members from the latest snapshot with the champions of the home."""

    def __init__(self) -> None:
        settings = Settings.load().model_copy(update={"threads": 1})
        LIVE.start(settings, on_loaded=settle)

    @bentoml.on_deployment  # type: ignore[untyped-decorator]
    @staticmethod
    def before_workers_start() -> None:
        """Refuse an open bind, in the parent, before a worker or a socket exists."""
        stay_silent()
        host = _asked_host()
        if not is_loopback(host):
            raise BentoMLConfigException(_refusal(host))

    @bentoml.on_shutdown  # type: ignore[untyped-decorator]
    def stop_looking(self) -> None:
        """End the thread that looks for champions; give back connections."""
        LIVE.stop()
        DESK.close()


def readiness() -> dict[str, Any] | str:
    """Return what is in service, or why nothing is."""
    reason = LIVE.reason
    if reason is not None:
        return reason
    return {"ready": True, "answering_from": [str(part) for part in LIVE.loaded.source]}


def settle() -> None:
    """Take what was just loaded out of the garbage collector's sight.

    It never becomes garbage, and walking it stopped requests for a tenth of a second and more.
    """
    gc.unfreeze()
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 50, 50)


def stay_silent() -> None:
    """Keep BentoML from reporting its use to its makers."""
    from bentoml._internal.utils.analytics.usage_stats import do_not_track

    os.environ["BENTOML_DO_NOT_TRACK"] = "True"
    do_not_track.cache_clear()  # it has looked already, for the command itself


def run(settings: Settings, host: str = LOOPBACK, port: int = PORT) -> NoReturn:
    """Become the server: this process is replaced, so signals reach BentoML itself.

    Raises
    ------
    InputRefused : if the host is open to others, or the port is taken.
    """
    if not is_loopback(host):
        raise InputRefused(_refusal(host))
    address = LOOPBACK if host == "localhost" else host
    _require_free(address, port)
    repository = Path(__file__).resolve().parents[1]
    # Absolute, and one each: BentoML empties its folder of metrics whenever a server starts.
    own = {f"{ENV_PREFIX}{name.upper()}": str(value) for name, value in settings}
    environment = {
        **os.environ,
        **own,
        "BENTOML_HOME": os.environ.get("BENTOML_HOME") or str(settings.home / "bentoml"),
        "BENTOML_DO_NOT_TRACK": "True",
    }
    command = [sys.executable, "-m", "bentoml", "serve", "serving.service:MemberIntelligence"]
    options = ["--host", address, "--port", str(port), "--working-dir", str(repository)]
    drain = ["--timeout-graceful-shutdown", str(DRAIN_SECONDS_MAX)]
    sys.stdout.flush()
    sys.stderr.flush()
    os.execve(sys.executable, [*command, *options, *drain], environment)


def _asked_host() -> str:
    """Return the host `bentoml serve` was asked to bind, by option, variable or configuration."""
    from bentoml._internal.configuration.containers import BentoMLContainer

    command = click.get_current_context(silent=True)
    asked = command.params.get("host") if command else None
    return str(asked or BentoMLContainer.http.host.get())


def _refusal(host: str) -> str:
    return (
        f"The service would listen on {host}, where others can reach members' scores, and it has "
        f"no keys yet. It did not start. Bind {LOOPBACK} and put a proxy with access control "
        "before it."
    )


def _require_free(host: str, port: int) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise InputRefused(
                f"Port {port} of {host} cannot be used ({error.strerror}). The service did not "
                "start. Name another one: perennial serve --port 3001"
            ) from error
