"""The mapping: what the columns of somebody's export mean, declared in TOML."""

import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from programme.errors import InputRefused
from programme.settings import Programme


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class FileFormat(_Section):
    """How the files are written."""

    format: Literal["csv", "parquet"] | None = None
    encoding: str = "utf-8"
    delimiter: Annotated[str, Field(min_length=1, max_length=4)] = ","
    quote: Annotated[str, Field(max_length=1)] = '"'
    decimal: Literal[".", ","] = "."

    def is_parquet(self, path: Path) -> bool:
        """Return whether `path` is Parquet: as declared, else by its ending."""
        if self.format is not None:
            return self.format == "parquet"
        return path.suffix.lower() in (".parquet", ".pq")


class Returns(_Section):
    """How a return is told from a purchase; a negative amount always is one."""

    flag: str | None = None
    values: tuple[str, ...] = ("1", "true", "Y", "yes")
    prefix: str | None = None


class PurchaseColumns(_Section):
    """Which column of the file is which of ours; a name is the file's own header."""

    member: str
    occurred_at: str
    occurred_format: str | None = None
    timezone: str | None = None
    known_at: str | None = None
    order: str | None = None
    line: str | None = None
    product: str | None = None
    amount: str | None = None
    quantity: str | None = None
    unit_price: str | None = None
    discount: str | None = None
    coupon: str | None = None
    store: str | None = None
    channel: str | None = None
    returns_order: str | None = None
    returns: Returns = Returns()
    anonymous: tuple[str, ...] = ()
    exact_duplicates: Literal["keep", "drop"] = "keep"

    @model_validator(mode="after")
    def _one_amount(self) -> Self:
        priced = self.quantity is not None and self.unit_price is not None
        if (self.amount is None) == (not priced):
            raise ValueError("say either amount, or quantity and unit_price")
        if self.returns.prefix is not None and self.order is None:
            raise ValueError("returns.prefix is read off the order number: map order too")
        return self


class ProductColumns(_Section):
    """The catalogue, in a file of its own or repeated on every purchase line."""

    product: str
    known_at: str | None = None
    name: str | None = None
    department: str | None = None
    category: str | None = None
    product_type: str | None = None
    brand: str | None = None


class Mapping(_Section):
    """One export: who it comes from, how it is written, what its columns mean."""

    source: Annotated[str, Field(pattern=r"^[a-z0-9_-]{1,32}$")]
    programme: Programme | None = None
    file: FileFormat = FileFormat()
    purchases: PurchaseColumns | None = None
    products: ProductColumns | None = None

    @model_validator(mode="after")
    def _maps_something(self) -> Self:
        if self.purchases is None and self.products is None:
            raise ValueError("map at least one of [purchases] and [products]")
        read = self.columns_read()
        alike = {
            one for one in read for other in read if one < other and one.lower() == other.lower()
        }
        if alike:
            raise ValueError(
                f"columns that differ only in case cannot be told apart: {sorted(alike)}"
            )
        return self

    def columns_read(self) -> list[str]:
        """Return the headers that must be present in every file."""
        read: list[str] = []
        skip = {
            "occurred_format", "timezone", "returns", "anonymous", "exact_duplicates",
        }  # fmt: skip
        for section in (self.purchases, self.products):
            if section is not None:
                facts: dict[str, Any] = section.model_dump(exclude=skip, exclude_none=True)
                read += [str(value) for value in facts.values()]
        if self.purchases is not None and self.purchases.returns.flag is not None:
            read.append(self.purchases.returns.flag)
        return list(dict.fromkeys(read))


def read_mapping(path: Path) -> Mapping:
    """Read a mapping file.

    Raises
    ------
    InputRefused : if it is absent, not TOML, or has an unknown or contradictory key.
    """
    if not path.is_file():
        raise InputRefused(f"The mapping {path} is not a file. Nothing was read. Check the name.")
    try:
        return Mapping.model_validate(tomllib.loads(path.read_text("utf-8-sig")))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputRefused(f"{path} is not TOML: {error}. Nothing was read.") from error
    except ValidationError as error:
        fault = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(str(part) for part in fault["loc"]) or "the mapping"
        raise InputRefused(
            f"{path}: {where}: {fault['msg']}. Nothing was read. A commented example of every "
            "key stands in docs/how-to/map-your-data.md."
        ) from error
