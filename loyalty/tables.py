"""The tables of points. `postings`, `entries` and `allocations` are only ever added to.

A member's rows are numbered by her own counters, so that her whole history can be rebuilt and two
members never wait for each other. Everything that changes (`accounts`, `lots`, `member_days`) is a
sum of what was appended; `loyalty.verify` adds it up again.

postings     one change of one member's points: what was asked, and what she had after it
entries      its double entry: points move from one account to another, so every sum is nought
lots         one grant of points, with its own expiry; its points are in one of five places
allocations  points of a lot that a posting moved from one place to another
accounts     what a member has now, and her counters
member_days  what a day counted for tiers, and towards the daily cap
orders       what an order earned so far, and by which rules
order_lines  the lines it earned for: a line that comes twice earns once
rule_versions, watermarks, idempotency_keys   what was declared, read and answered
ledger_facts  what every row of the ledger goes by, and none says itself
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Date,
    Float,
    ForeignKeyConstraint,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    literal_column,
    text,
)

from programme.database import Instant

MEMBER_ID_LENGTH_MAX = 64
POSTING_ID_LENGTH_MAX = 100
SOURCE_LENGTH_MAX = 64
ORDER_ID_LENGTH_MAX = 200
ORDER_KEY_LENGTH_MAX = SOURCE_LENGTH_MAX + 1 + ORDER_ID_LENGTH_MAX
# What we append to a caller's id where one request makes two postings.
_OUR_SUFFIX = 28

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s",
    }
)


def _member() -> Column[str]:
    return Column("member_id", String(MEMBER_ID_LENGTH_MAX), primary_key=True)


def _instant(name: str, *, required: bool = False) -> Column[object]:
    return Column(name, Instant(), nullable=not required)


def _points(name: str) -> Column[int]:
    return Column(name, BigInteger, nullable=False, server_default=text("0"))


ACCOUNTS = Table(
    "accounts",
    metadata,
    _member(),
    Column("postings", BigInteger, nullable=False),  # how many she has; the next is one more
    Column("lots", BigInteger, nullable=False),
    # Spendable points less what she owes; below nought is owed.
    _points("active"),
    _points("pending"),
    _points("spent"),
    _points("expired"),
    _instant("recorded_at", required=True),  # of her last posting: hers never go backwards
    _instant("due_at"),  # no lot becomes spendable or expires before this; absent: none will
    _instant("idle_at"),  # when lots that live as long as she is active expire
    Column("chain", String(64), nullable=False),  # of her last posting
    Column("birthday", String(5)),  # MM-DD
    CheckConstraint("postings >= 0 and lots >= 0 and pending >= 0", name="counts"),
    CheckConstraint("spent >= 0 and expired >= 0", name="sums"),
)
Index(
    "accounts_due", ACCOUNTS.c.due_at,
    sqlite_where=text("due_at is not null"), postgresql_where=text("due_at is not null"),
)  # fmt: skip
POSTINGS = Table(
    "postings",
    metadata,
    _member(),
    Column("posting_no", BigInteger, primary_key=True, autoincrement=False),
    Column("posting_id", String(POSTING_ID_LENGTH_MAX + _OUR_SUFFIX), nullable=False, unique=True),
    Column("kind", String(8), nullable=False),
    Column("active", BigInteger, nullable=False),  # change of what she can spend
    Column("pending", BigInteger, nullable=False),  # change of what she will be able to spend
    _instant("occurred_at", required=True),
    _instant("recorded_at", required=True),
    _instant("expires_at"),  # of the lot it granted: first moment it is worth nothing
    _instant("idle_at"),  # after it: when lots that live as long as she is active expire
    Column("balance", BigInteger, nullable=False),  # active, after it
    Column("tier", String(40)),  # after it
    Column("rule_version", String(40)),
    Column("order_key", String(ORDER_KEY_LENGTH_MAX)),  # the order that earned it
    Column("reverses", String(POSTING_ID_LENGTH_MAX + _OUR_SUFFIX)),
    Column("reason", Text),
    # The programme's day of occurred_at; of what it reverses, for a reversal.
    Column("day", Date, nullable=False),
    # What it counts for tiers; a reversal takes away what its original counted, on that one's day.
    Column("qualifying_points", BigInteger, nullable=False),
    Column("qualifying_cents", BigInteger, nullable=False),
    Column("qualifying_orders", BigInteger, nullable=False),
    Column("qualifying_engagements", BigInteger, nullable=False),
    Column("capped_points", BigInteger, nullable=False),
    Column("fingerprint", String(64), nullable=False),  # of what the caller asked
    Column("chain", String(64), nullable=False),  # SHA-256 over the one before and this one
)
Index(
    "postings_reverses", POSTINGS.c.reverses,
    sqlite_where=text("reverses is not null"), postgresql_where=text("reverses is not null"),
)  # fmt: skip
Index("postings_recorded", POSTINGS.c.recorded_at)
ENTRIES = Table(
    "entries",
    metadata,
    _member(),
    Column("posting_no", BigInteger, primary_key=True, autoincrement=False),
    Column("entry_no", Integer, primary_key=True, autoincrement=False),
    Column("source", String(12), nullable=False),
    Column("target", String(12), nullable=False),
    Column("points", BigInteger, nullable=False),
    ForeignKeyConstraint(
        ["member_id", "posting_no"], ["postings.member_id", "postings.posting_no"]
    ),
    CheckConstraint("points > 0", name="points"),
    CheckConstraint("source <> target", name="moves"),
)
LOTS = Table(
    "lots",
    metadata,
    _member(),
    Column("lot_no", BigInteger, primary_key=True, autoincrement=False),
    Column("posting_no", BigInteger, nullable=False),  # that granted it
    Column("points", BigInteger, nullable=False),
    _points("waiting"),
    _points("remaining"),
    _points("spent"),
    _points("expired"),
    _points("reversed"),
    _instant("available_at", required=True),
    _instant("expires_at"),  # what the member is told; absent: never
    _instant("ends_at"),  # with the days of grace: first moment it is worth nothing
    Column("idle", Boolean, nullable=False),  # expires when she was not active for long
    ForeignKeyConstraint(
        ["member_id", "posting_no"], ["postings.member_id", "postings.posting_no"]
    ),
    CheckConstraint("points > 0", name="points"),
    CheckConstraint(
        "waiting >= 0 and remaining >= 0 and spent >= 0 and expired >= 0 and reversed >= 0",
        name="places",
    ),
    CheckConstraint("points = waiting + remaining + spent + expired + reversed", name="sum"),
)
# Holds all that a balance looks at, even to see whether the index fits: no lot is read for it.
Index(
    "lots_open", LOTS.c.member_id, LOTS.c.ends_at, LOTS.c.remaining, LOTS.c.expires_at,
    LOTS.c.waiting,
    sqlite_where=text("waiting + remaining > 0"),
    postgresql_where=text("waiting + remaining > 0"),
)  # fmt: skip
# Word for word as the index has it, the number too: else the database does not see that it fits.
OPEN_LOTS = LOTS.c.waiting + LOTS.c.remaining > literal_column("0")
ALLOCATIONS = Table(
    "allocations",
    metadata,
    _member(),
    Column("posting_no", BigInteger, primary_key=True, autoincrement=False),
    Column("allocation_no", Integer, primary_key=True, autoincrement=False),
    Column("lot_no", BigInteger, nullable=False),
    Column("source", String(9), nullable=False),  # waiting, remaining, spent, expired, reversed
    Column("target", String(9), nullable=False),
    Column("points", BigInteger, nullable=False),
    ForeignKeyConstraint(
        ["member_id", "posting_no"], ["postings.member_id", "postings.posting_no"]
    ),
    ForeignKeyConstraint(
        ["member_id", "lot_no"], ["lots.member_id", "lots.lot_no"], name="fk_allocations_lots"
    ),
    CheckConstraint("points > 0", name="points"),
)
Index("allocations_lot", ALLOCATIONS.c.member_id, ALLOCATIONS.c.lot_no)
MEMBER_DAYS = Table(
    "member_days",
    metadata,
    _member(),
    Column("day", Date, primary_key=True),
    _points("qualifying_points"),
    _points("qualifying_cents"),
    _points("qualifying_orders"),
    _points("qualifying_engagements"),
    _points("capped_points"),
    sqlite_with_rowid=False,
)
ORDERS = Table(
    "orders",
    metadata,
    Column("source", String(SOURCE_LENGTH_MAX), primary_key=True),
    Column("order_id", String(ORDER_ID_LENGTH_MAX), primary_key=True),
    Column("member_id", String(MEMBER_ID_LENGTH_MAX), nullable=False),
    _instant("occurred_at", required=True),  # of its earliest purchase; see `orders`
    Column("rule_version", String(40), nullable=False),
    Column("tier", String(40)),  # of the member before it
    Column("birthday", String(5)),  # of the member when it came
    Column("postings", Integer, nullable=False),
    _points("points"),  # earned so far, less what was taken back
    _points("qualifying_points"),
    _points("qualifying_cents"),
    _points("qualifying_orders"),
    sqlite_with_rowid=False,
)
ORDER_LINES = Table(
    "order_lines",
    metadata,
    Column("source", String(SOURCE_LENGTH_MAX), primary_key=True),
    Column("order_id", String(ORDER_ID_LENGTH_MAX), primary_key=True),
    Column("line_no", String(ORDER_ID_LENGTH_MAX), primary_key=True),
    # The order it counts for: its own, or the one it returns goods of.
    Column("counts_for", String(ORDER_ID_LENGTH_MAX), nullable=False),
    _instant("occurred_at"),  # absent: as its order, of rows from before it was kept
    Column("net_cents", BigInteger, nullable=False),
    Column("quantity", Float, nullable=False),
    Column("product_id", Text),
    Column("category", Text),
    Column("channel", Text),
    Column("numbers", Text),  # JSON
    Column("fingerprint", String(64), nullable=False),
    sqlite_with_rowid=False,
)
Index("order_lines_counts_for", ORDER_LINES.c.source, ORDER_LINES.c.counts_for)
RULE_VERSIONS = Table(
    "rule_versions",
    metadata,
    Column("version", String(40), primary_key=True),
    Column("valid_from", Date, nullable=False, unique=True),
    Column("text", Text, nullable=False),
    _instant("recorded_at", required=True),
)
WATERMARKS = Table(
    "watermarks",
    metadata,
    Column("feed", String(100), primary_key=True),
    Column("position", Text, nullable=False),
)
IDEMPOTENCY_KEYS = Table(
    "idempotency_keys",
    metadata,
    Column("route", String(100), primary_key=True),
    Column("key", String(200), primary_key=True),
    Column("fingerprint", String(64), nullable=False),
    Column("status", Integer, nullable=False),
    Column("answer", Text, nullable=False),
    _instant("recorded_at", required=True),
)
LEDGER_FACTS = Table(
    "ledger_facts",
    metadata,
    Column("fact", String(40), primary_key=True),
    Column("value", Text, nullable=False),
)
APPENDED = (POSTINGS, ENTRIES, ALLOCATIONS)
