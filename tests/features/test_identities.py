"""Who a member is: what was sent to her, and her points, follow her keys through a merge."""

from collections.abc import Sequence
from datetime import timedelta

import pytest

from features import snapshot
from programme.settings import Settings
from tests.features import shop
from tests.features.shop import (
    AS_OF,
    MIDNIGHT,
    Row,
    Till,
    contact,
    event,
    identity,
    line,
    posting,
)

DAY = timedelta(days=1)
LONG_AGO = MIDNIGHT - 100 * DAY
BEFORE = MIDNIGHT - 30 * DAY


def two_members(*identities: Row, bought: Sequence[str] = ("ann", "bob", "cid")) -> Till:
    """Ann, bob and cid buy; ann was sent one message and has 10 points, bob two and 30."""
    return Till(
        [line(None, MIDNIGHT + DAY, order_id="last"), *(line(one, LONG_AGO) for one in bought)],
        identities=identities,
        contacts=[
            contact("ann", BEFORE),
            contact("bob", LONG_AGO),
            contact("bob", BEFORE),
            contact("bob", LONG_AGO, kind="opened"),
        ],
        points=[posting("ann", LONG_AGO), posting("bob", LONG_AGO, 30)],
    )


def held(*tills: Till) -> dict[str, tuple[float, float]]:
    """Return the contacts and the points of every member."""
    found = shop.features_of(*tills)
    pairs = zip(found["contacts_364d"], found["points_balance"], strict=True)
    return dict(zip(map(str, found.index), pairs, strict=True))


APART = {"ann": (1, 10), "bob": (2, 30), "cid": (0, 0)}
MERGED = {"ann": (3, 40), "cid": (0, 0)}


def test_without_identities_a_feed_is_hers_whom_it_names() -> None:
    assert held(two_members()) == APART


def test_a_merge_makes_what_was_sent_and_posted_the_survivors() -> None:
    assert held(two_members(identity("bob", "ann", BEFORE))) == MERGED


def test_what_is_sent_to_the_old_name_after_the_merge_is_the_survivors_too() -> None:
    assert held(two_members(identity("bob", "ann", LONG_AGO + 2 * DAY))) == MERGED


def test_undoing_the_merge_gives_everything_back() -> None:
    undone = [identity("bob", "ann", BEFORE), identity("bob", "bob", BEFORE + DAY)]

    assert held(two_members(*undone)) == APART


def test_a_merge_learned_after_the_as_of_does_not_count_yet() -> None:
    assert held(two_members(identity("bob", "ann", MIDNIGHT))) == APART


def test_a_card_that_passes_to_another_member_takes_the_old_ones_feeds_along() -> None:
    cards = [identity("card", "bob", LONG_AGO - DAY), identity("card", "ann", BEFORE)]

    assert held(two_members(*cards, bought=("ann", "card", "cid"))) == MERGED


def test_who_still_has_a_key_keeps_what_names_her() -> None:
    cards = [identity("card", "bob", LONG_AGO - DAY), identity("card", "ann", BEFORE)]

    assert held(two_members(*cards, bought=("ann", "bob", "card", "cid"))) == APART


def test_who_is_seen_on_another_system_still_keeps_what_names_her() -> None:
    app = Till(events=[event("bob", LONG_AGO)], name="app")

    found = held(two_members(identity("bob", "ann", BEFORE)), app)

    assert found == {"ann": (1, 10), "cid": (0, 0)}


def test_a_card_that_happens_to_be_called_like_a_member_is_not_her() -> None:
    # Known before the card was ever used: it never stood for a member of its own name.
    card = identity("bob", "cid", LONG_AGO - DAY)

    assert held(two_members(card)) == {"ann": (1, 10), "cid": (0, 0)}


def test_where_her_keys_went_different_ways_nobody_inherits() -> None:
    cards = [
        *(identity(card, "bob", LONG_AGO - DAY) for card in ("one", "two")),
        identity("one", "ann", BEFORE),
        identity("two", "cid", BEFORE),
    ]

    found = held(two_members(*cards, bought=("ann", "one", "two")))

    assert found == {"ann": (1, 10), "cid": (0, 0)}


@pytest.mark.parametrize("merged_first", [True, False])
def test_a_growing_snapshot_is_the_one_of_a_rebuild(
    home: Settings, monkeypatch: pytest.MonkeyPatch, *, merged_first: bool
) -> None:
    monkeypatch.setattr(snapshot, "REBUILD_ABOVE", 1.0)
    batches = [
        two_members(),
        Till(identities=[identity("bob", "ann", BEFORE)]),
        Till(points=[posting("bob", BEFORE, 7)]),
        # Bob is seen in a shop that the merge does not name: his feeds are his own again.
        Till([line("bob", BEFORE, order_id="web")], name="web"),
    ]
    if merged_first:
        batches = [Till([*two_members().purchases], identities=batches[1].identities), *batches]
    for till in batches:
        shop.take(home, till)
        built = snapshot.build(home, AS_OF)
        shop.same(built.features(), shop.rebuilt(home, frozen=built.reference))
    last = snapshot.build(home, AS_OF).features()

    assert last["points_balance"].to_dict() == {"ann": 10, "bob": 37, "cid": 0}


def test_the_day_before_knows_nothing_of_a_merge_of_today(home: Settings) -> None:
    shop.take(home, two_members(identity("bob", "ann", MIDNIGHT - timedelta(hours=1))))

    day_before = shop.features(home, AS_OF - DAY)["points_balance"]

    assert day_before.to_dict() == {"ann": 10, "bob": 30, "cid": 0}
    assert shop.features(home)["points_balance"].to_dict() == {"ann": 40, "cid": 0}
