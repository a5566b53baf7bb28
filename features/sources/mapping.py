"""The mapping: what the columns of somebody's export mean, declared in TOML."""

import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import Field, ValidationError, model_validator

from features.sources.facts import (
    CampaignColumns,
    IdentityColumns,
    MemberColumns,
    ProductColumns,
    StockColumns,
)
from features.sources.happenings import (
    ConsentColumns,
    ContactColumns,
    EventColumns,
    PointsColumns,
    PurchaseColumns,
)
from features.sources.sections import Columns, Happenings, Section, SourceName
from programme.errors import InputRefused
from programme.faults import in_words
from programme.settings import Programme

# In the order in which they are read: who and what first, then what happened.
TABLES = (
    "identities", "members", "products", "campaigns", "purchases", "events", "contacts", "points",
    "consents", "stock",
)  # fmt: skip


class FileFormat(Section):
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


class Mapping(Section):
    """One kind of export: who it comes from, how it is written, what its columns mean.

    Its rows feed every table that has a section.
    """

    source: SourceName
    programme: Programme | None = None
    file: FileFormat = FileFormat()
    purchases: PurchaseColumns | None = None
    products: ProductColumns | None = None
    members: MemberColumns | None = None
    identities: IdentityColumns | None = None
    campaigns: CampaignColumns | None = None
    events: EventColumns | None = None
    contacts: ContactColumns | None = None
    points: PointsColumns | None = None
    consents: ConsentColumns | None = None
    stock: StockColumns | None = None

    @model_validator(mode="after")
    def _maps_something(self) -> Self:
        if not self.sections():
            raise ValueError(f"map at least one of [{'], ['.join(TABLES)}]")
        read = self.columns_read()
        alike = {
            one for one in read for other in read if one < other and one.lower() == other.lower()
        }
        if alike:
            raise ValueError(
                f"columns that differ only in case cannot be told apart: {sorted(alike)}"
            )
        return self

    def sections(self) -> dict[str, Columns]:
        """Return what is mapped: table and columns, in the order in which tables are read."""
        mapped = {table: getattr(self, table) for table in TABLES}
        return {table: columns for table, columns in mapped.items() if columns is not None}

    def owner(self) -> str:
        """Return the table that a row is there for; the others only find facts on it.

        A line of a till is a purchase even if it names a product; it is not a bad product where
        it names none.
        """
        mapped = self.sections()
        happening = [table for table, columns in mapped.items() if isinstance(columns, Happenings)]
        candidates = [*happening, "stock", "members", *mapped]
        return next(table for table in candidates if table in mapped)

    def columns_read(self) -> list[str]:
        """Return the headers that must be present in every file."""
        read = [header for columns in self.sections().values() for header in columns.headers()]
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
        known = _known_beside(fault["loc"]) if fault["type"] == "extra_forbidden" else ""
        raise InputRefused(
            f"{path}: {where}: {in_words(fault)}{known}. Nothing was read. A commented example of "
            "every key stands in docs/how-to/map-your-data.md."
        ) from error


def _known_beside(place: tuple[int | str, ...]) -> str:
    """Say which keys there are where an unknown one stands."""
    section: Any = Mapping
    for part in place[:-1]:
        annotation = section.model_fields[part].annotation
        section = next(
            one for one in (annotation, *get_args(annotation)) if hasattr(one, "model_fields")
        )
    return f"; known here are {', '.join(sorted(section.model_fields))}"
