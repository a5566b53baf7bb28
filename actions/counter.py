"""What lies on the counter for an offer to name: goods with price, margin and stock, and returns.

Read from the lake as known at a midnight, like everything that is decided on.
"""

from collections.abc import Sequence
from contextlib import suppress
from datetime import date, timedelta
from pathlib import Path

import pandas as pd

from actions import candidates, cross_sell
from actions.candidates import Kind
from actions.chances import Calibration, TooLittleBought
from actions.cross_sell import GOODS_COLUMNS, Shown, Terms
from features import engine, identities, rollups, snapshot
from features.lake import Lake
from programme.errors import InputRefused
from programme.settings import Settings, open_programme
from training import shelf
from training.baskets import Baskets
from training.models.complements import complements

# Over which the price that members pay is taken; older prices are not today's.
PRICE_DAYS = 182
HORIZON_DAYS = 28


def goods(settings: Settings, as_of: date, age_restricted: Sequence[str] = ()) -> pd.DataFrame:
    """Return every product that can be bought, as known at a day.

    Parameters
    ----------
    age_restricted : departments, categories or product types, whatever the case of letters

    Returns
    -------
    DataFrame indexed by product_id: `GOODS_COLUMNS`
        `price_cents` is what members paid a line in the last half year, else the list price;
        `stock` is in_stock or out_of_stock by the last that is known of all shops, and unknown
        where no shop reports the product.
    """
    lake = Lake(settings)
    manifest, zone = lake.ready(), open_programme(settings).timezone
    midnight = identities.midnight_sql(as_of, zone)
    newest = f"where sign > 0 and known_at < {midnight} qualify row_number() over (partition by"
    known = f"""select * from ({lake.rows_sql("products", manifest)})
        {newest} product_id order by known_at desc) = 1"""
    stocked = f"""select * from ({lake.rows_sql("stock", manifest)})
        {newest} product_id, store_id order by known_at desc) = 1"""
    paid = f"""select product_id, cast(sum(sign * net_cents) as double) / sum(sign) as paid_cents
        from ({lake.rows_sql("purchases", manifest)})
        where known_at < {midnight} and occurred_at < {midnight} and net_cents > 0
            and occurred_at >= {midnight} - interval {PRICE_DAYS} day and product_id is not null
        group by product_id having sum(sign) > 0"""
    with engine.connect(settings) as connection:
        found = connection.execute(
            f"""select product_id, category, margin_rate,
                coalesce(paid_cents, cast(price_cents as double)) as price_cents,
                case when available is null then 'unknown'
                     when available > 0 then 'in_stock' else 'out_of_stock' end as stock
            from ({known}) full join ({paid}) using (product_id)
            left join (select product_id, sum(greatest(available, 0)) as available
                       from ({stocked}) group by product_id) using (product_id)
            order by product_id"""
        ).df()
    frame = found.set_index("product_id")
    rules = shelf.read(settings, as_of, age_restricted)
    out = frame.index[frame["stock"] == "out_of_stock"]
    restricted = frame.index.isin(sorted(rules.barred - set(out)))
    return frame.assign(restricted=restricted)[list(GOODS_COLUMNS)]


def returned(settings: Settings, as_of: date) -> pd.DataFrame:
    """Return member_id and product_id of what members gave back before a day."""
    lake = Lake(settings)
    manifest, zone = lake.ready(), open_programme(settings).timezone
    midnight = identities.midnight_sql(as_of, zone)
    lines = f"""select source, source_key, order_id, line_no, product_id, sign
        from ({lake.rows_sql("purchases", manifest)})
        where known_at < {midnight} and occurred_at < {midnight} and source_key is not null
            and product_id is not null and (coalesce(quantity, 0) < 0 or net_cents < 0)"""
    with engine.connect(settings) as connection:
        identities.resolve(connection, lake, manifest, as_of, zone)
        return connection.execute(
            f"""select distinct member_id, product_id from (
                select member_id, product_id, order_id, line_no
                from ({identities.with_member(lines)}) group by all having sum(sign) > 0)
            order by all"""
        ).df()


def named(
    settings: Settings,
    as_of: date,
    kind: Kind,
    scores: Path,
    *,
    terms: Terms = cross_sell.TERMS,
    age_restricted: Sequence[str] = (),
    earlier: "tuple[date, Path] | None" = None,
    complements_too: bool = False,
) -> Shown:
    """Choose what an offer of a day names to everybody who was scored.

    Parameters
    ----------
    scores : Parquet file of the day's scores
    earlier : a day at least a horizon before and its scores, to hold chances against, as
        `earlier_scores` finds them; where too little was bought of them, chances stay as they are
    complements_too : also what goes with what she has just begun, for an offer that says so. The
        recommender knows that already: measured, it finds less with it and earns no more.

    Raises
    ------
    InputRefused : if complements are asked for without an earlier day, as they over-promise
        until they are held against what was bought; if a file lacks a column, or the earlier
        day's horizon has not ended.
    """
    if complements_too and earlier is None:
        raise InputRefused(
            "What goes with what a member has begun is over-promised until it is held against what "
            "was bought after earlier lists. No product was named. Give an earlier day's scores."
        )
    counter = goods(settings, as_of, age_restricted)
    bought = snapshot.build(settings, as_of).products()
    nominees = _nominees(settings, as_of, kind, scores, counter, bought, complements_too)
    line = None
    if earlier is not None:
        with suppress(TooLittleBought):
            line = calibrated(settings, as_of, kind, *earlier, complements_too=complements_too)
    if line is None:
        nominees = nominees[nominees["source"] != "complement"]
    gone = returned(settings, as_of)
    return cross_sell.name_products(kind, nominees, counter, bought, gone, terms, line)


def earlier_scores(settings: Settings, as_of: date) -> tuple[date, Path] | None:
    """Return the newest day whose horizon has ended, and its scores; None where there are none.

    Of the scores that `perennial score` keeps in the home, no older than half a year.
    """
    newest, oldest = as_of - timedelta(HORIZON_DAYS), as_of - timedelta(PRICE_DAYS)
    found = [
        (day, path.name, path)
        for path in (settings.home / "scores").glob("????-??-??_*.parquet")
        if oldest <= (day := date.fromisoformat(path.name.partition("_")[0])) <= newest
    ]
    if not found:
        return None
    day, _, path = max(found)
    return day, path


def calibrated(
    settings: Settings,
    as_of: date,
    kind: Kind,
    then: date,
    scores: Path,
    *,
    complements_too: bool = False,
) -> Calibration:
    """Hold what an earlier day's scores named against what was bought within the horizon.

    Raises
    ------
    InputRefused : if the horizon of that day ends after `as_of`, or too little was bought.
    """
    if (as_of - then).days < HORIZON_DAYS:
        raise InputRefused(
            f"The {HORIZON_DAYS} days after {then} end after {as_of}: what was named then cannot "
            "be held against them yet. Nothing was calibrated. Name an earlier day."
        )
    before = snapshot.build(settings, then)
    counter, bought = goods(settings, then), before.products()
    listed = _nominees(settings, then, kind, scores, counter, bought, complements_too)
    after = spent(settings, then)
    return Calibration.fit(kind, listed, bought, after, counter["price_cents"])


def spent(settings: Settings, as_of: date) -> pd.DataFrame:
    """Return member_id, product_id and net_cents: what was bought in the days after a day.

    Lines that were no returns, of the horizon; ordered by both.
    """
    lake = Lake(settings)
    manifest, zone = lake.ready(), open_programme(settings).timezone
    day = f"cast({rollups.local_sql('occurred_at', zone)} as date)"
    lines = f"""select source, source_key, product_id, sign, net_cents
        from ({lake.rows_sql("purchases", manifest)})
        where {day} >= date '{as_of}' and {day} < date '{as_of + timedelta(HORIZON_DAYS)}'
            and source_key is not null and product_id is not null and net_cents >= 0
            and coalesce(quantity, 0) >= 0"""
    with engine.connect(settings) as connection:
        identities.resolve(connection, lake, manifest, as_of, zone)
        return connection.execute(
            f"""select member_id, product_id, cast(sum(sign * net_cents) as double) as net_cents
            from ({identities.with_member(lines)})
            group by member_id, product_id having sum(sign) > 0 order by all"""
        ).df()


def _nominees(
    settings: Settings,
    as_of: date,
    kind: Kind,
    scores: Path,
    counter: pd.DataFrame,
    bought: pd.DataFrame,
    complements_too: bool,
) -> pd.DataFrame:
    """Return the lists of the scores and, if asked for, what goes with what was begun."""
    nominees = candidates.from_scores(_lists(scores), kind, counter)
    if kind == "replenish" or not complements_too:
        return nominees
    kinds = Baskets(settings, HORIZON_DAYS, "product_type")
    days = kinds.days(as_of)
    if days.empty:  # nothing is known of kinds
        return nominees
    beside = candidates.from_complements(complements(days), bought, kinds.kinds(as_of))
    return pd.concat([nominees, beside], ignore_index=True)


def _lists(scores: Path) -> pd.DataFrame:
    wanted = ["member_id", "explore_products", "repeat_products", "next_order_due"]
    try:
        return pd.read_parquet(scores, columns=wanted)
    except (OSError, ValueError, KeyError) as error:
        raise InputRefused(
            f"{scores} holds no lists of products: {error}. No product was named. Name a file "
            "that perennial score wrote."
        ) from error
