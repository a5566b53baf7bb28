"""Starting the service: what can be refused is refused before BentoML and the models are imported.

Importing them takes seconds, and the process that is started does it again.
"""

import os
import socket
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import NoReturn

from programme.errors import InputRefused
from programme.settings import ENV_PREFIX, Settings
from serving.access import keys
from serving.access.gatekeeper import may_bind, why_not_bind

LOOPBACK, PORT = "127.0.0.1", 3000
DRAIN_SECONDS_MAX = 10
REPOSITORY = Path(__file__).resolve().parents[1]


def run(
    settings: Settings, host: str = LOOPBACK, port: int = PORT, *, no_worker: bool = False
) -> NoReturn:
    """Become the server: this process is replaced, so signals reach BentoML itself.

    Raises
    ------
    InputRefused : if the host is open to others and there are no keys, or the port is taken.
    """
    if not may_bind(host, lambda: keys.exist(settings, now=datetime.now(UTC))):
        raise InputRefused(why_not_bind(host))
    if no_worker:
        settings = settings.model_copy(update={"no_worker": True})
    address = LOOPBACK if host == "localhost" else host
    _require_free(address, port)
    # Absolute, and one each: BentoML empties its folder of metrics whenever a server starts.
    environment = {
        **os.environ,
        **variables(settings),
        "BENTOML_HOME": os.environ.get("BENTOML_HOME") or str(settings.home / "bentoml"),
        "BENTOML_DO_NOT_TRACK": "True",
    }
    command = [sys.executable, "-m", "bentoml", "serve", "serving.service:MemberIntelligence"]
    options = ["--host", address, "--port", str(port), "--working-dir", str(REPOSITORY)]
    drain = ["--timeout-graceful-shutdown", str(DRAIN_SECONDS_MAX)]
    sys.stdout.flush()
    sys.stderr.flush()
    os.execve(sys.executable, [*command, *options, *drain], environment)


def variables(settings: Settings) -> dict[str, str]:
    """Return the environment that tells a process of ours these settings."""
    return {f"{ENV_PREFIX}{name.upper()}": str(value) for name, value in settings}


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
