"""A POST that goes where it may and nowhere else: to an address that was looked at, straight, once.

Whoever names an address could otherwise let us knock at what only we can reach: the machine's own
services, those of its network, or the page on which a cloud tells a machine its secrets.
"""

import ipaddress
import re
import socket
import ssl
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPException
from urllib.parse import SplitResult, urlsplit

from actions.dispatch import Undelivered
from programme.errors import InputRefused

URL_LENGTH_MAX = 500
SECONDS = 10.0
_NAME = re.compile(r"[a-z0-9._-]+")
_PORTS = {"http": 80, "https": 443}
# Where clouds tell machines their secrets, in a range that is otherwise a network's own.
_NEVER = frozenset({ipaddress.ip_address("fd00:ec2::254")})
# An IPv4 address in the clothes of IPv6 is judged as what it is.
_TRANSLATED = ipaddress.ip_network("64:ff9b::/96")

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def check(url: str, *, inside: bool) -> None:
    """Refuse an address that nothing will ever be sent to.

    Parameters
    ----------
    inside : whether it may be of this machine or a private network, and then unencrypted

    Raises
    ------
    InputRefused : saying what is wrong with it.
    """
    if wrong := _wrong(url, inside=inside):
        raise InputRefused(
            f"Nothing can be sent there: {wrong}. Nothing was changed. Name an address such as "
            "https://crm.example.com/perennial."
        )


def post(
    url: str,
    headers: Mapping[str, str],
    body: bytes,
    *,
    inside: bool,
    seconds: float = SECONDS,
) -> int:
    """Post a body and return the status of the answer; a redirect is an answer like any other.

    Parameters
    ----------
    inside : see `check`; what the name of the host means is looked up, and judged, each time
    seconds : after which it is given up, however slowly the receiver speaks

    Raises
    ------
    Undelivered : if there was no answer.
    """
    if wrong := _wrong(url, inside=inside):
        raise Undelivered(f"not sent: {wrong}", for_good=True)
    parts = urlsplit(url)
    try:
        with _connected(parts, inside=inside, seconds=seconds) as connection:
            target = f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
            connection.request("POST", target, body, dict(headers))
            return connection.getresponse().status
    except (OSError, HTTPException) as error:
        raise Undelivered(f"no answer: {_said(error)}", for_good=False) from error


def may_reach(address: Address, *, inside: bool) -> bool:
    """Return whether anything may be sent to an address."""
    plain = _plain(address)
    if plain in _NEVER or plain.is_link_local or plain.is_multicast or plain.is_unspecified:
        return False
    if plain.is_reserved and not plain.is_loopback:
        return False
    return plain.is_global or (inside and (plain.is_private or plain.is_loopback))


def _plain(address: Address) -> Address:
    """Return the IPv4 address that an IPv6 address stands for, where it stands for one."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address in _TRANSLATED:
        return ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
    teredo = address.teredo[1] if address.teredo else None
    return address.ipv4_mapped or address.sixtofour or teredo or address


def _wrong(url: str, *, inside: bool) -> str | None:
    if len(url) > URL_LENGTH_MAX or not url.isascii() or not url.isprintable() or " " in url:
        return f"it is not printable ASCII of at most {URL_LENGTH_MAX} characters"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return "it is no address"
    if parts.scheme not in _PORTS or not parts.hostname or port == 0:
        return "it is no https address of a host"
    if parts.username is not None or parts.password is not None:
        return "it holds a name or a password"
    if parts.fragment:
        return "it ends in a fragment, which is never sent"
    if parts.scheme == "http" and not inside:
        return "it is not encrypted, and only what lies inside may be reached so"
    try:
        address = ipaddress.ip_address(parts.hostname)
    except ValueError:
        # Some Pythons take anything in brackets for an address.
        named = "[" not in parts.netloc and _NAME.fullmatch(parts.hostname)
        return None if named else "its host has no name of letters"
    return None if may_reach(address, inside=inside) else _CLOSED


_CLOSED = "the address is this machine's, a private network's or nobody's"


@contextmanager
def _connected(parts: SplitResult, *, inside: bool, seconds: float) -> Iterator[HTTPConnection]:
    """Connect to a checked address; whatever still goes on when the time is over is cut off."""
    assert parts.hostname is not None
    port = parts.port or _PORTS[parts.scheme]
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    connection = HTTPConnection(host, port)
    if parts.port in (None, _PORTS[parts.scheme]):
        connection.port = connection.default_port  # not to be said in the Host header
    found = _addresses(parts.hostname, port, inside=inside)
    sock = _first_reached(found, seconds)
    cut = threading.Timer(seconds, _cut, (connection,))
    cut.daemon = True
    try:
        connection.sock = sock
        if parts.scheme == "https":
            context = ssl.create_default_context()
            connection.sock = context.wrap_socket(sock, server_hostname=parts.hostname)
        cut.start()
        yield connection
    finally:
        cut.cancel()
        connection.close()
        sock.close()


def _addresses(host: str, port: int, *, inside: bool) -> list[tuple[str, int]]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except UnicodeError as error:  # a label too long for a name
        raise OSError("the name of the host cannot be looked up") from error
    told = dict.fromkeys(str(one[4][0]).partition("%")[0] for one in found)
    allowed = [one for one in told if may_reach(ipaddress.ip_address(one), inside=inside)]
    if not allowed:
        raise Undelivered(f"not sent: {_CLOSED}", for_good=True)
    return [(one, port) for one in allowed]


def _first_reached(addresses: list[tuple[str, int]], seconds: float) -> socket.socket:
    *others, last = addresses
    for address in others:
        try:
            return socket.create_connection(address, seconds / len(addresses))
        except OSError:
            continue
    return socket.create_connection(last, seconds)


def _cut(connection: HTTPConnection) -> None:
    sock = connection.sock
    if sock is not None:
        try:
            sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            return  # it ended by itself


def _said(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
