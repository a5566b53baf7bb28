"""What a caller of the ledger relies on, one sentence each, on both databases."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import insert, text, update
from sqlalchemy.exc import DBAPIError

from loyalty.account import Kind, Qualifying
from loyalty.birthdays import birthday, keep_birthdays
from loyalty.errors import (
    InsufficientPoints,
    Malformed,
    NotReversible,
    OutsideLimits,
    PostingConflict,
    PostingRefused,
    UnknownMember,
    UnknownPosting,
)
from loyalty.expiry import expiring, settle_due
from loyalty.lasting import Lasting, life
from loyalty.points import balance, find, ledger, post, post_many
from loyalty.postings import Posting, Request
from loyalty.status import tier_status
from loyalty.tables import APPENDED, LOTS
from loyalty.terms import Terms
from loyalty.tiers import Tier, TierPolicy
from loyalty.verify import verify
from programme.calendar import local_date, local_midnight
from programme.database import Database

ZONE = "America/New_York"
NOW = datetime(2018, 3, 9, 17, tzinfo=UTC)  # noon, two days before New York loses an hour
TERMS = Terms(ZONE, lasting=Lasting("days", 30))
DAY = timedelta(days=1)


def do(
    database: Database, kind: Kind, posting_id: str, points: int | None, *, member: str = "ann",
    now: datetime = NOW, terms: Terms = TERMS, **more: Any,
) -> Posting:  # fmt: skip
    request = Request(kind, posting_id, member, points, **more)
    return post(database, terms, request, now=now)


def shown(database: Database, now: datetime = NOW, terms: Terms = TERMS, **more: Any) -> Any:
    return balance(database, terms, more.pop("member", "ann"), now=now, **more)


def test_the_lot_that_expires_first_is_spent_first(database: Database) -> None:
    do(database, "EARN", "late", 100, lasting=Lasting("days", 90))
    do(database, "EARN", "soon", 100, lasting=Lasting("days", 3))
    do(database, "EARN", "never", 100, lasting=Lasting())

    do(database, "REDEEM", "r", 150)

    found = shown(database)
    assert (found.active, found.expiring) == (150, 50)
    assert found.expires_at == local_midnight(date(2018, 6, 8), ZONE)


def test_points_expire_by_the_clock_whether_or_not_the_job_has_run(database: Database) -> None:
    do(database, "EARN", "e", 100, lasting=Lasting("days", 1))
    last_moment = local_midnight(date(2018, 3, 11), ZONE) - timedelta(microseconds=1)

    assert shown(database, last_moment).active == 100
    after = last_moment + timedelta(microseconds=1)
    assert (shown(database, after).active, shown(database, after).expired) == (0, 100)
    with pytest.raises(InsufficientPoints):
        do(database, "REDEEM", "r", 1, now=after)
    settle_due(database, TERMS, now=after)
    assert [posting.kind for posting in ledger(database, "ann")] == ["EXPIRE", "EARN"]


def test_a_redemption_at_the_last_moment_holds_its_points(database: Database) -> None:
    do(database, "EARN", "e", 100, lasting=Lasting("days", 1))
    end = local_midnight(date(2018, 3, 11), ZONE)
    do(database, "REDEEM", "r", 60, now=end - timedelta(microseconds=1))

    # Cancelled after their end, they keep their first expiry: worth nothing at once.
    do(database, "REVERSE", "v", None, reverses="r", now=end + DAY)

    found = shown(database, end + DAY)
    assert (found.active, found.spent, found.expired) == (0, 0, 100)
    assert not verify(database).violations


def test_points_that_return_in_time_keep_their_first_expiry(database: Database) -> None:
    do(database, "EARN", "e", 100, lasting=Lasting("days", 10))
    do(database, "REDEEM", "r", 100, now=NOW + 5 * DAY)

    do(database, "REVERSE", "v", 40, reverses="r", now=NOW + 6 * DAY)

    assert shown(database, NOW + 6 * DAY).expires_at == local_midnight(date(2018, 3, 20), ZONE)


def test_points_wait_until_they_can_be_spent(database: Database) -> None:
    do(database, "EARN", "e", 100, lasting=Lasting("days", 30, pending_days=2))

    assert (shown(database).active, shown(database).pending) == (0, 100)
    with pytest.raises(InsufficientPoints):
        do(database, "REDEEM", "r", 1)
    later = NOW + 2 * DAY
    assert (shown(database, later).active, shown(database, later).pending) == (100, 0)
    do(database, "REDEEM", "r2", 1, now=later)
    assert [p.kind for p in ledger(database, "ann")] == ["REDEEM", "ACTIVATE", "EARN"]


def test_waiting_points_of_a_refund_never_become_spendable(database: Database) -> None:
    do(database, "EARN", "e", 100, lasting=Lasting("days", 30, pending_days=2))
    do(database, "REVERSE", "v", 70, reverses="e")

    found = shown(database, NOW + 2 * DAY)

    assert (found.active, found.pending) == (30, 0)


@pytest.mark.parametrize(
    ("policy", "active", "owed"),
    [("negative", -60, 60), ("later_earnings", 0, 60), ("forgiven", 0, 0)],
)
def test_points_that_were_spent_are_taken_back_by_the_declared_policy(
    database: Database, policy: Any, active: int, owed: int
) -> None:
    terms = replace(TERMS, spent_points=policy)
    do(database, "EARN", "e", 100, terms=terms)
    do(database, "REDEEM", "r", 60, terms=terms)

    do(database, "REVERSE", "v", None, reverses="e", terms=terms)

    found = shown(database, terms=terms)
    assert (found.active, found.owed) == (active, owed)
    do(database, "EARN", "e2", 100, terms=terms)
    assert shown(database, terms=terms).active == 100 - owed
    assert not verify(database).violations


def test_a_refund_of_points_that_expired_unused_costs_nothing(database: Database) -> None:
    do(database, "EARN", "old", 100, lasting=Lasting("days", 1))
    do(database, "EARN", "new", 50)

    do(database, "REVERSE", "v", None, reverses="old", now=NOW + 5 * DAY)

    assert shown(database, NOW + 5 * DAY).active == 50


def test_what_returns_pays_what_is_owed_even_from_a_lot_that_expired(database: Database) -> None:
    do(database, "EARN", "e", 100, lasting=Lasting("days", 1))
    do(database, "REDEEM", "r", 100)
    do(database, "REVERSE", "refund", None, reverses="e", now=NOW + 5 * DAY)
    assert shown(database, NOW + 5 * DAY).owed == 100

    do(database, "REVERSE", "cancelled", None, reverses="r", now=NOW + 5 * DAY)

    assert shown(database, NOW + 5 * DAY).owed == 0


def test_a_transfer_neither_makes_points_young_nor_loses_any(database: Database) -> None:
    do(database, "EARN", "a", 100, lasting=Lasting("days", 3))
    do(database, "EARN", "b", 100, member="bob", lasting=Lasting("days", 90))

    do(database, "TRANSFER", "t", 100, to_member_id="bob")

    bob = shown(database, member="bob")
    assert (bob.active, bob.expiring) == (200, 100)
    assert bob.expires_at == local_midnight(date(2018, 3, 13), ZONE)
    do(database, "REVERSE", "v", 30, reverses="t")
    assert (shown(database).active, shown(database, member="bob").active) == (30, 170)
    assert not verify(database).violations


def test_points_that_last_while_she_is_active_expire_when_she_is_not(database: Database) -> None:
    terms = replace(TERMS, lasting=Lasting("idle", 10))
    do(database, "EARN", "e1", 100, terms=terms)
    do(database, "EARN", "e2", 1, terms=terms, now=NOW + 9 * DAY)

    kept, lost = NOW + 18 * DAY, NOW + 21 * DAY
    assert shown(database, kept, terms).active == 101
    assert shown(database, lost, terms).active == 0
    assert shown(database, lost, terms, at=NOW + 8 * DAY).active == 100
    settle_due(database, terms, now=lost)
    assert not verify(database).violations


def test_a_balance_of_the_past_is_what_was_known_then(database: Database) -> None:
    do(database, "EARN", "e", 100, lasting=Lasting("days", 3))
    do(database, "REDEEM", "r", 30, now=NOW + DAY)
    do(database, "REVERSE", "v", None, reverses="r", now=NOW + 2 * DAY)
    later = NOW + 30 * DAY
    settle_due(database, TERMS, now=later)

    found = {
        days: shown(database, later, at=NOW + days * DAY).active for days in (0, 1, 2, 3, 4, 5)
    }

    # Midnight of 13 March lies between the third and the fourth day after noon of the 9th.
    assert found == {0: 100, 1: 70, 2: 100, 3: 100, 4: 0, 5: 0}
    with pytest.raises(UnknownMember):
        shown(database, later, at=NOW - DAY)
    with pytest.raises(Malformed):
        shown(database, later, at=later + DAY)


def test_a_clock_that_goes_back_never_makes_time_go_back(database: Database) -> None:
    do(database, "EARN", "e", 100)

    posting = do(database, "REDEEM", "r", 10, now=NOW - timedelta(hours=1))

    assert posting.recorded_at == NOW


def test_a_backdated_purchase_earns_points_of_its_own_age(database: Database) -> None:
    do(database, "EARN", "e1", 100, occurred_at=NOW - 20 * DAY)
    do(database, "EARN", "e2", 50, occurred_at=NOW - 40 * DAY)

    # The second had expired before it came.
    assert (shown(database).active, shown(database).expired) == (100, 50)
    assert shown(database, NOW + 11 * DAY).active == 0


def test_nothing_is_posted_into_closed_books_but_what_was_posted_before_stands(
    database: Database,
) -> None:
    do(database, "EARN", "e1", 100, occurred_at=NOW - 20 * DAY)
    day = local_date(NOW - 10 * DAY, TERMS.timezone)
    shut = replace(TERMS, limits=replace(TERMS.limits, closed_through=day))

    for moment in (NOW - 20 * DAY, NOW - 10 * DAY):
        late = Request("EARN", f"late-{moment:%d}", "ann", 50, occurred_at=moment)
        with pytest.raises(OutsideLimits, match=f"the books are closed through {day}"):
            post(database, shut, late, now=NOW)
    first = Request("EARN", "e1", "ann", 100, occurred_at=NOW - 20 * DAY)
    assert post(database, shut, first, now=NOW).posting_no == 1
    post(database, shut, Request("EARN", "e3", "ann", 7, occurred_at=NOW - 9 * DAY), now=NOW)
    # What is taken back now is of now, whenever it was given.
    post(database, shut, Request("REVERSE", "r1", "ann", None, reverses="e1"), now=NOW)
    assert shown(database).active == 7


def test_sums_survive_that_a_member_is_forgotten(database: Database) -> None:
    do(database, "EARN", "e1", 100)
    keep_birthdays(database, TERMS, {"ann": "02-29"}, now=NOW)
    before = shown(database)

    keep_birthdays(database, TERMS, {"ann": None}, now=NOW)
    assert birthday(database, "ann") is None
    assert shown(database) == before
    assert not verify(database).violations


def test_a_posting_is_carried_out_once_and_answered_alike(database: Database) -> None:
    request = Request("EARN", "e", "ann", 100, occurred_at=NOW - 399 * DAY, reason="welcome")
    first = post(database, TERMS, request, now=NOW)
    settle_due(database, TERMS, now=NOW + 2 * DAY)

    # By now it would be too old to be made.
    again = post(database, TERMS, request, now=NOW + 30 * DAY)

    assert again == first
    assert find(database, "e") == first
    with pytest.raises(PostingConflict):
        post(database, TERMS, replace(request, member_id="bob"), now=NOW)


def test_a_batch_carries_out_what_it_can_and_says_what_it_cannot(database: Database) -> None:
    answers = post_many(
        database, TERMS,
        [
            Request("EARN", "e", "ann", 100), Request("REDEEM", "r1", "ann", 80),
            Request("REDEEM", "r2", "ann", 80), Request("REDEEM", "r3", "nobody", 1),
            Request("EARN", "e", "ann", 100), Request("EARN", "x", "", 1),
            Request("REVERSE", "v", "ann", 50, reverses="r1"),
        ],
        now=NOW,
    )  # fmt: skip

    assert [type(answer) for answer in answers] == [
        Posting, Posting, InsufficientPoints, UnknownMember, Posting, Malformed, Posting,
    ]  # fmt: skip
    assert shown(database).active == 70
    assert not verify(database).violations


def test_a_refused_first_posting_opens_no_account(database: Database) -> None:
    with pytest.raises(OutsideLimits):
        do(database, "EARN", "e", 10**13)
    post_many(database, TERMS, [Request("EARN", "e", "ann", 10**13)], now=NOW)

    with pytest.raises(UnknownMember):
        shown(database)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"points": 0}, Malformed), ({"points": -1}, Malformed), ({"points": 1.5}, Malformed),
        ({"points": True}, Malformed), ({"points": None}, Malformed),
        ({"points": 10**12 + 1}, OutsideLimits),
        ({"posting_id": ""}, Malformed), ({"posting_id": "a b"}, Malformed),
        ({"posting_id": "a#b"}, Malformed), ({"posting_id": "x" * 101}, Malformed),
        ({"posting_id": "点"}, Malformed), ({"posting_id": "a\x00"}, Malformed),
        ({"member_id": ""}, Malformed), ({"member_id": "a\nb"}, Malformed),
        ({"member_id": "x" * 65}, Malformed), ({"member_id": " ann"}, Malformed),
        ({"member_id": "\ud800"}, Malformed), ({"member_id": "nobody"}, UnknownMember),
        ({"kind": "EXPIRE"}, Malformed), ({"kind": "STEAL"}, Malformed),
        ({"kind": "ADJUST"}, Malformed),  # without a reason
        ({"kind": "TRANSFER"}, Malformed),  # to nobody
        ({"kind": "TRANSFER", "to_member_id": "ann"}, Malformed),
        ({"kind": "TRANSFER", "to_member_id": "nobody"}, UnknownMember),
        ({"kind": "REVERSE"}, Malformed),
        ({"kind": "REVERSE", "reverses": "nothing"}, UnknownPosting),
        ({"reason": "x" * 501}, Malformed),
        ({"occurred_at": datetime(2018, 3, 9)}, Malformed),  # noqa: DTZ001
        ({"occurred_at": NOW + timedelta(minutes=6)}, OutsideLimits),
        ({"occurred_at": NOW - 401 * DAY}, OutsideLimits),
    ],
)  # fmt: skip
def test_what_cannot_be_meant_is_refused_and_nothing_is_posted(
    database: Database, change: dict[str, Any], why: type[PostingRefused]
) -> None:
    do(database, "EARN", "e", 100)

    with pytest.raises(why, match=r"Nothing was (posted|done)"):
        post(database, TERMS, replace(Request("REDEEM", "r", "ann", 5), **change), now=NOW)

    assert [posting.posting_id for posting in ledger(database, "ann")] == ["e"]


def test_what_the_clock_posted_and_reversals_stand(database: Database) -> None:
    do(database, "EARN", "e", 100, lasting=Lasting("days", 1))
    do(database, "REDEEM", "r", 10)
    do(database, "REVERSE", "v", 5, reverses="r")
    settle_due(database, TERMS, now=NOW + 9 * DAY)
    expired = ledger(database, "ann")[0].posting_id

    for standing in ("v", expired):
        with pytest.raises(NotReversible):
            do(database, "REVERSE", "w", 1, reverses=standing, now=NOW + 9 * DAY)
    with pytest.raises(NotReversible):
        do(database, "REVERSE", "w", 6, reverses="r", now=NOW + 9 * DAY)


def test_metacharacters_and_any_script_are_only_characters(database: Database) -> None:
    for number, member in enumerate(["Robert'); drop table postings;--", "王小明", "%_\\", "🙂"]):
        do(database, "EARN", f"e{number}", 100 + number, member=member)

        assert shown(database, member=member).active == 100 + number


def test_who_is_about_to_lose_points_is_listed_with_the_day_she_was_told(
    database: Database,
) -> None:
    do(database, "EARN", "a", 100, lasting=Lasting("days", 3, grace_days=2))
    do(database, "EARN", "b", 50, lasting=Lasting("days", 60))
    do(database, "EARN", "c", 70, member="bob", lasting=Lasting("days", 3, pending_days=30))
    do(database, "EARN", "d", 9, member="cat", lasting=Lasting("days", 9))

    found = list(expiring(database, now=NOW, within_days=7))
    in_grace = list(expiring(database, now=NOW + 4 * DAY, within_days=7))

    told = local_midnight(date(2018, 3, 13), ZONE)
    assert [(row.member_id, row.expires_at, row.points) for row in found] == [("ann", told, 100)]
    assert ("ann", told, 100) in [(r.member_id, r.expires_at, r.points) for r in in_grace]


@pytest.mark.parametrize("table", APPENDED, ids=lambda table: table.name)
@pytest.mark.parametrize("verb", ["update", "delete"])
def test_the_database_itself_refuses_to_change_what_was_appended(
    database: Database, table: Any, verb: str
) -> None:
    do(database, "EARN", "e", 100)
    do(database, "REDEEM", "r", 10)
    statement = (
        f"update {table.name} set posting_no = posting_no" if verb == "update"
        else f"delete from {table.name}"
    )  # fmt: skip

    with pytest.raises(DBAPIError, match="never changed"):
        database.write(lambda connection: connection.execute(text(statement)))


@pytest.mark.parametrize(
    ("statement", "law"),
    [
        ("update accounts set active = active + 1", "the account has active"),
        ("update lots set remaining = remaining - 1, spent = spent + 1", "its allocations"),
        ("update accounts set chain = 'x'", "the account counts"),
        ("update member_days set qualifying_points = 7", "what days counted"),
        ("update accounts set due_at = null", "is due at"),
    ],
)
def test_whoever_edits_a_sum_by_hand_is_found(database: Database, statement: str, law: str) -> None:
    do(database, "EARN", "e", 100, qualifying=Qualifying(points=100))
    database.write(lambda connection: connection.execute(text(statement)))

    assert any(law in violation.law for violation in verify(database).violations)


def test_whoever_edits_history_by_hand_is_found(database: Database) -> None:
    do(database, "EARN", "e", 100)
    seal = {"sqlite": "drop trigger postings_no_update",
            "postgresql": "alter table postings disable trigger all"}  # fmt: skip
    database.write(lambda connection: connection.execute(text(seal[database.dialect])))
    database.write(
        lambda connection: connection.execute(text("update postings set reason = 'gift'"))
    )

    laws = [violation.law for violation in verify(database).violations]

    assert laws == ["posting 1 is not what was written"]


def test_the_database_refuses_a_lot_that_does_not_add_up(database: Database) -> None:
    do(database, "EARN", "e", 100)

    with pytest.raises(DBAPIError):
        database.write(lambda connection: connection.execute(update(LOTS).values(remaining=-1)))
    with pytest.raises(DBAPIError):
        database.write(
            lambda connection: connection.execute(
                insert(LOTS).values(
                    member_id="ann", lot_no=9, posting_no=9, points=1, remaining=1,
                    available_at=NOW, idle=False,
                )
            )
        )  # fmt: skip


def test_a_tier_counts_what_postings_count_and_changes_nothing_else(database: Database) -> None:
    policy = TierPolicy(
        (Tier("silver", 0, 0), Tier("gold", 100, 80, ("gift",))), "points", 12, None, "one_down"
    )
    terms = replace(TERMS, tiers=policy)
    do(database, "EARN", "e", 90, terms=terms, qualifying=Qualifying(points=90))
    gold = do(database, "EARN", "f", 10, terms=terms, qualifying=Qualifying(points=10))
    spent = do(database, "REDEEM", "r", 100, terms=terms)
    silver = do(database, "REVERSE", "v", 5, reverses="f", terms=terms)

    # Spending leaves the tier alone, a refund takes its share of what counted.
    assert [p.tier for p in (gold, spent, silver)] == ["gold", "gold", "silver"]
    found = tier_status(database, terms, "ann", now=NOW)
    assert (found.tier, found.amount, found.to_next, found.benefits) == ("silver", 95, 5, ())


def test_of_lots_that_end_together_the_earliest_promise_is_told_now_and_then(
    database: Database,
) -> None:
    # Both are worth nothing from the fifth day on; one was promised until the second, with grace.
    longer, shorter = Lasting("days", 4), Lasting("days", 1, grace_days=3)
    for number, lasting in enumerate((longer, shorter)):
        request = Request("EARN", f"e{number}", "ann", 10, lasting=lasting)
        post(database, TERMS, request, now=NOW)
    later = NOW + timedelta(hours=1)

    now = balance(database, TERMS, "ann", now=NOW)
    then = balance(database, TERMS, "ann", now=later, at=NOW)

    assert now == then
    assert now.expiring == 20
    assert now.expires_at == life(shorter, NOW, TERMS.timezone).expires_at
