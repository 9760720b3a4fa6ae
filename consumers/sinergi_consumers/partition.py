"""One partition of a topic as it is being read: messages in, verified batches out.

The materialiser, replay and verification read through this, so that there is one answer to what a
topic says. Nothing is decoded here, and nothing leaves that does not stand under a checkpoint of
the topic's owner.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from sinergi_schemas import errors, message
from sinergi_schemas.seal.reader import Reader

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sinergi_schemas.message import Message, Received
    from sinergi_schemas.seal.key_ring import KeyRing
    from sinergi_schemas.seal.merkle import Frontier
    from sinergi_schemas.seal.reader import Verified
    from sinergi_schemas.topics import Topic


class Leaves(Protocol):
    """Some leaves of one partition: a batch, or what is tried once more out of quarantine."""

    @property
    def topic(self) -> Topic:
        """The topic that carried them."""

    @property
    def partition(self) -> int:
        """The partition of the topic."""

    @property
    def messages(self) -> Sequence[Message]:
        """Their messages, in the order of the leaves."""

    def message(self, leaf_index: int) -> Message:
        """The one at a leaf."""


@dataclass(frozen=True, slots=True)
class Batch:
    """The leaves `[start, end)` of a partition, under a checkpoint that was verified.

    Attributes:
        messages: one a leaf, in order, resends left out.
        checkpoints: those met on the way, at least one; the last one stands at `end`.
        next_offset: the offset behind the message that carried the last checkpoint.
    """

    topic: Topic
    partition: int
    start: int
    messages: Sequence[Message]
    checkpoints: Sequence[Verified]
    next_offset: int

    @property
    def end(self) -> int:
        """The tree size behind the batch."""
        return self.start + len(self.messages)

    def message(self, leaf_index: int) -> Message:
        """The one at a leaf."""
        return self.messages[leaf_index - self.start]

    @property
    def frontier(self) -> Frontier:
        """The tree of that size."""
        return self.checkpoints[-1].frontier


class Partition:
    """A partition being read from a known tree onwards."""

    def __init__(self, bus: str, topic: Topic, number: int, keys: KeyRing, tree: Frontier) -> None:
        self.topic = topic
        self.number = number
        self._reader = Reader(f"{bus}/{topic.name}/{number}", keys, tree)
        self._start = tree.size
        self._held: list[Message] = []
        self._checkpoints: list[Verified] = []
        self._next_offset = 0
        self._broken: errors.Broken | None = None

    @property
    def size(self) -> int:
        """The leaves given out so far, those before the start counted."""
        return self._start

    @property
    def held(self) -> int:
        """The leaves held back because no checkpoint has covered them yet."""
        return len(self._held)

    @property
    def broken(self) -> errors.Broken | None:
        """Why nothing more will be given out, once a message did not hold."""
        return self._broken

    def receive(self, received: Iterable[Received]) -> Batch | None:
        """Verify messages in their order on the topic; what is verified by now.

        Raises:
            SealBroken, MessageMalformed: see `cut`.
        """
        self.take(received)
        return self.cut()

    def take(self, received: Iterable[Received]) -> None:
        """Verify messages in their order on the topic. Behind one that does not hold none counts.

        They may come in parts of any size, each of which can be let go at once.
        """
        if self._broken:
            return
        try:
            for each in received:
                parsed = message.parse(each)
                fresh = parsed.leaf_index == self._start + len(self._held)
                verified = self._reader.feed(parsed.leaf_index, parsed.leaf_data, parsed.sealed)
                if fresh:
                    self._held.append(parsed)
                if verified:
                    self._checkpoints.append(verified)
                    self._next_offset = parsed.offset + 1
        except errors.Broken as broken:
            self._broken = broken

    def cut(self) -> Batch | None:
        """What is verified by now, cut at the last checkpoint; what comes behind is held back.

        Where a message did not hold, what was verified before it is still given out first.

        Raises:
            SealBroken: the messages are not what the topic's owner sealed.
            MessageMalformed: one of them is no message of ours.
        """
        checkpoints, self._checkpoints = self._checkpoints, []
        if not checkpoints:
            if self._broken:
                raise self._broken
            return None
        start, count = self._start, checkpoints[-1].end - self._start
        ready, self._held = self._held[:count], self._held[count:]
        self._start += count
        return Batch(self.topic, self.number, start, ready, checkpoints, self._next_offset)
