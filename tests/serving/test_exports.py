"""Everybody is handed over whole, in little memory, and no cell of it runs."""

import csv
import io
import json
import tracemalloc
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.testclient import TestClient

from features.exports import FORMULA_STARTS
from programme.settings import PROGRAMME_FILE, Settings
from serving import exports
from serving.api.exports import CURSOR_HEADER, DAY_HEADER
from serving.live import Live
from serving.online import changes, cursor
from serving.online.store import NUMBERS, OnlineStore, StoredMember
from serving.points import PointsDesk
from tests.loyalty.shop import PROGRAMME
from tests.serving.calling import client_of

KNOWN = datetime(2018, 1, 1, 4, 1, 20, 5, UTC)
NAME = "2018-01-02_aaaaaaaaaaaaaaaa_000001_bbbbbbbb_1-1-none-none-none.parquet"
PAYLOADS = [
    "=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\0=1", "\uff1d1", "\uff0b1", "\uff0d1",
    "\uff201", '=HYPERLINK("http://evil","x")', "=cmd|' /C calc'!A0", "@", "-2+3+cmd|' /C calc'!A0",
]  # fmt: skip


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[PointsDesk]:
    (tmp_path / PROGRAMME_FILE).write_text(PROGRAMME.as_toml())
    desk = PointsDesk(Settings(home=tmp_path))
    yield desk
    desk.close()


@pytest.fixture
def client(desk: PointsDesk) -> TestClient:
    return client_of(Live(), desk=desk)


def scores(desk: PointsDesk, members: list[str], name: str = NAME) -> Path:
    """Write a file of scores as a batch does, a few columns of it."""
    assert desk.settings is not None
    folder = desk.settings.home / "scores"
    folder.mkdir(exist_ok=True)
    table = pa.table(
        {
            "member_id": pa.array(members, pa.large_string()),
            "data_as_of": pa.array([KNOWN] * len(members), pa.timestamp("us", tz="UTC")),
            "churn_probability": [0.125] * len(members),
            "churn_eligible": [True] * len(members),
            "value_margin_cents": pa.array([None] * len(members), pa.float64()),
            "repeat_products": [['a"b', "=c"]] * len(members),
        }
    )
    pq.write_table(table, folder / name, row_group_size=500)
    return folder / name


def store(desk: PointsDesk, *member_ids: str, **traits: Any) -> None:
    written = [
        StoredMember(
            member_id=one, as_of=date(2018, 1, 2), data_as_of=KNOWN, population="active",
            features=np.full(len(NUMBERS), np.nan), texts={}, scores={}, traits=traits,
            snapshot="s", updated_at=KNOWN,
        )
        for one in member_ids
    ]  # fmt: skip
    desk.database.write(lambda connection: OnlineStore(desk.database).write(connection, written))


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline="")))


def test_without_a_batch_there_is_nothing_to_export(client: TestClient) -> None:
    for ending in ("csv", "parquet"):
        response = client.get(f"/v1/exports/scores.{ending}")

        assert response.status_code == 404
        assert response.headers["content-type"] == "application/problem+json"
        assert response.json()["code"] == "nothing_scored"


def test_scores_are_handed_over_as_they_were_written(client: TestClient, desk: PointsDesk) -> None:
    path = scores(desk, ["1", "会员 2"])

    response = client.get("/v1/exports/scores.parquet")

    assert response.content == path.read_bytes()
    assert response.headers["content-type"] == "application/vnd.apache.parquet"
    disposition = 'attachment; filename="scores_2018-01-02.parquet"'
    assert response.headers["content-disposition"] == disposition
    assert response.headers[DAY_HEADER] == "2018-01-02"
    assert response.headers["etag"].startswith('"')
    assert response.headers["last-modified"].endswith("GMT")
    assert int(response.headers["content-length"]) == len(response.content)


def test_csv_is_what_rfc_4180_says(client: TestClient, desk: PointsDesk) -> None:
    scores(desk, ["1", 'a,"b"\r\nc'])

    response = client.get("/v1/exports/scores.csv")

    assert response.headers["content-type"] == "text/csv; charset=utf-8"
    first, second, *_ = response.text.split("\r\n")
    assert first == (
        "member_id,data_as_of,churn_probability,churn_eligible,value_margin_cents,repeat_products"
    )
    assert second == '1,2018-01-01T04:01:20.000005Z,0.125,true,,"[""a\\""b"", ""=c""]"'
    assert response.text.endswith("\r\n")
    told = rows(response.text)
    assert [row["member_id"] for row in told] == ["1", 'a,"b"\r\nc']
    assert json.loads(told[0]["repeat_products"]) == ['a"b', "=c"]


@pytest.mark.parametrize("payload", PAYLOADS)
def test_no_cell_is_run_by_a_spreadsheet(
    client: TestClient, desk: PointsDesk, payload: str
) -> None:
    scores(desk, [payload])
    store(desk, payload.replace("\0", "0"), stage=payload, segments={"cluster": payload},
          tags=[payload])  # fmt: skip

    for name in ("scores", "members"):
        for row in rows(client.get(f"/v1/exports/{name}.csv").text):
            for cell in row.values():
                assert not cell or cell[0] not in f"{FORMULA_STARTS}\0" or _is_number(cell)
    told = rows(client.get("/v1/exports/scores.csv").text)
    assert told[0]["member_id"] == f"'{payload}"
    asked = client.get("/v1/exports/scores.parquet")
    parquet = pq.read_table(pa.BufferReader(asked.content))
    assert parquet["member_id"].to_pylist() == [payload]  # nothing is touched where nothing runs


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


@given(
    texts=st.lists(st.text(st.characters(codec="utf-8"), max_size=12) | st.none(), max_size=8),
    figures=st.lists(st.floats(width=64) | st.none(), min_size=8, max_size=8),
)
def test_what_is_written_as_csv_is_read_again(
    texts: list[str | None], figures: list[float | None]
) -> None:
    numbers = pa.array(figures[: len(texts)], pa.float64(), from_pandas=False)
    written = exports.csv_lines([pa.array(texts, pa.string()), numbers]).decode()

    told = list(csv.reader(io.StringIO(written, newline="")))

    assert len(told) == len(texts)
    for (text, number), cell, figure in zip(told, texts, figures, strict=False):
        starts = bool(cell) and cell[0] in f"{FORMULA_STARTS}\0"  # type: ignore[index]
        assert text == (f"'{cell}" if starts else cell or "")
        if figure is None or not np.isfinite(figure):
            assert number == ""
        else:
            assert float(number) == figure


def test_the_latest_day_is_exported_and_files_beside_it_are_not(
    client: TestClient, desk: PointsDesk
) -> None:
    path = scores(desk, ["old"], NAME.replace("2018-01-02", "2018-01-01"))
    scores(desk, ["new"])
    path.touch()  # written again, and still of an earlier day
    scores(desk, ["tags"], f"tags-of-{NAME}")
    scores(desk, ["half"], f".{NAME}.17.unfinished")

    assert [row["member_id"] for row in rows(client.get("/v1/exports/scores.csv").text)] == ["new"]


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_a_file_the_caller_has_is_not_sent_again(
    client: TestClient, desk: PointsDesk, ending: str
) -> None:
    scores(desk, ["1"])
    url = f"/v1/exports/scores.{ending}"
    first = client.get(url)

    for headers in (
        {"If-None-Match": first.headers["etag"]},
        {"If-None-Match": f'"x", W/{first.headers["etag"]}'},
        {"If-None-Match": "*"},
        {"If-Modified-Since": first.headers["last-modified"]},
    ):
        again = client.get(url, headers=headers)
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["etag"] == first.headers["etag"]
    for headers in ({"If-None-Match": '"x"'}, {"If-Modified-Since": "yesterday"}, {}):
        assert client.get(url, headers=headers).status_code == 200
    scores(desk, ["2"])
    assert client.get(url, headers={"If-None-Match": first.headers["etag"]}).status_code == 200


def test_a_file_that_is_replaced_while_it_is_read_is_read_to_its_end(desk: PointsDesk) -> None:
    assert desk.settings is not None
    path = scores(desk, [f"m{number}" for number in range(5_000)])
    found = exports.latest_scores(desk.settings, desk.database)
    assert found is not None
    parts = exports.as_csv(found)
    begun = next(parts) + next(parts)
    path.unlink()
    scores(desk, ["another"])

    text = b"".join([begun, *parts]).decode()

    assert [row["member_id"] for row in rows(text)] == [f"m{number}" for number in range(5_000)]
    assert found.file.closed


def test_memory_does_not_grow_with_the_members(desk: PointsDesk) -> None:
    assert desk.settings is not None

    def peak(members: int) -> int:
        assert desk.settings is not None
        scores(desk, [f"member-{number:09d}" for number in range(members)])
        found = exports.latest_scores(desk.settings, desk.database)
        assert found is not None
        tracemalloc.start()
        before = pa.total_allocated_bytes()
        most = max(
            len(part) + pa.total_allocated_bytes() - before for part in exports.as_csv(found)
        )
        python: int = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        together: int = most + python
        return together

    few, many = peak(10_000), peak(60_000)

    assert many < 1.5 * few


def test_members_are_handed_over_with_the_cursor_of_the_same_moment(
    client: TestClient, desk: PointsDesk
) -> None:
    store(
        desk, *[f"m{number:04d}" for number in range(4_500)], risk_band="high", stage="lost",
        churn_probability=0.75, segments={"rfm_group": "at_risk"}, tags=["tea", "茶"],
    )  # fmt: skip
    desk.database.write(
        lambda connection: changes.record(connection, "m1", None, {"stage": "lost"}, KNOWN)
    )

    response = client.get("/v1/exports/members.csv")

    told = rows(response.text)
    assert [row["member_id"] for row in told] == [f"m{number:04d}" for number in range(4_500)]
    assert told[0] == {
        "member_id": "m0000", "population": "active", "as_of": "2018-01-02",
        "data_as_of": "2018-01-01T04:01:20.000005Z", "risk_band": "high",
        "churn_probability": "0.75", "stage": "lost", "segments": '{"rfm_group": "at_risk"}',
        "tags": '["tea", "茶"]', "updated_at": "2018-01-01T04:01:20.000005Z",
    }  # fmt: skip
    assert response.headers[CURSOR_HEADER] == cursor.written(1)
    parquet = client.get("/v1/exports/members.parquet")
    assert pq.read_table(pa.BufferReader(parquet.content)).num_rows == 4_500


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_members_of_whom_nothing_changed_are_not_sent_again(
    client: TestClient, desk: PointsDesk, ending: str
) -> None:
    store(desk, "m1", "m2", stage="lost")
    url = f"/v1/exports/members.{ending}"
    first = client.get(url)
    known = {"If-None-Match": first.headers["etag"]}

    assert client.get(url, headers=known).status_code == 304
    # It is made when it is asked for: when it was last another nobody knows.
    assert "last-modified" not in first.headers
    ever = {"If-Modified-Since": "Fri, 31 Dec 2100 00:00:00 GMT"}
    assert client.get(url, headers=ever).status_code == 200
    store(desk, "m2", stage="new")
    assert client.get(url, headers=known).status_code == 200


def test_without_members_there_is_nothing_to_hand_over(client: TestClient) -> None:
    response = client.get("/v1/exports/members.csv")

    assert response.status_code == 503
    assert "perennial worker" in response.json()["detail"]


def test_from_the_cursor_of_the_scores_nothing_that_came_later_is_missed(
    client: TestClient, desk: PointsDesk
) -> None:
    scores(desk, ["1"])

    def move(member_id: str, moment: datetime) -> None:
        desk.database.write(lambda c: changes.record(c, member_id, None, {"stage": "new"}, moment))

    move("before", KNOWN.replace(hour=3))
    move("after", KNOWN.replace(hour=5))

    since = client.get("/v1/exports/scores.csv").headers[CURSOR_HEADER]

    found = client.get("/v1/changes", params={"since": since}).json()["changes"]
    assert [one["member_id"] for one in found] == ["after"]
    changes.forget(desk.database, KNOWN.replace(hour=6))
    assert CURSOR_HEADER not in client.get("/v1/exports/scores.csv").headers
