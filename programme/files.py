"""Files that survive a crash: written whole or not at all, under one writer."""

import fcntl
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from programme.errors import NotReady


def write_durably(path: Path, content: bytes) -> None:
    """Replace `path` with `content` so that a reader sees the old file or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.unfinished")
    with unfinished.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)
    sync_folder(path.parent)


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write `content` durably as indented JSON; dates and paths become text."""
    write_durably(path, json.dumps(content, indent=1, default=str, ensure_ascii=False).encode())


def sync_file(path: Path) -> None:
    """Force a file another library wrote to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


# A rename is durable once the folder that holds it is: on POSIX a folder syncs like a file.
sync_folder = sync_file


def sha256_of(path: Path) -> str:
    """Return the hexadecimal SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def single_writer(lock_path: Path, what: str) -> Iterator[None]:
    """Hold an exclusive lock while writing; the kernel frees it if the process dies.

    Raises
    ------
    NotReady : if another process holds it now.
    """
    lock_path.parent.mkdir(parents=True, exist_ok=True)
    with lock_path.open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise NotReady(
                f"Another process is writing {what} (lock {lock_path}). Nothing was changed. "
                "Wait for it to end, then run the command again."
            ) from error
        yield
