"""What is written about a member is what is read."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from programme.database import Database
from programme.settings import Settings
from serving.online.store import NUMBERS, OnlineStore, part_of
from serving.online.tables import PARTS
from tests.serving.online.stored import MEMBER


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OnlineStore]:
    database = Database.open(Settings(home=tmp_path_factory.mktemp("store")))
    yield OnlineStore(database)
    database.close()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    member_id=st.text(
        st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=64
    ),
    features=arrays(np.float64, len(NUMBERS)),
)
def test_what_is_written_is_read(store: OnlineStore, member_id: str, features: np.ndarray) -> None:
    member = replace(MEMBER, member_id=member_id, features=features)

    store.database.write(lambda connection: store.write(connection, [member]))
    found = store.read(["nobody at all, who is not there", member_id])

    assert list(found) == [member_id]
    np.testing.assert_array_equal(found[member_id].features, features)
    for name in ("as_of", "data_as_of", "texts", "scores", "traits", "seq", "snapshot"):
        assert getattr(found[member_id], name) == getattr(member, name)
    assert 0 <= part_of(member_id) < PARTS


def test_a_member_is_replaced_whole(store: OnlineStore) -> None:
    after = replace(MEMBER, traits={"tags": []})
    store.database.write(lambda connection: store.write(connection, [MEMBER]))
    store.database.write(lambda connection: store.write(connection, [after]))

    assert store.read(["1145"])["1145"].traits == {"tags": []}


def test_rows_of_other_features_are_not_read(store: OnlineStore) -> None:
    store.database.write(lambda connection: store.write(connection, [MEMBER]))

    assert OnlineStore(store.database, feature_set="another").read(["1145"]) == {}


def test_nothing_was_published_yet(store: OnlineStore) -> None:
    assert store.publication() is None
