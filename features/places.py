"""Where a member shops: stores and channels."""

from features.group import Column, FeatureGroup

# One row per member, kind of place and place; a basket is at one store and on one channel.
_ROWS = """
    select *, orders_182d / nullif(cast(sum(orders_182d) over own as double), 0) as share,
           rank() over (own order by orders_84d desc, place) as place_84d,
           rank() over (own order by orders_before desc, place) as place_before,
           sum(orders_84d) over own as all_84d, sum(orders_before) over own as all_before
    from (
        select member_id, kind, place,
               count(*) filter (where days_ago <= 182) as orders_182d,
               count(*) filter (where days_ago <= 84) as orders_84d,
               count(*) filter (where days_ago between 85 and 168) as orders_before
        from (
            select member_id, days_ago, 'store' as kind, store_id as place
            from member_orders where lines > 0 and days_ago <= 182 and store_id is not null
            union all
            select member_id, days_ago, 'channel', channel
            from member_orders where lines > 0 and days_ago <= 182 and channel is not null
        )
        group by member_id, kind, place
    ) window own as (partition by member_id, kind)"""
_STORE, _CHANNEL = "kind = 'store'", "kind = 'channel'"


def _favourite(kind: str) -> str:
    return f"min_by(place, {{orders: -orders_182d, place: place}}) filter (where {kind})"


PLACES = FeatureGroup(
    name="places",
    meaning="stores and channels, and how faithful she is to them",
    rows=_ROWS,
    empty="no basket with a known store or channel, last 182 days",
    columns=(
        Column(
            "store_count_182d", "stores", "stores bought in, last 182 days",
            f"count(*) filter (where {_STORE})", absent=0, needs=("store",),
        ),
        Column(
            "home_store_share_182d", "share",
            "of baskets bought in the most visited store, last 182 days",
            f"max(share) filter (where {_STORE})", needs=("store",),
        ),
        Column(
            "store_hhi_182d", "index",
            "Herfindahl index of baskets over stores, last 182 days; 1: one store only",
            f"sum(cast(share * share as decimal(38, 16))) filter (where {_STORE})",
            needs=("store",),
        ),
        Column(
            "home_store_changed_84d", "0 or 1",
            "whether the most visited store of the last 84 days is another than before",
            f"1 - max(case when place_84d = 1 and place_before = 1 then 1 else 0 end) "
            f"filter (where {_STORE} and all_84d > 0 and all_before > 0)",
            empty="no basket in one of the two windows", needs=("store",),
        ),
        Column(
            "channel_count_182d", "channels", "channels bought through, last 182 days",
            f"count(*) filter (where {_CHANNEL})", absent=0, needs=("channel",),
        ),
        Column(
            "top_channel_share_182d", "share",
            "of baskets bought through the most used channel, last 182 days",
            f"max(share) filter (where {_CHANNEL})", needs=("channel",),
        ),
        Column(
            "home_store", "name", "most visited store, last 182 days; first by name on a tie",
            _favourite(_STORE), use="report", needs=("store",),
        ),
        Column(
            "top_channel", "name", "most used channel, last 182 days; first by name on a tie",
            _favourite(_CHANNEL), use="report", needs=("channel",),
        ),
    ),
)  # fmt: skip
