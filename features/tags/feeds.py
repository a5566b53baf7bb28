"""Measures of messages that only tags read: campaigns, answers, and how soon they come."""

from features.group import Column, FeatureGroup

# A contact's rows of one kind; what an earlier version said is taken back.
_CONTACTS = """
    select member_id, contact_id, any_value(campaign_id) as campaign_id,
           any_value(offer) as offer, any_value(channel) as channel,
           max(days_ago) filter (where kind = 'sent') as sent_days,
           min(days_ago) filter (where kind = 'redeemed') as redeemed_days,
           max(days_ago) filter (where kind = 'redeemed') as answered_days
    from (
        select member_id, contact_id, kind, campaign_id, offer, channel, days_ago
        from known_contacts
        group by member_id, contact_id, kind, campaign_id, offer, channel, days_ago
        having sum(sign) > 0
    )
    group by member_id, contact_id"""
CAMPAIGNS = FeatureGroup(
    name="tag_campaigns",
    meaning="campaigns she was in and what she redeemed",
    rows=_CONTACTS,
    reads=("purchases", "contacts"),
    columns=(
        Column("campaigns_364d", "campaigns", "campaigns she was contacted in",
               "count(distinct campaign_id) filter (where sent_days <= 364)", absent=0),
        Column("redeemed_campaigns_364d", "campaigns", "campaigns she redeemed an offer of",
               "count(distinct campaign_id) filter (where redeemed_days <= 364)", absent=0),
        Column("offers_redeemed_364d", "offers", "different offers redeemed",
               "count(distinct offer) filter (where redeemed_days <= 364)", absent=0),
        Column("answer_days_364d", "days", "from a contact to its redemption, on average",
               "avg(sent_days - answered_days) filter (where redeemed_days <= 364)"),
        Column("campaign_answer_share_364d", "share", "of campaigns answered by a redemption",
               "count(distinct campaign_id) filter (where redeemed_days <= 364) / nullif(cast("
               "count(distinct campaign_id) filter (where sent_days <= 364) as double), 0)"),
    ),
)  # fmt: skip
