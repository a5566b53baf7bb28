"""A client of a Perennial service, typed, on the standard library alone."""

import json
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import Any

LONGEST_PAUSE_SECONDS = 30.0
BYTES_AT_ONCE = 256 * 1024


class Refused(Exception):
    """The service said no; see RFC 9457.

    Attributes
    ----------
    status : of HTTP
    code : names the refusal, where it has a name
    detail : what did not happen, and what to do
    """

    def __init__(self, status: int, problem: Mapping[str, Any], retry_after: str | None) -> None:
        self.status = status
        self.code: str | None = problem.get("code")
        self.detail = str(problem.get("detail", ""))
        self.errors: list[Any] = problem.get("errors") or []
        seconds = retry_after or ""
        self.retry_after = float(seconds) if seconds.isdigit() else None
        super().__init__(f"{status} {self.code or problem.get('title', '')}: {self.detail}")


class Away(Exception):
    """The service gave no answer."""


class Download:
    """A file that is being handed over; iterate it, or save it."""

    def __init__(self, response: HTTPResponse) -> None:
        self._response = response
        self.etag: str | None = response.headers["ETag"]
        self.as_of: str | None = response.headers["Perennial-As-Of"]
        self.cursor: str | None = response.headers["Perennial-Cursor"]

    def __iter__(self) -> Iterator[bytes]:
        with self._response:
            while part := self._response.read(BYTES_AT_ONCE):
                yield part

    def save(self, path: Path) -> None:
        """Write the file; it appears whole or not at all."""
        unfinished = path.with_name(f".{path.name}.unfinished")
        with unfinished.open("wb") as file:
            for part in self:
                file.write(part)
        unfinished.replace(path)


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """The key goes to the service and nowhere else."""

    def redirect_request(self, *_: Any) -> None:
        """Follow nothing."""


class Caller:
    """Sends requests, and sends again what may be.

    Parameters
    ----------
    address : of the service, such as "https://perennial.example.com"
    key : pk_... as `perennial keys create` printed it; None: on the service's own machine
    language : of words meant for people
    attempts : a request that changes nothing, or carries an idempotency key, is sent so often
        while the service is busy or away
    """

    def __init__(
        self,
        address: str,
        key: str | None = None,
        *,
        language: str = "en",
        timeout_seconds: float = 30.0,
        attempts: int = 3,
    ) -> None:
        if urllib.parse.urlsplit(address).scheme not in ("http", "https"):
            raise ValueError(f"{address!r} is no address of a service")
        self._address = address.rstrip("/")
        self._headers = {"Accept-Language": language}
        if key is not None:
            self._headers["Authorization"] = f"Bearer {key}"
        self._timeout_seconds = timeout_seconds
        self._attempts = attempts
        self._opener = urllib.request.build_opener(_NoRedirects)

    def _json(
        self,
        method: str,
        path: str,
        query: Mapping[str, Any],
        body: Any = None,
        headers: Mapping[str, str | None] | None = None,
    ) -> Any:
        with self._open(method, path, query, body, headers) as response:
            return json.loads(response.read())

    def _download(
        self, path: str, query: Mapping[str, Any], headers: Mapping[str, str | None]
    ) -> Download | None:
        try:
            return Download(self._open("GET", path, query, None, headers))
        except Refused as error:
            if error.status == 304:  # the caller has it
                return None
            raise

    def _open(
        self,
        method: str,
        path: str,
        query: Mapping[str, Any],
        body: Any,
        headers: Mapping[str, str | None] | None,
    ) -> HTTPResponse:
        asked = urllib.parse.urlencode(
            {name: _text(value) for name, value in query.items() if value is not None}, doseq=True
        )
        url = f"{self._address}{path}?{asked}" if asked else f"{self._address}{path}"
        sent = {**self._headers, **{k: v for k, v in (headers or {}).items() if v is not None}}
        content = None
        if body is not None:
            content, sent["Content-Type"] = json.dumps(body).encode(), "application/json"
        elif method == "POST":
            content, sent["Content-Type"] = b"", "application/json"
        again = method == "GET" or "Idempotency-Key" in sent
        for left in reversed(range(self._attempts if again else 1)):
            request = urllib.request.Request(url, content, sent, method=method)
            try:
                opened: HTTPResponse = self._opener.open(request, timeout=self._timeout_seconds)
                return opened
            except urllib.error.HTTPError as error:
                refused = _refused(error)
                if not left or refused.status not in (429, 503):
                    raise refused from None
                time.sleep(min(refused.retry_after or 1.0, LONGEST_PAUSE_SECONDS))
            except (OSError, HTTPException) as error:
                if not left:
                    raise Away(f"{method} {path} was not answered: {error}") from error
                time.sleep(1.0)
        raise AssertionError("the last attempt returns or raises")


def _refused(error: urllib.error.HTTPError) -> Refused:
    with error:
        try:
            problem = json.loads(error.read())
        except ValueError:
            problem = {"title": error.reason}
        return Refused(error.code, problem, error.headers["Retry-After"])


def _text(value: Any) -> Any:
    if isinstance(value, bool):
        return "true" if value else "false"
    return [_text(one) for one in value] if isinstance(value, list) else str(value)


def _in_path(value: str) -> str:
    return urllib.parse.quote(value, safe="")
