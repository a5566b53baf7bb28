"""Members in paths: `%2F` is a slash of a member_id, not one between two parts of the path.

A server undoes all escapes before anybody looks at the path, so that the two are the same. The raw
path tells them apart: a slash of an id goes through the routes as a character no id holds, and is
a slash again where a route takes its member.
"""

from typing import Annotated
from urllib.parse import unquote

from fastapi import Path
from pydantic import AfterValidator
from starlette.types import Scope

from training.scores import MEMBER_ID_LENGTH_MAX

# Neither the lake nor the inbox takes an id with it, and PostgreSQL stores no text with it.
_NO_CHARACTER = "\0"

Member = Annotated[
    str,
    Path(min_length=1, max_length=MEMBER_ID_LENGTH_MAX, description="its own slashes are %2F"),
    AfterValidator(lambda found: found.replace(_NO_CHARACTER, "/")),
]


def told_apart(scope: Scope) -> Scope:
    """Return a request whose path tells the slashes of ids from its own."""
    if _NO_CHARACTER in scope["path"]:
        return {**scope, "path": ""}  # nobody's, and no route's
    raw: bytes = scope.get("raw_path") or b""
    if b"%" not in raw:
        return scope
    apart = raw.replace(b"%2F", b"%00").replace(b"%2f", b"%00")
    return {**scope, "path": unquote(apart.decode("latin-1"))}
