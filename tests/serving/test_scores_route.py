"""`POST /v1/scores` by itself: what it leaves out, what it promises, and which path it takes."""

import asyncio
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from fastapi.exceptions import RequestValidationError

from programme.database import Database, StorageFailed
from programme.settings import Settings
from serving.api.problems import Refused
from serving.api.schemas import ScoresAnswer, ScoresRequest
from serving.api.scores import (
    EXPLAINED_INLINE,
    PER_THREAD,
    THREADS,
    ScoresDesk,
    read_request,
)
from serving.live import Live
from serving.online.publish import publish
from serving.online.store import NUMBERS, OnlineStore
from tests.little_programme import LittleProgramme
from training.champions import Champions

MEMBERS = [f"m{number:03d}" for number in range(120)]
PARTS = ("churn", "value", "next_products", "next_order")


@pytest.fixture(scope="module")
def home(trained: LittleProgramme, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Return the trained home with a database of its own, in which everybody is published."""
    place = tmp_path_factory.mktemp("scores") / "programme.db"
    settings = trained.settings.model_copy(update={"db_url": f"sqlite:///{place}"})
    database = Database.open(settings)
    now = datetime(2024, 9, 2, 3, tzinfo=UTC)
    publish(settings, database, Champions.load(settings), trained.snapshot, now)
    database.close()
    return settings


@pytest.fixture(scope="module")
def live(home: Settings) -> Iterator[Live]:
    live = Live()
    assert live.refresh(home)
    yield live
    live.stop()


@pytest.fixture
def desk(live: Live, home: Settings) -> Iterator[ScoresDesk]:
    desk = ScoresDesk(live, home)
    yield desk
    desk.close()


def ask(desk: ScoresDesk, members: list[str], **more: Any) -> Any:
    asked = ScoresRequest.model_validate({"member_ids": members, **more})
    return json.loads(bytes(asyncio.run(desk.respond(asked)).body))


@pytest.mark.parametrize("drivers", [True, False])
@pytest.mark.parametrize("parts", [PARTS, *((part,) for part in PARTS)])
def test_every_answer_is_what_its_schema_says_and_no_more(
    desk: ScoresDesk, parts: tuple[str, ...], drivers: bool
) -> None:
    answer = ask(desk, [*MEMBERS, "nobody"], parts=list(parts), drivers=drivers)

    told = ScoresAnswer.model_validate(answer, strict=False)
    again = json.loads(told.model_dump_json(exclude_unset=True))
    assert again == answer
    known = [one for one in answer["scores"] if one["known"]]
    assert len(known) > 100 and answer["scores"][-1] == {"member_id": "nobody", "known": False}
    for one in known:
        assert set(one) - {"member_id", "known", "as_of", "data_as_of"} == set(parts)
        for part in {"churn", "value"} & set(parts):
            reasons = {"base", "raw_score", "drivers", "no_single_driver"} & set(one[part])
            assert len(reasons) == (4 if drivers else 0)


def test_leaving_reasons_out_changes_nothing_else(desk: ScoresDesk) -> None:
    long, short = ask(desk, MEMBERS)["scores"], ask(desk, MEMBERS, drivers=False)["scores"]

    for one, other in zip(long, short, strict=True):
        for part in ("churn", "value") if one["known"] else ():
            assert other[part].items() <= one[part].items()


def test_the_api_says_what_the_batch_says(desk: ScoresDesk, trained: LittleProgramme) -> None:
    champions = Champions.load(trained.settings)
    population = champions.population(trained.snapshot)
    batch = champions.score(population, MEMBERS)

    for one, other in zip(ask(desk, MEMBERS)["scores"], batch, strict=True):
        assert one["known"] == other.known
        if not other.known:
            continue
        assert other.churn is not None and other.value is not None
        probability = other.churn.churn_probability
        assert one["churn"]["churn_probability"] == pytest.approx(probability, abs=5.1e-7)
        assert one["churn"]["raw_score"] == pytest.approx(other.churn.raw_score, abs=1e-9)
        assert one["churn"]["percentile"] == other.churn.percentile
        assert one["churn"]["risk_band"] == other.churn.risk_band
        assert one["value"]["value_cents"] == round(other.value.value_cents)
        assert one["value"]["percentile"] == other.value.percentile
        for part, score in (("churn", other.churn), ("value", other.value)):
            assert [(d["code"], d["contribution"]) for d in one[part]["drivers"]] == [
                (d.code, d.contribution) for d in score.drivers
            ]


def test_few_are_answered_on_the_loop_and_many_in_a_thread_alike(
    desk: ScoresDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = MEMBERS[:EXPLAINED_INLINE]
    inline = ask(desk, few)
    assert desk._threads is None

    monkeypatch.setattr("serving.api.scores.EXPLAINED_INLINE", 0)
    assert ask(desk, few) == inline
    assert desk._threads is not None


def test_more_long_requests_than_can_be_answered_in_time_are_told_so_at_once(
    desk: ScoresDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = ScoresRequest(member_ids=MEMBERS)
    go_on = threading.Event()
    read = desk.reader.read

    def slowly(member_ids: list[str], *, whole: bool) -> Any:
        go_on.wait(30)
        return read(member_ids, whole=whole)

    monkeypatch.setattr(desk.reader, "read", slowly)

    async def crowd() -> list[Any]:
        tasks = [asyncio.create_task(desk.respond(asked)) for _ in range(7)]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        go_on.set()
        return await asyncio.gather(*tasks, return_exceptions=True)

    told = asyncio.run(crowd())

    assert sum(isinstance(one, Refused) and one.status == 503 for one in told) == 3
    assert sum(getattr(one, "status_code", 0) == 200 for one in told) == THREADS * PER_THREAD
    assert len(ask(desk, MEMBERS)["scores"]) == len(MEMBERS)


def test_a_member_asked_for_twice_is_answered_twice(desk: ScoresDesk) -> None:
    first, nobody, second = ask(desk, ["m001", "nobody", "m001"])["scores"]

    assert first == second and not nobody["known"]


def test_a_champion_no_row_can_be_asked_about_is_answered_as_last_refreshed(
    live: Live, desk: ScoresDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    churn = [one.get("churn") for one in ask(desk, MEMBERS)["scores"]]

    monkeypatch.setattr(live, "_loaded", replace(live.loaded, scorer=None))
    answer = ask(desk, MEMBERS)

    ScoresAnswer.model_validate(answer)
    for one, before in zip(answer["scores"], churn, strict=True):
        if before is None:
            continue
        for name in ("churn_probability", "percentile", "risk_band", "model_name", "horizon_days"):
            assert one["churn"][name] == before[name]
        assert one["churn"]["drivers"] == [] and one["churn"]["no_single_driver"]
        assert one["churn"]["base"] == one["churn"]["raw_score"]


def test_a_store_that_holds_what_no_model_reads_is_a_fault_of_ours(
    home: Settings, desk: ScoresDesk
) -> None:
    database = Database.open(home)
    store = OnlineStore(database)
    row = store.read(["m001"])["m001"]
    infinite = replace(row, member_id="infinite", features=np.full(len(NUMBERS), np.inf))
    short = replace(row, member_id="short", features=row.features[:-1])
    database.write(lambda connection: store.write(connection, [infinite, short]))
    database.close()

    for member_id in ("infinite", "short"):
        with pytest.raises(StorageFailed):
            ask(desk, [member_id])


def test_a_score_that_is_no_number_is_never_sent(
    live: Live, desk: ScoresDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    scorer = live.loaded.scorer
    assert scorer is not None
    sound = scorer.score

    def broken(rows: np.ndarray) -> Any:
        return replace(sound(rows), probability=np.full(len(rows), np.nan))

    monkeypatch.setattr(scorer, "score", broken)

    with pytest.raises(ValueError, match="no number"):
        ask(desk, ["m001"])


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"", "missing"),
        (b"{", "json_invalid"),
        (b"[" * 50_000, "json_invalid"),
        (b'{"member_ids": ["a"], "parts": []}', "too_short"),
        (b'{"member_ids": ["a"], "parts": ["churn", "weather"]}', "literal_error"),
        (b'{"member_ids": ["a"], "drivers": "yes"}', "bool_type"),
        (b'{"member_ids": ["a"], "x": 1}', "extra_forbidden"),
    ],
)
def test_what_does_not_fit_is_said_as_fastapi_says_it(body: bytes, kind: str) -> None:
    with pytest.raises(RequestValidationError) as refused:
        read_request(body)

    (fault,) = refused.value.errors()
    assert (fault["type"], fault["loc"][0]) == (kind, "body")


def test_to_answer_takes_neither_torch_nor_mlflow() -> None:
    code = (
        "import sys, serving.api.scores, serving.hot\n"
        "sys.exit(' '.join({'torch', 'mlflow'} & sys.modules.keys()))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert run.stderr.strip() == ""
