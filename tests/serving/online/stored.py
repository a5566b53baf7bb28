"""A member as the store holds her."""

from datetime import UTC, date, datetime

import numpy as np

from serving.online.store import NUMBERS, StoredMember

MEMBER = StoredMember(
    member_id="1145",
    as_of=date(2018, 1, 1),
    data_as_of=datetime(2017, 12, 31, 12, 0, 0, 5, UTC),
    population="dormant",
    features=np.arange(len(NUMBERS), dtype=np.float64),
    texts={"home_store": "北京 '1'"},
    scores={"value": {"value_cents": 12.5}},
    traits={"stage": "loyal", "tags": ["a"]},
    snapshot="2018-01-01_a_000001_b",
    updated_at=datetime(2018, 1, 1, tzinfo=UTC),
    seq=7,
)
