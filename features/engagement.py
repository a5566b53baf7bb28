"""What a member does besides buying: views, searches, visits, reviews, complaints."""

from features.group import Column, FeatureGroup

# One row per member, kind and day on which it happened; what was taken back leaves none.
_EVENTS = """
    select member_id, kind, days_ago, sum(events) as events,
           sum(duration_seconds) as duration_seconds
    from known_events
    group by member_id, kind, days_ago
    having sum(events) > 0"""
# Column, kind, what it counts, and over how many days.
_KINDS = (
    ("views", "view", "products looked at", 28),
    ("searches", "search", "searches", 28),
    ("carts", "cart", "products put into a cart", 28),
    ("favourites", "favourite", "products marked as favourites", 84),
    ("shares", "share", "things shared", 84),
    ("reviews", "review", "reviews written", 364),
    ("check_ins", "check_in", "check-ins", 28),
    ("visits", "visit", "visits to a shop, site or app", 28),
    ("live_streams", "live_stream", "live streams watched", 84),
    ("referrals", "referral", "people referred", 364),
    ("surveys", "survey", "surveys answered", 364),
    ("services", "service", "calls on customer service", 364),
    ("complaints", "complaint", "complaints", 364),
)


def _events(within: str) -> str:
    return f"coalesce(sum(events) filter (where {within}), 0)"


def _windowed(days: int) -> tuple[Column, Column]:
    within = f"days_ago <= {days}"
    return (
        Column(
            f"events_{days}d", "events", f"events of any kind, last {days} days",
            _events(within), absent=0,
        ),
        Column(
            f"event_days_{days}d", "days", f"days with an event, last {days} days",
            f"count(distinct days_ago) filter (where {within})", absent=0,
        ),
    )  # fmt: skip


ENGAGEMENT = FeatureGroup(
    name="engagement",
    meaning="events other than purchases: how many, of what kinds, how recently",
    rows=_EVENTS,
    reads=("events",),
    columns=(
        *_windowed(28),
        *_windowed(84),
        Column(
            "days_since_event", "days", "since the last day with an event", "min(days_ago)",
            empty="no event on record",
        ),
        Column(
            "event_kinds_84d", "kinds", "different kinds of events, last 84 days",
            "count(distinct kind) filter (where days_ago <= 84)", absent=0,
        ),
        Column(
            "event_trend_28d", "log ratio", "events in the last 28 days against the 28 before",
            f"ln((1.0 + {_events('days_ago <= 28')}) / "
            f"(1.0 + {_events('days_ago between 29 and 56')}))",
            absent=0,
        ),
        *(
            Column(
                f"{name}_{days}d", "events", f"{meaning}, last {days} days",
                _events(f"kind = '{kind}' and days_ago <= {days}"), absent=0,
            )
            for name, kind, meaning, days in _KINDS
        ),
        Column(
            "session_seconds_28d", "seconds", "duration of events, last 28 days",
            "coalesce(sum(duration_seconds) filter (where days_ago <= 28), 0)", absent=0,
        ),
    ),
)  # fmt: skip
