"""The messages of a topic-partition as an Avro object container file, block by block.

The file is what its name and its messages make it: its sync marker is computed (Avro 1.12, "Object
Container Files"). Blocks are compressed alone, so that a reader unpacks only those that it needs.
"""

from __future__ import annotations

import io
import json
import zlib
from hashlib import sha256
from typing import TYPE_CHECKING, Any, NamedTuple

import fastavro

from sinergi_schemas import message
from sinergi_schemas.avro_types.encoding import encode_bytes, encode_long

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from confluent_kafka import Message

    from sinergi_schemas.message import ReceivedMessage
    from sinergi_schemas.topics import TopicPartition

SCHEMA = (
    b'{"type":"record","name":"Message","namespace":"sinergi.archive","fields":['
    b'{"name":"offset","type":"long"},'
    b'{"name":"timestamp","type":["null","long"]},'
    b'{"name":"timestamp_type","type":{"type":"enum","name":"TimestampType",'
    b'"symbols":["NONE","CREATE_TIME","LOG_APPEND_TIME"]}},'
    b'{"name":"headers","type":["null",{"type":"array","items":{"type":"record","name":"Header",'
    b'"fields":[{"name":"name","type":"string"},{"name":"value","type":["null","bytes"]}]}}]},'
    b'{"name":"key","type":["null","bytes"]},'
    b'{"name":"value","type":["null","bytes"]}]}'
)
"""The schema of a message in an archive; `headers` is null where their names are no text."""

BLOCK_BYTES = 512 * 1024
MOST_BLOCK_BYTES = 64 * 1024 * 1024  # unpacked: one message of any cluster, and what is before it

_SYNC = 16
_MOST_LONG = 10  # bytes of an Avro long
_LEVEL = 1  # compressing harder costs five times the time, and saves a tenth
_TYPES = ("NONE", "CREATE_TIME", "LOG_APPEND_TIME")
# What fastavro raises for bytes that are no message of the schema.
_NO_MESSAGE = (EOFError, ValueError, IndexError, KeyError, TypeError, OverflowError, MemoryError)
_PARSED: Any = fastavro.parse_schema(json.loads(SCHEMA))


class BlockInvalid(ValueError):
    """The bytes are not a block of an archive. The text says why."""


class ArchivedMessage:
    """One message, with the methods of `confluent_kafka.Message` that readers use."""

    __slots__ = ("_fields", "_tp")

    def __init__(self, tp: TopicPartition, fields: dict[str, Any]) -> None:
        self._tp = tp
        self._fields = fields

    def topic(self) -> str:
        """The topic's name."""
        return self._tp.topic

    def partition(self) -> int:
        """The partition's number."""
        return self._tp.partition

    def offset(self) -> int:
        """The offset that it had on the cluster."""
        found: int = self._fields["offset"]
        return found

    def key(self) -> bytes | None:
        """The key's bytes."""
        found: bytes | None = self._fields["key"]
        return found

    def value(self) -> bytes | None:
        """The value's bytes."""
        found: bytes | None = self._fields["value"]
        return found

    def headers(self) -> list[tuple[str, bytes | None]]:
        """The headers in order.

        Raises:
            UnicodeDecodeError: the name of one was not text.
        """
        found = self._fields["headers"]
        if found is None:
            raise UnicodeDecodeError("utf-8", b"", 0, 0, "the name of a header")
        return [(each["name"], each["value"]) for each in found]

    def timestamp(self) -> tuple[int, int]:
        """The type of its timestamp as the client has it, and the milliseconds since 1970."""
        return _TYPES.index(self._fields["timestamp_type"]), self._fields["timestamp"] or 0

    def error(self) -> None:
        """An archive delivers no errors."""

    @property
    def size(self) -> int:
        """The bytes of its key and value."""
        return len(self.key() or b"") + len(self.value() or b"")


class MessageBlock(NamedTuple):
    """A block of a file.

    Attributes:
        first: the offset of its first message.
        messages: how many it has.
        data: its bytes in the file, with count, length and sync marker.
    """

    first: int
    messages: int
    data: bytes

    @property
    def digest(self) -> str:
        """The SHA-256 of its bytes."""
        return sha256(self.data).hexdigest()


class BlockWriter:
    """Collects messages into blocks."""

    def __init__(self, tp: TopicPartition) -> None:
        self._sync = _sync(tp)
        self._buffer = io.BytesIO()
        self._first = 0
        self._count = 0

    def add(self, received: Message) -> MessageBlock | None:
        """Add a message; a block that is complete with it, or None."""
        if not self._count:
            self._first = received.offset() or 0
        fastavro.schemaless_writer(self._buffer, _PARSED, _fields(received))
        self._count += 1
        return self.end() if self._buffer.tell() >= BLOCK_BYTES else None

    def end(self) -> MessageBlock | None:
        """The block of the messages that are left; None without any."""
        if not self._count:
            return None
        packer = zlib.compressobj(_LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)
        packed = packer.compress(self._buffer.getvalue()) + packer.flush()
        data = encode_long(self._count) + encode_bytes(packed) + self._sync
        made = MessageBlock(self._first, self._count, data)
        self._buffer, self._count = io.BytesIO(), 0
        return made


def header(tp: TopicPartition) -> bytes:
    """The beginning of the file of a topic-partition, before its blocks."""
    metadata = ((b"avro.schema", SCHEMA), (b"avro.codec", b"deflate"))
    pairs = b"".join(encode_bytes(key) + encode_bytes(value) for key, value in metadata)
    return b"Obj\x01" + encode_long(len(metadata)) + pairs + encode_long(0) + _sync(tp)


def messages_in(tp: TopicPartition, data: bytes, count: int) -> list[ArchivedMessage]:
    """The messages of a block.

    Args:
        data: its bytes in the file.
        count: how many it has to have.

    Raises:
        BlockInvalid: it is no block with so many messages.
    """
    begin = encode_long(count)
    length, at = _long(data, len(begin))
    packed = data[at:-_SYNC]
    if not data.startswith(begin) or data[-_SYNC:] != _sync(tp) or len(packed) != length:
        raise BlockInvalid("its count, its length or its marker is not that of the block")
    unpacker = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        unpacked = unpacker.decompress(packed, MOST_BLOCK_BYTES)
    except zlib.error:
        raise BlockInvalid("it does not unpack") from None
    if not unpacker.eof or unpacker.unused_data:
        raise BlockInvalid("it does not unpack to the bytes of a block")
    return [*_decoded(tp, unpacked, count)]


def _decoded(tp: TopicPartition, unpacked: bytes, count: int) -> Iterator[ArchivedMessage]:
    buffer = io.BytesIO(unpacked)
    for _ in range(count):
        # As objects, small messages and headers take a hundred times their bytes.
        at = buffer.tell()
        if at >= BLOCK_BYTES:
            raise BlockInvalid("it goes on after the message that filled it")
        if len(unpacked) - at > BLOCK_BYTES:
            _check_header_count(unpacked, at)
        try:
            fields: Any = fastavro.schemaless_reader(buffer, _PARSED, None)
        except _NO_MESSAGE:
            raise BlockInvalid("it holds bytes that are no message") from None
        yield ArchivedMessage(tp, fields)
    if buffer.tell() != len(unpacked):
        raise BlockInvalid("it holds bytes after its last message")


def _check_header_count(data: bytes, at: int) -> None:
    """Refuse the message at a place if it has more headers than an archive keeps.

    Raises:
        BlockInvalid: it has, or is no message.
    """
    _, at = _signed(data, at)  # offset
    has_timestamp, at = _signed(data, at)
    if has_timestamp:
        _, at = _signed(data, at)
    _, at = _signed(data, at)  # type of the timestamp
    has_headers, at = _signed(data, at)
    total = 0
    while has_headers:
        count, at = _signed(data, at)
        if count < 0:
            _, at = _signed(data, at)
        elif count == 0:
            return
        total += abs(count)
        if total > message.MOST_HEADERS:
            raise BlockInvalid(f"a message has more than {message.MOST_HEADERS:,} headers")
        for _ in range(abs(count)):
            length, at = _long(data, at)
            has_value, at = _signed(data, at + length)
            if has_value:
                length, at = _long(data, at)
                at += length


def _fields(received: Message) -> dict[str, Any]:
    kind, milliseconds = received.timestamp()
    return {
        "offset": received.offset() or 0,
        "timestamp": milliseconds if kind else None,
        "timestamp_type": _TYPES[kind],
        "headers": _header_records(headers_of(received)),
        "key": received.key(),
        "value": received.value(),
    }


def headers_of(received: ReceivedMessage) -> Sequence[tuple[str, bytes | None]] | None:
    """The headers that an archive keeps; None where the name of one is no text."""
    try:
        return message.headers(received)
    except ValueError:
        return None


def _header_records(
    headers: Sequence[tuple[str, bytes | None]] | None,
) -> list[dict[str, Any]] | None:
    if headers is None:
        return None
    return [{"name": name, "value": value} for name, value in headers]


def _sync(tp: TopicPartition) -> bytes:
    return sha256(SCHEMA + str(tp).encode()).digest()[:_SYNC]


def _long(data: bytes, at: int) -> tuple[int, int]:
    """The Avro long at a place that is not negative, and where it ends.

    Raises:
        BlockInvalid: there is none.
    """
    value, end = _signed(data, at)
    if value < 0:
        raise BlockInvalid("a length in it is negative")
    return value, end


def _signed(data: bytes, at: int) -> tuple[int, int]:
    """The Avro long at a place, and where it ends.

    Raises:
        BlockInvalid: there is none.
    """
    value = 0
    for number, byte in enumerate(data[at : at + _MOST_LONG]):
        value |= (byte & 0x7F) << 7 * number
        if byte < 0x80:
            return value >> 1 ^ -(value & 1), at + number + 1
    raise BlockInvalid("it holds bytes that are no message")
