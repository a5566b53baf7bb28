"""A folder of data files that one digest vouches for: none is read before it is known to be it.

`facts.json` names every other file with its size and its sha256; the digest of `facts.json` is
kept elsewhere. Sizes are looked at first, so that a file that was swapped for a huge one is
refused without being read.
"""

import json
import os
import stat
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from programme.errors import PerennialError
from programme.files import sha256_of

FACTS_FILE = "facts.json"
# Facts name columns, files and a few numbers; models are megabytes, the largest some hundreds.
FACTS_BYTES_MAX = 8 << 20
MODEL_BYTES_MAX = 4 << 30


class ModelChanged(PerennialError):
    """Model files that are not the ones that were registered."""


def seal(folder: Path, facts: Mapping[str, Any]) -> str:
    """Write `facts.json` beside the files of a folder; return the digest that vouches for all."""
    files = sorted(_files(folder).items())
    document = {
        **facts,
        "files": {name: sha256_of(path) for name, path in files},
        "bytes": {name: path.stat().st_size for name, path in files},
    }
    path = folder / FACTS_FILE
    path.write_text(json.dumps(document, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    return sha256_of(path)


def document(folder: Path, digest: str) -> dict[str, Any]:
    """Return what `seal` wrote, after checking every file of the folder.

    Raises
    ------
    ModelChanged : if a file differs, is missing, was added, or is larger than a model may be.
    """
    found = measured(folder, digest)
    for name, recorded in found["files"].items():
        present = sha256_of(folder / name)
        if present != recorded:
            raise _changed(name, present, recorded)
    return found


def copied(source: Path, digest: str, target: Path) -> Path:
    """Copy a sealed folder, never more bytes than it declares; return the copy.

    Who checks files and then reads them where others may write reads what was not checked.
    """
    found = measured(source, digest)
    target.mkdir(parents=True)
    for name in (FACTS_FILE, *found["files"]):
        limit = found.get("bytes", {}).get(name, FACTS_BYTES_MAX)
        if "bytes" not in found:
            limit = MODEL_BYTES_MAX
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        _copy(source / name, target / name, limit)
    return target


def measured(folder: Path, digest: str) -> dict[str, Any]:
    """Return what `seal` wrote, after checking names and sizes but no content of other files."""
    found = facts_of(folder / FACTS_FILE, digest)
    present = {name: file for name, file in _files(folder).items() if name != FACTS_FILE}
    recorded: dict[str, str] = found["files"]
    sizes: dict[str, int] = found.get("bytes", {})
    total = 0
    for name in sorted(present.keys() | recorded.keys()):
        if name not in present or name not in recorded:
            there = "no file" if name not in present else "an added file"
            raise _changed(name, there, recorded.get(name, "no such file"))
        facts = present[name].lstat()
        if not stat.S_ISREG(facts.st_mode):
            raise _changed(name, "a link", recorded[name])
        total += facts.st_size
        if facts.st_size != sizes.get(name, facts.st_size):
            raise _changed(name, f"unread, {facts.st_size:,} bytes", f"{sizes[name]:,} bytes")
    _require_room(total)
    return found


def facts_of(path: Path, digest: str) -> dict[str, Any]:
    """Return what one `facts.json` says, if the digest vouches for it and its names are plain."""
    if path.is_symlink() or not path.is_file():
        raise _changed(FACTS_FILE, "no file", digest)
    if path.stat().st_size > FACTS_BYTES_MAX:
        raise _changed(FACTS_FILE, f"unread, {path.stat().st_size:,} bytes", digest)
    content = path.read_bytes()
    present = sha256_of(path)
    if present != digest:
        raise _changed(FACTS_FILE, present, digest)
    found: dict[str, Any] = json.loads(content)
    for name in found["files"]:
        if not _is_plain(name):
            raise _changed(FACTS_FILE, "a name outside its folder", digest)
    _require_room(sum(found.get("bytes", {}).values()))
    return found


def _require_room(total: int) -> None:
    if total > MODEL_BYTES_MAX:
        raise ModelChanged(
            f"The files of the model are {total:,} bytes, more than the {MODEL_BYTES_MAX:,} any of "
            "ours has. They were not read and nothing was loaded. Restore the files, roll back to "
            "another version, or train again."
        )


def _is_plain(name: str) -> bool:
    path = PurePosixPath(name)
    return (
        bool(path.parts)
        and not path.is_absolute()
        and ".." not in path.parts
        and path.as_posix() == name
        and not set(name) & {"\\", "\0"}
    )


def _copy(source: Path, target: Path, limit: int) -> None:
    # Not followed if it was made a link meanwhile; a file that grew meanwhile is cut, and its
    # digest then differs.
    with (
        os.fdopen(os.open(source, os.O_RDONLY | os.O_NOFOLLOW), "rb") as there,
        target.open("wb") as here,
    ):
        left = limit
        while left > 0 and (piece := there.read(min(left, 1 << 20))):
            here.write(piece)
            left -= len(piece)


def _files(folder: Path) -> dict[str, Path]:
    return {
        path.relative_to(folder).as_posix(): path
        for path in folder.rglob("*")
        if path.is_symlink() or not path.is_dir()
    }


def _changed(name: str, found: str, recorded: str) -> ModelChanged:
    return ModelChanged(
        f"The model file {name} is not the one that was registered: sha256 {_short(found)}, "
        f"recorded {_short(recorded)}. Its answers could be anything, so nothing was loaded. "
        "Restore the files, roll back to another version, or train again."
    )


def _short(digest: str) -> str:
    return digest if " " in digest else digest[:12]
