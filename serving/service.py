"""The BentoML service: `bentoml serve serving.service:MemberIntelligence`, or `perennial serve`."""

import atexit
import gc
import os
import sys
from datetime import UTC, datetime
from typing import Annotated, Any

import bentoml
import click
import numpy as np
from bentoml.exceptions import BentoMLConfigException, InvalidArgument, ServiceUnavailable
from pydantic import BaseModel, ConfigDict, Field
from starlette.types import ASGIApp

from programme.errors import InputRefused, NotReady
from programme.settings import Settings
from serving import logs
from serving.access import keys
from serving.access.gatekeeper import Gatekeeper, may_bind, why_not_bind
from serving.api.app import create_api
from serving.drain import Drain
from serving.gauges import StoreLook, of_champions
from serving.live import Live
from serving.metrics import Page
from serving.online.store import NUMBERS
from serving.points import PointsDesk
from serving.shell import Shell
from serving.start import DRAIN_SECONDS_MAX, LOOPBACK, PORT, REPOSITORY, variables
from serving.supervisor import Supervisor, end_with_parent, tell_children

# The shell gives up earlier; this is BentoML's own limit on what is BentoML's.
BENTOML_SECONDS_MAX = 6
ROWS_MAX = 500

LIVE = Live()
DESK = PointsDesk()
GATEKEEPER = Gatekeeper()
DRAIN = Drain()
API = create_api(LIVE, DESK)
_log: list[logs.Lines] = []


class ShelledService(bentoml.Service[Any]):  # type: ignore[misc] # BentoML types it as Any
    """A BentoML service whose whole application wears our shell."""

    def to_asgi(self, is_main: bool = True) -> ASGIApp:
        """Return the application BentoML's worker serves."""
        write = None
        if _is_worker():
            _log[:] = [logs.to_standard_output()]
            logs.begin_logging(write := _log[0].write)
        return Shell(
            super().to_asgi(is_main),
            API,
            GATEKEEPER,
            readiness,
            stock={"/score": "scores:read"},
            page=Page([of_champions(LIVE), StoreLook(lambda: DESK.database)]),
            write=write,
            drain=DRAIN,
        )


_PLACES = {column: place for place, column in enumerate(NUMBERS)}


class Rows(BaseModel):
    """Rows to score: what a member would be given were she like this."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    columns: Annotated[
        list[Annotated[str, Field(max_length=64)]],
        Field(min_length=1, max_length=len(NUMBERS), description="feature columns, of any order"),
    ]
    rows: Annotated[
        list[list[Annotated[float, Field(allow_inf_nan=False)] | None]],
        Field(min_length=1, max_length=ROWS_MAX, description="one value per column; null: absent"),
    ]


class RowScores(BaseModel):
    """A churn probability per row, and the version that gave it."""

    churn_probability: list[float]
    raw_score: list[float]
    model_name: str
    model_version: int


@bentoml.service(
    name="member_intelligence",
    service_class=ShelledService,
    http={"host": LOOPBACK, "port": PORT},
    traffic={"timeout": BENTOML_SECONDS_MAX},
    # The shell counts and logs every request once; one process answers, so that it can.
    workers=1,
    metrics={"enabled": False},
    logging={"access": {"enabled": False}},
    # Threads of numerical libraries fight each other for the core that answers.
    envs=[{"name": "OMP_NUM_THREADS", "value": "1"}],
)
@bentoml.asgi_app(API, path="/")
class MemberIntelligence:
    """Scores known members from the online store with the champions of the home."""

    def __init__(self) -> None:
        settings = Settings.load().model_copy(update={"threads": 1})
        if _is_worker():
            end_with_parent(within_seconds=DRAIN_SECONDS_MAX)
        GATEKEEPER.start(settings)
        LIVE.start(settings, on_loaded=settle)
        DRAIN.take_over(settings.drain_notice_seconds)

    @bentoml.api(route="/score")  # type: ignore[untyped-decorator]
    async def score(self, asked: Rows, /) -> RowScores:
        """Score rows of features with the churn champion in service, nothing looked up."""
        try:
            return score_rows(LIVE, asked)
        except NotReady as error:
            logs.refuse(str(error))
            raise ServiceUnavailable(str(error)) from error
        except InputRefused as error:
            logs.refuse(str(error))
            raise InvalidArgument(str(error)) from error

    @bentoml.on_deployment  # type: ignore[untyped-decorator]
    @staticmethod
    def before_workers_start() -> None:
        """In the parent, before a socket exists: refuse an open bind, start the refresh worker."""
        stay_silent()
        tell_children()
        logs.begin_logging(sys.stdout.write)
        settings = Settings.load()
        host = _asked_host()
        if not may_bind(host, lambda: keys.exist(settings, now=datetime.now(UTC))):
            raise BentoMLConfigException(why_not_bind(host))
        if not settings.no_worker:
            worker = refresh_worker(settings)
            worker.start()
            atexit.register(worker.stop)

    @bentoml.on_shutdown  # type: ignore[untyped-decorator]
    def stop_looking(self) -> None:
        """End the threads that look for champions and keys; give back connections."""
        LIVE.stop()
        GATEKEEPER.stop()
        API.state.scores.close()
        DESK.close()
        for lines in _log:
            lines.close()


def score_rows(live: Live, asked: Rows) -> RowScores:
    """Score rows with the champion in service.

    Raises
    ------
    NotReady : if there is none, or none that can be asked from a row.
    InputRefused : if a column is unknown or named twice, or a row is of another length.
    """
    loaded = live.loaded
    if loaded.scorer is None:
        raise NotReady("The champion in service cannot be asked from rows. Nothing was scored.")
    width = len(asked.columns)
    # By their places: what was sent is not echoed.
    for place, column in enumerate(asked.columns):
        if column not in _PLACES:
            raise InputRefused(
                f"columns[{place}] is no feature column. Nothing was scored. docs/features.md "
                "lists them."
            )
        if asked.columns.index(column) < place:
            raise InputRefused(
                f"columns[{place}] names the column of columns[{asked.columns.index(column)}] "
                "again. Nothing was scored. Name each once."
            )
    for place, row in enumerate(asked.rows):
        if len(row) != width:
            raise InputRefused(
                f"rows[{place}] has {len(row)} values for {width} columns. Nothing was scored. "
                "Give one value per column, null where it is absent."
            )
    rows = np.full((len(asked.rows), len(NUMBERS)), np.nan)
    places = [_PLACES[column] for column in asked.columns]
    rows[:, places] = np.array(asked.rows, dtype=np.float64)  # null is NaN: absent
    made = loaded.scorer.score(rows)
    return RowScores(
        churn_probability=made.probability.tolist(),
        raw_score=made.raw.tolist(),
        model_name=loaded.scorer.name,
        model_version=loaded.scorer.version,
    )


def refresh_worker(settings: Settings) -> Supervisor:
    """Return what keeps the refresh worker of a home running beside this process."""
    command = [sys.executable, "-m", "perennial", "worker"]
    path = os.pathsep.join([str(REPOSITORY), *filter(None, [os.environ.get("PYTHONPATH")])])
    return Supervisor(command, {**os.environ, **variables(settings), "PYTHONPATH": path})


def readiness() -> dict[str, Any] | str:
    """Return what is in service, or why nothing is."""
    reason = LIVE.reason
    return LIVE.facts() if reason is None else reason


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


def _asked_host() -> str:
    """Return the host `bentoml serve` was asked to bind, by option, variable or configuration."""
    from bentoml._internal.configuration.containers import BentoMLContainer

    command = click.get_current_context(silent=True)
    asked = command.params.get("host") if command else None
    return str(asked or BentoMLContainer.http.host.get())


def _is_worker() -> bool:
    """Return whether this process is one of BentoML's workers, whose log is the service's."""
    from bentoml._internal.context import server_context

    return server_context.service_type is not None
