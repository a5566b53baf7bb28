"""Everybody of a snapshot is in the store, as the champions and the night see them."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from programme.database import Database
from programme.errors import NotReady
from programme.settings import Settings
from serving.online import leases
from serving.online import publish as publishing
from serving.online.publish import is_due, publish
from serving.online.store import NUMBERS, OnlineStore
from tests.little_programme import AS_OF, LittleProgramme
from training.champions import Champions
from training.percentiles import placed

NOW = datetime(2024, 9, 2, 3, tzinfo=UTC)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = Database.open(Settings(home=tmp_path))
    yield opened
    opened.close()


def test_a_row_holds_what_the_champions_say(
    trained: LittleProgramme, champions: Champions, database: Database
) -> None:
    done = publish(trained.settings, database, champions, trained.snapshot, NOW)

    frame = trained.snapshot.features()
    population = champions.population(trained.snapshot)
    store = OnlineStore(database)
    rows = store.read([str(one) for one in frame.index])
    assert list(rows) and len(rows) == len(frame) == done.written == done.publication.members
    for place, (member_id, said) in enumerate(
        zip(frame.index, champions.score(population, list(frame.index)), strict=True)
    ):
        row = rows[str(member_id)]
        np.testing.assert_array_equal(
            row.features, frame.loc[member_id, list(NUMBERS)].to_numpy(dtype=float)
        )
        assert said.value is not None and said.next_products is not None and said.next_order
        assert row.scores["value"]["value_cents"] == said.value.value_cents
        assert row.scores["value"]["percentile"] == said.value.percentile
        assert [one["product_id"] for one in row.scores["next_products"]["explore"]] == [
            one.product_id for one in said.next_products.explore
        ]
        assert row.scores["next_order"]["horizon_days"] == said.next_order.horizon_days
        assert row.traits["churn_probability"] == population.churn_probability[place]
        assert row.as_of == AS_OF
        assert row.publication_no == done.publication.publication_no


def test_percentiles_of_the_publication_are_those_of_everybody(
    trained: LittleProgramme, champions: Champions, database: Database
) -> None:
    publish(trained.settings, database, champions, trained.snapshot, NOW)

    last = OnlineStore(database).publication()
    population = champions.population(trained.snapshot)
    assert last is not None and last.champions == champions.versions
    np.testing.assert_array_equal(
        placed(population.churn_probability, last.percentiles["churn"]),
        population.churn_percentile,
    )
    assert not is_due(database, champions.versions, trained.snapshot)
    assert is_due(database, champions.versions | {"churn_28d": 9}, trained.snapshot)


def test_a_row_that_knows_more_stays(
    trained: LittleProgramme, champions: Champions, database: Database
) -> None:
    publish(trained.settings, database, champions, trained.snapshot, NOW)
    store = OnlineStore(database)
    one, another = list(store.read(["m000", "m001"]).values())
    fresher = [
        replace(one, seq=7, population="dormant"),
        replace(another, as_of=AS_OF + timedelta(days=1), population="dormant"),
    ]
    database.write(lambda connection: store.write(connection, fresher))

    done = publish(trained.settings, database, champions, trained.snapshot, NOW)

    kept = store.read(["m000", "m001"])
    assert done.kept == 2
    assert {row.population for row in kept.values()} == {"dormant"}
    assert {row.publication_no for row in kept.values()} == {1}  # due, under the second


def test_who_is_gone_is_removed_and_who_is_new_to_us_stays(
    trained: LittleProgramme, champions: Champions, database: Database
) -> None:
    publish(trained.settings, database, champions, trained.snapshot, NOW)
    store = OnlineStore(database)
    row = store.read(["m000"])["m000"]
    others = [replace(row, member_id="gone"), replace(row, member_id="new", seq=3)]
    database.write(lambda connection: store.write(connection, others))

    done = publish(trained.settings, database, champions, trained.snapshot, NOW)

    assert (done.removed, done.kept) == (1, 1)
    assert list(store.read(["gone", "new"])) == ["new"]


def test_one_at_a_time_publishes(
    trained: LittleProgramme, champions: Champions, database: Database
) -> None:
    leases.take(database, [leases.PUBLISHING], "another", NOW)

    with pytest.raises(NotReady, match="Nothing was published"):
        publish(trained.settings, database, champions, trained.snapshot, NOW)
    publish(
        trained.settings, database, champions, trained.snapshot, NOW + 2 * leases.PUBLISHING_LASTS
    )


def test_a_publication_that_was_killed_is_done_again(
    trained: LittleProgramme,
    champions: Champions,
    database: Database,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(publishing, "MEMBERS_AT_ONCE", 50)
    said = []

    def killed(member: object) -> dict[str, object]:
        said.append(member)
        if len(said) > 70:
            raise KeyboardInterrupt
        return {}

    with monkeypatch.context() as broken, pytest.raises(KeyboardInterrupt):
        broken.setattr(publishing, "scores_of", killed)
        publish(trained.settings, database, champions, trained.snapshot, NOW)
    assert OnlineStore(database).publication() is None

    done = publish(trained.settings, database, champions, trained.snapshot, NOW)

    rows = OnlineStore(database).read([str(one) for one in trained.snapshot.features().index])
    assert len(rows) == done.written
    assert all(row.scores["value"] for row in rows.values())
