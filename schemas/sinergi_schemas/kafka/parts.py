"""Messages that have arrived, taken in small parts, so that no topic exhausts the memory."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Any

from sinergi_schemas import message
from sinergi_schemas.clock import SYSTEM

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from confluent_kafka import Consumer, Message

    from sinergi_schemas.clock import Clock

_UNKNOWN_BYTES = 4 * 1024 * 1024
MOST_AT_ONCE = 4
_LARGE_BYTES = 32 * 1024
# How long a part after the first is waited for. Where the messages before it cannot go on yet, or
# where many show that there is a backlog, it is as long as the next fetch may take: a batch of
# several fetches costs little more than a batch of one. Else it is short, since they are held back.
_NEXT_SECONDS, _NEXT_FETCH_SECONDS, _MANY = 0.002, 0.02, 1_000
_MOST_SECONDS = 0.5
_HEADER_BYTES, _FEW_HEADERS = 150, 16


class PartLimit:
    """How many messages to take at once: one, and more where the last ones were small.

    confluent_kafka makes objects of all headers of the messages that are taken at once, before it
    returns. A message may have 100,000, which are 7 MB in C and 18 MB in Python, and 900 bytes in
    a batch. So it is never many, however small the last ones were.

    Attributes:
        messages: how many to take.
    """

    def __init__(self) -> None:
        self.messages = 1

    def weigh(self, part: Sequence[Message]) -> int:
        """The bytes of the messages that were taken. It also drops what no reader uses of them."""
        size = sum(map(message_bytes, part))
        self.messages = 1 if size > len(part) * _LARGE_BYTES else MOST_AT_ONCE
        return size


def consume_parts(
    consumer: Consumer,
    seconds: float,
    clock: Clock = SYSTEM,
    has_time: Callable[[], bool] = lambda: False,
) -> Iterator[tuple[list[Message], int]]:
    """The messages that have arrived, in small parts, each with its bytes; the last may be empty.

    It ends also while messages go on arriving: with a part that had to be waited for, or after half
    a second. Otherwise messages that arrive steadily would be held back until some thousands are
    there. Drop a part before the next one is taken: each message may have a megabyte.

    Args:
        seconds: how long to wait where there is none.
        has_time: whether nobody can do anything yet with what has arrived.
    """
    limit, is_more, messages, patience = PartLimit(), True, 0, seconds
    end = clock.monotonic() + _MOST_SECONDS
    while is_more:
        wanted = limit.messages
        part = consumer.consume(wanted, patience)
        size = limit.weigh(part)
        is_more = len(part) == wanted and clock.monotonic() < end
        messages += len(part)
        is_patient = messages >= _MANY or has_time()
        patience = min(seconds, _NEXT_FETCH_SECONDS if is_patient else _NEXT_SECONDS)
        yield part, size
        del part


def message_bytes(each: Message) -> int:
    """The bytes of a message: value, key and headers, each of which may be the large part.

    A header takes three bytes in a batch, and more than a hundred as an object. Headers beyond the
    sixteenth, which no Sinergi message has, count as objects.
    """
    if each.error() is not None:
        return 0
    try:
        headers = message.headers(each)
    except ValueError:
        return _UNKNOWN_BYTES
    size = len(each.value() or b"") + len(each.key() or b"")
    # It runs for every message, and a loop in Python takes three times as long.
    try:
        contents: Iterable[Any] = chain.from_iterable(headers)
        size += sum(map(len, contents))
    except TypeError:  # a header without a value
        size += sum(len(name) + len(value or b"") for name, value in headers)
    return size + _HEADER_BYTES * max(0, len(headers) - _FEW_HEADERS)
