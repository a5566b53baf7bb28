"""Members computed again, and how they come into the store: all of a step, or nothing of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import Connection, delete, update

from programme.errors import NotReady
from serving.online import changes, leases
from serving.online.recent import WaitingRow
from serving.online.store import Kept, OnlineStore, StoredMember, part_of
from serving.online.tables import INBOX, ONLINE_MEMBERS
from serving.online.traits import nothing

_ROWS_AT_ONCE = 500


class LeaseLost(NotReady):
    """Another worker has these members now; nothing was written."""


@dataclass(frozen=True, eq=False)
class Made:
    """What one step computed.

    Parameters
    ----------
    gone : those of whom nothing is known now
    scored : whether value, next products and next order were made too
    seqs : member -> the last row of the inbox that was seen of her
    position : the last row of the inbox that the history holds
    """

    members: Sequence[StoredMember]
    gone: Sequence[str]
    scored: bool
    seqs: Mapping[str, int]
    position: int

    def write(
        self, store: OnlineStore, rows: Sequence[WaitingRow], worker: str, now: datetime,
        connection: Connection,
    ) -> tuple[int, dict[str, int]]:  # fmt: skip
        """Write members, what changed about them, and that their rows are shown: all or nothing.

        Parameters
        ----------
        rows : those that were waited for

        Returns
        -------
        how many rows are shown, and the last row of the inbox that is in each member written

        Raises
        ------
        LeaseLost : if another worker has a part of them by now; nothing was written.
        """
        needed = {part_of(row.source_key) for row in rows}
        if rows and not needed <= leases.held(connection, worker, now):
            raise LeaseLost("Another worker has taken over. Nothing was written.")
        ids = [member.member_id for member in self.members]
        before = store.kept(connection, sorted({*ids, *self.gone}))
        written, moved, late = list[StoredMember](), list[changes.Moved](), False
        for member in self.members:
            old = before.get(member.member_id)
            if old is not None and old.knows_more(member):
                late |= old.seq < member.seq  # of a later day: our clock is behind
                continue
            whole = _completed(member, old)
            ahead = not rows and not self.scored and member.seq <= self.position
            if ahead and old is not None and old.readable:
                # Nothing came to her since, or it would wait: her scores know as much as before.
                whole = replace(whole, seq=old.seq)
            written.append(whole)
            moved.append((member.member_id, old.traits if old else None, whole.traits))
        stand = {name: old.scores_text for name, old in before.items()}
        unsaid = {one.member_id for one in self.members if one.scores_seq < 0}
        kept = {name: stand[name] for name in unsaid & set(stand) if before[name].readable}
        store.write(connection, written, kept)
        for name in self.gone:
            old = before.get(name)
            if old is not None and old.seq <= self.seqs[name]:
                connection.execute(delete(ONLINE_MEMBERS).where(ONLINE_MEMBERS.c.member_id == name))
                moved.append((name, old.traits, None))
        shown = [row.seq for row in rows] if not late else []
        for first in range(0, len(shown), _ROWS_AT_ONCE):
            some = shown[first : first + _ROWS_AT_ONCE]
            connection.execute(
                update(INBOX)
                .where(INBOX.c.seq.in_(some), INBOX.c.refreshed_at.is_(None))
                .values(refreshed_at=now)
            )
        changes.record_many(connection, moved, now)
        return len(shown), {one.member_id: one.seq for one in written}


def _completed(member: StoredMember, old: Kept | None) -> StoredMember:
    """Return a member with what this step did not make: her cluster, her tags.

    The text of scores that stand goes back into the store as it is: see `Made.write`.
    """
    kept = old.traits if old is not None and old.readable else nothing()
    traits = dict(member.traits)
    if old is not None and old.readable:  # what was known then is known now
        member = replace(member, data_as_of=max(old.data_as_of, member.data_as_of))
    traits["segments"] = {**(kept.get("segments") or {}), **traits["segments"]}
    traits["tags"] = list(kept.get("tags") or ())
    if traits["stage"] is None:
        traits["stage"] = kept.get("stage")
    if member.scores_seq >= 0 or old is None or not old.readable:
        return replace(member, traits=traits)
    return replace(
        member, traits=traits, scores_seq=old.scores_seq, publication_no=old.publication_no,
    )  # fmt: skip
