"""The tables of what is fresh, and of who may ask for it, in the one SQL database.

inbox           purchases and events as they were accepted, each version of a key once
dead_letters    messages of a stream that could not be accepted, each once, and why
online_members  one row per member: her features as of the coming midnight, and what follows
publications    when everybody was last written, from which snapshot and by which champions
changes         who moved from which band, stage, segment or tag to which, in order
change_hooks    who is told of changes, and how far
leases          which worker refreshes which part of the members
api_keys        who may call: the hash of each secret, never the secret
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Date,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from programme.database import Instant

MEMBER_ID_LENGTH_MAX = 64
SOURCE_LENGTH_MAX = 64
KEY_LENGTH_MAX = 300
# Members are dealt to this many parts by a hash of their id: what workers share out.
PARTS = 64

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "uq": "uq_%(table_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
    }
)
# SQLite numbers rows by itself only where the key is its own INTEGER.
_Counter = BigInteger().with_variant(Integer, "sqlite")

INBOX = Table(
    "inbox",
    metadata,
    Column("seq", _Counter, primary_key=True, autoincrement=True),
    Column("kind", String(10), nullable=False),
    Column("source", String(SOURCE_LENGTH_MAX), nullable=False),
    # Of an event its id; of a purchase line its source, order and line number; or their hash.
    Column("key", String(KEY_LENGTH_MAX), nullable=False),
    Column("version", Integer, nullable=False),  # from 1: other content of a key is its next one
    Column("digest", String(64), nullable=False),  # of the content, to know it when it comes again
    Column("source_key", String(200), nullable=False),
    Column("part", SmallInteger, nullable=False),
    Column("occurred_at", Instant(), nullable=False),
    Column("accepted_at", Instant(), nullable=False),  # when we knew of it, by our own clock
    Column("content", Text, nullable=False),  # JSON: the columns of its contract
    Column("refreshed_at", Instant()),  # when the store first showed it; absent: not yet
    Column("why", Text),  # why the store will not show it, of a row that could not be refreshed
    # What is one thing to the lake is one thing here: an event's id, whichever its source.
    UniqueConstraint("kind", "key", "version", name="uq_inbox"),
    CheckConstraint("kind in ('purchase', 'event')", "kind"),
    sqlite_autoincrement=True,
)
_WAITING = text("refreshed_at is null")
Index(
    "inbox_waiting",
    INBOX.c.part,
    INBOX.c.seq,
    sqlite_where=_WAITING,
    postgresql_where=_WAITING,
)
Index("inbox_member", INBOX.c.source_key, INBOX.c.seq)

ONLINE_MEMBERS = Table(
    "online_members",
    metadata,
    Column("member_id", String(MEMBER_ID_LENGTH_MAX), primary_key=True),
    Column("as_of", Date, nullable=False),
    Column("data_as_of", Instant(), nullable=False),
    Column("population", String(8), nullable=False),
    Column("feature_set", String(64), nullable=False),  # of all columns; others cannot be read
    Column("features", LargeBinary, nullable=False),  # doubles, little-endian; NaN: absent
    Column("texts", Text, nullable=False),  # JSON: the columns that hold names
    Column("scores", Text, nullable=False),  # JSON: value, next products, next order
    Column("traits", Text, nullable=False),  # JSON: band, stage, segments, tags
    Column("seq", BigInteger, nullable=False),  # the last row of the inbox that is in it; 0: none
    Column("snapshot", String(120), nullable=False),  # whose reference tables it was judged by
    Column("updated_at", Instant(), nullable=False),
    # The last row of the inbox that is in `scores`, which may follow the features a little later.
    Column("scores_seq", BigInteger, nullable=False),
    Column("publication_no", BigInteger, nullable=False),  # whose champions and ranks it has
)
_SCORES_DUE = text("scores_seq < seq")
Index(
    "online_scores_due",
    ONLINE_MEMBERS.c.seq,
    sqlite_where=_SCORES_DUE,
    postgresql_where=_SCORES_DUE,
)
Index("online_publication", ONLINE_MEMBERS.c.publication_no)

PUBLICATIONS = Table(
    "publications",
    metadata,
    Column("publication_no", _Counter, primary_key=True, autoincrement=True),
    Column("snapshot", String(120), nullable=False),
    Column("as_of", Date, nullable=False),
    Column("champions", Text, nullable=False),  # JSON: registered name -> version
    Column("percentiles", Text, nullable=False),  # JSON: the scores that part members in hundreds
    Column("members", BigInteger, nullable=False),
    Column("published_at", Instant(), nullable=False),
    sqlite_autoincrement=True,
)

CHANGES = Table(
    "changes",
    metadata,
    # Without gaps, in the order in which transactions end: `serving.online.changes` gives it.
    Column("seq", _Counter, primary_key=True, autoincrement=False),
    Column("member_id", String(MEMBER_ID_LENGTH_MAX), nullable=False),
    Column("what", String(20), nullable=False),
    Column("name", String(128), nullable=False),  # which segment or tag; of the others ""
    Column("before", String(128)),  # absent: she had none
    Column("after", String(128)),
    Column("changed_at", Instant(), nullable=False),
    CheckConstraint("what in ('risk_band', 'stage', 'segment', 'tag')", "what"),
)

CHANGE_HOOKS = Table(
    "change_hooks",
    metadata,
    Column("hook_id", String(40), primary_key=True),
    Column("url", String(500), nullable=False),
    Column("secret_variable", String(100), nullable=False),  # the environment holds the secret
    Column("wanted", String(80), nullable=False),  # risk_band stage segment tag, or some
    Column("position", BigInteger, nullable=False),  # the last change it was told of
    Column("sending", BigInteger),  # the last change of the batch on its way; absent: none is
    Column("inside", Boolean, nullable=False),  # may lie in a private network or on this machine
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    Column("due_at", Instant(), nullable=False),
    Column("why", Text),  # what the last failure said
)

LEASES = Table(
    "leases",
    metadata,
    Column("part", SmallInteger, primary_key=True, autoincrement=False),
    Column("owner", String(80), nullable=False),
    Column("until", Instant(), nullable=False),
)

API_KEYS = Table(
    "api_keys",
    metadata,
    Column("key_id", String(24), primary_key=True),
    Column("secret_hash", String(64), nullable=False),  # SHA-256, as hexadecimal digits
    Column("name", String(100), nullable=False),
    Column("scopes", String(400), nullable=False),
    Column("per_second", Integer, nullable=False),
    Column("created_at", Instant(), nullable=False),
    Column("expires_at", Instant()),
    Column("revoked_at", Instant()),
)

DEAD_LETTERS = Table(
    "dead_letters",
    metadata,
    Column("topic", String(249), primary_key=True),
    Column("partition", Integer, primary_key=True, autoincrement=False),
    Column("message_no", BigInteger, primary_key=True, autoincrement=False),  # Kafka's offset
    Column("reason", String(40), nullable=False),
    Column("column_name", String(200)),
    Column("content", Text, nullable=False),  # as it came, as far as it can be kept as text
    Column("received_at", Instant(), nullable=False),
)
