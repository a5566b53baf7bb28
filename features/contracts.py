"""The tables we accept: columns, units, keys, and why a row is refused.

Instants are stored as timestamps without a zone and are always UTC.
"""

from dataclasses import dataclass
from typing import Literal

Kind = Literal["text", "instant", "cents", "points", "double", "boolean"]

SQL_TYPE: dict[Kind, str] = {
    "text": "varchar",
    "instant": "timestamp",
    "cents": "bigint",
    "points": "bigint",
    "double": "double",
    "boolean": "boolean",
}
TEXT_LENGTH_MAX = 1_000
# Facts about a member or products of a campaign, many in one cell.
JSON_LENGTH_MAX = 100_000
MEMBER_KEY_LENGTH_MAX = 64
# A till line over ten million units of currency is a slipped decimal point, not a purchase.
CENTS_MAX = 1_000_000_000
# What is summed is summed in whole thousandths and points: these leave room for every sum.
AMOUNT_WITHIN = "between -1e9 and 1e9"
POINTS_WITHIN = "between -1e12 and 1e12"
EVENT_KINDS = (
    "view", "click", "search", "cart", "favourite", "share", "review", "check_in", "visit",
    "sign_up", "referral", "live_stream", "event", "survey", "service", "complaint",
)  # fmt: skip
CONTACT_KINDS = ("sent", "delivered", "opened", "clicked", "redeemed", "opted_out", "bounced")
POINTS_KINDS = (
    "EARN", "REDEEM", "EXPIRE", "ADJUST", "REVERSE", "TRANSFER", "ACTIVATE", "OPENING",
)  # fmt: skip


@dataclass(frozen=True)
class Field:
    """One column of an accepted table.

    `kinds` are the only words it may hold; `within` is what a number of it fulfils, as the SQL
    that follows the column's name; text is no longer than `longest`.
    """

    name: str
    kind: Kind
    meaning: str
    required: bool = False
    kinds: tuple[str, ...] = ()
    within: str = ""
    longest: int = TEXT_LENGTH_MAX

    @property
    def sql_type(self) -> str:
        """Return the DuckDB type the column is stored as."""
        return SQL_TYPE[self.kind]


@dataclass(frozen=True)
class Table:
    """An accepted table; its rows are versions of what `key` names.

    `faults` are what columns can have wrong together: SQL tests, each with 'reason:column'.
    `made_up` are columns of the key that a source without numbers gets from the content.
    """

    name: str
    key: tuple[str, ...]
    fields: tuple[Field, ...]
    faults: tuple[tuple[str, str], ...] = ()
    made_up: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse a table whose key names a column it does not have."""
        missing = set(self.key) - set(self.column_names)
        if missing:
            raise ValueError(f"table {self.name}: key columns {sorted(missing)} are not fields")

    @property
    def column_names(self) -> tuple[str, ...]:
        """Return the names in the order they are stored."""
        return tuple(field.name for field in self.fields)

    @property
    def content(self) -> tuple[str, ...]:
        """Return the columns in which two versions of one key can differ."""
        own = {*self.key, "known_at"}
        return tuple(name for name in self.column_names if name not in own)


_SOURCE = Field("source", "text", "the system the row came from", required=True)
_SOURCE_KEY = Field("source_key", "text", "the member in that system; absent: anonymous")
_OCCURRED = Field("occurred_at", "instant", "when it happened", required=True)
_KNOWN = Field("known_at", "instant", "when we knew", required=True)

PURCHASES = Table(
    "purchases",
    key=("source", "order_id", "line_no"),
    fields=(
        _SOURCE,
        Field("order_id", "text", "one shopping basket", required=True),
        Field("line_no", "text", "one line of it", required=True),
        _SOURCE_KEY,
        _OCCURRED,
        Field("product_id", "text", "what was bought"),
        Field("quantity", "double", "units; negative: returned", within=AMOUNT_WITHIN),
        Field("net_cents", "cents", "what the shop received; negative: returned", required=True),
        Field("discount_cents", "cents", "taken off by the shop"),
        Field("coupon_cents", "cents", "paid with coupons"),
        Field("store_id", "text", "where"),
        Field("channel", "text", "shop, web, app"),
        Field("returns_order_id", "text", "the basket a return refers to"),
        Field("returns_line_no", "text", "the line a return refers to"),
        _KNOWN,
    ),
    made_up=("order_id", "line_no"),
)
PRODUCTS = Table(
    "products",
    key=("product_id",),
    fields=(
        Field("product_id", "text", "what can be bought", required=True),
        Field("name", "text", "as people read it"),
        Field("department", "text", "first level of the category path"),
        Field("category", "text", "second level; what preferences are counted in"),
        Field("product_type", "text", "third level"),
        Field("brand", "text", "who makes it"),
        Field("private_label", "boolean", "the shop's own brand"),
        Field("price_cents", "cents", "list price"),
        Field("margin_rate", "double", "margin over price"),
        Field("size", "double", "contents: grams, millilitres or pieces", within="> 0"),
        _KNOWN,
    ),
)
MEMBERS = Table(
    "members",
    key=("member_id",),
    fields=(
        Field("member_id", "text", "the member", required=True),
        Field("joined_at", "instant", "when she joined"),
        Field("joined_channel", "text", "through which channel"),
        Field("referred_by", "text", "the member who brought her"),
        Field("acquisition_cost_cents", "cents", "what winning her cost"),
        Field("attributes", "text", "declared facts, as JSON", longest=JSON_LENGTH_MAX),
        _KNOWN,
    ),
)
IDENTITIES = Table(
    "identities",
    key=("source", "source_key"),
    fields=(
        _SOURCE,
        Field("source_key", "text", "the member in that system", required=True),
        Field("member_id", "text", "the member here", required=True),
        _KNOWN,
    ),
)
CAMPAIGNS = Table(
    "campaigns",
    key=("campaign_id",),
    fields=(
        Field("campaign_id", "text", "one campaign", required=True),
        Field("starts_at", "instant", "first moment", required=True),
        Field("ends_at", "instant", "first moment after", required=True),
        Field("kind", "text", "as the marketer calls it"),
        Field("products", "text", "product_ids, as a JSON list", longest=JSON_LENGTH_MAX),
        _KNOWN,
    ),
    faults=(("ends_at <= starts_at", "ends_before_it_begins:ends_at"),),
)
CONTACTS = Table(
    "contacts",
    key=("contact_id", "kind"),
    fields=(
        Field("contact_id", "text", "one message to one member", required=True),
        Field("kind", "text", "what became of it", required=True, kinds=CONTACT_KINDS),
        _OCCURRED,
        Field("member_id", "text", "to whom", required=True),
        Field("decision_id", "text", "the decision that made it"),
        Field("campaign_id", "text", "the campaign it belongs to"),
        Field("channel", "text", "mail, e-mail, app"),
        Field("offer", "text", "what was offered"),
        Field("arm", "text", "arm of the experiment"),
        Field("propensity", "double", "chance with which it was chosen", within="between 0 and 1"),
        _KNOWN,
    ),
)
EVENTS = Table(
    "events",
    key=("event_id",),
    fields=(
        Field("event_id", "text", "one thing that happened", required=True),
        _SOURCE,
        _SOURCE_KEY,
        _OCCURRED,
        Field("kind", "text", "what she did", required=True, kinds=EVENT_KINDS),
        Field("product_id", "text", "what it was about"),
        Field("channel", "text", "shop, web, app"),
        Field("duration_seconds", "double", "how long it took", within="between 0 and 1e9"),
        Field("value", "double", "stars, score, amount: as its kind means it"),
        _KNOWN,
    ),
    made_up=("event_id",),
)
POINTS = Table(
    "points",
    key=("posting_id",),
    fields=(
        Field("posting_id", "text", "one posting", required=True),
        _OCCURRED,
        Field("member_id", "text", "whose points", required=True),
        Field("kind", "text", "why they moved", required=True, kinds=POINTS_KINDS),
        Field(
            "points", "points", "change of what she can spend, in the smallest unit",
            required=True, within=POINTS_WITHIN,
        ),
        # May lie ahead: only what happened or was known must not.
        Field("expires_at", "instant", "first moment they are worth nothing; absent: never"),
        Field("tier", "text", "her status level after it"),
        _KNOWN,
    ),
    faults=(
        ("kind = 'EARN' and points < 0", "wrong_sign:points"),
        ("kind in ('REDEEM', 'EXPIRE') and points > 0", "wrong_sign:points"),
    ),
    made_up=("posting_id",),
)  # fmt: skip
CONSENTS = Table(
    "consents",
    key=("member_id", "channel", "purpose", "occurred_at"),
    fields=(
        Field("member_id", "text", "who said it", required=True),
        Field("channel", "text", "mail, e-mail, app", required=True),
        Field("purpose", "text", "what for", required=True),
        _OCCURRED,
        Field("granted", "boolean", "yes or no", required=True),
        Field("proof", "text", "where it is written"),
        _KNOWN,
    ),
)
STOCK = Table(
    "stock",
    key=("product_id", "store_id", "known_at"),
    fields=(
        Field("product_id", "text", "what is stocked", required=True),
        Field("store_id", "text", "where", required=True),
        Field("available", "double", "units on hand", required=True, within=AMOUNT_WITHIN),
        _KNOWN,
    ),
    faults=(("available < 0", "negative:available"),),
)
TABLES = {
    table.name: table
    for table in (
        PURCHASES, PRODUCTS, MEMBERS, IDENTITIES, CAMPAIGNS, CONTACTS, EVENTS, POINTS, CONSENTS,
        STOCK,
    )
}  # fmt: skip


def problem_sql(table: Table, readable_until: str) -> str:
    """Return SQL for the first reason to refuse a staged row, as 'reason:column', or null.

    Parameters
    ----------
    table : the contract the staged columns already carry names and types of
    readable_until : SQL of an instant; nothing can have happened or been known after it
    """
    cases = []
    # Row identity may be made of the other columns: what is wrong with them is said first.
    for field in sorted(table.fields, key=lambda field: field.name in table.made_up):
        if field.required:
            blank = f"{field.name} is null"
            if field.kind == "text":
                blank += f" or {field.name} = ''"
            cases.append((blank, f"missing:{field.name}"))
        cases += [(test, f"{reason}:{field.name}") for test, reason in _limits(field)]
        if field.name in ("occurred_at", "known_at"):
            cases.append((f"{field.name} >= {readable_until}", f"in_the_future:{field.name}"))
    if "occurred_at" in table.column_names:
        cases.append(("known_at < occurred_at", "known_before_it_happened:known_at"))
    cases += table.faults
    whens = "\n".join(f"when {test} then '{reason}'" for test, reason in cases)
    return f"case {whens} end"


def _limits(field: Field) -> list[tuple[str, str]]:
    name, limits = field.name, []
    if field.kind == "text":
        is_member = name in ("member_id", "source_key")
        longest = MEMBER_KEY_LENGTH_MAX if is_member else field.longest
        limits += [
            (f"length({name}) > {longest}", "too_long"),
            (f"contains({name}, chr(0))", "nul_character"),
        ]
    if field.kinds:
        known = ", ".join(f"'{kind}'" for kind in field.kinds)
        limits.append((f"{name} not in ({known})", "unknown_kind"))
    if field.kind == "cents":
        limits.append((f"abs({name}) > {CENTS_MAX}", "out_of_range"))
    if field.kind == "double":
        limits.append((f"not isfinite({name})", "not_a_number"))
    if field.within:
        limits.append((f"not ({name} {field.within})", "out_of_range"))
    if field.kind == "instant":
        limits.append((f"{name} < timestamp '1970-01-01' or not isfinite({name})", "out_of_range"))
    return limits


HOW_TO_FIX = {
    "missing": "fill the column, or map another one to it",
    "unreadable": "correct the value, or say its format in the mapping",
    "too_long": f"keep members to {MEMBER_KEY_LENGTH_MAX} letters, attributes and lists to "
    f"{JSON_LENGTH_MAX:,}, other text to {TEXT_LENGTH_MAX:,}",
    "nul_character": "remove the NUL character",
    "unknown_kind": "use the contract's word, or translate yours in the mapping: kinds = {...}; "
    "for systems of identities, systems = {...}",
    "out_of_range": "check the unit, the decimal sign and the number of decimals",
    "negative": "units on hand are none or more: correct the count",
    "ends_before_it_begins": "ends_at, the first moment after, must lie after starts_at: check "
    "both columns, or name the last day itself as last_day",
    "not_a_number": "replace NaN or infinity by a number or leave the cell empty",
    "wrong_sign": "points earned are positive, points spent or expired negative: where yours have "
    "no sign, list their words in the mapping: subtracted = [...]",
    "in_the_future": "check the timezone in the mapping and the till's clock",
    "known_before_it_happened": "known_at must not precede occurred_at: check both columns",
    "conflicting_duplicate": "a correction needs a later known_at than the row it corrects",
    "malformed_line": "the line has another number of cells than the header: check quotes",
}
