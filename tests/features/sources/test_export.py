"""Somebody's export, with everything that exports do to amounts, dates and members."""

from datetime import date
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from features import engine, snapshot
from features.ingest import Ingested
from features.lake import Lake
from features.sources.export import Export
from features.sources.mapping import Mapping
from features.usability import TableCount
from programme.settings import Programme, Settings
from tests.features import shop

AS_OF = date(2024, 4, 8)

# Two monthly files of a shop in Shanghai: invoices, cancelled by an invoice whose number begins
# with C; a cash customer without a number; a line entered twice; a price list on every line.
HEADER = "发票号,商品编号,商品名称,类别,数量,开票时间,单价,会员号\n"
MARCH = HEADER + (
    "536365,A1,白茶,茶叶,2,2024/3/1 8:26,88.50,17850\n"
    "536365,B7,瓷杯,茶具,1,2024/3/1 8:26,139.00,17850\n"
    "536366,A1,白茶,茶叶,1,2024/3/2 0:10,88.50,\n"
    "536367,A1,白茶,茶叶,1,2024/3/2 9:00,88.50,13047\n"
    "536367,A1,白茶,茶叶,1,2024/3/2 9:00,88.50,13047\n"
    "536368,,手续费,,1,2024/3/3 10:00,5.00,13047\n"
)
APRIL = HEADER + (
    "C536379,B7,瓷杯,茶具,-1,2024/4/2 9:41,139.00,17850\n"
    "536380,A1,白茶,茶叶,3,2024/4/6 23:59,80.00,17850\n"
    "536381,B7,瓷杯,茶具,一,2024/4/7 9:00,139.00,13047\n"
    "536382,B7,瓷杯,茶具,1,2024/4/7 9:30\n"
    "536383,B7,瓷杯,茶具,1,2024/4/7 9:30,0.00,99999\n"
)
SHANGHAI: dict[str, Any] = {
    "source": "erp",
    "programme": {"name": "tea", "timezone": "Asia/Shanghai", "currency": "CNY"},
    "file": {"encoding": "gb18030"},
    "purchases": {
        "member": "会员号",
        "occurred_at": "开票时间",
        "order": "发票号",
        "product": "商品编号",
        "quantity": "数量",
        "unit_price": "单价",
        "anonymous": ["99999"],
        "returns": {"prefix": "C"},
    },
    "products": {"product": "商品编号", "name": "商品名称", "category": "类别"},
}


def tea(folder: Path) -> Export:
    paths = []
    for name, text in (("三月", MARCH), ("四月", APRIL)):
        paths.append(folder / f"{name}.csv")
        paths[-1].write_bytes(text.encode("gb18030"))
    return Export(paths, Mapping.model_validate(SHANGHAI))


def count(done: Ingested, table: str = "purchases") -> TableCount:
    return next(one for one in done.counts if one.table == table)


def stored(home: Settings, columns: str, order: str = "all") -> list[tuple[Any, ...]]:
    """Return columns of the stored purchases, new rows only."""
    lake = Lake(home)
    rows = lake.rows_sql("purchases", lake.manifest())
    with engine.connect(home) as connection:
        return connection.execute(
            f"select {columns} from ({rows}) where sign = 1 order by {order}"
        ).fetchall()


def test_a_messy_export_becomes_features(home: Settings, tmp_path: Path) -> None:
    source = tea(tmp_path)

    first, again = shop.take(home, source, source)

    assert count(first) == TableCount(
        "purchases", read=11, stored=9,
        quarantined={"malformed_line:": 1, "unreadable:quantity": 1},
    )  # fmt: skip
    assert again.batch_no is None
    assert [(row["reason"], row["file"], row["line"]) for row in shop.quarantined(home)] == [
        ("unreadable", "四月.csv", 4),
        ("malformed_line", "四月.csv", 5),
    ]
    assert "536381" in shop.quarantined(home)[0]["row_json"]
    assert stored(home, "count(*) filter (source_key is null)") == [(2,)]

    features = snapshot.build(home, AS_OF).features()
    columns = ["recency_days", "tenure_days", "spend_cents_life", "orders_84d", "top_category"]
    assert list(features.loc["17850", columns]) == [2, 38, 41_700, 2, "茶叶"]
    assert list(features.loc["13047", columns]) == [36, 37, 18_200, 2, "茶叶"]
    assert features.index.tolist() == ["13047", "17850"]
    assert features.loc["17850", "return_share_364d"] == pytest.approx(139 / 556)
    assert features.loc["17850", "hour_mean_182d"] == (8 + 23) / 2


def one(home: Settings, folder: Path, cells: str, header: str, **mapped: Any) -> tuple[Any, ...]:
    """Return quantity, net, discount and coupon of the only line of a file."""
    shop.take(home, shop.export(folder, f"{header}\n{cells}\n", shop.mapping(**mapped)))
    (row,) = stored(home, "quantity, net_cents, discount_cents, coupon_cents")
    return row


PRICED: dict[str, Any] = {"amount": None, "quantity": "n", "unit_price": "price"}


@pytest.mark.parametrize(
    ("cells", "header", "mapped", "row"),
    [
        ("ann,2024-03-01,9.99", "who,day,amount", {}, (None, 999, None, None)),
        ("ann,2024-03-01,-9.99", "who,day,amount", {}, (None, -999, None, None)),
        ("ann,2024-03-01,2,9.99", "who,day,n,amount", {"quantity": "n"}, (2, 999, None, None)),
        ("ann,2024-03-01,-2,9.99", "who,day,n,amount", {"quantity": "n"}, (-2, -999, None, None)),
        ("ann,2024-03-01,2,-9.99", "who,day,n,amount", {"quantity": "n"}, (-2, -999, None, None)),
        ("ann,2024-03-01,3,1.335", "who,day,n,price", PRICED, (3, 401, None, None)),
        ("ann,2024-03-01,-3,1.335", "who,day,n,price", PRICED, (-3, -401, None, None)),
        ("ann,2024-03-01,0.345,1.90", "who,day,n,price", PRICED, (0.345, 66, None, None)),
        (
            "ann,2024-03-01,9.99,yes", "who,day,amount,back",
            {"returns": {"flag": "back"}}, (None, -999, None, None),
        ),
        (
            "ann,2024-03-01,9.99,no", "who,day,amount,back",
            {"returns": {"flag": "back"}}, (None, 999, None, None),
        ),
        (
            "ann,2024-03-01,9.99,R", "who,day,amount,kind",
            {"returns": {"flag": "kind", "values": ["r"]}}, (None, -999, None, None),
        ),
        (
            "ann,2024-03-01,9.99,C17", "who,day,amount,bill",
            {"order": "bill", "returns": {"prefix": "C"}}, (None, -999, None, None),
        ),
        (
            "ann,2024-03-01,9.99,-0.50,0.25", "who,day,amount,off,coupon",
            {"discount": "off", "coupon": "coupon"}, (None, 999, 50, 25),
        ),
    ],
)  # fmt: skip
def test_an_amount_is_read_with_its_sign(
    cells: str, header: str, mapped: dict[str, Any], row: tuple[Any, ...],
    home: Settings, tmp_path: Path,
) -> None:  # fmt: skip
    assert one(home, tmp_path, cells, header, **mapped) == row


@pytest.mark.parametrize(
    ("written", "decimal", "cents"),
    [
        ("1,234.50", ".", 123_450),
        ("1 234.50", ".", 123_450),
        ("1.234,50", ",", 123_450),
        ("1234,5", ",", 123_450),
        ("12,50", ",", 1_250),
        ("-1.234.567,89", ",", -123_456_789),
        ("1234", ",", 123_400),
    ],
)
def test_people_write_numbers_in_two_ways(
    written: str, decimal: str, cents: int, home: Settings, tmp_path: Path
) -> None:
    form = {"delimiter": ";", "decimal": decimal}

    row = one(home, tmp_path, f"ann;2024-03-01;{written}", "who;day;amount", file=form)

    assert row[1] == cents


@pytest.mark.parametrize(("currency", "stored_as"), [("USD", 1_250), ("JPY", 13), ("KWD", 12_500)])
def test_the_smallest_unit_is_the_currencys_own(
    currency: str, stored_as: int, home: Settings, tmp_path: Path
) -> None:
    mapping = shop.mapping()
    mapping["programme"]["currency"] = currency

    shop.take(home, shop.export(tmp_path, "who,day,amount\nann,2024-03-01,12.50\n", mapping))

    assert stored(home, "net_cents") == [(stored_as,)]


def test_a_price_times_quantity_may_be_large_without_ending_the_ingest(
    home: Settings, tmp_path: Path
) -> None:
    rows = ["who,day,n,price", "ann,2024-03-01,999999999999,999999999999", "bob,2024-03-01,2,3"]

    shop.take(home, shop.export(tmp_path, "\n".join(rows), shop.mapping(**PRICED)))

    assert stored(home, "source_key, net_cents") == [("bob", 600)]
    assert shop.quarantined(home)[0]["reason"] == "out_of_range"


def test_a_byte_order_mark_belongs_to_no_column(home: Settings, tmp_path: Path) -> None:
    text = "\ufeffwho,day,amount\nann,2024-03-01,1\n".encode()

    shop.take(home, shop.export(tmp_path, text, shop.mapping()))

    assert stored(home, "source_key") == [("ann",)]


def test_blank_and_listed_members_are_anonymous_and_counted(home: Settings, tmp_path: Path) -> None:
    rows = ["who,day,amount", *(f"{who},2024-03-01,1" for who in ("ann", "", "  ", "0", "guest"))]

    (done,) = shop.take(
        home,
        shop.export(tmp_path, "\n".join(rows), shop.mapping(anonymous=["0", "guest"])),
    )

    assert stored(home, "source_key") == [("ann",), (None,), (None,), (None,), (None,)]
    (finding,) = [f for f in done.report.findings if f.step == "members"]
    assert (finding.severity, finding.count) == ("warning", 4)
    assert snapshot.build(home, date(2024, 3, 2)).features().index.tolist() == ["ann"]


def test_a_date_may_be_written_as_the_mapping_says(home: Settings, tmp_path: Path) -> None:
    mapping = shop.mapping(occurred_format="%d.%m.%Y %H:%M", known_at="learned")
    text = "who,day,amount,learned\nann,02.03.2024 10:00,1,05.03.2024 00:00\n"

    shop.take(home, shop.export(tmp_path, text, mapping))

    ((occurred, known),) = stored(home, "occurred_at, known_at")
    assert (str(occurred), str(known)) == ("2024-03-02 15:00:00", "2024-03-05 05:00:00")


@pytest.mark.parametrize("zoned", [False, True])
def test_parquet_is_read_through_the_same_mapping(
    zoned: bool, home: Settings, tmp_path: Path
) -> None:
    days = pd.to_datetime(["2024-03-01 23:30:00", "2024-03-02 10:00:00.5"], format="ISO8601")
    frame = pd.DataFrame(
        {
            "who": [17, 18],
            "day": days.tz_localize("Asia/Shanghai") if zoned else days,
            "amount": [1.5, -0.25],
            "back": [False, True],
        }
    )
    path = tmp_path / "sales.pq"
    frame.to_parquet(path, index=False)
    mapping = shop.mapping(returns={"flag": "back"})

    shop.take(home, Export([path], Mapping.model_validate(mapping)))

    utc = ["2024-03-01 15:30:00", "2024-03-02 02:00:00.500000"]
    new_york = ["2024-03-02 04:30:00", "2024-03-02 15:00:00.500000"]
    found = stored(home, "source_key, cast(occurred_at as varchar), net_cents", "1")
    assert [row[0] for row in found] == ["17", "18"]
    expected = [text.removesuffix("00000") for text in (utc if zoned else new_york)]
    assert [row[1] for row in found] == expected
    assert [row[2] for row in found] == [150, -25]


CATALOGUE = "sku,kind,changed\nA1,tea,2024-01-01\nB7,cup,2024-01-01\nA1,tea,2024-01-01\n"


def catalogue(folder: Path, text: str, **more: str) -> Export:
    columns = {"product": "sku", "category": "kind"} | more
    mapping = {"source": "catalogue", "programme": SHANGHAI["programme"], "products": columns}
    return shop.export(folder, text, mapping, "catalogue")


def test_a_catalogue_of_its_own_loses_no_line(home: Settings, tmp_path: Path) -> None:
    bad = CATALOGUE + ",cup,2024-01-01\nC3\nB7,saucer,2024-01-01\n"

    (done,) = shop.take(home, catalogue(tmp_path, bad))

    found = count(done, "products")
    assert (found.read, found.stored, found.unchanged) == (6, 2, 1)
    assert [(row["reason"], row["line"]) for row in shop.quarantined(home)] == [
        ("missing", 5),
        ("malformed_line", 6),
        ("conflicting_duplicate", 7),
    ]


def test_a_product_may_change_its_category_on_a_day(home: Settings, tmp_path: Path) -> None:
    moved = CATALOGUE + "A1,gifts,2024-04-07\n"
    sales = tea(tmp_path)
    without_list = sales.mapping.model_dump(exclude={"products"})

    shop.take(
        home,
        catalogue(tmp_path, moved, known_at="changed"),
        Export(sales.files(), Mapping.model_validate(without_list)),
    )

    favourite = {
        day: snapshot.build(home, day).features().loc["13047", "top_category"]
        for day in (date(2024, 4, 7), AS_OF)
    }
    assert favourite == {date(2024, 4, 7): "tea", AS_OF: "gifts"}


def test_two_sources_may_use_the_same_order_numbers(home: Settings, tmp_path: Path) -> None:
    rows = "who,day,amount,bill,line\nann,2024-03-01,1,7,1\n"
    web, till = (
        {**shop.mapping(order="bill", line="line"), "source": name} for name in ("web", "till")
    )

    shop.take(home, shop.export(tmp_path, rows, web), shop.export(tmp_path, rows, till, "b"))

    found = snapshot.build(home, date(2024, 3, 2)).features().loc["ann"]
    assert (found["orders_28d"], found["spend_cents_28d"]) == (2, 200)


def test_the_programme_keeps_what_the_first_mapping_said(home: Settings, tmp_path: Path) -> None:
    mapping = shop.mapping()
    mapping["programme"] |= {"churn_horizon_days": 56, "languages": ["zh"]}

    shop.take(home, shop.export(tmp_path, "who,day,amount\nann,2024-03-01,1\n", mapping))

    kept = snapshot.build(home, date(2024, 3, 2)).programme
    assert kept == Programme.model_validate(mapping["programme"])
