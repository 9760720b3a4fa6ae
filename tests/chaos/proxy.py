"""A proxy on 127.0.0.1 between our processes and a service: it cuts, drops, delays and resets.

One thread with an event loop carries all connections. The state that a proxy is given applies from
then on, also to connections that are open, until it is set back.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from contextlib import suppress
from enum import StrEnum
from threading import Thread
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Coroutine

_CHUNK = 65_536
_BIND_SECONDS = 10.0
# Closed with it a connection ends by a reset, without its last bytes (socket(7), SO_LINGER).
_AT_ONCE = struct.pack("ii", 1, 0)


class LinkState(StrEnum):
    """What a link does to its connections."""

    FINE = "fine"
    DROP = "drop"
    """Bytes vanish, and nobody hears of it."""
    DELAY = "delay"
    """Every chunk comes late."""
    RESET = "reset"
    """Every connection is reset, those that are begun too."""


class Proxy:
    """One link. As a context manager it ends with all its connections.

    Args:
        target: the port on 127.0.0.1 to which it leads.
    """

    def __init__(self, target: int) -> None:
        self.target = target
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=100)
        self.port: int = self._listening.getsockname()[1]
        self._loop = asyncio.new_event_loop()
        self._thread = Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self._open: set[asyncio.StreamWriter] = set()
        self._weather = LinkState.FINE
        self._late_seconds = 0.0

    def __enter__(self) -> Self:
        self._thread.start()
        self._do(self._begin())
        return self

    def __exit__(self, *_: object) -> None:
        self._do(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def is_welcome(self, _peer: tuple[str, int]) -> bool:
        """Whether a connection from an address is carried; others are reset."""
        return True

    def turn(self, link_state: LinkState, late_seconds: float = 0.0) -> None:
        """Let the link_state on this link change."""
        self._late_seconds = late_seconds
        self._do(self._turn(link_state))

    def heal(self) -> None:
        """Fine link_state. What was dropped is gone, so its connections are cut."""
        dropped = self._weather is LinkState.DROP
        self.turn(LinkState.FINE)
        if dropped:
            self.cut()

    def cut(self) -> None:
        """Reset every connection that is open now; new ones are welcome."""
        self._do(self._cut())

    def _do(self, what: Coroutine[object, object, object]) -> None:
        asyncio.run_coroutine_threadsafe(what, self._loop).result(_BIND_SECONDS)

    async def _begin(self) -> None:
        self._server = await asyncio.start_server(self._accept, sock=self._listening)

    async def _end(self) -> None:
        self._server.close()
        await self._cut()
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for each in left:
            each.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    async def _turn(self, link_state: LinkState) -> None:
        self._weather = link_state
        if link_state is LinkState.RESET:
            await self._cut()

    async def _cut(self) -> None:
        for each in list(self._open):
            _reset(each)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry one connection until either side ends it."""
        self._open.add(writer)
        try:
            if self._weather is LinkState.RESET or not self.is_welcome(_peer(writer)):
                _reset(writer)
                return
            there, back = await asyncio.open_connection("127.0.0.1", self.target)
            self._open.add(back)
            carrying = [
                asyncio.create_task(self._carry(reader, back)),
                asyncio.create_task(self._carry(there, writer)),
            ]
            try:
                await asyncio.wait(carrying, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for each in carrying:
                    each.cancel()
                self._open.discard(back)
                back.close()
        except OSError:
            _reset(writer)  # nobody listens there
        finally:
            self._open.discard(writer)
            writer.close()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while chunk := await reader.read(_CHUNK):
                if self._weather is LinkState.DELAY:
                    await asyncio.sleep(self._late_seconds)
                if self._weather is not LinkState.DROP:
                    writer.write(chunk)
                    await writer.drain()


def _peer(writer: asyncio.StreamWriter) -> tuple[str, int]:
    host, port = writer.get_extra_info("peername")[:2]
    return host, port


def _reset(writer: asyncio.StreamWriter) -> None:
    connection: socket.socket | None = writer.get_extra_info("socket")
    if connection is not None and connection.fileno() >= 0:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
    writer.transport.abort()
