"""The HTTP server of a running process: `GET` of a few paths, on a thread of its own.

Whoever reaches the address may connect, so everything is bounded, and nothing that a client does
delays the process or another client for long:

- the system's queue of new connections is emptied every `PACE_SECONDS`, of at most `MOST_ACCEPTED`:
  a client that only connects cannot keep the queue full, and leaves the processor to the process.
- at most `MOST_OPEN` connections at a time. One more closes the oldest one of the address that has
  most of them: a client that sends its request at once is answered before that, and one that does
  not makes room. (Beside a flood from its own address a client can be closed all the same; it asks
  again, as probes do.)
- at most `MOST_ANSWERS` a second for each address; further requests wait, a few of them. So a storm
  of requests from one host takes nothing from another one.
- a request of at most `MOST_REQUEST_BYTES`, of which only the first line is read.
- `MOST_SECONDS` for a connection, from its first byte to its last.
- one request for each connection. A body is not read.

An answer is made by a function that returns at once: what is slow is read before (`looks`).
"""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from contextlib import suppress
from functools import partial
from http import HTTPStatus
from ipaddress import IPv4Address, ip_address
from typing import TYPE_CHECKING, Any, NamedTuple

import structlog

from sinergi.metrics.address import bind, is_loopback
from sinergi_schemas.clock import SYSTEM

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Mapping

    from sinergi.metrics.address import ListenAddress

_log = structlog.get_logger(__name__)

MOST_OPEN = 256
MOST_SECONDS = 5.0
MOST_REQUEST_BYTES = 8 * 1024
PACE_SECONDS = 0.005
MOST_ACCEPTED = 50
MOST_ANSWERS = 100

_END_OF_HEAD = b"\r\n\r\n"
_WINDOW_SECONDS = 1.0
_MOST_WAITING = 16  # requests of one address that wait for the next window
_SWEEP_SECONDS = 0.25
_PAUSE_SECONDS = 1.0  # after the system has refused a connection, for example for want of files
_PLAIN = "text/plain; charset=utf-8"


class HttpAnswer(NamedTuple):
    """What a path answers."""

    status: HTTPStatus
    text: bytes
    content_type: str = _PLAIN


class _Connection:
    """One client.

    Attributes:
        host: where it connects from; of IPv6 the network, which one host has to itself.
        head: what it has sent.
        task: answers it, once its request is there.
        is_waiting: whether its address has got all answers of this second.
    """

    __slots__ = ("client", "deadline", "head", "host", "is_waiting", "loop", "task")

    def __init__(self, client: socket.socket, host: str, deadline: float) -> None:
        self.client = client
        self.loop = asyncio.get_running_loop()
        self.host = host
        self.deadline = deadline
        self.head = b""
        self.is_waiting = False
        self.task: asyncio.Task[None] | None = None

    def receive(self) -> bool:
        """Receive what has arrived; whether the request ends there.

        Raises:
            OSError: the client went away.
        """
        try:
            received = self.client.recv(MOST_REQUEST_BYTES)
        except BlockingIOError:
            return False
        self.head += received
        return not received or _END_OF_HEAD in self.head or len(self.head) > MOST_REQUEST_BYTES


class Listener:
    """Serves some paths on an address.

    Args:
        address: where.
        answers: a function for each path. It is called on the listener's thread, and is fast.

    Raises:
        ListenRefused: the address cannot be used.
    """

    def __init__(
        self, address: ListenAddress, answers: Mapping[str, Callable[[], HttpAnswer]]
    ) -> None:
        self._socket = bind(address)
        self._answers = answers
        self._open: dict[_Connection, None] = {}
        self._by_host: dict[str, dict[_Connection, None]] = {}
        self._answered: Counter[str] = Counter()
        self._window_end = 0.0
        self._running: tuple[asyncio.AbstractEventLoop, threading.Thread] | None = None
        self.port: int = self._socket.getsockname()[1]
        shown = address._replace(port=self.port)
        _log.info("listening", address=str(shown), paths=" ".join(answers))
        if not is_loopback(self._socket):
            _log.warning(
                "whoever reaches this address reads the metrics, without a password",
                address=str(shown),
                mend="listen on 127.0.0.1, or let a firewall admit only the monitoring",
            )

    @property
    def open(self) -> int:
        """How many connections are open."""
        return len(self._open)

    def start(self) -> None:
        """Serve from now on until the process ends, or `close` is called."""
        loop = asyncio.new_event_loop()
        thread = threading.Thread(target=self._run, args=(loop,), name="listener", daemon=True)
        self._running = loop, thread
        thread.start()

    def close(self) -> None:
        """Serve no longer, and free the port."""
        if self._running is not None:
            loop, thread = self._running
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
        self._socket.close()

    def _run(self, loop: asyncio.AbstractEventLoop) -> None:
        tasks = [loop.create_task(self._accept()), loop.create_task(self._sweep())]
        loop.run_forever()
        tasks += [each.task for each in self._open if each.task]
        for task in tasks:
            task.cancel()
        loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        for each in list(self._open):
            self._close(each)
        loop.close()

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                self._admit(*await loop.sock_accept(self._socket))
                self._admit_waiting()
            except OSError as why:
                _log.warning("connection not accepted", why=why.strerror)
                await asyncio.sleep(_PAUSE_SECONDS)
                continue
            await asyncio.sleep(PACE_SECONDS)

    def _admit_waiting(self) -> None:
        """Admit connections that wait already, up to a number."""
        with suppress(BlockingIOError):  # nobody else waits
            for _ in range(MOST_ACCEPTED - 1):
                self._admit(*self._socket.accept())

    async def _sweep(self) -> None:
        """Close the connections whose time is over."""
        while True:
            now = SYSTEM.monotonic()
            for each in [each for each in self._open if each.deadline < now]:
                self._close(each)
            await asyncio.sleep(_SWEEP_SECONDS)

    def _admit(self, client: socket.socket, address: tuple[Any, ...]) -> None:
        client.settimeout(0)
        if len(self._open) >= MOST_OPEN:
            most = max(self._by_host.values(), key=len)
            self._close(next(iter(most)))
        connection = _Connection(client, _host(address), SYSTEM.monotonic() + MOST_SECONDS)
        self._open[connection] = None
        self._by_host.setdefault(connection.host, {})[connection] = None
        connection.loop.add_reader(client, self._receive, connection)
        # Most clients have sent their request by now, and have not to wait in line for a slot.
        self._receive(connection)

    def _receive(self, connection: _Connection) -> None:
        try:
            is_whole = connection.receive()
        except OSError:
            self._close(connection)
            return
        if is_whole and not connection.head:  # it has asked for nothing, so it uses up no answer
            self._close(connection)
            return
        if not is_whole:
            return
        waiting = [each for each in self._by_host[connection.host] if each.is_waiting]
        if len(waiting) >= _MOST_WAITING:
            self._close(waiting[0])
        connection.loop.remove_reader(connection.client)
        connection.task = connection.loop.create_task(self._serve(connection))
        connection.task.add_done_callback(partial(self._end, connection))

    def _may_answer(self, host: str) -> bool:
        """Whether an address may get one more answer now."""
        now = SYSTEM.monotonic()
        if now >= self._window_end:
            self._answered.clear()
            self._window_end = now + _WINDOW_SECONDS
        return self._answered[host] < MOST_ANSWERS

    def _close(self, connection: _Connection) -> None:
        if connection not in self._open:
            return
        del self._open[connection]
        of_host = self._by_host[connection.host]
        del of_host[connection]
        if not of_host:
            del self._by_host[connection.host]
        if connection.task is None:
            connection.loop.remove_reader(connection.client)
        else:
            connection.task.cancel()
        connection.client.close()

    def _end(self, connection: _Connection, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (why := task.exception()):
            _log.error("request not answered", why=type(why).__name__, exc_info=why)
        self._close(connection)

    async def _serve(self, connection: _Connection) -> None:
        connection.is_waiting = True
        while not self._may_answer(connection.host):  # noqa: ASYNC110 - time alone ends it
            await asyncio.sleep(self._window_end - SYSTEM.monotonic())
        connection.is_waiting = False
        self._answered[connection.host] += 1
        answer, has_body = self._answer(connection.head)
        with suppress(OSError):  # the client went away
            text = _encoded(answer, has_body=has_body)
            await connection.loop.sock_sendall(connection.client, text)

    def _answer(self, head: bytes) -> tuple[HttpAnswer, bool]:
        """The answer to a request, and whether its body is sent."""
        if _END_OF_HEAD not in head[: MOST_REQUEST_BYTES + len(_END_OF_HEAD)]:
            too_long = len(head) > MOST_REQUEST_BYTES
            status = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE if too_long else None
            return _plain(status or HTTPStatus.BAD_REQUEST), True
        words = head.partition(b"\r\n")[0].decode("latin-1").split(" ")
        if len(words) != 3 or not words[2].startswith("HTTP/1."):
            return _plain(HTTPStatus.BAD_REQUEST), True
        method, target, _ = words
        if method not in ("GET", "HEAD"):
            return _plain(HTTPStatus.METHOD_NOT_ALLOWED), True
        answer = self._answers.get(target.partition("?")[0])
        return (answer() if answer else _plain(HTTPStatus.NOT_FOUND)), method == "GET"


def _host(address: tuple[Any, ...]) -> str:
    """Where a client connects from; of IPv6 the first 64 bits, beyond which a host may choose."""
    found = ip_address(address[0].partition("%")[0])
    if isinstance(found, IPv4Address):
        return str(found)
    mapped = found.ipv4_mapped
    return str(mapped) if mapped else found.packed[:8].hex()


def _plain(status: HTTPStatus) -> HttpAnswer:
    return HttpAnswer(status, f"{status.phrase}\n".encode())


def _encoded(answer: HttpAnswer, *, has_body: bool) -> bytes:
    status = answer.status
    head = (
        f"HTTP/1.1 {status:d} {status.phrase}\r\n"
        f"Content-Type: {answer.content_type}\r\n"
        f"Content-Length: {len(answer.text)}\r\n"
        "Cache-Control: no-store\r\n"
        "Connection: close\r\n\r\n"
    )
    return head.encode() + (answer.text if has_body else b"")
