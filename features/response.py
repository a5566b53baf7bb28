"""How a member answers what she is sent: opens, clicks, redemptions, silence."""

from features.group import Column, FeatureGroup

# One row per member and contact: how many days ago it was sent, and each thing that became of
# it. A contact without `sent` is a redemption or opening of something nobody recorded sending.
# `place` counts the sent ones from the newest; those of one day are taken by contact_id.
_CONTACTS = """
    select *,
        min(answered) over (partition by member_id) as reaction,
        row_number() over (
            partition by member_id, sent is null order by sent, contact_id) as place
    from (
        select member_id, contact_id,
               min(days_ago) filter (where kind = 'sent') as sent,
               min(channel) filter (where kind = 'sent') as channel,
               min(days_ago) filter (where kind = 'opened') as opened,
               min(days_ago) filter (where kind = 'clicked') as clicked,
               min(days_ago) filter (where kind = 'redeemed') as redeemed,
               min(days_ago) filter (where kind = 'opted_out') as opted_out,
               min(days_ago) filter (where kind = 'bounced') as bounced,
               min(days_ago) filter (where kind in ('opened', 'clicked', 'redeemed'))
                   as answered
        from (
            select member_id, contact_id, kind, channel, days_ago
            from known_contacts
            group by member_id, contact_id, kind, channel, days_ago
            having sum(sign) > 0
        )
        group by member_id, contact_id
    )"""
_YEAR = "sent <= 364"
_NOTHING_SENT = "no contact sent, last 364 days"


def _rate(name: str, became: str, meaning: str) -> Column:
    return Column(
        name, "share", f"of contacts sent in the last 364 days, {meaning}",
        f"count(*) filter (where {_YEAR} and {became} is not null) / "
        f"nullif(cast(count(*) filter (where {_YEAR}) as double), 0)",
        empty=_NOTHING_SENT,
    )  # fmt: skip


RESPONSE = FeatureGroup(
    name="response",
    meaning="contacts sent to her and what became of them",
    rows=_CONTACTS,
    reads=("contacts",),
    columns=(
        *(
            Column(
                f"contacts_{days}d", "contacts", f"contacts sent, last {days} days",
                f"count(*) filter (where sent <= {days})", absent=0,
            )
            for days in (28, 84, 364)
        ),
        Column(
            "days_since_contact", "days", "since the last contact was sent", "min(sent)",
            empty="no contact ever sent",
        ),
        _rate("open_rate_364d", "opened", "opened"),
        _rate("click_rate_364d", "clicked", "clicked on"),
        _rate("redeem_rate_364d", "redeemed", "redeemed"),
        Column(
            "redemptions_364d", "redemptions",
            "redemptions, of contacts recorded as sent or not, last 364 days",
            "count(*) filter (where redeemed <= 364)", absent=0,
        ),
        Column(
            "days_since_redemption", "days", "since the last redemption", "min(redeemed)",
            empty="never redeemed anything",
        ),
        Column(
            "opens_last_5", "contacts", "opened, of the last five contacts sent",
            "case when count(sent) > 0 then "
            "count(*) filter (where sent is not null and place <= 5 and opened is not null) end",
            empty="no contact ever sent",
        ),
        Column(
            "contacts_unanswered", "contacts",
            "contacts sent on days after her last opening, click or redemption; all, if none",
            "count(*) filter (where sent < coalesce(reaction, sent + 1))", absent=0,
        ),
        Column(
            "opted_out_364d", "contacts", "contacts on which she opted out, last 364 days",
            "count(*) filter (where opted_out <= 364)", absent=0,
        ),
        Column(
            "bounces_364d", "contacts", "contacts that bounced, last 364 days",
            "count(*) filter (where bounced <= 364)", absent=0,
        ),
        Column(
            "contact_channels_364d", "channels", "channels of contacts sent, last 364 days",
            f"count(distinct channel) filter (where {_YEAR})", absent=0,
        ),
        Column(
            "contact_fatigue_28d", "contacts",
            "contacts of the last 28 days neither opened, clicked nor redeemed so far, each "
            "weighing 1 if sent yesterday, less by a 28th for each day before",
            "coalesce(sum(29 - sent) filter (where sent <= 28 and answered is null), 0) / 28.0",
            absent=0,
        ),
    ),
)  # fmt: skip
