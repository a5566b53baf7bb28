"""A file is the old one or the new one, and two never write at once."""

import json
from datetime import date
from pathlib import Path

import pytest

from programme.errors import NotReady
from programme.files import sha256_of, single_writer, write_durably, write_json


def test_a_file_is_replaced_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "a.txt"

    write_durably(path, b"first")
    write_durably(path, b"second")

    assert path.read_bytes() == b"second"
    assert [found.name for found in path.parent.iterdir()] == ["a.txt"]


def test_the_old_file_stays_when_the_new_one_cannot_take_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.txt"
    write_durably(path, b"first")

    def torn(*_: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(Path, "replace", torn)
    with pytest.raises(OSError, match="no space"):
        write_durably(path, b"second")

    assert path.read_bytes() == b"first"


def test_json_keeps_words_dates_and_paths_readable(tmp_path: Path) -> None:
    path = tmp_path / "a.json"

    write_json(path, {"day": date(2024, 2, 29), "name": "会员", "path": tmp_path})

    assert "会员" in path.read_text("utf-8")
    assert json.loads(path.read_text("utf-8")) == {
        "day": "2024-02-29",
        "name": "会员",
        "path": str(tmp_path),
    }


def test_a_hash_is_sha256(tmp_path: Path) -> None:
    path = tmp_path / "abc"
    path.write_bytes(b"abc")

    # FIPS 180-4, first example.
    assert sha256_of(path) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_the_second_writer_is_refused_and_the_next_is_not(tmp_path: Path) -> None:
    lock = tmp_path / "folder" / "writer.lock"

    with single_writer(lock, "the lake"):
        second = single_writer(lock, "the lake")
        with pytest.raises(NotReady, match="Another process is writing the lake"):
            second.__enter__()
    with pytest.raises(ValueError, match="inside"), single_writer(lock, "the lake"):
        raise ValueError("inside")
    with single_writer(lock, "the lake"):
        pass
