"""Many requests, one commit: what waits while one transaction is written goes into the next.

A disk that is asked to keep something does so a few hundred times a second, whether it is one row
or a thousand. So nobody commits alone: the first to come begins a transaction, those who come
meanwhile share the following one, and each is answered once its own rows are durable.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from itertools import islice

from sqlalchemy import Connection

from loyalty.errors import PostingConflict
from loyalty.idempotency import Answer, once
from programme.database import Database, StorageFailed
from programme.errors import NotReady
from serving.online.inbox import Accepted, accept
from serving.online.rows import Row

# A transaction of so many rows takes a tenth of a second.
ROWS_AT_ONCE = 2_000
# What has not been committed by then would wait for seconds: better refused at once.
ROWS_WAITING_MAX = 20_000


class Full(NotReady):
    """More rows wait to be kept than can be within a few seconds; these were not taken."""


@dataclass(frozen=True)
class Delivery:
    """Rows of one request.

    Parameters
    ----------
    answer : makes what the caller is told of what became of the rows
    route, key, fingerprint : the same key of a route with the same content gets the first answer
        again; without a key every request is a new one, and its rows know themselves
    """

    rows: Sequence[Row]
    answer: Callable[[Sequence[Accepted]], Answer]
    route: str = ""
    key: str | None = None
    fingerprint: str = ""


@dataclass(frozen=True)
class _Waiting:
    delivery: Delivery
    answered: asyncio.Future[Answer]


class Together:
    """Commits deliveries of one event loop, as many at a time as wait.

    Parameters
    ----------
    database : asked for at each commit, by the thread that commits
    clock : says when rows became known
    """

    def __init__(self, database: Callable[[], Database], clock: Callable[[], datetime]) -> None:
        self._database = database
        self._clock = clock
        self._waiting: deque[_Waiting] = deque()
        self._rows_waiting = 0
        self._committing: asyncio.Task[None] | None = None
        self._thread = ThreadPoolExecutor(1, "intake")

    async def take(self, delivery: Delivery) -> Answer:
        """Return the answer once the rows are durable.

        Raises
        ------
        Full : if too many rows wait.
        Busy, StorageFailed : if the database does not take them.
        PostingConflict : if the key came before with other content.
        """
        if self._rows_waiting + len(delivery.rows) > ROWS_WAITING_MAX:
            raise Full(
                f"{self._rows_waiting:,} rows wait to be kept. Nothing was taken. Send these again "
                "in a few seconds."
            )
        loop = asyncio.get_running_loop()
        mine = _Waiting(delivery, loop.create_future())
        self._waiting.append(mine)
        self._rows_waiting += len(delivery.rows)
        if self._committing is None:
            self._committing = loop.create_task(self._commit_all())
        return await mine.answered

    async def _commit_all(self) -> None:
        """Commit until nobody waits."""
        loop = asyncio.get_running_loop()
        while self._waiting:
            some = self._next()
            work = [one.delivery for one in some]
            try:
                answers = await loop.run_in_executor(self._thread, self._commit, work)
            except BaseException as error:
                answers = [error] * len(some)
            self._rows_waiting -= sum(len(one.rows) for one in work)
            if not self._waiting:
                # Before anybody is answered: the loop may end with the last answer.
                self._committing = None
            for one, answer in zip(some, answers, strict=True):
                if one.answered.done():
                    continue  # its caller has gone; the rows are kept
                if isinstance(answer, BaseException):
                    one.answered.set_exception(answer)
                else:
                    one.answered.set_result(answer)

    def _next(self) -> list[_Waiting]:
        some = [self._waiting.popleft()]
        rows = len(some[0].delivery.rows)
        while self._waiting and rows + len(self._waiting[0].delivery.rows) <= ROWS_AT_ONCE:
            some.append(self._waiting.popleft())
            rows += len(some[-1].delivery.rows)
        return some

    def _commit(self, some: list[Delivery]) -> list[Answer | BaseException]:
        """Commit deliveries in one transaction; where one of them spoils it, each in its own."""
        now = self._clock()
        try:
            return self._database().write(lambda connection: _taken(connection, some, now))
        except (NotReady, StorageFailed) as error:
            return [error] * len(some)
        except Exception as error:
            if len(some) == 1:
                return [error]
        return [answer for one in some for answer in self._commit([one])]


def _taken(
    connection: Connection, some: list[Delivery], now: datetime
) -> list[Answer | BaseException]:
    """Keep the rows of some deliveries; return what each is answered."""
    plain = [row for one in some if one.key is None for row in one.rows]
    found = iter(accept(connection, plain, now))
    answers: list[Answer | BaseException] = []
    for one in some:
        if one.key is None:
            answers.append(one.answer(list(islice(found, len(one.rows)))))
            continue
        try:
            answers.append(_once(connection, one, now))
        except PostingConflict as error:
            answers.append(error)
    return answers


def _once(connection: Connection, one: Delivery, now: datetime) -> Answer:
    """Keep the rows of a delivery that has a key, unless the key came before."""
    return once(
        connection, one.route, one.key, one.fingerprint,
        lambda: one.answer(accept(connection, one.rows, now)), now=now,
    )  # fmt: skip
