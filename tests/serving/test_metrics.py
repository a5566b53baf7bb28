"""Metrics: what is counted is what the page says, and the page answers whatever is broken."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import insert, update
from starlette.testclient import TestClient

from programme.database import Database
from programme.errors import NotReady
from programme.settings import Settings
from serving import gauges, metrics
from serving.gauges import StoreLook, of_champions
from serving.live import Live
from serving.metrics import DESCRIBED, PROBABILITIES, Page, Sample, Spread
from serving.online.tables import INBOX, PUBLICATIONS
from serving.points import PointsDesk
from tests.serving.calling import HERE, client_of

DOCUMENTED = Path(__file__).parents[2] / "docs" / "how-to" / "run-the-service.md"


def read(page: Page) -> dict[tuple[str, tuple[str, ...]], float]:
    """Return the page by sample name and label values."""
    return {
        (sample.name, tuple(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(page.text().decode())
        for sample in family.samples
    }


def test_requests_are_counted_and_timed_by_route() -> None:
    before = read(Page())
    metrics.answered("POST", "/v1/test", 200, 0.003)
    metrics.answered("POST", "/v1/test", 503, 0.0001)
    after = read(Page())

    requests = "perennial_requests_total"
    assert after[requests, ("POST", "/v1/test", "200")] == 1 + before.get(
        (requests, ("POST", "/v1/test", "200")), 0
    )
    assert after["perennial_request_seconds_count", ("POST", "/v1/test")] == 2
    assert after["perennial_request_seconds_sum", ("POST", "/v1/test")] == pytest.approx(0.0031)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=50))
def test_many_at_once_are_counted_as_one_by_one(values: list[float]) -> None:
    one, many = (Spread("perennial_churn_probability", PROBABILITIES) for _ in range(2))
    for value in values:
        one.see(value, "churn_28d", "1")
    many.see_all(np.array(values), "churn_28d", "1")

    for mine, other in zip(one.family().samples, many.family().samples, strict=True):
        assert mine.labels == other.labels
        assert mine.value == pytest.approx(other.value)


def test_buckets_hold_what_is_not_above_them() -> None:
    spread = Spread("perennial_churn_probability", PROBABILITIES)
    spread.see(0.1, "m", "1")
    spread.see(0.1000001, "m", "1")

    buckets = {s.labels["le"]: s.value for s in spread.family().samples if "le" in s.labels}
    assert (buckets["0.05"], buckets["0.1"], buckets["0.2"]) == (0, 1, 2)
    assert buckets["+Inf"] == 2


def test_the_page_is_what_prometheus_reads_with_and_without_a_shared_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in (None, str(tmp_path)):
        if folder:
            monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", folder)
        with client_of(Live()) as client:
            answer = client.get("/metrics")
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
        names = {family.name for family in text_string_to_metric_families(answer.text)}
        assert {"perennial_in_work", "perennial_requests", "process_resident_memory_bytes"} <= names


def test_no_label_holds_what_was_sent() -> None:
    with client_of(Live()) as client:
        client.get("/v1/members/canary-4711/balance")
        client.get("/v1/canary-4711")
        client.request("CANARY", "/v1/offers")
        text = client.get("/metrics").text

    assert "canary" not in text.lower()
    assert 'route="/v1/members/{member_id}/balance"' in text


def test_a_source_that_fails_leaves_the_rest() -> None:
    def broken() -> Iterable[Sample]:
        raise RuntimeError("away")

    found = read(Page([broken, lambda: [Sample("perennial_ready", 1)]]))

    assert found["perennial_ready", ()] == 1


def test_before_there_is_a_champion_the_page_says_so() -> None:
    found = read(Page([of_champions(Live())]))

    assert found["perennial_ready", ()] == 0
    assert not [name for name, _ in found if name == "perennial_model_info"]


def row(number: int, accepted_at: datetime) -> dict[str, object]:
    return {
        "kind": "event", "source": "s", "key": f"k{number}", "version": 1, "digest": "0" * 64,
        "source_key": "ann", "part": number % 64, "occurred_at": accepted_at,
        "accepted_at": accepted_at, "content": "{}",
    }  # fmt: skip


def test_what_waits_is_counted_and_how_long_it_does(desk: PointsDesk) -> None:
    now = datetime.now(UTC)
    with desk.database.engine.begin() as connection:
        rows = [row(number, now - timedelta(seconds=10 * number)) for number in range(5)]
        connection.execute(insert(INBOX), rows)
        done = update(INBOX).where(INBOX.c.key.in_(["k3", "k4"]))
        connection.execute(done.values(refreshed_at=now))
        connection.execute(
            insert(PUBLICATIONS).values(
                snapshot="s", as_of=now.date(), champions="{}", percentiles="{}", members=7,
                published_at=now - timedelta(hours=1),
            )
        )  # fmt: skip

    found = read(Page([StoreLook(lambda: desk.database)]))

    assert found["perennial_inbox_accepted_total", ()] == 5
    assert found["perennial_inbox_waiting", ()] == 3
    assert found["perennial_refreshed_total", ()] == 2
    assert found["perennial_feature_age_seconds", ()] == pytest.approx(20, abs=5)
    assert found["perennial_published_age_seconds", ()] == pytest.approx(3600, abs=5)
    assert found["perennial_online_members", ()] == 7


def test_counting_what_waits_ends(desk: PointsDesk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gauges, "WAITING_COUNTED_MAX", 3)
    now = datetime.now(UTC)
    with desk.database.engine.begin() as connection:
        connection.execute(insert(INBOX), [row(number, now) for number in range(9)])

    found = read(Page([StoreLook(lambda: desk.database)]))

    assert found["perennial_inbox_waiting", ()] == 3
    assert ("perennial_refreshed_total", ()) not in found


def test_a_database_that_is_away_is_said_and_breaks_nothing(tmp_path: Path) -> None:
    def away() -> Database:
        raise NotReady("away")

    found = read(Page([StoreLook(away)]))
    assert found["perennial_database_up", ()] == 0

    home = tmp_path / "none"
    with client_of(Live(), HERE, PointsDesk(Settings(home=home))) as client:
        assert isinstance(client, TestClient)
        assert client.get("/metrics").status_code == 200
    assert not home.exists()


def test_everything_counted_is_described_and_every_name_has_its_unit() -> None:
    for name, one in DESCRIBED.items():
        assert name.startswith("perennial_")
        assert name.endswith("_total") == (one.kind == "counter"), name
        assert "member" not in " ".join(one.labels)
        assert one.meaning


def test_the_documentation_has_the_table_of_metrics() -> None:
    assert metrics.as_markdown() in DOCUMENTED.read_text("utf-8")
