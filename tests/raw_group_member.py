"""A member of a consumer group that speaks Kafka's classic protocol byte by byte.

It joins as the only member, leads the group, and assigns itself whatever a test gives it: also what
no client library can send.
"""

from __future__ import annotations

import socket
import struct
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_JOIN, _SYNC, _COORDINATOR = 11, 14, 10
_PASSING = {14, 15, 16, 27}  # the coordinator is loading, is elsewhere, or rebalances
_MEMBER_ID_REQUIRED = 79
_MILLISECONDS = 60_000


def assignment(topics: Sequence[tuple[bytes, Sequence[int]]]) -> bytes:
    """An assignment of the consumer protocol: topics with their partitions."""
    parts = [
        _text(name) + struct.pack(f">i{len(numbers)}i", len(numbers), *numbers)
        for name, numbers in topics
    ]
    return struct.pack(">hi", 0, len(parts)) + b"".join(parts) + struct.pack(">i", -1)


@contextmanager
def joined(
    bootstrap: str,
    group: str,
    assigned: bytes,
    *,
    protocol_type: bytes = b"consumer",
    protocol: bytes = b"range",
    client_id: bytes = b"stranger",
) -> Iterator[None]:
    """The member is in the group, with its assignment, until the block ends."""
    host, _, port = bootstrap.rpartition(":")
    with socket.create_connection((host, int(port)), 60) as connection:
        member = _RawMember(connection, client_id)
        member.join(group.encode(), protocol_type, protocol, assigned)
        yield


class _RawMember:
    def __init__(self, connection: socket.socket, client_id: bytes) -> None:
        self._connection = connection
        self._client_id = client_id

    def join(self, group: bytes, kind: bytes, protocol: bytes, assigned: bytes) -> None:
        member, error = b"", _MEMBER_ID_REQUIRED
        metadata = struct.pack(">hiii", 0, 0, -1, 0)
        while error:
            self._call(_COORDINATOR, 1, _text(group) + b"\0")
            body = _text(group) + struct.pack(">ii", _MILLISECONDS, _MILLISECONDS) + _text(member)
            body += _text(kind) + struct.pack(">i", 1) + _text(protocol) + _bytes(metadata)
            answer = self._call(_JOIN, 4, body)
            error, generation = struct.unpack(">hi", answer[4:10])
            assert not error or error == _MEMBER_ID_REQUIRED or error in _PASSING, error
            _, rest = _read_text(answer[10:])
            _, rest = _read_text(rest)
            member = _read_text(rest)[0] or member
        body = _text(group) + struct.pack(">i", generation) + _text(member)
        body += struct.pack(">i", 1) + _text(member) + _bytes(assigned)
        (error,) = struct.unpack(">h", self._call(_SYNC, 1, body)[4:6])
        assert error == 0

    def _call(self, api: int, version: int, body: bytes) -> bytes:
        request = struct.pack(">hhi", api, version, 7) + _text(self._client_id) + body
        self._connection.sendall(_bytes(request))
        (length,) = struct.unpack(">i", self._read(4))
        return self._read(length)[4:]

    def _read(self, length: int) -> bytes:
        found = b""
        while len(found) < length:
            part = self._connection.recv(length - len(found))
            assert part, "the broker has closed the connection"
            found += part
        return found


def _text(value: bytes) -> bytes:
    return struct.pack(">h", len(value)) + value


def _bytes(value: bytes) -> bytes:
    return struct.pack(">i", len(value)) + value


def _read_text(data: bytes) -> tuple[bytes, bytes]:
    (length,) = struct.unpack(">h", data[:2])
    end = 2 + max(length, 0)
    return data[2:end], data[end:]
