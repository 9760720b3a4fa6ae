"""A process that reads ranges of offsets and parses their messages, for the process that began it.

Its standard input is a socket. From there it first gets where the brokers are and how to log in.
Then it sends the blocks of each range that it is asked for (see `parsed_block`). It knows no keys
and verifies nothing. It ends when the other process closes the socket, or ends.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
from contextlib import closing
from multiprocessing.connection import Connection as Channel
from queue import Queue
from typing import TYPE_CHECKING

import structlog

from sinergi_schemas import errors, message
from sinergi_schemas.garbage import collect_rarely, leave_loaded_objects
from sinergi_schemas.kafka.connection import Connection
from sinergi_schemas.kafka.parsed_block import ParsedBlock
from sinergi_schemas.kafka.ranges import RangeReader
from sinergi_schemas.timeouts import KafkaTimeouts
from sinergi_schemas.topics import TopicPartition

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sinergi_schemas.message import Parsed

BLOCK_MESSAGES = 1_000
_BLOCK_BYTES = 512 * 1024
# How many blocks may wait until the other process takes them.
_MOST_BLOCKS = 32


def dump_login(connection: Connection) -> bytes:
    """What a reading process is told first: how to reach the brokers, and how long to wait.

    Raises:
        OSError: an option is a function of this process.
    """
    login = {
        "bootstrap": connection.bootstrap,
        "options": dict(connection.options),
        "timeouts": connection.timeouts.model_dump(),
    }
    try:
        return json.dumps(login).encode()
    except TypeError:
        raise OSError("an option of the login cannot be passed to another process") from None


def main() -> None:
    """Read the ranges that are asked for, until the socket is closed."""
    level = structlog.make_filtering_bound_logger(logging.CRITICAL)
    structlog.configure(wrapper_class=level)  # the other process reports what concerns a user
    leave_loaded_objects()
    collect_rarely()
    channel = Channel(sys.stdin.fileno())
    login = json.loads(channel.recv_bytes())
    timeouts = KafkaTimeouts(**login["timeouts"])
    connection = Connection(login["bootstrap"], login["options"], timeouts=timeouts)
    blocks: Queue[bytes] = Queue(_MOST_BLOCKS)
    threading.Thread(target=_send, args=(channel, blocks), daemon=True).start()
    # The other process waits once more, before it reports that a topic is away.
    with closing(RangeReader(connection, timeouts.silence / 3)) as reader:
        for tp, offsets in _orders(channel):
            for block in _read(reader, tp, offsets):
                blocks.put(block.dump())


def _orders(channel: Channel) -> Iterator[tuple[TopicPartition, range]]:
    """The ranges to read, until the socket is closed."""
    while True:
        try:
            topic, partition, start, stop = json.loads(channel.recv_bytes())
        except (EOFError, OSError):
            return
        yield TopicPartition(topic, partition), range(start, stop)


def _read(reader: RangeReader, tp: TopicPartition, offsets: range) -> Iterator[ParsedBlock]:
    """The blocks of a range."""
    messages: list[Parsed] = []
    size, end, failure = 0, offsets.start, ""
    try:
        for part in reader.parts({tp: offsets}):
            messages += map(message.parsed_or_error, part.messages)
            size += part.size
            end = messages[-1].offset + 1
            if len(messages) >= BLOCK_MESSAGES or size >= _BLOCK_BYTES:
                yield ParsedBlock(messages, end, reader.drain_unreadable(), size)
                messages, size = [], 0
    except errors.SinergiError as why:
        failure = str(why)
    else:
        end = offsets.stop
    unreadable = reader.drain_unreadable()
    yield ParsedBlock(messages, end, unreadable, size, is_last=True, failure=failure)


def _send(channel: Channel, blocks: Queue[bytes]) -> None:
    """Send the blocks as the other process takes them. If it has ended, this one ends too."""
    try:
        while True:
            channel.send_bytes(blocks.get())
    except OSError:
        os._exit(0)  # the main thread may be waiting until a block is taken
