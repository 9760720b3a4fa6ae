"""Records that no client library sends, over Kafka's own protocol (Produce, version 3)."""

from __future__ import annotations

import socket
import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_SECONDS = 30
_POLYNOMIAL = 0x82F63B78

Header = tuple[bytes, bytes | None]


def produce(
    bootstrap: str,
    topic: str,
    partition: int,
    value: bytes | None,
    key: bytes | None,
    headers: Sequence[Header] = (),
) -> int:
    """Put one record onto a topic-partition, whose only broker is `bootstrap`; its offset."""
    batch = _batch(_record(value, key, headers))
    name = topic.encode()
    body = (
        struct.pack(">hhih", 0, 3, 1, -1)  # Produce, version, correlation, no client id
        + struct.pack(">hhi", -1, 1, _SECONDS * 1000)  # no transaction, acks of the leader
        + struct.pack(">ih", 1, len(name))
        + name
        + struct.pack(">iii", 1, partition, len(batch))
        + batch
    )
    host, _, port = bootstrap.rpartition(":")
    with socket.create_connection((host, int(port)), _SECONDS) as connection:
        connection.sendall(struct.pack(">i", len(body)) + body)
        answer = connection.makefile("rb").read(4 + 4 + 4 + 2 + len(name) + 4 + 4 + 2 + 8)
    error, offset = struct.unpack(">hq", answer[-10:])
    assert error == 0, answer
    return int(offset)


def _record(value: bytes | None, key: bytes | None, headers: Sequence[Header]) -> bytes:
    body = b"\0" + _varint(0) + _varint(0) + _sized(key) + _sized(value) + _varint(len(headers))
    body += b"".join(_sized(name) + _sized(content) for name, content in headers)
    return _varint(len(body)) + body


def _batch(record: bytes) -> bytes:
    # Attributes, last offset, both times, no idempotent producer, one record.
    rest = struct.pack(">hiqqqhii", 0, 0, 0, 0, -1, -1, -1, 1) + record
    return (
        struct.pack(">qiib", 0, 4 + 1 + 4 + len(rest), -1, 2)
        + struct.pack(">I", _crc32c(rest))
        + rest
    )


def _sized(data: bytes | None) -> bytes:
    return _varint(-1) if data is None else _varint(len(data)) + data


def _varint(number: int) -> bytes:
    left = (number << 1) ^ (number >> 63)
    found = bytearray()
    while left > 0x7F:
        found.append(left & 0x7F | 0x80)
        left >>= 7
    found.append(left)
    return bytes(found)


def _crc32c(data: bytes) -> int:
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (_POLYNOMIAL if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF
