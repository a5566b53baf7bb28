"""A folder is what was sealed, or nothing of it is read."""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest

from training import sealed
from training.sealed import FACTS_FILE, ModelChanged

TEN_GB = 10 << 30


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "sealed"
    (folder / "model").mkdir(parents=True)
    (folder / "model" / "trees.txt").write_text("tree\nleaf_value=1\n")
    (folder / "golden.json").write_text("{}")
    return folder


def redone(folder: Path, **changed: Any) -> str:
    """Write other facts, as who can also write to the registry's database could."""
    path = folder / FACTS_FILE
    path.write_text(json.dumps(json.loads(path.read_text()) | changed))
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_what_was_sealed_is_copied_and_read(folder: Path, tmp_path: Path) -> None:
    digest = sealed.seal(folder, {"kind": "trees"})

    copy = sealed.copied(folder, digest, tmp_path / "copy")

    assert sealed.document(copy, digest)["kind"] == "trees"
    assert sealed.document(copy, digest)["bytes"] == {"golden.json": 2, "model/trees.txt": 18}
    assert (copy / "model" / "trees.txt").read_text() == "tree\nleaf_value=1\n"


def test_a_file_of_other_size_is_refused_without_reading_it(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = sealed.seal(folder, {})
    huge = folder / "model" / "trees.txt"
    os.truncate(huge, TEN_GB)  # a hole: ten gigabytes that no disk holds
    monkeypatch.setattr(sealed, "_copy", lambda *_: pytest.fail("it was read"))

    with pytest.raises(ModelChanged, match=r"model/trees\.txt .* unread, 10,737,418,240 bytes"):
        sealed.copied(folder, digest, tmp_path / "copy")
    with pytest.raises(ModelChanged, match="unread"):
        sealed.document(folder, digest)


def test_ten_gigabytes_that_are_declared_are_refused_without_reading_them(
    folder: Path, tmp_path: Path
) -> None:
    sealed.seal(folder, {})
    os.truncate(folder / "golden.json", TEN_GB)
    digest = redone(folder, bytes={"golden.json": TEN_GB, "model/trees.txt": 18})

    with pytest.raises(ModelChanged, match=r"10,737,418,258 bytes, more than .* not read"):
        sealed.copied(folder, digest, tmp_path / "copy")


def test_a_folder_sealed_before_sizes_were_kept_is_bounded_too(
    folder: Path, tmp_path: Path
) -> None:
    sealed.seal(folder, {})
    content = json.loads((folder / FACTS_FILE).read_text())
    del content["bytes"]
    (folder / FACTS_FILE).write_text(json.dumps(content))
    digest = hashlib.sha256((folder / FACTS_FILE).read_bytes()).hexdigest()

    assert sealed.document(sealed.copied(folder, digest, tmp_path / "copy"), digest)["files"]
    os.truncate(folder / "golden.json", TEN_GB)
    with pytest.raises(ModelChanged, match="more than the 4,294,967,296"):
        sealed.copied(folder, digest, tmp_path / "again")


def test_facts_that_are_huge_are_refused_unread(folder: Path) -> None:
    digest = sealed.seal(folder, {})
    os.truncate(folder / FACTS_FILE, TEN_GB)

    with pytest.raises(ModelChanged, match=r"facts\.json .* unread"):
        sealed.document(folder, digest)


@pytest.mark.parametrize(
    "name", ["../outside", "/etc/passwd", "model/../../outside", ".", "", "a\\b", "a\0b", "a//b"]
)
def test_a_name_that_leaves_the_folder_is_refused(folder: Path, tmp_path: Path, name: str) -> None:
    sealed.seal(folder, {})
    (tmp_path / "outside").write_text("secret")
    digest = redone(folder, files={name: "0" * 64}, bytes={name: 6})

    with pytest.raises(ModelChanged, match="a name outside its folder"):
        sealed.copied(folder, digest, tmp_path / "copy")
    assert not (tmp_path / "copy").exists()


def test_a_link_is_not_followed(folder: Path, tmp_path: Path) -> None:
    digest = sealed.seal(folder, {})
    (tmp_path / "outside").write_text("{}")
    (folder / "golden.json").unlink()
    (folder / "golden.json").symlink_to(tmp_path / "outside")

    with pytest.raises(ModelChanged, match=r"golden\.json .* a link"):
        sealed.copied(folder, digest, tmp_path / "copy")


@pytest.mark.parametrize("name", ["__init__.py", "model/model.pkl", "code/run.py"])
def test_an_added_file_is_refused_and_not_copied(folder: Path, tmp_path: Path, name: str) -> None:
    digest = sealed.seal(folder, {})
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text("raise SystemExit")

    with pytest.raises(ModelChanged, match=f"{name} .* an added file"):
        sealed.copied(folder, digest, tmp_path / "copy")


def test_content_that_changed_at_the_same_size_is_refused(folder: Path) -> None:
    digest = sealed.seal(folder, {})
    (folder / "golden.json").write_text("[]")

    with pytest.raises(ModelChanged, match=r"golden\.json is not the one that was registered"):
        sealed.document(folder, digest)
