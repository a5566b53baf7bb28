"""The gatekeeper: who may come in, decided from memory, a few millionths of a second a request.

Keys are read from the database beside the event loop, every second: a key that was made or revoked
is known that soon, and no request waits for a database.
"""

import hmac
import ipaddress
import logging
import secrets
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from programme.database import Database
from programme.errors import PerennialError
from programme.settings import PROGRAMME_FILE, Settings
from serving.access import keys
from serving.access.bucket import Bucket
from serving.access.scopes import SCOPES

LOOK_EVERY_SECONDS = 1.0
# A database that cannot be asked must not keep a revoked key alive.
KEYS_AGE_MAX_SECONDS = 60
BURST_SECONDS = 2
# A key has 59 characters; no more of what was sent is looked at.
_SENT_LENGTH_MAX = 200
_NANO = 1_000_000_000
_HERE_NAMES = frozenset({b"127.0.0.1", b"localhost", b"[::1]"})
# Proxies say so: whoever calls through one is not on this machine, though the proxy may be.
_FORWARDED = frozenset(
    {b"forwarded", b"x-forwarded-for", b"x-forwarded-host", b"x-real-ip", b"via"}
)

# Below BentoML's own logger, so that it reaches the same lines of the same log.
logger = logging.getLogger("bentoml.perennial")

Headers = Iterable[tuple[bytes, bytes]]


@dataclass(frozen=True)
class Caller:
    """Who was let in.

    Parameters
    ----------
    key_id : for the log; None: somebody on this machine, without a key
    scopes : what is open to them
    """

    key_id: str | None
    scopes: frozenset[str]


@dataclass(frozen=True)
class Refusal:
    """Why somebody was not let in, as a problem to answer with; it repeats nothing that was sent.

    Parameters
    ----------
    key_id : for the log; None: none, or one there never was
    """

    status: int
    code: str
    detail: str
    headers: Mapping[str, str]
    key_id: str | None = None


@dataclass(frozen=True)
class _Known:
    """A key as requests meet it."""

    caller: Caller
    secret_hash: bytes = field(repr=False)
    expires_at: datetime | None
    revoked: bool
    bucket: Bucket


HERE = Caller(None, frozenset(SCOPES))
_SEND = "Send Authorization: Bearer pk_... (perennial keys create makes one)."
# What a caller reads, by the code of the problem.
REFUSALS: Mapping[str, tuple[int, str]] = {
    "key_needed": (401, f"This needs a key. Nothing was done. {_SEND}"),
    "key_refused": (401, f"This key opens nothing here. Nothing was done. {_SEND}"),
    "scope_missing": (
        403, "This key does not hold the scope of the route. Nothing was done. Use one that does.",
    ),
    "asked_too_often": (
        429, "This key asks more often than it may. Nothing was done. Ask again after Retry-After.",
    ),
    "keys_unread": (
        503, "Keys cannot be looked up just now. Nothing was done. Try again in a few seconds.",
    ),
}  # fmt: skip
_CHALLENGE = 'Bearer realm="perennial"'


def _refusal(code: str, key_id: str | None = None, **headers: str) -> Refusal:
    status, detail = REFUSALS[code]
    told = {name.replace("_", "-"): value for name, value in headers.items()}
    return Refusal(status, code, detail, told, key_id)


_NEEDED = _refusal("key_needed", WWW_Authenticate=_CHALLENGE)
_UNREAD = _refusal("keys_unread", Retry_After="3")


class Gatekeeper:
    """Lets callers in, or says why not.

    Parameters
    ----------
    require_keys : whether callers on this machine need a key too; `start` sets it from the
        settings, and until then nobody comes in without one
    """

    def __init__(self, *, require_keys: bool = True) -> None:
        self._require_keys = require_keys
        self._known: Mapping[bytes, _Known] = {}
        self._read_at: int | None = None
        self._complaint: str | None = None
        self._stopped = threading.Event()
        # What is compared where no such key exists, so that this takes as long.
        self._nobody = _Known(
            Caller(None, frozenset()), secrets.token_bytes(32), None, True, Bucket(1, 1, 0)
        )

    def start(self, settings: Settings) -> None:
        """Look for keys now and every second, in a thread of its own."""
        self._require_keys = settings.require_keys
        self._stopped, looked = threading.Event(), threading.Event()
        threading.Thread(
            target=self._keep_looking,
            args=(settings, self._stopped, looked),
            name="keys",
            daemon=True,
        ).start()
        # Requests that come at once should find the keys; a database that is away delays nobody.
        looked.wait(LOOK_EVERY_SECONDS)

    def stop(self) -> None:
        """Stop looking."""
        self._stopped.set()

    def refresh(self, database: Database, *, monotonic_ns: int) -> None:
        """Take the keys as they are now; what their holders have asked so far still counts."""
        before, found = self._known, {}
        for key in keys.every(database):
            name = key.key_id.encode()
            bucket = before[name].bucket if name in before else None
            if bucket is None or bucket.per_second != key.per_second:
                bucket = Bucket(key.per_second, key.per_second * BURST_SECONDS, monotonic_ns)
            found[name] = _Known(
                Caller(key.key_id, key.scopes), key.secret_hash, key.expires_at,
                key.revoked_at is not None, bucket,
            )  # fmt: skip
        self._known, self._read_at = found, monotonic_ns

    def admit(
        self,
        headers: Headers,
        *,
        loopback: bool,
        scope_wanted: str,
        monotonic_ns: int,
        now: datetime,
    ) -> Caller | Refusal:
        """Let a request in, or say why not.

        Parameters
        ----------
        headers : as ASGI has them, names in lower case
        loopback : whether the connection comes from this machine to an address only it can reach
        scope_wanted : of the route
        monotonic_ns : a clock that only goes forward, `time.monotonic_ns()`
        now : UTC
        """
        sent: list[bytes] = []
        another_scheme = False
        for name, value in headers:
            if name == b"authorization":
                scheme, _, key = value.partition(b" ")
                if scheme.lower() == b"bearer":
                    sent.append(key.strip())
                else:
                    another_scheme = True
            elif name == b"x-api-key":
                sent.append(value.strip())
            elif loopback and (name in _FORWARDED or (name == b"host" and not _is_here(value))):
                loopback = False
        if not sent and not another_scheme:
            return HERE if loopback and not self._require_keys else _NEEDED
        # Two different keys are no key.
        key = sent[0] if sent and sent.count(sent[0]) == len(sent) else b""
        return self._judge(key, scope_wanted, monotonic_ns, now)

    def _judge(
        self, sent: bytes, scope_wanted: str, monotonic_ns: int, now: datetime
    ) -> Caller | Refusal:
        read_at = self._read_at
        if read_at is None or monotonic_ns - read_at > KEYS_AGE_MAX_SECONDS * _NANO:
            return _UNREAD
        key_id, _, secret = (sent if len(sent) <= _SENT_LENGTH_MAX else b"").partition(b".")
        known = self._known.get(key_id, self._nobody)
        right = hmac.compare_digest(keys.hash_of(secret), known.secret_hash)
        over = known.expires_at is not None and known.expires_at <= now
        if not right or over or known.revoked:
            return _refused(known.caller.key_id)
        if wait := known.bucket.take(monotonic_ns):
            return _too_often(known.caller.key_id, wait)
        if scope_wanted not in known.caller.scopes:
            return _lacking(known.caller.key_id, scope_wanted)
        return known.caller

    def _keep_looking(
        self, settings: Settings, stopped: threading.Event, looked: threading.Event
    ) -> None:
        database: Database | None = None
        while not stopped.is_set():
            try:
                if database is None and (settings.home / PROGRAMME_FILE).exists():
                    database = Database.open(settings)
                if database is None:  # no programme yet, and so no keys
                    self._read_at = time.monotonic_ns()
                else:
                    self.refresh(database, monotonic_ns=time.monotonic_ns())
                self._complaint = None
            except PerennialError as error:
                self._complain(str(error))
            except Exception as error:  # a fault of ours must not end the thread
                self._complain(f"keys could not be read ({type(error).__name__})", error)
            looked.set()
            stopped.wait(LOOK_EVERY_SECONDS)
        if database is not None:
            database.close()

    def _complain(self, why: str, fault: Exception | None = None) -> None:
        if why != self._complaint:  # once, not every second
            logger.warning("keys stay as they were: %s", why, exc_info=fault)
        self._complaint = why


def is_loopback(host: str) -> bool:
    """Return whether an address can be reached from this machine only."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def may_bind(host: str, keys_exist: Callable[[], bool]) -> bool:
    """Return whether a service may listen there; what others can reach needs keys.

    Parameters
    ----------
    keys_exist : asked only where it matters; this machine is served while the database is away
    """
    return is_loopback(host) or keys_exist()


def why_not_bind(host: str) -> str:
    """Return the sentences for an address that may not be listened on."""
    return (
        f"The service would listen on {host}, where others can reach members' scores, and the home "
        "has no keys yet. It did not start. Make one (perennial keys create NAME), or bind "
        "127.0.0.1."
    )


def _is_here(host: bytes) -> bool:
    """Return whether a Host header names this machine as only this machine does.

    A page from elsewhere, opened in a browser on this machine, can be made to call this address
    under the name it came from.
    """
    name = host[: host.find(b"]") + 1] if host.startswith(b"[") else host.partition(b":")[0]
    if name in _HERE_NAMES:
        return True
    return is_loopback(name.decode("latin-1").lower())


def _refused(key_id: str | None) -> Refusal:
    challenge = f'{_CHALLENGE}, error="invalid_token"'
    return _refusal("key_refused", key_id, WWW_Authenticate=challenge)


def _too_often(key_id: str | None, wait_ns: int) -> Refusal:
    return _refusal("asked_too_often", key_id, Retry_After=str(-(-wait_ns // _NANO)))


def _lacking(key_id: str | None, scope: str) -> Refusal:
    challenge = f'{_CHALLENGE}, error="insufficient_scope", scope="{scope}"'
    return _refusal("scope_missing", key_id, WWW_Authenticate=challenge)
