"""Files of rows: each counts once, and a row that cannot be meant is named."""

from pathlib import Path

import pytest

from loyalty.errors import UnknownMember
from loyalty.points import balance, ledger
from programme.errors import InputRefused
from serving.points import PointsDesk
from serving.points_files import COLUMNS, FileTaken, take, whole
from tests.loyalty.shop import NOW

PURCHASES = "source,order_id,line_no,member_id,occurred_at,net,category,currency,number.weight\n"


def take_text(desk: PointsDesk, kind: str, text: str, folder: Path) -> FileTaken:
    path = folder / f"{kind}.csv"
    path.write_text(text, "utf-8")
    return take(desk, kind, path, now=NOW)


def active(desk: PointsDesk, member_id: str = "ann") -> int:
    return balance(desk.database, desk.rules.terms(NOW), member_id, now=NOW).active


def test_purchases_earn_once_however_often_a_file_is_taken(
    desk: PointsDesk, tmp_path: Path
) -> None:
    text = PURCHASES + (
        "till,o1,1,ann,2018-06-14T10:00:00,100.00,FOOD/DRY,CNY,\n"
        "till,o1,2,ann,2018-06-14T10:00:00,10.00,FOOD/FRESH,,2.5\n"
    )

    first = take_text(desk, "purchases", text, tmp_path)
    again = take_text(desk, "purchases", text, tmp_path)

    assert (first.rows, first.postings, first.refusals) == (2, 1, 0)
    assert (again.postings, again.known) == (0, 2)
    assert active(desk) == 120_00
    # Ten in the morning in Shanghai, where the programme is.
    assert ledger(desk.database, "ann")[0].occurred_at.hour == 2


def test_a_row_that_cannot_be_meant_is_named_and_the_others_earn(
    desk: PointsDesk, tmp_path: Path
) -> None:
    good = "till,{},1,ann,2018-06-14T10:00:00Z,5.00,,,\n"
    done = take_text(
        desk, "purchases",
        PURCHASES + good.format("o1")
        + "till,o2,1,ann,2018-06-14T10:00:00Z,5.001,,,\n"
        + "till,o3,1,ann,2018-06-14T10:00:00Z,five,,,\n"
        + "till,o4,1,ann,yesterday,5.00,,,\n"
        + "till,o5,1,ann,2018-06-14T10:00:00Z,5.00,,USD,\n"
        + "till,o6,1,,2018-06-14T10:00:00Z,5.00,,,\n"
        + "till,o7,1,ann,2018-06-14T10:00:00Z,5.00,,,heavy\n"
        + "till,o8,1,ann,2008-06-14T10:00:00Z,5.00,,,\n"
        + "till,o9,1,ann\n"
        + "till,o10,1,ann,2018-06-14T10:00:00Z,1e999999999,,,\n"
        + good.format("o11"),
        tmp_path,
    )  # fmt: skip

    assert (done.rows, done.postings, done.refusals) == (11, 2, 9)
    said = "\n".join(done.refused)
    for line, what in ((3, "net is '5.001'"), (4, "net is 'five'"), (5, "yesterday"),
                       (6, "'USD'; this programme counts CNY only"), (7, "member_id is empty"),
                       (8, "heavy"), (9, "2008"), (10, "cells"), (11, "1e999999999")):  # fmt: skip
        assert any(each.startswith(f"line {line}: ") and what in each for each in done.refused), (
            said
        )
    assert active(desk) == 10_00


def test_behaviours_of_a_file_earn_once(desk: PointsDesk, tmp_path: Path) -> None:
    text = (
        "source,event_id,member_id,occurred_at,kind,value\n"
        "app,e1,ann,2018-06-14T10:00:00Z,review,\n"
        "app,e2,ann,2018-06-14T10:00:00Z,event,450\n"
    )

    first = take_text(desk, "events", text, tmp_path)
    again = take_text(desk, "events", text, tmp_path)

    assert (first.postings, again.postings, again.known) == (2, 0, 2)
    assert active(desk) == 530_00


def test_an_event_that_was_changed_and_a_kind_without_a_rule_are_said(
    desk: PointsDesk, tmp_path: Path
) -> None:
    text = (
        "source,event_id,member_id,occurred_at,kind,value\n"
        "app,e1,ann,2018-06-14T10:00:00Z,review,\n"
        "app,e2,ann,2018-06-14T10:00:00Z,yawn,\n"
    )
    take_text(desk, "events", text, tmp_path)

    again = take_text(desk, "events", text.replace("e1,ann", "e1,bob"), tmp_path)

    assert (again.postings, again.known, again.unnamed, again.refusals) == (0, 0, 1, 1)
    assert "'e1' of app came before with other content" in again.refused[0]


def test_a_number_of_a_line_is_written_in_plain_digits(desk: PointsDesk, tmp_path: Path) -> None:
    row = "till,o{0},1,ann,2018-06-14T10:00:00Z,5.00,,,{1}\n"
    rows = "".join(
        row.format(n, weight) for n, weight in enumerate(["1_0", "\uff12", "inf", "1e3"])
    )

    done = take_text(desk, "purchases", PURCHASES + rows, tmp_path)

    assert (done.postings, done.refusals) == (1, 3)


def test_balances_are_brought_once_and_end_on_the_day_that_was_promised(
    desk: PointsDesk, tmp_path: Path
) -> None:
    text = "member_id,points,expires_on\nann,12.50,2018-06-15\nann,7,2019-01-31\nbob,-3,\n"

    first = take_text(desk, "balances", text, tmp_path)
    take_text(desk, "balances", text, tmp_path)
    found = balance(desk.database, desk.rules.terms(NOW), "ann", now=NOW)

    assert (first.postings, first.refused[0][:7]) == (2, "line 4:")
    # She can spend them on the 15th; the 16th begins in Shanghai eight hours before it does in UTC.
    assert (found.active, found.expiring) == (19_50, 12_50)
    assert found.expires_at is not None
    assert found.expires_at.isoformat() == "2018-06-15T16:00:00+00:00"


def test_balances_with_one_last_day_are_told_apart_by_their_lots(
    desk: PointsDesk, tmp_path: Path
) -> None:
    text = "member_id,points,expires_on,lot\nann,30,9999-12-31,\nann,30,99991231,\nann,12,,2\n"

    first = take_text(desk, "balances", text, tmp_path)
    again = take_text(desk, "balances", text, tmp_path)
    other = take_text(desk, "balances", text.replace("12,,2", "13,,2"), tmp_path)

    assert (first.postings, first.known, first.refusals) == (2, 0, 1)
    assert (again.postings, again.known, again.refusals) == (0, 2, 1)
    assert "'ann' brought another balance" in other.refused[-1]
    assert active(desk) == 42_00


def test_who_has_a_birthday_earns_more_in_its_month(desk: PointsDesk, tmp_path: Path) -> None:
    said = take_text(
        desk, "birthdays", "member_id,birthday\nann,1992-06-30\nbob,02-30\ncat,06-01\n", tmp_path
    )
    take_text(desk, "birthdays", "member_id,birthday\ncat,\n", tmp_path)
    bought = "till,{0},1,{0},2018-06-14T10:00:00Z,5.00,,,\n"
    take_text(desk, "purchases", PURCHASES + bought.format("ann") + bought.format("cat"), tmp_path)

    assert said.refused == (
        "line 3: '02-30' is no birthday. Nothing was changed. Write 02-29, or 1992-02-29.",
    )
    assert (active(desk), active(desk, "cat")) == (10_00, 5_00)


def test_a_birthday_that_is_forgotten_opens_no_account(desk: PointsDesk, tmp_path: Path) -> None:
    take_text(desk, "birthdays", "member_id,birthday\nstranger,\n", tmp_path)

    with pytest.raises(UnknownMember):
        active(desk, "stranger")


@pytest.mark.parametrize("fault", ['"till,o3', "x" * 200_000])
def test_what_stands_before_a_fault_is_taken_and_the_rest_is_said(
    desk: PointsDesk, tmp_path: Path, fault: str
) -> None:
    rows = "".join(
        f"till,o{n},1,ann,2018-06-14T10:00:00Z,{net},,,\n" for n, net in ((1, "5.00"), (2, "x"))
    )

    done = take_text(desk, "purchases", PURCHASES + rows + fault, tmp_path)

    assert (done.postings, done.refusals) == (1, 2)
    assert done.refused[0].startswith("line 4: cannot be read")
    assert active(desk) == 5_00


def test_one_order_that_is_too_large_or_too_early_does_not_stop_the_others(
    desk: PointsDesk, tmp_path: Path
) -> None:
    row = "till,{},1,ann,{}T10:00:00Z,{},,,\n"
    done = take_text(
        desk, "purchases",
        PURCHASES + row.format("o1", "2018-06-10", "5.00")
        + row.format("o2", "2018-06-11", "9000000000.00")
        + row.format("o3", "2017-12-30", "5.00") + row.format("o4", "2018-06-12", "5.00"),
        tmp_path,
    )  # fmt: skip

    assert (done.postings, done.refusals) == (2, 2)
    assert "the first rules hold from 2018-01-01" in done.refused[0]
    assert done.refused[1].startswith("line 3: EARN till/o2 asks for")
    assert active(desk) == 10_00


@pytest.mark.parametrize("kind", COLUMNS)
@pytest.mark.parametrize("headings", ["", "member", "member_id,member_id", "member_id,colour"])
def test_a_file_with_other_headings_is_refused_whole(
    desk: PointsDesk, tmp_path: Path, kind: str, headings: str
) -> None:
    with pytest.raises(InputRefused, match=f"holds no {kind}: its headings are .* needed are"):
        take_text(desk, kind, headings + "\n", tmp_path)


def test_a_file_that_is_none_is_refused(desk: PointsDesk, tmp_path: Path) -> None:
    with pytest.raises(InputRefused, match="cannot be read"):
        take(desk, "events", tmp_path / "nothing.csv", now=NOW)
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputRefused, match="cannot be read"):
        take(desk, "events", tmp_path / "binary.csv", now=NOW)


@pytest.mark.parametrize(
    ("written", "units"),
    [("12.50", 1250), ("-3", -300), ("1e2", 10_000), ("0", 0), ("1.001", None), ("x", None),
     ("nan", None), ("inf", None), ("1e999999999", None), ("1." + "0" * 40 + "1", None),
     ("1e-999", None), ("0.005", None), ("1_0", None), ("\uff11\uff12", None),
     ("\u0663", None), (".5", 50), ("+7.", 700), ("", None), ("-", None), (".", None),
     ("0x10", None), (" 5 ", 500)],
)  # fmt: skip
def test_a_written_number_is_whole_units_or_none(written: str, units: int | None) -> None:
    assert whole(written, 2) == units
