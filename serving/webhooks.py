"""Signed webhooks: a message is posted with its id, and a signature the receiver can check.

The signature is HMAC-SHA-256 over the moment of sending, a full stop and the body, under a key both
sides know. Whoever checks it refuses moments that lie far back, and so an old message sent again by
somebody else; whoever remembers the id does a message that comes twice once.
"""

import hmac
import urllib.error
import urllib.request
from datetime import datetime
from hashlib import sha256
from http import HTTPStatus
from typing import Any

from actions.dispatch import Undelivered
from actions.routes import Route

TIMEOUT_SECONDS = 10.0
SIGNATURE, MOMENT, KEY = "Perennial-Signature", "Perennial-Timestamp", "Idempotency-Key"
# Asked again later, these may be answered otherwise; every other refusal is for good.
_PASSES = (
    HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.CONFLICT, HTTPStatus.TOO_EARLY,
    HTTPStatus.TOO_MANY_REQUESTS,
)  # fmt: skip


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A message goes where its route says and nowhere else."""

    def redirect_request(self, *_: Any) -> None:
        """Follow nothing: the redirect is the answer."""


_opener = urllib.request.build_opener(_NoRedirects)


def signature(secret: bytes, moment: int, body: bytes) -> str:
    """Return the signature of a body sent at a moment, as hexadecimal digits.

    Parameters
    ----------
    moment : seconds since 1970
    """
    return hmac.new(secret, f"{moment}.".encode() + body, sha256).hexdigest()


def signed_headers(secret: bytes, message_id: str, body: bytes, *, now: datetime) -> dict[str, str]:
    """Return the headers of a message: its id, the moment and the signature of both."""
    moment = int(now.timestamp())
    return {
        "Content-Type": "application/json", MOMENT: str(moment),
        # A header holds ASCII only; any member id fits in a hash.
        KEY: sha256(message_id.encode()).hexdigest(),
        SIGNATURE: f"sha256={signature(secret, moment, body)}",
    }  # fmt: skip


def check(status: int) -> None:
    """Refuse every answer but that the receiver took it.

    Raises
    ------
    Undelivered : saying what was answered.
    """
    if not 200 <= status < 300:
        passes = status < 300 or status >= 500 or status in _PASSES
        raise Undelivered(f"answered {status}", for_good=not passes)


def post(route: Route, message_id: str, body: bytes, *, now: datetime) -> None:
    """Deliver one message.

    Raises
    ------
    Undelivered : if the receiver did not say that it took it.
    """
    assert route.url is not None
    headers = signed_headers(route.secret(), message_id, body, now=now)
    request = urllib.request.Request(route.url, body, method="POST", headers=headers)
    try:
        with _opener.open(request, timeout=TIMEOUT_SECONDS) as answer:
            status = answer.status
    except urllib.error.HTTPError as error:
        with error:
            status = error.code
    except (OSError, urllib.error.URLError) as error:
        raise Undelivered(f"no answer: {error}", for_good=False) from error
    check(status)
