"""What an answer costs beside a bare service on the same model, and how it holds under load.

Run with `make bench-serving`, or `python -m experiments.bench_serving --only one`. Both take
turns in one run; the ratio of CPU per request is the figure to look at, times are of this machine
on this day. Nothing is cached on either side, there is no cache.

one       one member, churn without reasons: what the rival answers, plus the look-up of features
drivers   one member, churn with reasons: one Shapley evaluation more
whole     one member, everything there is: churn, value, products and order, with reasons
hundred   100 members, churn without reasons
half      60 s at half of what ours can answer: latency in slices, memory
overload  64 clients for 20 s, each asking for 100 members with reasons
"""

import argparse
import http.client
import json
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from experiments.bench_serving import client, servers
from experiments.bench_serving.servers import Server
from features import snapshot
from programme.database import Database
from programme.settings import PROGRAMME_FILE, Settings, open_programme
from serving.online.publish import publish
from serving.online.reader import Reader
from serving.online.store import NUMBERS
from training import registry
from training.champions import Champions
from training.lookup import CHAMPION, RegisteredModel, name_of

PARTS = ("one", "drivers", "whole", "hundred", "half", "overload")
ROUNDS, ROUND_SECONDS, CLIENTS = 5, 2.0, 4
HALF_SECONDS, SLICE_SECONDS = 60.0, 10.0
OVERLOAD_CLIENTS, OVERLOAD_SECONDS, REST_SECONDS = 64, 20.0, 5.0
MEMBERS_ASKED = 500
COPIED = ("lake", "snapshots", "mlartifacts", "segments", "tags", "scores")


@dataclass(frozen=True)
class Bench:
    """Both servers, and the members they are asked about.

    Parameters
    ----------
    features : array of shape (n, n_columns of the model), what the rival is sent
    """

    rival: Server
    ours: Server
    members: Sequence[str]
    features: NDArray[np.float64]

    def asked_of_rival(self, size: int) -> list[bytes]:
        """Return requests about the same members as those to ours."""
        rows = [[None if np.isnan(one) else float(one) for one in row] for row in self.features]
        bodies = (json.dumps({"rows": rows[at : at + size]}) for at in self._starts(size))
        return [client.request_of(self.rival.port, "/score", body.encode()) for body in bodies]

    def asked_of_ours(self, size: int, **more: Any) -> list[bytes]:
        """Return requests about so many members each."""
        bodies = (
            json.dumps({"member_ids": self.members[at : at + size], **more})
            for at in self._starts(size)
        )
        return [client.request_of(self.ours.port, "/v1/scores", body.encode()) for body in bodies]

    def _starts(self, size: int) -> range:
        return range(0, len(self.members) - size + 1, size)


def main() -> None:
    """Measure what was asked for and print one table."""
    arguments = _arguments()
    console = Console(width=None if sys.stdout.isatty() else 110)
    table = Table("what", "bare", "ours", "ratio", title="Serving", title_justify="left")
    with _bench(Path(arguments.home), console) as bench:
        for part in arguments.only:
            console.print(f"measuring {part}")
            MEASURES[part](bench, table)
    console.print(table)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, epilog="Example: python -m experiments.bench_serving --only one",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--home", default="var/completejourney", help="a home with champions")
    return parser.parse_args()


@contextmanager
def _bench(home: Path, console: Console) -> Iterator[Bench]:
    """Copy a home apart, fill its store if nobody did, and start both servers over it."""
    with tempfile.TemporaryDirectory(prefix="bench-serving-", dir=home.parent) as place:
        copy = Path(place) / "home"
        _copy(home.resolve(), copy)
        settings = Settings(home=copy, threads=1)
        _publish(settings, console)
        champion = registry.load(settings, name_of("churn", open_programme(settings)), CHAMPION)
        servers.write_model(champion, Path(place) / "model")
        members, features = _members(settings, champion)
        with ExitStack() as stack:
            rival = stack.enter_context(servers.rival(Path(place) / "model"))
            ours = stack.enter_context(servers.ours(copy, Path(place) / "serve.log"))
            bench = Bench(rival, ours, members, features)
            _require_same(bench)
            yield bench


def _copy(home: Path, copy: Path) -> None:
    """Copy a home; files that never change are linked, databases are copied."""
    copy.mkdir(parents=True)
    for name in COPIED:
        if (home / name).is_dir():
            shutil.copytree(home / name, copy / name, copy_function=_linked)
    for name in ("mlflow.db", PROGRAMME_FILE, "programme.db", "programme.db-wal"):
        if (home / name).exists():
            shutil.copy(home / name, copy / name)


def _linked(source: str, target: str) -> None:
    Path(target).hardlink_to(source)


def _publish(settings: Settings, console: Console) -> None:
    database = Database.open(settings)
    try:
        with database.read() as connection:
            there = connection.exec_driver_sql("select count(*) from publications").scalar_one()
        if not there:
            console.print("writing everybody to the online store")
            champions, taken = Champions.load(settings), snapshot.latest(settings)
            publish(settings, database, champions, taken, datetime.now(UTC))
    finally:
        database.close()


def _members(
    settings: Settings, champion: RegisteredModel
) -> tuple[list[str], NDArray[np.float64]]:
    """Return members of the store, and what the model reads of each."""
    database = Database.open(settings)
    with database.read() as connection:
        asked = "select member_id from online_members order by member_id limit "
        found = connection.exec_driver_sql(asked + str(MEMBERS_ASKED)).scalars().all()
    database.close()
    reader = Reader(settings)
    rows = reader.read(found, whole=False)
    reader.close()
    places = [NUMBERS.index(name) for name in champion.bundle.model.columns]
    return list(rows), np.stack([row.features[places] for row in rows.values()])


def _require_same(bench: Bench) -> None:
    """Refuse to compare servers that do not say the same."""
    said = [
        [one["churn"]["churn_probability"] for one in _answer(request, bench.ours.port)["scores"]]
        for request in bench.asked_of_ours(100, parts=["churn"], drivers=False)
    ]
    bare = [
        _answer(request, bench.rival.port)["churn_probability"]
        for request in bench.asked_of_rival(100)
    ]
    if np.abs(np.array(said) - np.array(bare)).max() > 1e-6:
        raise RuntimeError("the two services do not answer the same: nothing was measured")


def _answer(request: bytes, port: int) -> Any:
    head, _, body = request.partition(b"\r\n\r\n")
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("POST", head.split()[1].decode(), body, {"Content-Type": "application/json"})
    answer = json.loads(connection.getresponse().read())
    connection.close()
    return answer


def _one(bench: Bench, table: Table) -> None:
    _compared(bench, table, "1 member, churn", 1, parts=["churn"], drivers=False)


def _drivers(bench: Bench, table: Table) -> None:
    _compared(bench, table, "1 member, churn with reasons", 1, parts=["churn"])


def _whole(bench: Bench, table: Table) -> None:
    _compared(bench, table, "1 member, everything", 1)


def _hundred(bench: Bench, table: Table) -> None:
    _compared(bench, table, "100 members, churn", 100, parts=["churn"], drivers=False)


def _compared(bench: Bench, table: Table, what: str, size: int, **more: Any) -> None:
    """Ask both in turn; print the medians of CPU per request and of their ratio."""
    pairs = (
        (bench.rival, bench.asked_of_rival(size)),
        (bench.ours, bench.asked_of_ours(size, **more)),
    )
    cpu: dict[str, list[float]] = {server.name: [] for server, _ in pairs}
    slow: dict[str, list[float]] = {server.name: [] for server, _ in pairs}
    for turn in range(ROUNDS + 1):
        for server, requests in pairs:
            before = server.cpu_seconds()
            told = client.closed(server.port, requests, clients=CLIENTS, seconds=ROUND_SECONDS)
            _require_answers(told, server.name)
            if turn:  # the first is to warm up
                cpu[server.name].append(1e3 * (server.cpu_seconds() - before) / told.answered)
                slow[server.name].append(told.milliseconds(0.5))
    bare, own = (statistics.median(each) for each in cpu.values())
    ratio = statistics.median(b / a for a, b in zip(*cpu.values(), strict=True))
    table.add_row(f"{what}: CPU ms", f"{bare:.3f}", f"{own:.3f}", f"{ratio:.2f}")
    bare, own = (statistics.median(each) for each in slow.values())
    table.add_row(f"{what}: p50 ms, {CLIENTS} clients", f"{bare:.2f}", f"{own:.2f}", "")


def _require_answers(told: client.Told, name: str) -> None:
    if set(told.statuses) != {200}:
        raise RuntimeError(f"{name} answered {dict(told.statuses)}: nothing was compared")


def _half(bench: Bench, table: Table) -> None:
    """Ask for everything of one member at half the rate ours can stand."""
    requests = bench.asked_of_ours(1)
    most = client.closed(bench.ours.port, requests, clients=CLIENTS, seconds=5.0)
    rate = most.answered / most.seconds / 2
    before = bench.ours.rss_mb()
    told = client.opened(bench.ours.port, requests, per_second=rate, seconds=HALF_SECONDS)
    grown = bench.ours.rss_mb() - before
    p50, p99 = told.milliseconds(0.5), told.milliseconds(0.99)
    table.add_row(
        f"half load, {rate:.0f} a second: p50 and p99 ms", "", f"{p50:.2f}  {p99:.2f}",
        f"{p99 / p50:.1f}",
    )  # fmt: skip
    ends, latencies = np.array(told.ends), 1e3 * np.array(told.latencies)
    slices = [
        np.quantile(latencies[(ends >= at) & (ends < at + SLICE_SECONDS)], 0.99)
        for at in np.arange(0, HALF_SECONDS, SLICE_SECONDS)
    ]
    table.add_row("  p99 ms of each 10 s", "", " ".join(f"{one:.1f}" for one in slices), "")
    table.add_row("  memory before and grown by, MB", "", f"{before:.0f}  {grown:+.1f}", "")
    table.add_row("  statuses", "", str(dict(told.statuses)), "")


def _overload(bench: Bench, table: Table) -> None:
    """Ask for far more than can be answered; then let it rest."""
    requests = bench.asked_of_ours(100)
    before = bench.ours.rss_mb()
    told = client.closed(
        bench.ours.port, requests, clients=OVERLOAD_CLIENTS, seconds=OVERLOAD_SECONDS
    )
    time.sleep(REST_SECONDS)
    after = bench.ours.rss_mb()
    table.add_row("overload, 64 clients: statuses", "", str(dict(told.statuses)), "")
    table.add_row("  p99 ms of those accepted", "", f"{told.milliseconds(0.99):.0f}", "")
    table.add_row("  memory before and after, MB", "", f"{before:.0f}  {after:.0f}",
                  f"{after / before:.2f}")  # fmt: skip


MEASURES: dict[str, Callable[[Bench, Table], None]] = {
    "one": _one, "drivers": _drivers, "whole": _whole, "hundred": _hundred, "half": _half,
    "overload": _overload,
}  # fmt: skip


if __name__ == "__main__":
    main()
