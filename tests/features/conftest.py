"""Homes: an empty one for each test, and one of each real data set for all of them."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pytest

from features.ingest import Ingested, ingest
from features.sources.cdnow import Cdnow
from features.sources.completejourney import CompleteJourney
from programme.settings import Settings
from tests.features.shop import NOW


@dataclass(frozen=True)
class Loaded:
    """A home that holds one real data set; read-only."""

    settings: Settings
    ingested: Ingested


@pytest.fixture
def home(tmp_path: Path) -> Settings:
    """Return settings over a folder that does not exist yet."""
    return Settings(home=tmp_path / "home", threads=1)


@pytest.fixture(scope="session")
def complete_journey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Loaded]:
    """Yield a home with all of Complete Journey."""
    settings = Settings(home=tmp_path_factory.mktemp("completejourney"), threads=2)
    yield Loaded(settings, ingest(CompleteJourney(), settings, NOW))


@pytest.fixture(scope="session")
def cdnow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Loaded]:
    """Yield a home with all of CDNOW."""
    settings = Settings(home=tmp_path_factory.mktemp("cdnow"), threads=2)
    yield Loaded(settings, ingest(Cdnow(), settings, NOW))


@pytest.fixture
def journey_folder(tmp_path: Path) -> Path:
    """Return a folder with Complete Journey's six files and two lines in them."""
    folder = tmp_path / "journey"
    folder.mkdir()
    tables = {
        "transactions": """select * from (values
            ('1', 1, 10, '77', 1.0, 2.50, 0.10, 0.0, 0.05, timestamp '2017-03-13 04:30:00'),
            ('2', 1, 11, '77', 1.0, 2.50, 0.0, 0.50, 0.0, timestamp '2017-03-13 03:30:00')
        ) t(household_id, store_id, basket_id, product_id, quantity, sales_value, retail_disc,
            coupon_disc, coupon_match_disc, transaction_timestamp)""",
        "products": """select '77' as product_id, 1 as manufacturer_id, 'GROCERY' as department,
            'National' as brand, 'MILK' as product_category, 'WHOLE MILK' as product_type,
            '1/2 GAL' as package_size""",
        "demographics": """select '1' as household_id, '35-44' as age, '50-74K' as income,
            'Homeowner' as home_ownership, 'Married' as marital_status, '2' as household_size,
            '2 Adults' as household_comp, '0' as kids_count""",
        "campaign_descriptions": """select '5' as campaign_id, 'Type A' as campaign_type,
            date '2017-03-01' as start_date, date '2017-03-31' as end_date""",
        "campaigns": "select '5' as campaign_id, '1' as household_id",
        "coupon_redemptions": """select '1' as household_id, '10' as coupon_upc,
            '5' as campaign_id, date '2017-03-13' as redemption_date""",
    }
    with duckdb.connect() as connection:
        for name, sql in tables.items():
            connection.execute(f"copy ({sql}) to '{folder / name}.parquet' (format parquet)")
    return folder
