"""A client of a Perennial service, made from its description by `make client`."""

import json
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import Any, Literal, NotRequired, TypedDict

LONGEST_PAUSE_SECONDS = 30.0
BYTES_AT_ONCE = 256 * 1024


class Refused(Exception):
    """The service said no; see RFC 9457.

    Attributes
    ----------
    status : of HTTP
    code : names the refusal, where it has a name
    detail : what did not happen, and what to do
    """

    def __init__(self, status: int, problem: Mapping[str, Any], retry_after: str | None) -> None:
        self.status = status
        self.code: str | None = problem.get("code")
        self.detail = str(problem.get("detail", ""))
        self.errors: list[Any] = problem.get("errors") or []
        seconds = retry_after or ""
        self.retry_after = float(seconds) if seconds.isdigit() else None
        super().__init__(f"{status} {self.code or problem.get('title', '')}: {self.detail}")


class Away(Exception):
    """The service gave no answer."""


class Download:
    """A file that is being handed over; iterate it, or save it."""

    def __init__(self, response: HTTPResponse) -> None:
        self._response = response
        self.etag: str | None = response.headers["ETag"]
        self.as_of: str | None = response.headers["Perennial-As-Of"]
        self.cursor: str | None = response.headers["Perennial-Cursor"]

    def __iter__(self) -> Iterator[bytes]:
        with self._response:
            while part := self._response.read(BYTES_AT_ONCE):
                yield part

    def save(self, path: Path) -> None:
        """Write the file; it appears whole or not at all."""
        unfinished = path.with_name(f".{path.name}.unfinished")
        with unfinished.open("wb") as file:
            for part in self:
                file.write(part)
        unfinished.replace(path)


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """The key goes to the service and nowhere else."""

    def redirect_request(self, *_: Any) -> None:
        """Follow nothing."""


class Caller:
    """Sends requests, and sends again what may be.

    Parameters
    ----------
    address : of the service, such as "https://perennial.example.com"
    key : pk_... as `perennial keys create` printed it; None: on the service's own machine
    language : of words meant for people
    attempts : a request that changes nothing, or carries an idempotency key, is sent so often
        while the service is busy or away
    """

    def __init__(
        self,
        address: str,
        key: str | None = None,
        *,
        language: str = "en",
        timeout_seconds: float = 30.0,
        attempts: int = 3,
    ) -> None:
        if urllib.parse.urlsplit(address).scheme not in ("http", "https"):
            raise ValueError(f"{address!r} is no address of a service")
        self._address = address.rstrip("/")
        self._headers = {"Accept-Language": language}
        if key is not None:
            self._headers["Authorization"] = f"Bearer {key}"
        self._timeout_seconds = timeout_seconds
        self._attempts = attempts
        self._opener = urllib.request.build_opener(_NoRedirects)

    def _json(
        self,
        method: str,
        path: str,
        query: Mapping[str, Any],
        body: Any = None,
        headers: Mapping[str, str | None] | None = None,
    ) -> Any:
        with self._open(method, path, query, body, headers) as response:
            return json.loads(response.read())

    def _download(
        self, path: str, query: Mapping[str, Any], headers: Mapping[str, str | None]
    ) -> Download | None:
        try:
            return Download(self._open("GET", path, query, None, headers))
        except Refused as error:
            if error.status == 304:  # the caller has it
                return None
            raise

    def _open(
        self,
        method: str,
        path: str,
        query: Mapping[str, Any],
        body: Any,
        headers: Mapping[str, str | None] | None,
    ) -> HTTPResponse:
        asked = urllib.parse.urlencode(
            {name: _text(value) for name, value in query.items() if value is not None}, doseq=True
        )
        url = f"{self._address}{path}?{asked}" if asked else f"{self._address}{path}"
        sent = {**self._headers, **{k: v for k, v in (headers or {}).items() if v is not None}}
        content = None
        if body is not None:
            content, sent["Content-Type"] = json.dumps(body).encode(), "application/json"
        elif method == "POST":
            content, sent["Content-Type"] = b"", "application/json"
        again = method == "GET" or "Idempotency-Key" in sent
        for left in reversed(range(self._attempts if again else 1)):
            request = urllib.request.Request(url, content, sent, method=method)
            try:
                opened: HTTPResponse = self._opener.open(request, timeout=self._timeout_seconds)
                return opened
            except urllib.error.HTTPError as error:
                refused = _refused(error)
                if not left or refused.status not in (429, 503):
                    raise refused from None
                time.sleep(min(refused.retry_after or 1.0, LONGEST_PAUSE_SECONDS))
            except (OSError, HTTPException) as error:
                if not left:
                    raise Away(f"{method} {path} was not answered: {error}") from error
                time.sleep(1.0)
        raise AssertionError("the last attempt returns or raises")


def _refused(error: urllib.error.HTTPError) -> Refused:
    with error:
        try:
            problem = json.loads(error.read())
        except ValueError:
            problem = {"title": error.reason}
        return Refused(error.code, problem, error.headers["Retry-After"])


def _text(value: Any) -> Any:
    if isinstance(value, bool):
        return "true" if value else "false"
    return [_text(one) for one in value] if isinstance(value, list) else str(value)


def _in_path(value: str) -> str:
    return urllib.parse.quote(value, safe="")


class AdjustmentRequest(TypedDict):
    """Points to give or take by hand, and why."""

    posting_id: str
    member_id: str
    points: int
    reason: str


class AdoptedAnswer(TypedDict):
    """What became of a version of the offers."""

    version: str
    new: bool


class ApprovalRequest(TypedDict):
    """Who says yes."""

    by: str


class BalanceAnswer(TypedDict):
    """What a member has at one instant."""

    member_id: str
    at: str
    active: int
    pending: int
    owed: int
    spent: int
    expired: int
    expires_at: str | None
    expiring: int
    points_scale: int


class CampaignAnswer(TypedDict):
    """One campaign, and what its plan said."""

    campaign_id: str
    name: str
    state: Literal["proposed", "approved", "launched", "closed"]
    catalogue: str
    as_of: str
    proposal: str
    proposed_at: str
    approved_at: str | None
    approved_by: str | None
    launched_at: str | None
    closed_at: str | None
    facts: dict[str, Any]


class CampaignListed(TypedDict):
    """One campaign and how far it has come."""

    campaign_id: str
    name: str
    state: Literal["proposed", "approved", "launched", "closed"]
    catalogue: str
    as_of: str
    proposal: str
    proposed_at: str
    approved_at: str | None
    approved_by: str | None
    launched_at: str | None
    closed_at: str | None


class CampaignRequest(TypedDict):
    """A campaign to work out: the keys of its file, and the day whose midnight ends the past."""

    campaign: str
    grows: NotRequired[str | None]
    name: NotRequired[str]
    offers: list[str]
    budget: NotRequired[float | str | None]
    capacity: NotRequired[dict[str, int]]
    control_share: NotRequired[float]
    explore_share: NotRequired[float]
    coverage: NotRequired[float]
    horizon_days: NotRequired[int]
    namespace: NotRequired["Namespace | None"]
    as_of: NotRequired[str | None]


class CampaignsAnswer(TypedDict):
    """Campaigns, the last proposed first."""

    campaigns: "list[CampaignListed]"
    next_cursor: str | None


class CatalogueAnswer(TypedDict):
    """The catalogue that holds."""

    version: str
    digest: str
    offers: "list[OfferAnswer]"


class CatalogueRequest(TypedDict):
    """A version of the offers, as the TOML file that declares it."""

    toml: str


class ChangeAnswer(TypedDict):
    """One change of one member."""

    member_id: str
    what: Literal["risk_band", "stage", "segment", "tag"]
    name: str
    before: str | None
    after: str | None
    changed_at: str


class ChangesAnswer(TypedDict):
    """Changes in the order in which they happened."""

    changes: "list[ChangeAnswer]"
    next_cursor: str
    more: bool


class Churn(TypedDict):
    """P(no purchase within the horizon); `base` + contributions == `raw_score`, in log-odds."""

    churn_probability: float
    horizon_days: int
    percentile: int
    risk_band: Literal["low", "medium", "high"]
    population: Literal["active", "dormant"]
    eligible: bool
    base: NotRequired[float | None]
    raw_score: NotRequired[float | None]
    drivers: NotRequired["list[Driver] | None"]
    no_single_driver: NotRequired[bool | None]
    model_name: str
    model_version: int


class ChurnSummary(TypedDict):
    """How likely she is to stay away; scored when it was asked for."""

    churn_probability: float
    horizon_days: int
    percentile: int
    risk_band: Literal["low", "medium", "high"]
    model_name: str
    model_version: int


class Considered(TypedDict):
    """One offer as it stood for one member."""

    offer: str
    profit_cents: float | None
    error_cents: float | None
    chance: float
    refused: str | None
    label: NotRequired[str | None]


class DecisionAnswer(TypedDict):
    """What was decided about one member in one campaign."""

    decision_id: str
    campaign_id: str
    member_id: str
    arm: Literal["treated", "explored", "control", "left_alone", "refused"]
    planned: str | None
    offer: str | None
    propensity: float
    considered: "list[Considered]"


class DecisionsAnswer(TypedDict):
    """Decisions of a campaign, by member."""

    decisions: "list[DecisionAnswer]"
    next_cursor: str | None


class DeliveredAnswer(TypedDict):
    """What one run of the deliverer did; refused: messages by the gate that refused them."""

    sent: int
    later: int
    given_up: int
    refused: dict[str, int]
    files: list[str]


class Driver(TypedDict):
    """One reason: its sentence, the raw facts in it, and what it moved."""

    code: str
    label: str
    value: float | str | None
    parameters: dict[str, float | str]
    contribution: float
    direction: Literal["up", "down"]
    importance: Literal["low", "medium", "high"]


class Due(TypedDict):
    """A category the member will need soon, by her own rhythm in it."""

    category: str
    due_on: str
    overdue: bool
    label: str
    parameters: dict[str, float | str]


class EventsIntake(TypedDict):
    """Events, of one member or many."""

    events: "list[IntakeEvent]"


class ExplanationAnswer(TypedDict):
    """Why the scores of one member are what they are, in words."""

    member_id: str
    as_of: str
    data_as_of: str
    churn: "Reasons | None"
    value: "Reasons | None"
    caveat: str


class Fault(TypedDict):
    """One thing wrong with a request: where, and what is expected there."""

    at: str
    expected: str


class FeatureAnswer(TypedDict):
    """One thing that is known of a member."""

    code: str
    label: str
    value: float | str | None
    unit: str
    meaning: str


class FiredRule(TypedDict):
    """A rule that had a say."""

    rule: str
    factor: float


class GoodsLine(TypedDict):
    """One line of an order; returned goods have negative amounts."""

    line_no: str
    net_cents: int
    quantity: NotRequired[float]
    product_id: NotRequired[str | None]
    category: NotRequired[str | None]
    channel: NotRequired[str | None]
    numbers: NotRequired[dict[str, float]]


class IntakeAnswer(TypedDict):
    """What became of the rows; those that are not refused are on disk."""

    accepted: int
    known: int
    refused: "list[RefusedRow]"
    last_seq: int | None


class IntakeEvent(TypedDict):
    """One thing that a member did; event_id names it, over all sources."""

    event_id: str
    source: NotRequired[str]
    source_key: NotRequired[str | None]
    occurred_at: str
    kind: str
    product_id: NotRequired[str | None]
    channel: NotRequired[str | None]
    duration_seconds: NotRequired[float | None]
    value: NotRequired[float | None]


class IntakeLine(TypedDict):
    """One line of an order; source, order_id and line_no name it."""

    source: NotRequired[str]
    order_id: str
    line_no: str
    source_key: NotRequired[str | None]
    occurred_at: str
    product_id: NotRequired[str | None]
    quantity: NotRequired[float | None]
    net_cents: int
    discount_cents: NotRequired[int | None]
    coupon_cents: NotRequired[int | None]
    store_id: NotRequired[str | None]
    channel: NotRequired[str | None]
    returns_order_id: NotRequired[str | None]
    returns_line_no: NotRequired[str | None]


class KnownMember(TypedDict):
    """A member with at least one purchase before `as_of`."""

    member_id: str
    known: Literal[True]
    as_of: str
    data_as_of: str
    churn: NotRequired["Churn | None"]
    value: NotRequired["Value | None"]
    next_products: NotRequired["Next | None"]
    next_order: NotRequired["NextOrder | None"]


class LedgerAnswer(TypedDict):
    """A page of a member's postings, the newest first."""

    postings: "list[Posted]"
    next_cursor: str | None


class LinesIntake(TypedDict):
    """Lines of purchases, from one order or many."""

    purchases: "list[IntakeLine]"


class MemberChurn(TypedDict):
    """The churn of one member, as `POST /v1/scores` answers it."""

    member_id: str
    as_of: str
    data_as_of: str
    churn: "Churn | None"
    caveat: str


class MemberDecisionsAnswer(TypedDict):
    """Decisions about a member, the newest first."""

    member_id: str
    decisions: "list[WhyAnswer]"


class MemberNextOrder(TypedDict):
    """The next order of one member, as `POST /v1/scores` answers it."""

    member_id: str
    as_of: str
    data_as_of: str
    next_order: "NextOrder | None"


class MemberRecommendations(TypedDict):
    """What to show one member, as `POST /v1/scores` answers it."""

    member_id: str
    as_of: str
    data_as_of: str
    next_products: "Next | None"


class MemberValue(TypedDict):
    """The value of one member, as `POST /v1/scores` answers it."""

    member_id: str
    as_of: str
    data_as_of: str
    value: "Value | None"
    caveat: str


class ModelAnswer(TypedDict):
    """One version of a registered model, and how it was judged."""

    name: str
    target: str
    alias: Literal["champion", "challenger", "previous"]
    version: int
    trained_at: str | None
    grade: str | None
    kind: str | None
    feature_set: str | None
    data_window: str | None
    metrics: dict[str, float]


class ModelsAnswer(TypedDict):
    """Which models answer, and which would like to."""

    models: "list[ModelAnswer]"
    in_service: list[str]
    shadow: list[dict[str, Any]]


class Named(TypedDict):
    """A text in each language."""

    en: str
    zh: str


class Namespace(TypedDict):
    """Campaigns that must not meet share a namespace, and hold ranges that do not overlap."""

    name: str
    first: NotRequired[int]
    end: NotRequired[int]


class Next(TypedDict):
    """Products bought before, to buy again, and products never bought."""

    repeat: "list[Product]"
    explore: "list[Product]"


class NextOrder(TypedDict):
    """When the next purchase day is expected, and how surely."""

    expected_on: str | None
    earliest_on: str | None
    latest_on: str | None
    horizon_days: int
    p_by: "list[PurchaseBy]"
    due: "list[Due]"
    exact: Literal[False]
    model_name: str
    model_version: int


class OfferAnswer(TypedDict):
    """One offer of the catalogue that holds."""

    id: str
    kind: str
    name: "Named"
    says: "Named"
    channel: str
    purpose: str
    entitlement: bool
    contact_cost_cents: float
    redeem_cost_cents: float
    points: int
    first_day: str | None
    last_day: str | None
    stock: int | None


class Posted(TypedDict):
    """One change of a member's points, as it was recorded; it never changes."""

    posting_id: str
    posting_no: int
    member_id: str
    kind: Literal["EARN", "REDEEM", "EXPIRE", "ADJUST", "REVERSE", "TRANSFER", "ACTIVATE", "OPENING"]
    points: int
    pending: int
    balance: int
    points_scale: int
    occurred_at: str
    recorded_at: str
    expires_at: str | None
    tier: str | None
    reverses: str | None
    reason: str | None
    order: str | None
    rule_version: str | None


class Problem(TypedDict):
    """What went wrong, what did not happen, and what to do."""

    type: NotRequired[str]
    title: str
    status: int
    detail: str
    code: NotRequired[str | None]
    errors: NotRequired["list[Fault] | None"]


class Product(TypedDict):
    """One product worth showing."""

    product_id: str
    rank: int
    score: float
    reason: str
    label: str
    parameters: dict[str, float | str]


class ProfileAnswer(TypedDict):
    """Everything that is known of one member."""

    member_id: str
    population: Literal["active", "dormant"]
    stage: "SegmentOfMember | None"
    segments: "list[SegmentOfMember]"
    tags: "list[TagOfMember]"
    scores: "ScoresSummary"
    features: "list[FeatureAnswer]"
    as_of: str
    tags_as_of: str
    data_as_of: str
    updated_at: str


class PurchaseBy(TypedDict):
    """How likely a purchase is within some days."""

    days: int
    probability: float


class PurchaseLine(TypedDict):
    """One line as it comes in."""

    line_no: str
    net_cents: int
    quantity: NotRequired[float]
    product_id: NotRequired[str | None]
    category: NotRequired[str | None]
    channel: NotRequired[str | None]
    numbers: NotRequired[dict[str, float]]
    source: str
    order_id: str
    member_id: str
    occurred_at: str
    returns_order_id: NotRequired[str | None]
    currency: NotRequired[str | None]


class PurchasesAnswer(TypedDict):
    """What purchases earned."""

    postings: "list[Posted]"
    known: int
    refused: "list[RefusedLine]"


class PurchasesRequest(TypedDict):
    """Lines of purchases that earn; a line that comes twice earns once."""

    purchases: "list[PurchaseLine]"


class ReadOutAnswer(TypedDict):
    """What a campaign changed, in minor units of currency for one member assigned to contact."""

    campaign_id: str
    complete: bool
    stopped: Literal["sample_ratio", "no_control", "too_few"] | None
    readout: dict[str, Any]


class Reasons(TypedDict):
    """Why a score is what it is: `base` + contributions == `raw_score`."""

    score: float
    exact: bool
    error_cents: int | None
    base: float | None
    raw_score: float | None
    drivers: "list[Driver]"
    sentences: list[str]
    no_single_driver: bool
    model_name: str
    model_version: int


class RedemptionRequest(TypedDict):
    """Points to spend; of the lot that expires first."""

    posting_id: str
    member_id: str
    points: int
    reason: NotRequired[str | None]


class RefusedLine(TypedDict):
    """A line that was not taken: its place in the request, from 0, and why."""

    index: int
    code: str
    detail: str


class RefusedRow(TypedDict):
    """A row that was not kept: its place in the request, from 0, and why."""

    index: int
    code: Literal["missing", "too_long", "nul_character", "unknown_kind", "out_of_range", "not_a_number", "in_the_future", "known_before_it_happened", "wrong_sign", "negative"]
    detail: str


class ReversalRequest(TypedDict):
    """A posting to undo, in whole or in part. Points that return keep their first expiry."""

    posting_id: str
    member_id: str
    reverses: str
    points: NotRequired[int | None]
    reason: NotRequired[str | None]


class ScoresAnswer(TypedDict):
    """One entry per member asked for, in the order asked."""

    scores: "list[KnownMember | UnknownMember]"
    caveat: str


class ScoresRequest(TypedDict):
    """Whom to score, and in which language to give the reasons."""

    member_ids: list[str]
    parts: NotRequired[list[Literal["churn", "value", "next_products", "next_order"]]]
    drivers: NotRequired[bool]
    language: NotRequired[Literal["en", "zh"] | None]


class ScoresSummary(TypedDict):
    """The scores in short; their routes have the reasons."""

    churn: "ChurnSummary | None"
    value: "ValueSummary | None"
    next_order_expected_on: str | None


class SegmentAnswer(TypedDict):
    """One group of members."""

    name: str
    label: str
    meaning: str
    members: int
    member_share: float


class SegmentKind(TypedDict):
    """One way of dividing everybody."""

    kind: Literal["stage", "rfm_group", "cluster"]
    groups: "list[SegmentAnswer]"
    notes: list[str]


class SegmentOfMember(TypedDict):
    """Where a member stands in one way of dividing everybody."""

    kind: str
    name: str
    label: str


class SegmentsAnswer(TypedDict):
    """How members were divided when everybody was last written."""

    as_of: str
    published_at: str
    members: int
    kinds: "list[SegmentKind]"


class SimulationAnswer(TypedDict):
    """What the order would earn."""

    points: int
    base: float
    points_scale: int
    rules: "list[FiredRule]"
    rule_version: str


class SimulationRequest(TypedDict):
    """An order that has not happened; nothing is posted."""

    occurred_at: str
    lines: "list[GoodsLine]"
    member_id: NotRequired[str | None]


class SuppressionAnswer(TypedDict):
    """Whether a member is left alone."""

    member_id: str
    suppressed: bool
    until: NotRequired[str | None]


class SuppressionRequest(TypedDict):
    """Why a member is left alone, and until when."""

    reason: str
    until: NotRequired[str | None]


class TagAnswer(TypedDict):
    """One tag: what it says of whoever holds it, by which rule, and how many do."""

    code: str
    label: str
    says: str
    family: str
    members: int
    window_days: int
    sensitivity: Literal["none", "sensitive"]
    rule: list[dict[str, Any]]


class TagOfMember(TypedDict):
    """A tag a member holds."""

    code: str
    label: str
    says: str | None


class TagsAnswer(TypedDict):
    """A page of tags by their codes, as of the night before everybody was last written."""

    as_of: str
    published_at: str
    tags: "list[TagAnswer]"
    next_cursor: str | None


class TierAnswer(TypedDict):
    """Where a member stands, what is missing, until when."""

    member_id: str
    tier: str
    since: str | None
    measure: Literal["points", "cents", "orders", "engagements"]
    amount: int
    next_tier: str | None
    to_next: int | None
    to_retain: int
    after_window: str
    window_start: str
    window_end: str
    grace_until: str | None
    benefits: list[str]
    history: "list[TierStep]"


class TierStep(TypedDict):
    """A tier and the day from which she had it; null: from the beginning."""

    tier: str
    since: str | None


class TransferRequest(TypedDict):
    """Points to give to another member; they keep their expiry."""

    posting_id: str
    member_id: str
    to_member_id: str
    points: int
    reason: NotRequired[str | None]


class UnknownMember(TypedDict):
    """A member_id without a purchase before `as_of`."""

    member_id: str
    known: Literal[False]


class Value(TypedDict):
    """Expected spend within the horizon; the reasons are those of an additive imitation."""

    value_cents: int
    low_cents: int | None
    high_cents: int | None
    interval_level: float | None
    historic_cents: int
    total_cents: int
    margin_cents: int | None
    currency: str
    horizon_days: int
    percentile: int
    base: NotRequired[float | None]
    raw_score: NotRequired[float | None]
    drivers: NotRequired["list[Driver] | None"]
    no_single_driver: NotRequired[bool | None]
    exact: Literal[False]
    error_cents: int
    model_name: str
    model_version: int


class ValueSummary(TypedDict):
    """What she is expected to spend; as of `updated_at`."""

    value_cents: int
    currency: str
    horizon_days: int
    percentile: int
    model_name: str
    model_version: int


class WaitingAnswer(TypedDict):
    """What was accepted and is not shown yet."""

    rows: int
    since: str | None


class WhyAnswer(TypedDict):
    """A decision, in words, and what became of it."""

    decision_id: str
    campaign_id: str
    member_id: str
    arm: Literal["treated", "explored", "control", "left_alone", "refused"]
    planned: str | None
    offer: str | None
    propensity: float
    considered: "list[Considered]"
    arm_label: str
    decided_at: str
    message: str | None
    why: str | None
    why_label: str | None
    models: dict[str, str]


class Perennial(Caller):
    """The routes of a service, by the names its description gives them."""

    def list_campaigns(
        self,
        *,
        limit: int = 50,
        cursor: str | None = None,
    ) -> CampaignsAnswer:
        """List campaigns, the last proposed first."""
        found: CampaignsAnswer = self._json(
            "GET",
            "/v1/campaigns",
            {"limit": limit, "cursor": cursor},
            None,
            {},
        )
        return found

    def propose_campaign(
        self,
        body: CampaignRequest,
        *,
        idempotency_key: str | None = None,
    ) -> CampaignAnswer:
        """Work out what a campaign would do to every member; nothing is sent."""
        found: CampaignAnswer = self._json(
            "POST",
            "/v1/campaigns",
            {},
            body,
            {"Idempotency-Key": idempotency_key},
        )
        return found

    def campaign(
        self,
        campaign_id: str,
    ) -> CampaignAnswer:
        """Say how far a campaign has come, and what its plan said."""
        found: CampaignAnswer = self._json(
            "GET",
            f"/v1/campaigns/{_in_path(campaign_id)}",
            {},
            None,
            {},
        )
        return found

    def approve_campaign(
        self,
        campaign_id: str,
        body: ApprovalRequest,
        *,
        idempotency_key: str | None = None,
    ) -> CampaignAnswer:
        """Say yes to exactly what was proposed."""
        found: CampaignAnswer = self._json(
            "POST",
            f"/v1/campaigns/{_in_path(campaign_id)}/approve",
            {},
            body,
            {"Idempotency-Key": idempotency_key},
        )
        return found

    def close_campaign(
        self,
        campaign_id: str,
        *,
        idempotency_key: str | None = None,
    ) -> ReadOutAnswer:
        """Read a campaign out for the last time and end it; what still waits is not sent."""
        found: ReadOutAnswer = self._json(
            "POST",
            f"/v1/campaigns/{_in_path(campaign_id)}/close",
            {},
            None,
            {"Idempotency-Key": idempotency_key},
        )
        return found

    def campaign_decisions(
        self,
        campaign_id: str,
        *,
        limit: int = 100,
        cursor: str | None = None,
    ) -> DecisionsAnswer:
        """List what a launched campaign decided, by member."""
        found: DecisionsAnswer = self._json(
            "GET",
            f"/v1/campaigns/{_in_path(campaign_id)}/decisions",
            {"limit": limit, "cursor": cursor},
            None,
            {},
        )
        return found

    def launch_campaign(
        self,
        campaign_id: str,
        *,
        idempotency_key: str | None = None,
    ) -> CampaignAnswer:
        """Write the decision log and the outbox of an approved campaign, once."""
        found: CampaignAnswer = self._json(
            "POST",
            f"/v1/campaigns/{_in_path(campaign_id)}/launch",
            {},
            None,
            {"Idempotency-Key": idempotency_key},
        )
        return found

    def campaign_readout(
        self,
        campaign_id: str,
    ) -> ReadOutAnswer:
        """Say what a campaign changed so far, or had changed when it was closed."""
        found: ReadOutAnswer = self._json(
            "GET",
            f"/v1/campaigns/{_in_path(campaign_id)}/readout",
            {},
            None,
            {},
        )
        return found

    def list_changes(
        self,
        *,
        since: str | None = None,
        limit: int = 100,
        what: list[Literal["risk_band", "stage", "segment", "tag"]] | None = None,
    ) -> ChangesAnswer:
        """Say who moved from which band, stage, segment or tag to which, since a cursor."""
        found: ChangesAnswer = self._json(
            "GET",
            "/v1/changes",
            {"since": since, "limit": limit, "what": what},
            None,
            {},
        )
        return found

    def deliver_messages(
        self,
        *,
        idempotency_key: str | None = None,
    ) -> DeliveredAnswer:
        """Send what is due, each message once."""
        found: DeliveredAnswer = self._json(
            "POST",
            "/v1/deliveries",
            {},
            None,
            {"Idempotency-Key": idempotency_key},
        )
        return found

    def send_events(
        self,
        body: EventsIntake,
        *,
        idempotency_key: str | None = None,
    ) -> IntakeAnswer:
        """Hand in events; each is on disk before the answer and kept once."""
        found: IntakeAnswer = self._json(
            "POST",
            "/v1/events",
            {},
            body,
            {"Idempotency-Key": idempotency_key},
        )
        return found

    def export_members_csv(
        self,
        *,
        if_none_match: str | None = None,
        if_modified_since: str | None = None,
    ) -> Download | None:
        """Hand over where every member stands now: band, stage, segments, tags, as csv. None:
        the caller has it already.
        """
        return self._download("/v1/exports/members.csv", {}, {"If-None-Match": if_none_match, "If-Modified-Since": if_modified_since})

    def export_members_parquet(
        self,
        *,
        if_none_match: str | None = None,
        if_modified_since: str | None = None,
    ) -> Download | None:
        """Hand over where every member stands now: band, stage, segments, tags, as parquet.
        None: the caller has it already.
        """
        return self._download("/v1/exports/members.parquet", {}, {"If-None-Match": if_none_match, "If-Modified-Since": if_modified_since})

    def export_scores_csv(
        self,
        *,
        if_none_match: str | None = None,
        if_modified_since: str | None = None,
    ) -> Download | None:
        """Hand over the scores of every member as the last batch wrote them, as csv. None: the
        caller has it already.
        """
        return self._download("/v1/exports/scores.csv", {}, {"If-None-Match": if_none_match, "If-Modified-Since": if_modified_since})

    def export_scores_parquet(
        self,
        *,
        if_none_match: str | None = None,
        if_modified_since: str | None = None,
    ) -> Download | None:
        """Hand over the scores of every member as the last batch wrote them, as parquet. None:
        the caller has it already.
        """
        return self._download("/v1/exports/scores.parquet", {}, {"If-None-Match": if_none_match, "If-Modified-Since": if_modified_since})

    def intake_waiting(
        self,
    ) -> WaitingAnswer:
        """Say how many rows were accepted and are not shown yet, and since when."""
        found: WaitingAnswer = self._json(
            "GET",
            "/v1/intake",
            {},
            None,
            {},
        )
        return found

    def adjust_points(
        self,
        body: AdjustmentRequest,
        *,
        idempotency_key: str | None = None,
    ) -> Posted:
        """Give or take points by hand."""
        found: Posted = self._json(
            "POST",
            "/v1/loyalty/adjustments",
            {},
            body,
            {"Idempotency-Key": idempotency_key},
        )
        return found

    def earn_purchases(
        self,
        body: PurchasesRequest,
        *,
        idempotency_key: str | None = None,
    ) -> PurchasesAnswer:
        """Let purchases earn: the order is the unit, late lines and returns post the
        difference.
        """
        found: PurchasesAnswer = self._json(
            "POST",
            "/v1/loyalty/purchases",
            {},
            body,
            {"Idempotency-Key": idempotency_key},
        )
        return found

    def redeem_points(
        self,
        body: RedemptionRequest,
        *,
        idempotency_key: str | None = None,
    ) -> Posted:
        """Spend points, of the lot that expires first."""
        found: Posted = self._json(
            "POST",
            "/v1/loyalty/redemptions",
            {},
            body,
            {"Idempotency-Key": idempotency_key},
        )
        return found

    def reverse_posting(
        self,
        body: ReversalRequest,
        *,
        idempotency_key: str | None = None,
    ) -> Posted:
        """Undo a posting, in whole or in part."""
        found: Posted = self._json(
            "POST",
            "/v1/loyalty/reversals",
            {},
            body,
            {"Idempotency-Key": idempotency_key},
        )
        return found

    def simulate_order(
        self,
        body: SimulationRequest,
    ) -> SimulationAnswer:
        """Say what an order would earn, and by which rules; nothing is posted."""
        found: SimulationAnswer = self._json(
            "POST",
            "/v1/loyalty/simulate",
            {},
            body,
            {},
        )
        return found

    def transfer_points(
        self,
        body: TransferRequest,
        *,
        idempotency_key: str | None = None,
    ) -> Posted:
        """Give points to another member; they keep their expiry."""
        found: Posted = self._json(
            "POST",
            "/v1/loyalty/transfers",
            {},
            body,
            {"Idempotency-Key": idempotency_key},
        )
        return found

    def member_profile(
        self,
        member_id: str,
    ) -> ProfileAnswer:
        """Say what is known of a member: features, segments, tags, stage, and scores in short."""
        found: ProfileAnswer = self._json(
            "GET",
            f"/v1/members/{_in_path(member_id)}",
            {},
            None,
            {},
        )
        return found

    def points_balance(
        self,
        member_id: str,
        *,
        at: str | None = None,
    ) -> BalanceAnswer:
        """Say what a member has, now or at an instant before."""
        found: BalanceAnswer = self._json(
            "GET",
            f"/v1/members/{_in_path(member_id)}/balance",
            {"at": at},
            None,
            {},
        )
        return found

    def member_churn(
        self,
        member_id: str,
        *,
        drivers: bool = True,
    ) -> MemberChurn:
        """Say how likely a member is to stay away, scored now, and why."""
        found: MemberChurn = self._json(
            "GET",
            f"/v1/members/{_in_path(member_id)}/churn",
            {"drivers": drivers},
            None,
            {},
        )
        return found

    def member_decisions(
        self,
        member_id: str,
        *,
        limit: int = 20,
    ) -> MemberDecisionsAnswer:
        """Say why a member got what she got, and why not something else."""
        found: MemberDecisionsAnswer = self._json(
            "GET",
            f"/v1/members/{_in_path(member_id)}/decisions",
            {"limit": limit},
            None,
            {},
        )
        return found

    def member_explanation(
        self,
        member_id: str,
    ) -> ExplanationAnswer:
        """Say why a member's churn and value are what they are, in words."""
        found: ExplanationAnswer = self._json(
            "GET",
            f"/v1/members/{_in_path(member_id)}/explanation",
            {},
            None,
            {},
        )
        return found

    def points_ledger(
        self,
        member_id: str,
        *,
        limit: int = 50,
        cursor: str | None = None,
    ) -> LedgerAnswer:
        """List a member's postings, the newest first."""
        found: LedgerAnswer = self._json(
            "GET",
            f"/v1/members/{_in_path(member_id)}/ledger",
            {"limit": limit, "cursor": cursor},
            None,
            {},
        )
        return found

    def member_next_order(
        self,
        member_id: str,
    ) -> MemberNextOrder:
        """Say when a member is expected to buy again, and what she will need soon."""
        found: MemberNextOrder = self._json(
            "GET",
            f"/v1/members/{_in_path(member_id)}/next-order",
            {},
            None,
            {},
        )
        return found

    def member_recommendations(
        self,
        member_id: str,
    ) -> MemberRecommendations:
        """Say what to show a member: products to buy again, and products new to her."""
        found: MemberRecommendations = self._json(
            "GET",
            f"/v1/members/{_in_path(member_id)}/recommendations",
            {},
            None,
            {},
        )
        return found

    def unsuppress_member(
        self,
        member_id: str,
        *,
        idempotency_key: str | None = None,
    ) -> SuppressionAnswer:
        """Leave a member alone no longer."""
        found: SuppressionAnswer = self._json(
            "DELETE",
            f"/v1/members/{_in_path(member_id)}/suppression",
            {},
            None,
            {"Idempotency-Key": idempotency_key},
        )
        return found

    def suppress_member(
        self,
        member_id: str,
        body: SuppressionRequest,
        *,
        idempotency_key: str | None = None,
    ) -> SuppressionAnswer:
        """Leave a member alone: no campaign contacts her, and what waits for her is not sent."""
        found: SuppressionAnswer = self._json(
            "PUT",
            f"/v1/members/{_in_path(member_id)}/suppression",
            {},
            body,
            {"Idempotency-Key": idempotency_key},
        )
        return found

    def member_tier(
        self,
        member_id: str,
    ) -> TierAnswer:
        """Say where a member stands, what is missing to the next tier, and until when."""
        found: TierAnswer = self._json(
            "GET",
            f"/v1/members/{_in_path(member_id)}/tier",
            {},
            None,
            {},
        )
        return found

    def member_value(
        self,
        member_id: str,
        *,
        drivers: bool = True,
    ) -> MemberValue:
        """Say what a member is expected to spend, and roughly why."""
        found: MemberValue = self._json(
            "GET",
            f"/v1/members/{_in_path(member_id)}/value",
            {"drivers": drivers},
            None,
            {},
        )
        return found

    def list_models(
        self,
    ) -> ModelsAnswer:
        """List champions, challengers and who came before: versions, grades and figures."""
        found: ModelsAnswer = self._json(
            "GET",
            "/v1/models",
            {},
            None,
            {},
        )
        return found

    def list_offers(
        self,
    ) -> CatalogueAnswer:
        """List the offers that hold."""
        found: CatalogueAnswer = self._json(
            "GET",
            "/v1/offers",
            {},
            None,
            {},
        )
        return found

    def adopt_offers(
        self,
        body: CatalogueRequest,
        *,
        idempotency_key: str | None = None,
    ) -> AdoptedAnswer:
        """Adopt a version of the offers; the last adopted one holds."""
        found: AdoptedAnswer = self._json(
            "POST",
            "/v1/offers",
            {},
            body,
            {"Idempotency-Key": idempotency_key},
        )
        return found

    def send_purchases(
        self,
        body: LinesIntake,
        *,
        idempotency_key: str | None = None,
    ) -> IntakeAnswer:
        """Hand in lines of purchases; each is on disk before the answer and kept once."""
        found: IntakeAnswer = self._json(
            "POST",
            "/v1/purchases",
            {},
            body,
            {"Idempotency-Key": idempotency_key},
        )
        return found

    def score_members(
        self,
        body: ScoresRequest,
    ) -> ScoresAnswer:
        """Score up to 500 members: churn, value, next products, and why."""
        found: ScoresAnswer = self._json(
            "POST",
            "/v1/scores",
            {},
            body,
            {},
        )
        return found

    def list_segments(
        self,
    ) -> SegmentsAnswer:
        """Say how members are divided: lifecycle stages, RFM groups and clusters, with sizes."""
        found: SegmentsAnswer = self._json(
            "GET",
            "/v1/segments",
            {},
            None,
            {},
        )
        return found

    def list_tags(
        self,
        *,
        limit: int = 100,
        cursor: str | None = None,
    ) -> TagsAnswer:
        """List tags by their codes: what each says, by which rule, and how many members hold
        it.
        """
        found: TagsAnswer = self._json(
            "GET",
            "/v1/tags",
            {"limit": limit, "cursor": cursor},
            None,
            {},
        )
        return found
