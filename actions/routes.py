"""Which way each channel goes: a file for a provider, a signed webhook, or the points ledger."""

import os
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from actions.offers import Channel
from programme import declared
from programme.errors import NotReady

ROUTES_FILE = "channels.toml"
_UNDONE = "Nothing was sent."
SECRET_LENGTH_MIN = 16


class Route(BaseModel):
    """How messages of one channel leave.

    Attributes
    ----------
    via : "file" writes them for a provider to fetch; "webhook" posts each one, signed
    format : of the file
    url : that takes the webhook
    secret_env : the environment variable that holds the key it is signed with; no file holds it
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    via: Literal["file", "webhook"] = "file"
    format: Literal["csv", "parquet"] = "csv"
    url: Annotated[str, Field(pattern=r"^https?://[^\s]+$", max_length=2_000)] | None = None
    secret_env: Annotated[str, Field(pattern=r"^[A-Z][A-Z0-9_]{0,63}$")] | None = None

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        if (self.via == "webhook") != (self.url is not None and self.secret_env is not None):
            raise ValueError("a webhook has a url and a secret_env, a file has neither")
        return self

    def secret(self) -> bytes:
        """Return the key of a webhook.

        Raises
        ------
        NotReady : if the environment does not hold one.
        """
        found = os.environ.get(self.secret_env or "", "")
        if len(found) < SECRET_LENGTH_MIN:
            raise NotReady(
                f"{self.secret_env} holds no key of {SECRET_LENGTH_MIN} characters or more. "
                "Nothing was sent. Set it to what the receiver checks signatures with."
            )
        return found.encode()


class Routes(BaseModel):
    """The routes of a programme; a channel that is not named goes by file."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    route: dict[Channel, Route] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _points_stay(self) -> Self:
        if "points" in self.route:
            raise ValueError("points are posted to the ledger; they have no route")
        return self

    def of(self, channel: Channel) -> Route:
        """Return the route of a channel."""
        return self.route.get(channel, Route())


def read(home: Path) -> Routes:
    """Read the routes of a home; without a file every channel goes by file.

    Raises
    ------
    InputRefused : naming the key that cannot be used.
    """
    path = home / ROUTES_FILE
    if not path.exists():
        return Routes()
    tables = declared.tables_of(declared.text_of(path, _UNDONE), str(path), _UNDONE)
    return declared.checked(Routes, tables, str(path), _UNDONE)
