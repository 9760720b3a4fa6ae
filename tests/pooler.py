"""A connection pooler in transaction mode, like PgBouncer, that needs only Python.

Each transaction of a client gets another session of the server than the one before. Nothing resets
a session between them: what one client leaves in it, the next client finds.
"""

from __future__ import annotations

import os
import secrets
import selectors
import socket
import struct
import threading
from collections import deque
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import psycopg

from sinergi_schemas.postgresql.address import conninfo

if TYPE_CHECKING:
    from collections.abc import Iterator

_SSL, _GSS, _CANCEL = 80877103, 80877104, 80877102
_REPORTED = (
    "server_version",
    "server_encoding",
    "client_encoding",
    "DateStyle",
    "TimeZone",
    "IntervalStyle",
    "standard_conforming_strings",
    "integer_datetimes",
)


@dataclass
class Server:
    """A session of the server, out of which libpq has brought the login."""

    connection: psycopg.Connection
    wire: socket.socket = field(init=False)

    def __post_init__(self) -> None:
        self.wire = socket.socket(fileno=os.dup(self.connection.fileno()))
        self.wire.settimeout(None)

    @property
    def pid(self) -> int:
        return self.connection.info.backend_pid

    def close(self) -> None:
        self.wire.close()
        self.connection.close()


class Pooler:
    """The sessions of one user on one database, shared by all who connect.

    Args:
        url: where the server is, and as whom.
        sessions: how many it opens; each transaction takes the one that was idle for longest.
        statements: in statement mode transactions are refused, in the words of PgBouncer.
    """

    def __init__(self, url: str, sessions: int = 4, *, statements: bool = False) -> None:
        self._address = conninfo(url)
        self._statements = statements
        self._idle: deque[Server] = deque()
        self._free = threading.Condition()
        self._clients: dict[socket.socket, threading.Thread] = {}
        self.taken: list[int] = []
        self._idle.extend(self._open() for _ in range(sessions))
        info = self._idle[0].connection.info
        self._status = {name: info.parameter_status(name) or "" for name in _REPORTED}
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._accepting = threading.Thread(target=self._accept, daemon=True)
        self._accepting.start()

    @property
    def port(self) -> int:
        return int(self._listener.getsockname()[1])

    def close(self) -> None:
        """Close everything, once nobody holds a session of the server any more."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # unlike close it wakes who accepts
        self._accepting.join()
        self._listener.close()
        for client, serving in list(self._clients.items()):
            with suppress(OSError):  # it has gone by itself
                client.shutdown(socket.SHUT_RDWR)
            serving.join()
        for server in self._idle:
            server.close()

    def _open(self) -> Server:
        return Server(psycopg.connect(self._address, autocommit=True))

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            serving = threading.Thread(target=self._serve, args=(client,), daemon=True)
            self._clients[client] = serving
            serving.start()

    def _serve(self, client: socket.socket) -> None:
        try:
            with closing(client):
                if self._greet(client):
                    while self._transaction(client):
                        pass
        except (OSError, EOFError, ValueError, psycopg.Error):
            return  # the client went away, or the pooler was closed
        finally:
            del self._clients[client]

    def _greet(self, client: socket.socket) -> bool:
        while True:
            (length,) = struct.unpack("!I", _exactly(client, 4))
            body = _exactly(client, length - 4)
            (code,) = struct.unpack("!I", body[:4])
            if code == _CANCEL:
                return False
            if code not in (_SSL, _GSS):
                break
            client.sendall(b"N")
        words = body[4:].split(b"\0")
        given = {name.decode() for name in words[::2] if name}
        if strange := given - {"user", "database", "application_name", "client_encoding"}:
            text = f"unsupported startup parameter: {', '.join(sorted(strange))}"
            client.sendall(_error("FATAL", "08P01", text))
            return False
        key = struct.pack("!II", secrets.randbits(30), secrets.randbits(32))
        status = b"".join(
            _frame(b"S", f"{name}\0{value}\0".encode()) for name, value in self._status.items()
        )
        login = _frame(b"R", struct.pack("!I", 0))
        client.sendall(login + status + _frame(b"K", key) + _frame(b"Z", b"I"))
        return True

    def _transaction(self, client: socket.socket) -> bool:
        """Carry what belongs together to one session of the server; whether the client stays."""
        first = _message(client)
        if first[:1] == b"X":
            return False
        if self._statements and first[5:].upper().startswith(b"BEGIN"):
            text = "transaction blocks not allowed in statement pooling mode"
            client.sendall(_error("FATAL", "08P01", text))
            return False
        with self._free:
            while not self._idle:
                self._free.wait()
            server = self._idle.popleft()
        self.taken.append(server.pid)
        try:
            _carry(client, server, first)
        except (OSError, EOFError, ValueError):
            # In the midst of something: nobody else can go on with this session.
            server.close()
            server = self._open()
            raise
        finally:
            with self._free:
                self._idle.append(server)
                self._free.notify()
        return True


def _carry(client: socket.socket, server: Server, first: bytes) -> None:
    """Both ways, until the server is idle again and has answered everything."""
    awaited: deque[bytes] = deque()
    from_client, from_server = bytearray(first), bytearray()
    with selectors.DefaultSelector() as selector:
        selector.register(client, selectors.EVENT_READ)
        selector.register(server.wire, selectors.EVENT_READ)
        while True:
            for message in _messages(from_client):
                if message[:1] in b"QSF":
                    awaited.append(message[:1])
                server.wire.sendall(message)
            for message in _messages(from_server):
                client.sendall(message)
                if message[:1] == b"G" and awaited and awaited[0] == b"S":
                    awaited.popleft()  # a Sync before the data of a COPY is not answered
                if message[:1] == b"Z":
                    awaited.popleft()
                    if message[5:6] == b"I" and not awaited and not from_client:
                        return
            for key, _ in selector.select():
                data = key.fileobj.recv(65_536)  # type: ignore[union-attr]
                if not data:
                    raise EOFError
                (from_client if key.fileobj is client else from_server).extend(data)


def _messages(buffer: bytearray) -> Iterator[bytes]:
    """The whole messages in a buffer, taken out of it."""
    while len(buffer) >= 5:
        end = 1 + struct.unpack("!I", buffer[1:5])[0]
        if len(buffer) < end:
            return
        message = bytes(buffer[:end])
        del buffer[:end]
        yield message


def _message(wire: socket.socket) -> bytes:
    head = _exactly(wire, 5)
    return head + _exactly(wire, struct.unpack("!I", head[1:])[0] - 4)


def _exactly(wire: socket.socket, count: int) -> bytes:
    found = bytearray()
    while len(found) < count:
        data = wire.recv(count - len(found))
        if not data:
            raise EOFError
        found += data
    return bytes(found)


def _frame(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack("!I", len(body) + 4) + body


def _error(severity: str, sqlstate: str, text: str) -> bytes:
    return _frame(b"E", f"S{severity}\0V{severity}\0C{sqlstate}\0M{text}\0\0".encode())


@contextmanager
def pooling(url: str, sessions: int = 4, *, statements: bool = False) -> Iterator[Pooler]:
    """A pooler before a server, for as long as the block lasts."""
    with closing(Pooler(url, sessions, statements=statements)) as pooler:
        yield pooler
