"""No tag knows the future: all built-in rules, with every feed there is."""

from dataclasses import replace
from datetime import timedelta

import pandas as pd
import pytest

from features import table
from features.tags import store
from features.tags.store import FACTS
from tests.features import shop
from tests.features.shop import AS_OF, MIDNIGHT, Till


def with_a_future(till: Till) -> Till:
    """Return the till with as many rows that happen, or become known, from `AS_OF` on."""
    purchases = [row for row in till.purchases if row["source_key"] is not None]
    later = [
        {**row, "order_id": f"later-{row['order_id']}", "net_cents": 90_000}
        | dict.fromkeys(("occurred_at", "known_at"), MIDNIGHT + timedelta(days=n % 40))
        for n, row in enumerate(purchases)
    ]
    learned = [
        {**row, "order_id": f"late-{row['order_id']}", "known_at": MIDNIGHT + timedelta(days=2)}
        for row in purchases
    ]
    late = {"known_at": MIDNIGHT + timedelta(days=1)}
    return replace(
        till,
        purchases=[*till.purchases, *later, *learned],
        events=[*till.events, *({**row, "event_id": f"late-{row['event_id']}"} | late
                                for row in till.events)],
        contacts=[*till.contacts, *({**row, "contact_id": f"late-{row['contact_id']}"} | late
                                    for row in till.contacts)],
        points=[*till.points, *({**row, "posting_id": f"late-{row['posting_id']}"} | late
                                for row in till.points)],
    )  # fmt: skip


def facts_of(till: Till) -> pd.DataFrame:
    """Return every column the built-in rules read, and since when each tag is held."""
    with shop.new_home() as home:
        shop.take(home, till)
        made = store.build(home, AS_OF, sensitive=True)
        facts = pd.read_parquet(made.path / FACTS)
        return facts.merge(made.wide().reset_index(), on="member_id", validate="one_to_one")


@pytest.fixture(scope="module")
def honest() -> pd.DataFrame:
    """Return the facts and tags of a year that has no future yet."""
    return facts_of(shop.fed_year())


def test_no_tag_knows_what_happens_or_is_learned_later(honest: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(facts_of(with_a_future(shop.fed_year())), honest)


def test_a_planted_leak_is_seen_in_the_tags(
    honest: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    till = shop.fed_year()
    monkeypatch.setattr(table, "KNOWN", "where occurred_on < {as_of}")

    assert not facts_of(with_a_future(till)).equals(honest)
