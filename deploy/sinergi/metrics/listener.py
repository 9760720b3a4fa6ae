"""The HTTP server of a running process: `GET` of a few paths, on a thread of its own.

Whoever reaches the address may connect, so everything is bounded, and nothing that a client does
delays the process or another client for long:

- at most `MOST_OPEN` connections at a time. One more closes the oldest one: a client that sends its
  request at once is answered before that, and one that does not makes room.
- at most one new connection each `PACE_SECONDS`, so that a storm of requests leaves the processor
  to the process; the others wait in the system's queue, whose length is bounded.
- a request of at most `MOST_REQUEST_BYTES`, of which only the first line is read.
- `MOST_SECONDS` for a connection, from its first byte to its last.
- one request for each connection. A body is not read.

An answer is made by a function that returns at once: what is slow is read before (`looks`).
"""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, NamedTuple

import structlog

from sinergi.metrics.address import bind, is_loopback

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Mapping

    from sinergi.metrics.address import ListenAddress

_log = structlog.get_logger(__name__)

MOST_OPEN = 64
MOST_SECONDS = 5.0
MOST_REQUEST_BYTES = 8 * 1024
PACE_SECONDS = 0.005

_END_OF_HEAD = b"\r\n\r\n"
_PAUSE_SECONDS = 1.0  # after the system has refused a connection, for example for want of files
_PLAIN = "text/plain; charset=utf-8"


class HttpAnswer(NamedTuple):
    """What a path answers."""

    status: HTTPStatus
    text: bytes
    content_type: str = _PLAIN


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
        self._open: dict[asyncio.Task[None], None] = {}
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
        accepting = loop.create_task(self._accept())
        loop.run_forever()
        tasks = (accepting, *self._open)
        for task in tasks:
            task.cancel()
        loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        loop.close()

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                client, _ = await loop.sock_accept(self._socket)
            except OSError as why:
                _log.warning("connection not accepted", why=why.strerror)
                await asyncio.sleep(_PAUSE_SECONDS)
                continue
            client.settimeout(0)
            if len(self._open) >= MOST_OPEN:
                next(iter(self._open)).cancel()
            task = loop.create_task(self._serve(client))
            self._open[task] = None
            # Not in the task: one that is cancelled before it begins closes nothing.
            task.add_done_callback(partial(self._end, client))
            await asyncio.sleep(PACE_SECONDS)

    def _end(self, client: socket.socket, task: asyncio.Task[None]) -> None:
        client.close()
        del self._open[task]
        if not task.cancelled() and (why := task.exception()):
            _log.error("request not answered", why=type(why).__name__, exc_info=why)

    async def _serve(self, client: socket.socket) -> None:
        with suppress(OSError, TimeoutError):  # the client went away, or is too slow
            async with asyncio.timeout(MOST_SECONDS):
                loop = asyncio.get_running_loop()
                answer, has_body = self._answer(await self._head(client))
                await loop.sock_sendall(client, _encoded(answer, has_body=has_body))

    async def _head(self, client: socket.socket) -> bytes:
        """The request up to its empty line, or as much of it as is read at most."""
        loop = asyncio.get_running_loop()
        head = b""
        while _END_OF_HEAD not in head and len(head) <= MOST_REQUEST_BYTES:
            received = await loop.sock_recv(client, MOST_REQUEST_BYTES)
            if not received:
                break
            head += received
        return head

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
