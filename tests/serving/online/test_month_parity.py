"""A month of Complete Journey comes in day by day; each evening the store says what the night does.

The lake begins with eleven months. What the shop sold in December is accepted on its day, members
are refreshed, and that night's batch, over a lake into which the inbox was flushed, is the judge.
The champions are those of another programme: any will do to compare what they say.
"""

import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import duckdb
import numpy as np
import pytest
from sqlalchemy import insert

from features import engine
from features import snapshot as snapshots
from features.ingest import ingest
from features.lake import Lake
from features.sources.completejourney import CompleteJourney
from programme.database import Database
from programme.settings import Settings
from serving.online import leases
from serving.online.flush import flush
from serving.online.inbox import accept
from serving.online.refresh import Refresher
from serving.online.rows import PurchaseRow
from serving.online.setting import Setting
from serving.online.store import NUMBERS, OnlineStore
from serving.online.tables import PARTS, PUBLICATIONS
from tests.little_programme import LittleProgramme
from training.champions import Champions

ZONE = ZoneInfo("America/New_York")
FIRST, DAYS = date(2017, 12, 1), 31
LATER = datetime(2018, 6, 1, tzinfo=UTC)


def eleven_months(folder: Path) -> CompleteJourney:
    """Return the data set without what was sold from December on."""
    folder.mkdir()
    for path in CompleteJourney().files():
        rows = f"select * from read_parquet({engine.text(path)})"
        if path.stem == "transactions":
            midnight = datetime(FIRST.year, FIRST.month, FIRST.day, tzinfo=ZONE).astimezone(UTC)
            rows += f" where transaction_timestamp < {engine.text(midnight.replace(tzinfo=None))}"
        duckdb.sql(f"copy ({rows}) to {engine.text(folder / path.name)} (format parquet)")
    return CompleteJourney(folder)


def december(whole: Settings) -> dict[date, list[PurchaseRow]]:
    """Return what was sold in December, by the day on which it was."""
    lake = Lake(whole)
    names = list(PurchaseRow.__dataclass_fields__)
    with engine.connect(whole) as connection:
        rows = connection.execute(
            f"select {', '.join(names)} from ({lake.rows_sql('purchases', lake.manifest())}) "
            f"where occurred_at >= timestamp '{FIRST}' order by occurred_at, order_id, line_no"
        ).fetchall()
    days: dict[date, list[PurchaseRow]] = {}
    for values in rows:
        facts = dict(zip(names, values, strict=True))
        facts["occurred_at"] = facts["occurred_at"].replace(tzinfo=UTC)
        day = facts["occurred_at"].astimezone(ZONE).date()
        if day >= FIRST:
            days.setdefault(day, []).append(PurchaseRow(**facts))
    return days


@pytest.fixture
def home(tmp_path: Path) -> Settings:
    """Return a home of eleven months."""
    settings = Settings(home=tmp_path / "home", threads=2)
    ingest(eleven_months(tmp_path / "data"), settings, LATER)
    return settings


@pytest.mark.slow
@pytest.mark.timeout(1800)  # minutes on a machine of its own
def test_each_evening_of_a_month_the_store_says_what_the_nights_batch_says(
    home: Settings, trained: LittleProgramme, tmp_path: Path
) -> None:
    whole = Settings(home=tmp_path / "whole", threads=2)
    ingest(CompleteJourney(), whole, LATER)
    sold = december(whole)
    champions = Champions.load(trained.settings)
    taken = snapshots.build(home, FIRST)
    database = Database.open(home)
    percentiles = {"churn": [n / 100 for n in range(100)], "value": list(range(100))}
    said = {
        "publication_no": 1, "snapshot": taken.path.name, "as_of": FIRST, "members": 0,
        "champions": json.dumps(champions.versions), "percentiles": json.dumps(percentiles),
        "published_at": datetime(2017, 12, 1, 8, tzinfo=UTC),
    }  # fmt: skip
    database.write(lambda connection: connection.execute(insert(PUBLICATIONS), [said]))
    store, compared = OnlineStore(database), 0
    with engine.connect(home) as connection:
        worker = Refresher(home, database, connection, "month")
        last = store.publication()
        assert last is not None
        worker.follow()
        worker.use(Setting.of(home, last, champions, taken))
        for place in range(DAYS):
            day = FIRST + timedelta(days=place)
            evening = datetime(day.year, day.month, day.day, 23, 30, tzinfo=ZONE)
            if not (rows := sold.get(day)):
                continue  # the shop is closed at Christmas
            database.write(lambda c, rows=rows, at=evening: accept(c, rows, at))  # type: ignore[misc]
            leases.take(database, range(PARTS), worker.name, evening)
            while worker.refresh(range(PARTS), evening).rows:
                pass
            flush(database, home, now=evening)
            worker.follow()
            night = snapshots.build(home, day + timedelta(days=1), frozen=taken.reference)
            features = night.features()
            _, churn = champions.churn_of(features)
            touched = sorted({row.source_key for row in rows if row.source_key})
            shown = store.read(touched)
            for member_id in touched:
                row, at = shown[member_id], features.index.get_loc(member_id)
                assert row.as_of == night.as_of
                np.testing.assert_allclose(
                    row.features, features.loc[member_id, list(NUMBERS)].to_numpy(dtype=float),
                    rtol=1e-9, atol=1e-9, err_msg=f"{member_id} on {day}",
                )  # fmt: skip
                assert row.traits["churn_probability"] == pytest.approx(churn[at], abs=1e-12)
            compared += len(touched)
    database.close()
    assert compared > 10_000
