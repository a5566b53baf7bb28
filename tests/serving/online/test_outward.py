"""A POST goes where it may and nowhere else."""

import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from ipaddress import ip_address
from pathlib import Path
from ssl import PROTOCOL_TLS_SERVER, SSLContext
from typing import Any

import pytest

from actions.dispatch import Undelivered
from programme.errors import InputRefused
from serving.online import outward
from tests.actions.receiver import Receiver


@contextmanager
def served(answer: Callable[[socket.socket], None]) -> Iterator[str]:
    """Serve one connection by hand; yield its address."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def once() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(65_536)
                answer(connection)

        thread = threading.Thread(target=once, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}/hook"
        thread.join(5)


def post(url: str, *, inside: bool = True, seconds: float = 5.0) -> int:
    return outward.post(url, {"Content-Type": "text/plain"}, b"told", inside=inside,
                        seconds=seconds)  # fmt: skip


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "127.8.8.8", "10.0.0.1", "172.16.0.1", "192.168.1.1", "0.0.0.0",
        "169.254.169.254", "100.100.100.200", "224.0.0.1", "240.0.0.1", "255.255.255.255",
        "::1", "::", "fe80::1", "fd00::1", "fd00:ec2::254", "ff02::1", "::ffff:127.0.0.1",
        "::ffff:169.254.169.254", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "2002:7f00:1::",
    ],
)  # fmt: skip
def test_an_address_that_only_we_can_reach_is_closed(address: str) -> None:
    assert not outward.may_reach(ip_address(address), inside=False)


@pytest.mark.parametrize(
    "address", ["93.184.215.14", "2606:2800:21f:cb07::1", "64:ff9b::5db8:d70e"]
)
def test_an_address_of_the_open_network_may_be_reached(address: str) -> None:
    assert outward.may_reach(ip_address(address), inside=False)


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "10.1.2.3", "192.168.1.1", "fd00::1"])
def test_what_lies_inside_may_be_reached_when_it_was_said_so(address: str) -> None:
    assert outward.may_reach(ip_address(address), inside=True)


@pytest.mark.parametrize(
    "address",
    ["169.254.169.254", "fd00:ec2::254", "100.100.100.200", "fe80::1", "0.0.0.0", "224.0.0.1",
     "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::"],
)  # fmt: skip
def test_where_a_cloud_tells_secrets_is_closed_even_inside(address: str) -> None:
    assert not outward.may_reach(ip_address(address), inside=True)


@pytest.mark.parametrize(
    "url",
    [
        "", "crm.example.com", "ftp://crm.example.com/", "https://", "https:///hook",
        "http://crm.example.com/", "https://me:secret@crm.example.com/", "https://a.b/#part",
        "https://a.b:0/", "https://a.b:99999/", "https://a.b/ c", "https://a.b/\r\nHost: c",
        "https://m\u00fcller.example/", "https://127.0.0.1/", "https://[::1]/", "https://[fe80::1]/",
        "https://10.0.0.1/", "https://169.254.169.254/latest", "https://a.b/" + "x" * 500,
        "file:///etc/passwd", "https://[v1.a]/",
    ],
)  # fmt: skip
def test_an_address_nothing_will_be_sent_to_is_refused_at_once(url: str) -> None:
    with pytest.raises(InputRefused, match="Nothing was changed"):
        outward.check(url, inside=False)
    with pytest.raises(Undelivered, match="not sent"):
        post(url, inside=False)


def test_an_address_of_the_open_network_is_taken() -> None:
    outward.check("https://crm.example.com:8443/perennial?tenant=7", inside=False)
    outward.check("http://crm.internal/perennial", inside=True)


@pytest.mark.parametrize("spelt", ["2130706433", "0x7f000001", "0177.0.0.1", "127.1"])
def test_other_spellings_of_this_machine_are_looked_up_and_closed(spelt: str) -> None:
    with pytest.raises(Undelivered) as refused:
        post(f"https://{spelt}/", inside=False)

    assert "127.0.0.1" not in str(refused.value)


def test_a_name_that_means_this_machine_is_closed() -> None:
    with pytest.raises(Undelivered, match="this machine's, a private network's"):
        post("https://localhost/", inside=False)


def test_a_name_is_connected_to_as_it_was_looked_up_once(monkeypatch: pytest.MonkeyPatch) -> None:
    receiver, asked = Receiver(), list[str]()
    port = int(receiver.url.split(":")[2].split("/")[0])

    def looked_up(host: str, *_: Any, **__: Any) -> list[Any]:
        asked.append(host)
        # First one answer, then another: whoever looks up twice is led astray.
        return [(2, 1, 6, "", ("127.0.0.1" if len(asked) == 1 else "192.0.2.1", port))]

    real = socket.getaddrinfo
    monkeypatch.setattr(
        socket, "getaddrinfo",
        lambda host, *a, **k: looked_up(host) if host == "crm.example.com" else real(host, *a, **k),
    )  # fmt: skip
    try:
        assert post(f"http://crm.example.com:{port}/messages") in (200, 401)
    except Undelivered as error:
        assert "no answer" in str(error)  # the handler wants headers that are not sent here
    assert asked == ["crm.example.com"]
    receiver.close()


def test_a_redirect_is_an_answer_and_is_not_followed() -> None:
    with served(
        lambda c: c.sendall(b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\n\r\n")
    ) as url:
        assert post(url) == 302


def test_a_receiver_that_speaks_ever_so_slowly_is_given_up() -> None:
    whole: list[bool] = []

    def drip(connection: socket.socket) -> None:
        try:
            for letter in b"HTTP/1.1 200 OK\r\n" + b"X-A: b\r\n" * 100:
                connection.sendall(bytes([letter]))
                time.sleep(0.05)
            whole.append(True)
        except OSError:
            return

    with served(drip) as url:
        with pytest.raises(Undelivered, match="no answer"):
            post(url, seconds=0.4)
        assert not whole  # the answer would have taken 40 s


@pytest.mark.parametrize("answer", [b"", b"nonsense\r\n\r\n", b"HTTP/1.1 2"])
def test_what_is_no_answer_is_not_taken_for_one(answer: bytes) -> None:
    with served(lambda c: c.sendall(answer)) as url, pytest.raises(Undelivered, match="no answer"):
        post(url)


def test_nobody_there_is_no_answer() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

    with pytest.raises(Undelivered, match="no answer"):
        post(f"http://127.0.0.1:{port}/")


@pytest.fixture
def secure(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """Return the address of an https server of localhost, and its certificate."""
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj",
         "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-keyout", str(key), "-out",
         str(certificate)], check=True, capture_output=True,
    )  # fmt: skip

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    class Quiet(HTTPServer):
        def handle_error(self, *_: Any) -> None:
            pass  # a handshake that is broken off is what one of the tests is about

    server = Quiet(("127.0.0.1", 0), Handler)
    context = SSLContext(PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"https://localhost:{server.server_port}/", certificate
    server.shutdown()
    server.server_close()


def test_a_certificate_nobody_vouches_for_is_refused(secure: tuple[str, Path]) -> None:
    with pytest.raises(Undelivered, match="certificate verify failed"):
        post(secure[0])


def test_a_certificate_of_the_host_is_taken(
    secure: tuple[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    url, certificate = secure
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))

    assert post(url) == 204
    with pytest.raises(Undelivered, match="certificate verify failed"):
        post(url.replace("localhost", "127.0.0.1"))
