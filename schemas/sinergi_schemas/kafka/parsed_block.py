"""Blocks of parsed messages, as they go from one process of a program to another one.

They are written with `marshal`, which takes a third of the time of `pickle` for small tuples of
bytes. It must not read what another program has written.
"""

from __future__ import annotations

import marshal
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sinergi_schemas import errors
from sinergi_schemas.kafka.unreadable import Unreadable
from sinergi_schemas.message import Message
from sinergi_schemas.seal.checkpoint import SignedCheckpoint

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sinergi_schemas.message import Parsed
    from sinergi_schemas.topics import TopicPartition

_SEALED = Message._fields.index("sealed")


@dataclass(frozen=True, slots=True)
class ParsedBlock:
    """The next messages of a range of offsets of one topic-partition.

    Attributes:
        messages: in the order of their offsets.
        next_offset: all messages before it were read.
        unreadable: the batches that could not be read, and were passed over meanwhile. One that
            lies after the messages may be in the next block too.
        size: the bytes of the messages.
        is_last: whether the range ends here.
        failure: why the rest of the range was not read; empty if all of it was.
    """

    messages: Sequence[Parsed]
    next_offset: int
    unreadable: Sequence[Unreadable] = field(default=())
    size: int = 0
    is_last: bool = False
    failure: str = ""

    def dump(self) -> bytes:
        """The block as bytes, for another process of this program."""
        messages = [_fields(each) for each in self.messages]
        unreadable = [(each.offset, each.cause) for each in self.unreadable]
        rest = (self.size, self.is_last, self.failure)
        return marshal.dumps((messages, self.next_offset, unreadable, *rest))

    @classmethod
    def load(cls, data: bytes, tp: TopicPartition) -> ParsedBlock:
        """Read what `dump` has written in another process of this program."""
        messages, next_offset, unreadable, *rest = marshal.loads(data)  # noqa: S302
        return cls(
            [_message(each, tp) for each in messages],
            next_offset,
            [Unreadable(tp, *each) for each in unreadable],
            *rest,
        )


def _fields(parsed: Parsed) -> tuple[Any, ...]:
    if isinstance(parsed, errors.MessageMalformed):
        return parsed.offset, parsed.what
    sealed = parsed.sealed
    if sealed is None:
        return tuple(parsed)
    pair = (sealed.note, list(sealed.frontier))
    return (*parsed[:_SEALED], pair, *parsed[_SEALED + 1 :])


def _message(fields: tuple[Any, ...], tp: TopicPartition) -> Parsed:
    if len(fields) < len(Message._fields):
        return errors.MessageMalformed(*tp, *fields)
    sealed = fields[_SEALED]
    if sealed is None:
        return Message._make(fields)
    checkpoint = SignedCheckpoint(*sealed)
    return Message._make((*fields[:_SEALED], checkpoint, *fields[_SEALED + 1 :]))
