"""The HTTP server of a process: what it answers, and what a hostile client cannot do to it."""

from __future__ import annotations

import socket
import subprocess
import sys
from contextlib import ExitStack, contextmanager
from http import HTTPStatus
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from long_cases import long_after
from monitored import ask
from sinergi.metrics.address import ListenAddress
from sinergi.metrics.listener import (
    MOST_ANSWERS,
    MOST_OPEN,
    MOST_REQUEST_BYTES,
    MOST_SECONDS,
    HttpAnswer,
    Listener,
)
from sinergi_schemas.clock import SYSTEM
from sinergi_schemas.errors import ListenRefused
from waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator

LARGE = b"x" * 20_000_000


@pytest.fixture(scope="module")
def listener() -> Iterator[Listener]:
    answers = {
        "/well": lambda: HttpAnswer(HTTPStatus.OK, b"well\n"),
        "/ill": lambda: HttpAnswer(HTTPStatus.SERVICE_UNAVAILABLE, b"ill\n"),
        "/large": lambda: HttpAnswer(HTTPStatus.OK, LARGE),
        "/broken": _break,
    }
    made = Listener(ListenAddress("127.0.0.1", 0), answers)
    made.start()
    yield made
    made.close()


def _break() -> HttpAnswer:
    raise KeyError("a fault of ours")


def said(listener: Listener, request: bytes) -> bytes:
    """What the server answers to some bytes."""
    with socket.create_connection(("127.0.0.1", listener.port), 30) as connection:
        connection.sendall(request)
        connection.shutdown(socket.SHUT_WR)
        found = b""
        while part := connection.recv(65_536):
            found += part
        return found


def test_a_path_is_answered_by_its_function(listener: Listener) -> None:
    assert ask(listener.port, "/well") == (200, "well\n")
    assert ask(listener.port, "/well?who=prometheus") == (200, "well\n")
    assert ask(listener.port, "/ill") == (503, "ill\n")
    assert ask(listener.port, "/") == (404, "Not Found\n")
    assert ask(listener.port, "/well", "HEAD") == (200, "")
    assert ask(listener.port, "/well", "POST") == (405, "Method Not Allowed\n")


def test_a_fault_of_an_answer_ends_that_connection_alone(listener: Listener) -> None:
    with capture_logs() as logs:
        assert said(listener, b"GET /broken HTTP/1.1\r\n\r\n") == b""
    assert [each["why"] for each in logs] == ["KeyError"]
    assert ask(listener.port, "/well")[0] == 200


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"GET", 400),
        (b"\r\n\r\n", 400),
        (b"GET /well\r\n\r\n", 400),
        (b"GET /well HTTP/2.0\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
        (b"GET /../../etc/passwd HTTP/1.1\r\n\r\n", 404),
        (b"GET http://127.0.0.1/well HTTP/1.1\r\n\r\n", 404),
        (b"DELETE /well HTTP/1.1\r\n\r\n", 405),
        (b"GET /well HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n", 200),
        (b"GET /well HTTP/1.1\r\nA: " + b"a" * MOST_REQUEST_BYTES + b"\r\n\r\n", 431),
        (b"GET /" + b"a" * 10_000_000 + b" HTTP/1.1\r\n\r\n", 431),
        (b"GET /well HTTP/1.1\r\n" + b"A: b\r\n" * 1_000 + b"\r\n", 200),
    ],
)
def test_what_is_no_request_is_refused(
    listener: Listener, request_bytes: bytes, status: int
) -> None:
    try:
        found = said(listener, request_bytes)
    except (BrokenPipeError, ConnectionResetError):  # it has not read all of it
        assert status == 431
    else:
        assert found.startswith(b"HTTP/1.1 %d " % status)
    assert ask(listener.port, "/well")[0] == 200


def test_a_client_that_asks_for_nothing_uses_up_no_answer(listener: Listener) -> None:
    for _ in range(2 * MOST_ANSWERS):
        assert said(listener, b"") == b""
    began = SYSTEM.monotonic()
    assert ask(listener.port, "/well")[0] == 200
    assert SYSTEM.monotonic() - began < 1


@given(st.binary(max_size=200))
def test_no_bytes_end_the_server(listener: Listener, request_bytes: bytes) -> None:
    found = said(listener, request_bytes)
    assert found == b"" or found.startswith(b"HTTP/1.1 4") or b" 200 " in found or b" 503 " in found


def test_more_connections_than_are_served_keep_nobody_out(listener: Listener) -> None:
    """Clients that connect and send nothing are closed for those that come after them."""
    with ExitStack() as stack:
        silent = [
            stack.enter_context(socket.create_connection(("127.0.0.1", listener.port), 30))
            for _ in range(2 * MOST_OPEN)
        ]
        assert ask(listener.port, "/well") == (200, "well\n")
        assert silent[0].recv(1) == b""


# A process of its own: else the flood would delay the server by Python's lock.
FLOOD = """
import collections, contextlib, resource, socket, sys, time
_, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
host, port, request = sys.argv[1], int(sys.argv[2]), bytes.fromhex(sys.argv[3])
held = collections.deque()
while True:
    for _ in range(20):
        client = socket.socket()
        client.bind((host, 0))
        client.setblocking(False)
        client.connect_ex(("127.0.0.1", port))
        held.append(client)
    for client in [*held][-40:] if request else ():
        with contextlib.suppress(OSError):
            client.send(request)
    while len(held) > min(3_000, hard - 100):
        held.popleft().close()
    time.sleep(0.005)
"""


@contextmanager
def flooded(listener: Listener, host: str, request: bytes) -> Iterator[None]:
    """Flood the listener from an address of this machine."""
    command = [sys.executable, "-c", FLOOD, host, str(listener.port), request.hex()]
    with subprocess.Popen(command) as process:
        try:
            yield
        finally:
            process.kill()


@pytest.mark.parametrize(
    ("host", "request_bytes"),
    long_after(
        1,
        [
            ("127.0.0.2", b"GET /well HTTP"),
            ("127.0.0.1", b""),
            ("127.0.0.2", b""),
            ("127.0.0.2", b"GET /well HTTP/1.1\r\n\r\n"),
        ],
    ),
)
def test_a_flood_of_connections_delays_no_probe(
    listener: Listener, host: str, request_bytes: bytes
) -> None:
    """The probe comes from 127.0.0.1. Kubernetes gives it 5 s (deploy/kubernetes).

    A probe from the address of the flood is closed for later connections of that address, if the
    system lets it wait between its connection and its request. It then asks again.
    """
    with flooded(listener, host, request_bytes):
        until(lambda: listener.open > 10, "the flood has begun")
        for _ in range(30):
            began = SYSTEM.monotonic()
            while (found := probed(listener)) is None:
                assert host == "127.0.0.1"
            assert found == (200, "well\n")
            assert SYSTEM.monotonic() - began < 5


def probed(listener: Listener) -> tuple[int, str] | None:
    """The answer to a probe, or nothing if its connection was closed."""
    try:
        return ask(listener.port, "/well")
    except ConnectionError:
        return None


def test_a_client_that_sends_a_byte_at_a_time_has_the_time_of_any_other(
    listener: Listener,
) -> None:
    began = SYSTEM.monotonic()
    with socket.create_connection(("127.0.0.1", listener.port), 30) as slow:
        slow.settimeout(0.1)
        ended = False
        while not ended:
            try:
                slow.sendall(b"G")
                ended = slow.recv(1) == b""
            except TimeoutError:
                assert ask(listener.port, "/well")[0] == 200
            except (BrokenPipeError, ConnectionResetError):
                ended = True
    assert SYSTEM.monotonic() - began >= MOST_SECONDS - 0.1


def test_a_client_that_reads_nothing_is_closed(listener: Listener) -> None:
    with socket.create_connection(("127.0.0.1", listener.port), 30) as deaf:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        deaf.sendall(b"GET /large HTTP/1.1\r\n\r\n")
        until(lambda: listener.open == 0, "it is closed")
        assert ask(listener.port, "/well")[0] == 200


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("127.0.0.1:9464", "127.0.0.1", 9464),
        ("localhost:0", "localhost", 0),
        ("[::1]:65535", "::1", 65535),
    ],
)
def test_an_address_is_read(text: str, host: str, port: int) -> None:
    assert ListenAddress.parse(text) == (host, port)
    assert str(ListenAddress.parse(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        *("", ":", "9464", ":9464", "127.0.0.1", "127.0.0.1:", "::1:9464", "[::1]"),
        *("a:-1", "a:65536", "a:9e3", "a:\N{ARABIC-INDIC DIGIT THREE}", "a:123456", "a: 1"),
    ],
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="must be"):
        ListenAddress.parse(text)


@pytest.mark.parametrize(
    ("host", "why"),
    [
        ("no-such-host.invalid", "no such host"),
        ("192.0.2.1", "this machine does not have the address"),
        ("a" * 300, "no such host"),
    ],
)
def test_an_address_that_is_not_here_is_refused(host: str, why: str) -> None:
    with pytest.raises(ListenRefused, match=why):
        Listener(ListenAddress(host, 0), {})


def test_a_port_that_is_taken_is_refused(listener: Listener) -> None:
    with pytest.raises(ListenRefused, match="another process uses the port"):
        Listener(ListenAddress("127.0.0.1", listener.port), {})


@pytest.mark.parametrize(
    ("host", "levels"),
    [
        ("127.0.0.1", ["info"]),
        ("0.0.0.0", ["info", "warning"]),  # noqa: S104 - what is warned of
    ],
)
def test_an_address_that_others_reach_is_warned_of(host: str, levels: list[str]) -> None:
    with capture_logs() as logs:
        Listener(ListenAddress(host, 0), {}).close()
    assert [each["log_level"] for each in logs] == levels
