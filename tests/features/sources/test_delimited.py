"""Every line of a delimited file becomes a record or is kept as malformed, under its own number."""

import csv
import io
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.sources.delimited import LINES_PER_RECORD_MAX, write_records
from features.sources.mapping import FileFormat
from programme.errors import InputRefused

Found = list[tuple[int, str | None, str | None]]


def read(folder: Path, text: str | bytes, **form: str) -> Found:
    """Return line, the cell of column b, and the malformed text of every record."""
    path = folder / "written.csv"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    place = folder / "records.parquet"
    write_records(path, FileFormat.model_validate(form), ["b"], place)
    table = pq.read_table(place).to_pydict()
    return list(zip(table["line"], table["c0"], table["malformed"], strict=True))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        pytest.param("a,b\n1,x\n2,y\n", [(2, "x", None), (3, "y", None)], id="plain"),
        pytest.param("a,b\n1,x\n2,y", [(2, "x", None), (3, "y", None)], id="no last line end"),
        pytest.param("a,b\r\n1,x\r\n", [(2, "x", None)], id="windows"),
        pytest.param("a,b\r1,x\r", [(2, "x", None)], id="old macintosh"),
        pytest.param(
            "a,b\r\n1,x\n2,y\r3,z", [(2, "x", None), (3, "y", None), (4, "z", None)], id="mixed"
        ),
        pytest.param("a,b\n\n1,x\n\n\n2,y\n", [(3, "x", None), (6, "y", None)], id="empty lines"),
        pytest.param("a,b\n1,\n", [(2, "", None)], id="empty cell"),
        pytest.param("a,b\n1\n2,y\n", [(2, None, "1"), (3, "y", None)], id="too few cells"),
        pytest.param("a,b\n1,2,3\n2,y\n", [(2, None, "1,2,3"), (3, "y", None)], id="too many"),
        pytest.param('a,b\n1,"x, or ""y"""\n', [(2, 'x, or "y"', None)], id="quoted"),
        pytest.param(
            'a,b\n1,"x\n\ny"\n2,"z', [(2, "x\n\ny", None), (5, None, '2,"z')], id="line ends inside"
        ),
        pytest.param('a,b\n1,5" nail\n2,y\n', [(2, '5" nail', None), (3, "y", None)], id="inch"),
        pytest.param(
            'a,b\n1,"5" nail"\n2,y\n', [(2, None, '1,"5" nail"'), (3, "y", None)], id="stray quote"
        ),
        pytest.param(
            'a,b\n1,"x\n2,y\n3,z\n',
            [(2, None, '1,"x'), (3, "y", None), (4, "z", None)],
            id="never closed",
        ),
        pytest.param(
            'a,b\n1,"x\n2,"y"\n3,z\n',
            [(2, None, '1,"x'), (3, "y", None), (4, "z", None)],
            id="closed by another line's quote",
        ),
        pytest.param("\ufeffb,a\nx,1\n", [(2, "x", None)], id="byte order mark"),
        pytest.param("a,b\n1,x\0y\n", [(2, "x\0y", None)], id="nul"),
        pytest.param("a,b,\n1,x,\n", [(2, "x", None)], id="column without a name"),
        pytest.param("a,b\n", [], id="header only"),
        pytest.param("a,b\n,\n", [(2, "", None)], id="only delimiters"),
    ],
)
def test_each_line_is_a_record_or_is_kept(tmp_path: Path, text: str, found: Found) -> None:
    assert read(tmp_path, text) == found


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("a;b\n1;x,y\n", {"delimiter": ";"}),
        ("a\tb\n1\tx,y\n", {"delimiter": "\t"}),
        ("a||b\n1||x,y\n", {"delimiter": "||"}),
        ('a||b\n"1||2"||"x,y"\n', {"delimiter": "||"}),
        ("a;b\n'1;2';'x,y'\n", {"delimiter": ";", "quote": "'"}),
        ('a;b\n"1;x,y\n', {"delimiter": ";", "quote": ""}),
        ("a;b\n1;x,y\n".encode("utf-16"), {"delimiter": ";", "encoding": "utf-16"}),
    ],
)
def test_the_mapping_says_how_cells_are_told_apart(
    tmp_path: Path, text: str | bytes, form: dict[str, str]
) -> None:
    assert read(tmp_path, text, **form) == [(2, "x,y", None)]


CELLS = st.text(st.characters(codec="utf-8", exclude_characters="\r\0"), max_size=6)


@settings(max_examples=60)
@given(rows=st.lists(st.tuples(CELLS, CELLS), max_size=12))
def test_what_the_csv_module_writes_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str]]
) -> None:
    written = io.StringIO()
    csv.writer(written, lineterminator="\n").writerows([("a", "b"), *rows])

    found = read(tmp_path_factory.getbasetemp(), written.getvalue())

    assert [(cell, malformed) for _, cell, malformed in found] == [(b, None) for _, b in rows]


@settings(max_examples=60)
@given(lines=st.lists(st.text('ab,"\n', max_size=9), max_size=15))
def test_no_line_is_lost_however_it_is_quoted(
    tmp_path_factory: pytest.TempPathFactory, lines: list[str]
) -> None:
    written = "\n".join(["a,b", *lines]).split("\n")
    path, place = (tmp_path_factory.getbasetemp() / name for name in ("any.csv", "any.parquet"))
    path.write_text("\n".join(written))

    write_records(path, FileFormat(), ["a", "b"], place)

    covered = {1}
    for record in pq.read_table(place).to_pylist():
        first = record["line"]
        if record["malformed"] is not None:
            assert record["malformed"] == written[first - 1]
            spanned = 1
        else:
            spanned = 1 + (record["c0"] + record["c1"]).count("\n")
        lines_of_it = set(range(first, first + spanned))
        assert not lines_of_it & covered
        covered |= lines_of_it
    left_out = set(range(1, len(written) + 1)) - covered
    assert all(written[number - 1] == "" for number in left_out)


def test_two_thousand_malformed_lines_keep_their_numbers(tmp_path: Path) -> None:
    lines = ["a,b"]
    for number in range(2_000):
        lines += [f"{number},x{number}", f'{number},"x"y', "", f"{number}"]

    found = read(tmp_path, "\n".join(lines))

    assert [line for line, cell, _ in found if cell is not None] == list(range(2, 8_002, 4))
    assert [line for line, _, malformed in found if malformed is not None] == sorted(
        [*range(3, 8_002, 4), *range(5, 8_002, 4)]
    )


def test_a_quote_left_open_costs_one_line_of_a_long_file(tmp_path: Path) -> None:
    good = [f"{number},x" for number in range(3 * LINES_PER_RECORD_MAX)]

    found = read(tmp_path, "\n".join(["a,b", '0,"open', *good]))

    assert found[0] == (2, None, '0,"open')
    assert [line for line, cell, _ in found[1:] if cell == "x"] == list(range(3, 3 + len(good)))


@pytest.mark.parametrize(
    ("text", "form", "words"),
    [
        ("", {}, "no header line"),
        ("\ufeff", {}, "no header line"),
        ("\na,b\n", {}, "no header line"),
        ("a,c\n1,2\n", {}, "no column 'b'; it has 'a', 'c'"),
        ("a;b\n1;2\n", {}, "no column 'b'; it has 'a;b'"),
        ("a,b,a\n", {}, "names the column 'a' twice"),
        (b"a,b\n1,x\n2,\xff\n", {}, "is not utf-8: on line 1 or soon after"),
        ("a,b\n1,\u4e2d\n".encode("gb18030"), {}, "gb18030"),
        ("a,b\n", {"encoding": "klingon"}, "no encoding 'klingon'"),
        ("a,b\n", {"encoding": "hex"}, "no encoding 'hex'"),
        (b"a,b\n1", {"encoding": "utf-16"}, "is not utf-16"),
    ],
)
def test_a_file_we_cannot_read_is_refused(
    tmp_path: Path, text: str | bytes, form: dict[str, str], words: str
) -> None:
    with pytest.raises(InputRefused, match=words) as refusal:
        read(tmp_path, text, **form)

    assert "Nothing was read." in str(refusal.value)
