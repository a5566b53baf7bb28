"""`POST /v1/scores`: the hot path, from the bytes of a request to the bytes of its answer.

One look-up in the online store, one prediction over plain arrays, one dump to JSON. A request that
would keep the event loop for long goes to one of a few threads: many members, their reasons, or a
database that is elsewhere.
"""

import asyncio
import json
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import orjson
from fastapi import FastAPI, Header
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from numpy.typing import NDArray
from pydantic import ValidationError
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from programme.database import StorageFailed
from programme.errors import InputRefused
from programme.settings import Settings
from serving import logs, metrics
from serving.api import language
from serving.api.answers import Answer, Speaker
from serving.api.problems import Refused
from serving.api.schemas import PARTS, Part, ScoresAnswer, ScoresRequest
from serving.live import Live, Loaded
from serving.online.reader import Reader, Row
from serving.online.store import NUMBERS

if TYPE_CHECKING:  # LightGBM is imported by whoever loads a model
    from serving.hot import ChurnScorer

PATH = "/v1/scores"
# Answered on the event loop up to so many members: a few milliseconds. A member's reasons cost as
# much as the scores of a hundred.
MEMBERS_INLINE, EXPLAINED_INLINE = 100, 20
# Scoring keeps a core busy; waiting for a database does not.
THREADS, WAITING_THREADS = 2, 4
# Requests that one thread may have, the one in work included; whoever comes beyond is told so at
# once, rather than given up after seconds of waiting.
PER_THREAD, WAITING_PER_THREAD = 2, 16
_FEATURE_BYTES = 8 * len(NUMBERS)


class ScoresDesk:
    """Answers about members from the champion in service and the online store.

    Parameters
    ----------
    live : what is in service
    settings : of the home; None: those of the process, read at the first request
    """

    def __init__(self, live: Live, settings: Settings | None = None) -> None:
        self.live = live
        self._settings = settings
        self._lock = threading.Lock()
        self._reader: Reader | None = None
        self._threads: ThreadPoolExecutor | None = None
        self._in_threads = 0  # the event loop's thread alone counts
        self._speakers: dict[tuple[str, str], Speaker] = {}

    @property
    def reader(self) -> Reader:
        """Return the reader of the home's online store, opened at first use."""
        if self._reader is None:
            with self._lock:
                if self._reader is None:
                    self._reader = Reader(self._settings or Settings.load())
        return self._reader

    def close(self) -> None:
        """Finish what was begun, and give back connections; the next request opens anew."""
        with self._lock:
            threads, self._threads = self._threads, None
            reader, self._reader = self._reader, None
        if threads is not None:
            threads.shutdown()
        if reader is not None:
            reader.close()

    async def respond(self, asked: ScoresRequest, accepted: str | None = None) -> Response:
        """Answer a request.

        Parameters
        ----------
        accepted : the header Accept-Language

        Raises
        ------
        NotReady, Busy : if there is no champion yet, or the store is empty or away.
        """
        loaded = self.live.loaded
        logs.note(members=len(asked.member_ids), version=str(loaded.version))
        spoken = asked.language or language.choose(
            accepted, language.offered(loaded.programme.languages)
        )
        reasons = asked.drivers and ("churn" in asked.parts or "value" in asked.parts)
        most = EXPLAINED_INLINE if reasons else MEMBERS_INLINE
        if self.reader.waits or len(asked.member_ids) > most:
            body = await self._beside(loaded, asked, spoken)
        else:
            body = self._body(loaded, asked, spoken)
        return Response(body, headers={"Content-Language": spoken}, media_type="application/json")

    def answer(
        self,
        member_ids: Sequence[str],
        *,
        spoken: str,
        parts: Sequence[Part] = PARTS,
        drivers: bool = True,
    ) -> list[Answer]:
        """Return what is said of members, in the order asked: `schemas.ScoresAnswer.scores`.

        Parameters
        ----------
        spoken : one of the programme's languages
        parts : what to say
        drivers : False leaves the reasons out
        """
        return self._members(self.live.loaded, member_ids, spoken, frozenset(parts), drivers)

    def speaker(self, spoken: str, currency: str) -> Speaker:
        """Return who says it in a language and a currency."""
        found = self._speakers.get((spoken, currency))
        if found is None:
            found = self._speakers[(spoken, currency)] = Speaker(spoken, currency)
        return found

    async def _beside(self, loaded: Loaded, asked: ScoresRequest, spoken: str) -> bytes:
        """Answer in a thread, if one will soon be free; a place is free when its work has ended."""
        waits = self.reader.waits
        most = WAITING_THREADS * WAITING_PER_THREAD if waits else THREADS * PER_THREAD
        if self._in_threads >= most:
            raise Refused("busy")
        self._in_threads += 1
        loop = asyncio.get_running_loop()
        work = loop.run_in_executor(self._pool(), self._body, loaded, asked, spoken)
        work.add_done_callback(self._left)
        return await asyncio.shield(work)

    def _left(self, work: asyncio.Future[bytes]) -> None:
        self._in_threads -= 1
        if not work.cancelled():
            work.exception()  # whoever stopped waiting for it has been answered already

    def _body(self, loaded: Loaded, asked: ScoresRequest, spoken: str) -> bytes:
        members = self._members(
            loaded, asked.member_ids, spoken, frozenset(asked.parts), asked.drivers
        )
        caveat = self.speaker(spoken, loaded.programme.currency).caveat
        return orjson.dumps({"scores": members, "caveat": caveat})

    def _members(
        self,
        loaded: Loaded,
        member_ids: Sequence[str],
        spoken: str,
        parts: frozenset[Part],
        drivers: bool,
    ) -> list[Answer]:
        whole = loaded.scorer is None or parts != {"churn"}
        rows = self.reader.read(member_ids, whole=whole)
        speaker = self.speaker(spoken, loaded.programme.currency)
        said: dict[str, Answer] = {
            member_id: {
                "member_id": member_id, "known": True,
                "as_of": row.as_of, "data_as_of": row.data_as_of,
            }
            for member_id, row in rows.items()
        }  # fmt: skip
        if rows and "churn" in parts:
            if loaded.scorer is None:
                self._add_stored_churn(loaded, rows, said, speaker, drivers)
            else:
                self._add_churn(loaded.scorer, rows, said, speaker, drivers)
        if whole:
            for member_id, row in rows.items():
                _add_stored(said[member_id], row, speaker, parts, drivers)
        answers = [said.get(one) or {"member_id": one, "known": False} for one in member_ids]
        if unknown := sum(one not in said for one in member_ids):
            metrics.not_known(unknown)
        return answers

    def _add_churn(
        self,
        scorer: "ChurnScorer",
        rows: Mapping[str, Row],
        said: Mapping[str, Answer],
        speaker: Speaker,
        drivers: bool,
    ) -> None:
        features = _stacked(rows)
        try:
            scored = scorer.score(features)
            texts = [row.texts for row in rows.values()] if drivers else []
            why = scorer.explain(features, texts) if drivers else [None] * len(rows)
        except InputRefused as error:  # the caller sent none of it
            raise StorageFailed(f"The online store holds what no model reads: {error}") from error
        if not np.isfinite(scored.probability).all():
            raise ValueError(f"{scorer.name}/{scorer.version} gave a score that is no number")
        model = (scorer.name, scorer.version, scorer.horizon_days)
        probabilities = scored.probability.tolist()
        percentiles = scored.percentile.tolist()
        for (member_id, row), probability, percentile, reasons in zip(
            rows.items(), probabilities, percentiles, why, strict=True
        ):
            said[member_id]["churn"] = speaker.churn(
                probability, percentile, row.population, model,
                band=scorer.band(probability), why=reasons,
            )  # fmt: skip
        metrics.scored(
            scorer.name, scorer.version,
            probabilities[0] if len(probabilities) == 1 else scored.probability,
        )  # fmt: skip
        self.live.shadow.offer(scorer.version, list(rows), features, scored.probability)

    def _add_stored_churn(
        self,
        loaded: Loaded,
        rows: Mapping[str, Row],
        said: Mapping[str, Answer],
        speaker: Speaker,
        drivers: bool,
    ) -> None:
        """Answer churn as the last refresh left it, its log-odds without reasons."""
        from serving.hot import unexplained
        from training.percentiles import placed

        marks = loaded.publication.percentiles["churn"]
        name, horizon = loaded.version.name, loaded.programme.churn_horizon_days
        for member_id, row in rows.items():
            traits = row.traits
            probability = traits["churn_probability"]
            said[member_id]["churn"] = speaker.churn(
                probability, int(placed(probability, marks)), row.population,
                (name, traits["churn_version"], horizon), band=traits["risk_band"],
                why=unexplained(probability) if drivers else None,
            )  # fmt: skip
        metrics.fell_back("not_from_row", len(rows))

    def _pool(self) -> ThreadPoolExecutor:
        if self._threads is None:
            with self._lock:
                if self._threads is None:
                    most = WAITING_THREADS if self.reader.waits else THREADS
                    self._threads = ThreadPoolExecutor(most, thread_name_prefix="scores")
        return self._threads


def add_route(api: FastAPI, desk: ScoresDesk, responses: dict[int | str, dict[str, Any]]) -> None:
    """Add the route, first of all, with FastAPI's description and none of its work per request."""

    async def scores(
        request: ScoresRequest, accept_language: Annotated[str | None, Header()] = None
    ) -> Response:
        """Score up to 500 members: churn, value, next products, and why."""
        return await desk.respond(request, accept_language)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        body = await _read(receive)
        accepted = next((v for k, v in scope["headers"] if k == b"accept-language"), None)
        response = await desk.respond(
            read_request(body), accepted.decode("latin-1") if accepted else None
        )
        await response(scope, receive, send)

    route = APIRoute(
        PATH,
        scores,
        methods=["POST"],
        response_model=ScoresAnswer,
        responses=responses,
        operation_id="score_members",
        openapi_extra={"x-scope": "scores:read"},
    )
    route.app = app
    api.router.routes.insert(0, route)


def read_request(body: bytes) -> ScoresRequest:
    """Read a request; what is wrong with it is said as FastAPI says it.

    Raises
    ------
    RequestValidationError : if it is not JSON, or does not fit.
    """
    try:
        return ScoresRequest.model_validate_json(body)
    except ValidationError:
        pass
    if not body:
        raise RequestValidationError([{"type": "missing", "loc": ("body",), "msg": "a body"}])
    try:
        content = json.loads(body)
    except (ValueError, RecursionError) as error:
        fault = {"type": "json_invalid", "loc": ("body",), "msg": "JSON"}
        raise RequestValidationError([fault]) from error
    try:
        return ScoresRequest.model_validate(content)
    except ValidationError as error:
        faults = error.errors(include_url=False, include_input=False, include_context=False)
        raise RequestValidationError(
            [{**fault, "loc": ("body", *fault["loc"])} for fault in faults]
        ) from None


def _add_stored(
    said: Answer, row: Row, speaker: Speaker, parts: frozenset[Part], drivers: bool
) -> None:
    """Add what was worked out when the member was last refreshed."""
    stored = row.scores
    if "value" in parts and stored.get("value") is not None:
        said["value"] = speaker.value(stored["value"], drivers=drivers)
    if "next_products" in parts and stored.get("next_products") is not None:
        said["next_products"] = speaker.next_products(stored["next_products"])
    if "next_order" in parts:
        as_of = date.fromisoformat(row.as_of)
        said["next_order"] = speaker.next_order(stored.get("next_order"), as_of)


def _stacked(rows: Mapping[str, Row]) -> NDArray[np.float64]:
    blobs = [row.raw_features for row in rows.values()]
    if any(len(blob) != _FEATURE_BYTES for blob in blobs):
        raise StorageFailed(
            f"A row of the online store is not {len(NUMBERS)} numbers long. Nothing was answered. "
            "Write the store anew: perennial score."
        )
    joined = blobs[0] if len(blobs) == 1 else b"".join(blobs)
    return np.frombuffer(joined, "<f8").reshape(len(blobs), len(NUMBERS))


async def _read(receive: Receive) -> bytes:
    message = await receive()
    body: bytes = message.get("body", b"")
    if not message.get("more_body"):
        return body
    parts = [body]
    while message.get("more_body"):
        message = await receive()
        parts.append(message.get("body", b""))
    return b"".join(parts)
