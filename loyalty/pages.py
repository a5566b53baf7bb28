"""The pages of the ledger that one transaction has open: locked, read once, written together."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import date, datetime
from typing import Any

from sqlalchemy import Connection, Row, Table, func, select

from loyalty import statements
from loyalty.account import Account, Lot, Qualifying
from loyalty.postings import Posting
from loyalty.rows import (
    MEASURES,
    account_of,
    account_row,
    lot_of,
    lot_row,
    posting_of,
    qualifying_of,
)
from loyalty.statements import Write
from loyalty.tables import ACCOUNTS, ALLOCATIONS, ENTRIES, LOTS, MEMBER_DAYS, POSTINGS
from loyalty.terms import Terms


class Pages:
    """Accounts under their locks, with what was read of them and what is to be written.

    Parameters
    ----------
    connection : within a transaction that may write
    now : our clock; a member's postings are recorded no earlier than her last one
    """

    def __init__(self, connection: Connection, terms: Terms, now: datetime) -> None:
        self.terms = terms
        self.now = now
        self._connection = connection
        self._accounts: dict[str, Account] = {}
        self._opened: set[str] = set()
        self._days: dict[str, dict[date, Qualifying]] = {}
        # What days counted in this book and is not written yet.
        self._counted: dict[tuple[str, date], Qualifying] = {}
        # By posting_id: what was posted, None where nothing was.
        self._posted: dict[str, Posting | None] = {}
        self._rows: dict[Table, list[dict[str, Any]]] = defaultdict(list)
        self._new_lots: list[tuple[str, Lot]] = []

    def lock(
        self, members: Iterable[str], opens: Iterable[str] = (), posting_id: str | None = None
    ) -> None:
        """Lock the accounts of `members`; `opens` among them get one if they have none.

        Parameters
        ----------
        posting_id : what will be looked up next: of one member it is answered by the way
        """
        wanted = sorted(set(members) - self._accounts.keys())
        if len(wanted) == 1 and posting_id is not None:
            self._load_account(wanted[0], posting_id)
        else:
            self._load_accounts(wanted)
        missing = sorted(set(wanted) & set(opens) - self._accounts.keys())
        if missing:
            statements.open_accounts(
                self._connection,
                [account_row(Account(member_id, self.now)) for member_id in missing],
            )
            # Another transaction may have opened one meanwhile: what it wrote is what we lock.
            self._load_accounts(missing)
            self._opened.update(missing)
        if self.terms.tiers is not None:
            self._load_days([member for member in wanted if member in self._accounts])

    def look_up(self, posting_ids: Sequence[str]) -> None:
        """Read the postings of many ids at once, those that there are."""
        wanted = [each for each in posting_ids if each not in self._posted]
        if wanted:
            self._posted.update(dict.fromkeys(wanted))
            for row in statements.postings_of(self._connection, wanted):
                self._posted[row.posting_id] = posting_of(row)

    def find(self, posting_id: str) -> Posting | None:
        """Return the posting of that id, if there is one."""
        self.look_up([posting_id])
        return self._posted[posting_id]

    def write(self) -> None:
        """Append the rows, bring the sums up to date; the book can go on."""
        new = [lot_row(member_id, lot) for member_id, lot in self._new_lots]
        statements.write(
            self._connection,
            Write("append", POSTINGS, self._rows[POSTINGS]),
            Write("append", LOTS, new),
            Write("append", ENTRIES, self._rows[ENTRIES]),
            Write("append", ALLOCATIONS, self._rows[ALLOCATIONS]),
            Write("change", LOTS, self._changed_lots()),
            Write("change", ACCOUNTS, self._changed_accounts()),
            Write("add_up", MEMBER_DAYS, self._counted_days()),
        )
        self._rows.clear()
        self._new_lots.clear()
        self._counted.clear()
        for account in self._accounts.values():
            account.touched.clear()
        self._close_refused()

    # --- reading

    def _load_accounts(self, members: list[str]) -> None:
        if members:
            for row in statements.lock_accounts(self._connection, members):
                self._accounts[row.member_id] = account_of(row)

    def _load_account(self, member_id: str, posting_id: str) -> None:
        row = statements.lock_account(self._connection, member_id, posting_id)
        if row is None:
            return
        self._accounts[member_id] = account_of(row)
        # Whoever waits for a lock reads all but the account as it was before the wait. Where the
        # member's last posting was read, those before it were too; if not, we look again.
        if row.last_read == row.postings and not row.is_posted:
            self._posted[posting_id] = None

    def load_lots(self, members: Iterable[str]) -> None:
        """Read the lots with points left of members whose accounts are locked."""
        wanted = [member_id for member_id in members if not self._accounts[member_id].loaded]
        if wanted:
            for row in statements.open_lots_of(self._connection, wanted):
                self._seen(self._accounts[row.member_id], row)
        for member_id in wanted:
            self._accounts[member_id].loaded = True

    def _seen(self, account: Account, row: Row[Any]) -> Lot:
        """Return the lot as it is now: what was read may have changed since, in this book."""
        return account.lots.setdefault(row.lot_no, lot_of(row))

    def _load_days(self, members: Sequence[str]) -> None:
        wanted: dict[str, dict[date, Qualifying]] = {
            member: {} for member in members if member not in self._days
        }
        if not wanted:
            return
        self._days.update(wanted)
        for (member_id, day), qualifying in self._counted.items():
            if member_id in wanted:
                self._days[member_id][day] = qualifying
        for row in statements.days_of(self._connection, list(wanted)):
            days = self._days[row.member_id]
            days[row.day] = qualifying_of(row) + days.get(row.day, Qualifying())

    def _granted_by(self, account: Account, posting: Posting) -> list[Lot]:
        """Return the lots a posting granted, in order."""
        its = (LOTS.c.member_id == account.member_id) & (LOTS.c.posting_no == posting.posting_no)
        found = self._connection.execute(select(LOTS).where(its).order_by(LOTS.c.lot_no))
        return [self._seen(account, row) for row in found]

    def _taken_by(self, account: Account, posting: Posting) -> list[tuple[Lot, int]]:
        """Return what a posting took from which lots and was not returned, in that order."""
        mine = ALLOCATIONS.c.member_id == account.member_id
        of_posting = ALLOCATIONS.c.posting_no == posting.posting_no
        reversals = select(POSTINGS.c.posting_no).where(
            POSTINGS.c.reverses == posting.posting_id, POSTINGS.c.member_id == account.member_id
        )
        taken: dict[int, int] = {}
        for row in self._connection.execute(
            select(ALLOCATIONS).where(mine, of_posting).order_by(ALLOCATIONS.c.allocation_no)
        ):
            taken[row.lot_no] = taken.get(row.lot_no, 0) + row.points
        for row in self._connection.execute(
            select(ALLOCATIONS).where(
                mine, ALLOCATIONS.c.posting_no.in_(reversals), ALLOCATIONS.c.source == "spent"
            )
        ):
            taken[row.lot_no] -= row.points
        found = self._connection.execute(
            select(LOTS).where(LOTS.c.member_id == account.member_id, LOTS.c.lot_no.in_(taken))
        )
        lots = {row.lot_no: self._seen(account, row) for row in found}
        return [(lots[lot_no], left) for lot_no, left in taken.items() if left]

    def _reversed_so_far(self, original: Posting) -> int:
        """Return how much of a posting was reversed: what its reversals took from the books."""
        found = self._connection.execute(
            select(func.sum(ENTRIES.c.points))
            .join(
                POSTINGS,
                (POSTINGS.c.member_id == ENTRIES.c.member_id)
                & (POSTINGS.c.posting_no == ENTRIES.c.posting_no),
            )
            .where(
                POSTINGS.c.reverses == original.posting_id,
                POSTINGS.c.member_id == original.member_id,
            )
        ).scalar()
        return int(found or 0)

    # --- writing

    def _changed_lots(self) -> list[dict[str, Any]]:
        new = {(member_id, lot.lot_no) for member_id, lot in self._new_lots}
        return [
            lot_row(account.member_id, account.lots[lot_no])
            for account in self._accounts.values()
            for lot_no in sorted(account.touched)
            if (account.member_id, lot_no) not in new
        ]

    def _changed_accounts(self) -> list[dict[str, Any]]:
        # Also those nothing was posted for: when the clock next has to look at them may be known
        # better by now.
        return [account_row(account) for account in self._accounts.values() if account.postings]

    def _counted_days(self) -> list[dict[str, Any]]:
        return [
            {"member_id": member_id, "day": day,
             **dict(zip(MEASURES, qualifying.amounts, strict=True))}
            for (member_id, day), qualifying in sorted(self._counted.items(), key=_by_day)
        ]  # fmt: skip

    def _close_refused(self) -> None:
        """Take back the accounts opened for requests that were then refused: none was there."""
        refused = [
            member_id for member_id in self._opened if not self._accounts[member_id].postings
        ]
        if refused:
            statements.close_accounts(self._connection, refused)
        for member_id in refused:
            del self._accounts[member_id]
        self._opened.clear()


def _by_day(counted: tuple[tuple[str, date], Qualifying]) -> tuple[str, date]:
    return counted[0]
