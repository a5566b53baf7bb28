"""A cursor: the position of a change as text that readers keep and hand back, and never parse."""

import struct
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error
from zlib import crc32

VERSION = 1
# What a cursor looks like, for those who describe the API.
PATTERN = r"^[A-Za-z0-9_-]{18}$"
_FORM = struct.Struct(">BQI")


def written(position: int) -> str:
    """Return a position as a cursor."""
    return urlsafe_b64encode(_FORM.pack(VERSION, position, _check(position))).decode().rstrip("=")


def read(cursor: str) -> int | None:
    """Return the position of a cursor; None: this is none of ours."""
    try:
        version, position, check = _FORM.unpack(urlsafe_b64decode(f"{cursor}=="))
    except (Error, ValueError, struct.error):
        return None
    return int(position) if version == VERSION and check == _check(position) else None


def _check(position: int) -> int:
    # Against cursors that were cut or typed, not against anybody who means harm.
    return crc32(f"changes {VERSION} {position}".encode())
