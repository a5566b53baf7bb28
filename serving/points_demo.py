"""A year of points in one command: earned, tiered, redeemed, expired, and added up again in SQL.

The purchases of a home are replayed night by night with a clock of their own. At the end of each
month every member redeems all the rewards she can afford. Then DuckDB works out from the purchases
alone what everybody must have, by another way than the ledger's: no lots, no postings, only sums.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import groupby, islice
from pathlib import Path
from typing import TypeVar

import duckdb
from sqlalchemy import and_, func, select

from features import engine
from features.lake import Lake, Manifest
from loyalty import rules as loyalty_rules
from loyalty.expiry import settle_due
from loyalty.orders import Purchase, take_purchases
from loyalty.points import post_many
from loyalty.postings import Request
from loyalty.rulebook import Rulebook, adopt
from loyalty.rules import read_file
from loyalty.tables import ACCOUNTS, POSTINGS
from loyalty.verify import verify
from programme.calendar import local_date, local_midnight
from programme.database import Database
from programme.errors import NotReady
from programme.settings import Programme, Settings, open_programme
from serving.earning import lines

SCALE = 2
REWARD = 500_00  # points of one reward, in hundredths
LIFE_DAYS = 92  # from the day of an order to the midnight at which its points are worth nothing
RULES = Path(loyalty_rules.__file__).with_name("example.toml")
SUMS = ("earned", "redeemed", "expired", "active")
_AT_ONCE = 5_000
_DAY = timedelta(days=1)

Item = TypeVar("Item")
Sums = dict[str, tuple[int, int, int, int]]


@dataclass(frozen=True)
class Compared:
    """One sum of the ledger beside the same sum worked out in SQL.

    Attributes
    ----------
    differ : members for whom the two are not the same
    """

    what: str
    ledger: int
    recomputed: int
    differ: int


@dataclass(frozen=True)
class Demo:
    """What a year of points came to; points in hundredths."""

    first: date
    last: date
    members: int
    orders: int
    postings: tuple[tuple[str, int, int], ...]  # kind, how many, points
    tiers: tuple[tuple[str, int], ...]
    compared: tuple[Compared, ...]
    violations: int


def run(settings: Settings, tell: Callable[[str], None] = lambda _: None) -> Demo:
    """Replay a home's purchases through a ledger of its own and add everything up again.

    Raises
    ------
    NotReady : if the home holds no purchases of a year the example rules are for.
    """
    programme = open_programme(settings).model_copy(update={"points_scale": SCALE})
    file = settings.home / "points-demo.db"
    for left in (file, *(file.with_name(f"{file.name}-{part}") for part in ("wal", "shm"))):
        left.unlink(missing_ok=True)
    database = Database.open(settings.model_copy(update={"db_url": f"sqlite:///{file}"}))
    try:
        rules = read_file(RULES, programme)
        start = local_midnight(rules.file.valid_from, programme.timezone)
        adopt(database, programme, rules, now=start)
        book = Rulebook(programme, [rules])
        lake = Lake(settings)
        manifest = lake.ready()
        first, last = _replay(settings, lake, manifest, database, book, tell)
        tell("adding up in SQL")
        recomputed, orders = _recompute(settings, lake, manifest, programme, first, last)
        tell("checking every law of the ledger")
        violations = len(verify(database).violations)
        return _told(database, first, last, recomputed, orders, violations)
    finally:
        database.close()


def _replay(
    settings: Settings,
    lake: Lake,
    manifest: Manifest,
    database: Database,
    book: Rulebook,
    tell: Callable[[str], None],
) -> tuple[date, date]:
    """Live through the days one by one; return the first and the last."""
    timezone = book.programme.timezone
    begins = book.versions[0].file.valid_from

    def day_of(purchase: Purchase) -> date:
        return local_date(purchase.occurred_at, timezone)

    bought = (p for p in lines(settings, lake, manifest, manifest) if day_of(p) >= begins)
    days = groupby(bought, key=day_of)
    first = day = None
    for shopping_day, some in days:
        first = first or shopping_day
        day = shopping_day if day is None else day
        while day < shopping_day:  # nobody bought: the clock goes on
            _end_of_day(database, book, day)
            day += _DAY
        now = local_midnight(day + _DAY, timezone)
        for part in _parts(some):
            take_purchases(database, book, part, now=now)
        _end_of_day(database, book, day)
        if day.day == 1:
            tell(f"{day}")
        day += _DAY
    if first is None or day is None:
        raise NotReady(
            f"{settings.home} holds no purchases from {begins} on, for which the example rules "
            "are. Nothing was done. Try the home of `make demo`."
        )
    return first, day - _DAY


def _end_of_day(database: Database, book: Rulebook, day: date) -> None:
    """Let points expire at the midnight after a day; after a month everybody redeems."""
    now = local_midnight(day + _DAY, book.programme.timezone)
    settle_due(database, book.terms(now), now=now)
    if (day + _DAY).day == 1:
        _redeem_all(database, book, now)


def _redeem_all(database: Database, book: Rulebook, now: datetime) -> None:
    with database.read() as connection:
        rich = connection.execute(
            select(ACCOUNTS.c.member_id, ACCOUNTS.c.active).where(ACCOUNTS.c.active >= REWARD)
        ).all()
    requests = [
        Request("REDEEM", f"reward/{now:%Y-%m}/{row.member_id}", row.member_id,
                row.active // REWARD * REWARD, reason="rewards")
        for row in rich
    ]  # fmt: skip
    for part in _parts(requests):
        post_many(database, book.terms(now), part, now=now)


def _recompute(
    settings: Settings,
    lake: Lake,
    manifest: Manifest,
    programme: Programme,
    first: date,
    last: date,
) -> tuple[Sums, int]:
    """Return what every member must have after `last`, and how many orders there were."""
    with engine.connect(settings) as connection:
        connection.execute(_earned_sql(lake, manifest, programme, first))
        connection.execute("create table redeemed (member varchar, day date, points bigint)")
        month = first
        while (month := (month.replace(day=28) + 4 * _DAY).replace(day=1)) <= last + _DAY:
            connection.execute(
                f"insert into redeemed select member, date '{month}', "
                f"active // {REWARD} * {REWARD} from ({_sums_sql(month)}) "
                f"where active >= {REWARD}"
            )
        found = connection.execute(_sums_sql(last + _DAY)).fetchall()
        orders = _count(connection, "select count(*) from earned")
    return {member: tuple(sums) for member, *sums in found}, orders


def _earned_sql(lake: Lake, manifest: Manifest, programme: Programme, first: date) -> str:
    """Return the statement that works out what each order earned by the example rules.

    Whole numbers only: tiers multiply by 10, 12 or 15 tenths.
    """
    zone = engine.text(programme.timezone)
    return f"""
        create table earned as
        with goods as (
            select product_id, max_by(department, known_at) as department
            from ({lake.rows_sql("products", manifest)}) where sign > 0 group by product_id
        ), orders as (
            select source_key as member, order_id, min(occurred_at) as moment,
                   sum(sign * net_cents) as spent,
                   sum(sign * net_cents * if(department = 'PRODUCE', 2, 1)) as base
            from ({lake.rows_sql("purchases", manifest)}) left join goods using (product_id)
            where source_key is not null
              and coalesce(department, '') not in ('FUEL', 'MISCELLANEOUS')
            group by all
        ), placed as (
            select *, cast(timezone({zone}, timezone('UTC', moment)) as date) as day,
                coalesce(sum(greatest(spent, 0)) over (
                    partition by member, year(timezone({zone}, timezone('UTC', moment)))
                    order by moment, order_id rows between unbounded preceding and 1 preceding), 0)
                    as spent_before
            from orders
        )
        select member, day, cast(if(spent > 0, greatest(base, 0)
            * if(day(day) = 8, 3, 1)
            * case when spent_before >= 300000 then 15 when spent_before >= 100000 then 12
                   else 10 end // 10, 0) as bigint) as points
        from placed where day >= date '{first}'"""


def _sums_sql(day: date) -> str:
    """Return a SELECT of each member's sums at the midnight on which `day` begins.

    Of points that all live equally long and are spent oldest first, what has expired by then is the
    highest that (earned long enough ago) - (redeemed before) ever was at a midnight of expiry.
    """
    return f"""
        with by_day as (
            select member, day, sum(points) as points from earned where day < date '{day}'
            group by all
        ), ended as (
            select member, day + {LIFE_DAYS} as midnight,
                   sum(points) over (partition by member order by day) as gone
            from by_day where day + {LIFE_DAYS} <= date '{day}'
        ), lost as (
            select member, greatest(0, max(gone - spent)) as too_old from (
                select ended.member, gone, coalesce(sum(redeemed.points), 0) as spent
                from ended left join redeemed
                    on redeemed.member = ended.member and redeemed.day < ended.midnight
                group by ended.member, ended.midnight, gone
            ) group by member
        ), spent as (
            select member, sum(points) as used from redeemed group by member
        )
        select *, earned - redeemed - expired as active from (
        select member, cast(sum(points) as bigint) as earned,
               cast(coalesce(any_value(used), 0) as bigint) as redeemed,
               cast(coalesce(any_value(too_old), 0) as bigint) as expired
        from by_day left join lost using (member) left join spent using (member)
        group by member)"""


def _count(connection: duckdb.DuckDBPyConnection, query: str) -> int:
    found = connection.execute(query).fetchone()
    assert found is not None
    return int(found[0])


def _told(
    database: Database, first: date, last: date, recomputed: Sums, orders: int, violations: int
) -> Demo:
    earned = func.sum(POSTINGS.c.active).filter(POSTINGS.c.kind == "EARN")
    newest = and_(
        POSTINGS.c.member_id == ACCOUNTS.c.member_id, POSTINGS.c.posting_no == ACCOUNTS.c.postings
    )
    with database.read() as connection:
        kinds = connection.execute(
            select(POSTINGS.c.kind, func.count(), func.sum(POSTINGS.c.active))
            .group_by(POSTINGS.c.kind)
            .order_by(POSTINGS.c.kind)
        ).all()
        tiers = connection.execute(
            select(POSTINGS.c.tier, func.count())
            .join(ACCOUNTS, newest)
            .group_by(POSTINGS.c.tier)
            .order_by(func.count().desc())
        ).all()
        ledger: Sums = {
            row[0]: (int(row[1] or 0), row[2], row[3], row[4])
            for row in connection.execute(
                select(
                    ACCOUNTS.c.member_id, earned, ACCOUNTS.c.spent, ACCOUNTS.c.expired,
                    ACCOUNTS.c.active,
                )
                .join(POSTINGS, POSTINGS.c.member_id == ACCOUNTS.c.member_id)
                .group_by(ACCOUNTS.c.member_id)
            )
        }  # fmt: skip
    nothing = (0, 0, 0, 0)
    everybody = ledger.keys() | recomputed.keys()
    compared = tuple(
        Compared(
            what,
            sum(sums[n] for sums in ledger.values()),
            sum(sums[n] for sums in recomputed.values()),
            sum(
                ledger.get(member, nothing)[n] != recomputed.get(member, nothing)[n]
                for member in everybody
            ),
        )
        for n, what in enumerate(SUMS)
    )
    return Demo(
        first, last, len(ledger), orders, tuple((k, int(n), int(p)) for k, n, p in kinds),
        tuple((str(tier), int(n)) for tier, n in tiers), compared, violations,
    )  # fmt: skip


def _parts(some: Iterable[Item]) -> Iterator[list[Item]]:
    rest = iter(some)
    while part := list(islice(rest, _AT_ONCE)):
        yield part
