"""Records that no client library sends, over Kafka's own protocol (Produce, version 3)."""

from __future__ import annotations

import socket
import struct
import zlib
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from waiting import until

if TYPE_CHECKING:
    from collections.abc import Sequence

_SECONDS = 30
# Of a topic that was just created: UNKNOWN_TOPIC_OR_PARTITION and NOT_LEADER_OR_FOLLOWER.
_NOT_YET = frozenset({3, 6})
_POLYNOMIAL = 0x82F63B78
_UNCOMPRESSED, _GZIP = 0, 1

Header = tuple[bytes, bytes | None]


class Record(NamedTuple):
    """The content of one message."""

    value: bytes | None
    key: bytes | None
    headers: Sequence[Header] = ()


def produce(
    bootstrap: str,
    topic: str,
    partition: int,
    value: bytes | None,
    key: bytes | None,
    headers: Sequence[Header] = (),
) -> int:
    """Put one record onto a topic-partition, whose only broker is `bootstrap`; its offset."""
    payload = _record(0, Record(value, key, headers))
    return _send(bootstrap, topic, partition, _batch(payload, 1, _UNCOMPRESSED))


def produce_batch(
    bootstrap: str, topic: str, partition: int, records: Sequence[Record], times: int = 1
) -> int:
    """Put records onto a topic-partition as one gzip batch, once or repeatedly; its size."""
    packer = zlib.compressobj(9, wbits=zlib.MAX_WBITS | 16)
    payload = b"".join(packer.compress(_record(at, each)) for at, each in enumerate(records))
    batch = _batch(payload + packer.flush(), len(records), _GZIP)
    for _ in range(times):
        _send(bootstrap, topic, partition, batch)
    return len(batch)


def _send(bootstrap: str, topic: str, partition: int, batch: bytes) -> int:
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
    answered: list[tuple[int, int]] = []

    def is_written() -> bool:
        with socket.create_connection((host, int(port)), _SECONDS) as connection:
            connection.sendall(struct.pack(">i", len(body)) + body)
            answer = connection.makefile("rb").read(4 + 4 + 4 + 2 + len(name) + 4 + 4 + 2 + 8)
        answered.append(struct.unpack(">hq", answer[-10:]))
        return answered[-1][0] not in _NOT_YET

    until(is_written, "the broker leads the topic-partition")
    error, offset = answered[-1]
    assert error == 0
    return offset


def _record(at: int, record: Record) -> bytes:
    body = b"\0" + _varint(0) + _varint(at) + _sized(record.key) + _sized(record.value)
    body += _varint(len(record.headers)) + _packed_headers(tuple(record.headers))
    return _varint(len(body)) + body


@lru_cache(maxsize=1)
def _packed_headers(headers: tuple[Header, ...]) -> bytes:
    return b"".join(_sized(name) + _sized(content) for name, content in headers)


def _batch(payload: bytes, count: int, codec: int) -> bytes:
    # Attributes, last offset, both times, no idempotent producer, how many records.
    rest = struct.pack(">hiqqqhii", codec, count - 1, 0, 0, -1, -1, -1, count) + payload
    return (
        struct.pack(">qiib", 0, 4 + 1 + 4 + len(rest), -1, 2)
        + struct.pack(">I", sum_of(rest))
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


def sum_of(data: bytes) -> int:
    """The checksum (CRC-32C) of a batch from its attributes onwards."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (_POLYNOMIAL if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF
