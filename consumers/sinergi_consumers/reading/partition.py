"""The reading of one topic-partition: it takes messages and returns verified batches.

Materialiser, replay and verification all use it, so they always get the same result. It decodes
nothing, and returns only leaves that a checkpoint of the topic's owner covers.

Everybody may have written to the topic, so the messages that wait for a checkpoint are stored only
up to a number of bytes. For messages beyond that limit only hash and offset are stored. If a
checkpoint covers such a message, `rewind` is the offset from which the caller must read the topic
again; then the missing messages are recognised by offset and hash.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from sinergi_schemas import errors, message
from sinergi_schemas.seal.candidates import WINDOW
from sinergi_schemas.seal.reader import TreeReader
from sinergi_schemas.topics import TopicPartition

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from collections.abc import Set as AbstractSet

    from sinergi_schemas.message import Message, Parsed, ReceivedMessage
    from sinergi_schemas.seal.history import VerifiedHistory
    from sinergi_schemas.seal.key_ring import KeyRing
    from sinergi_schemas.seal.merkle import Frontier
    from sinergi_schemas.seal.reader import VerifiedLeaves
    from sinergi_schemas.seal.skipped import SkippedByCause
    from sinergi_schemas.topics import Topic

MOST_BYTES = 12 * 1024 * 1024  # a batch of 8 MiB and one event, and the beginning of the next batch
_MOST_POSTPONED_BYTES = MOST_BYTES // 4  # of messages that wait for a postponed checkpoint
_MOST_UNRESOLVED = 20_000


class Leaves(Protocol):
    """Some leaves of one partition: a batch, or events from quarantine that are retried."""

    @property
    def topic(self) -> Topic:
        """Their topic."""

    @property
    def partition(self) -> int:
        """The partition of the topic."""

    @property
    def messages(self) -> Sequence[Message]:
        """Their messages, in the order of the leaves."""

    def message(self, leaf_index: int) -> Message:
        """The message with a leaf index."""


@dataclass(frozen=True, slots=True)
class VerifiedBatch:
    """The leaves `[start, end)` of a partition, which a verified checkpoint covers.

    Attributes:
        topic, partition: where they were read.
        start: the tree size before the batch.
        messages: one per leaf, in order, without resends.
        checkpoints: the verified checkpoints of the batch, at least one; the last one has size
            `end`.
        next_offset: the offset from which the leaf `end` will be read.
    """

    topic: Topic
    partition: int
    start: int
    messages: Sequence[Message]
    checkpoints: Sequence[VerifiedLeaves]
    next_offset: int

    @property
    def tp(self) -> TopicPartition:
        """Where they were read."""
        return TopicPartition(self.topic.name, self.partition)

    @property
    def end(self) -> int:
        """The tree size after the batch."""
        return self.start + len(self.messages)

    def message(self, leaf_index: int) -> Message:
        """The message with a leaf index."""
        return self.messages[leaf_index - self.start]

    @property
    def frontier(self) -> Frontier:
        """The frontier of the tree of size `end`."""
        return self.checkpoints[-1].frontier


class Partition:
    """A partition that is read from a known tree on.

    Args:
        bus: the name of the bus.
        topic: the event topic.
        number: of the partition.
        keys: the owner's keys for it.
        tree: the frontier of the leaves that were verified before.
        compare: distinguish resends from other leaves with the same index; see `TreeReader`.

    Attributes:
        rewind: the offset from which the caller must read the topic again, or None. The caller sets
            it to None when it has sought that offset.
        next_offset: the offset after the last processed message.
        is_ended: whether the broker has no more messages.
    """

    def __init__(
        self,
        bus: str,
        topic: Topic,
        number: int,
        keys: KeyRing,
        tree: Frontier,
        *,
        compare: bool = False,
    ) -> None:
        self.topic = topic
        self.number = number
        self.rewind: int | None = None
        self.next_offset = 0
        self.is_ended = False
        self._origin = TopicPartition(topic.name, number).origin(bus)
        self._reader = TreeReader(self._origin, keys, tree, compare=compare)
        self._start = tree.size
        self._stored: dict[int, Message] = {}
        self._bytes = 0
        self._missing: dict[int, bytes] = {}
        self._incomplete: VerifiedLeaves | None = None
        self._ready: list[Message] = []
        self._checkpoints: list[VerifiedLeaves] = []
        self._after_checkpoint = 0
        self._verified_since_drop = 0
        self._unresolved_messages = 0
        self._broken: errors.TopicHalted | None = None

    @property
    def size(self) -> int:
        """The tree size after the batches that were returned so far."""
        return self._start

    @property
    def frontier(self) -> Frontier:
        """The frontier of the verified tree."""
        return self._reader.frontier

    @property
    def pending(self) -> int:
        """The number of leaves that no checkpoint covers yet."""
        return self._reader.pending

    @property
    def resends(self) -> int:
        """The number of messages that were skipped as copies."""
        return self._reader.resends

    @property
    def history(self) -> VerifiedHistory | None:
        """What is stored for comparisons; see `TreeReader`."""
        return self._reader.history

    @property
    def stated_roots(self) -> Mapping[int, bytes]:
        """The roots in the last checkpoints that the owner has signed, by tree size."""
        return self._reader.stated_roots

    @property
    def origins(self) -> AbstractSet[str]:
        """The origins in all checkpoints so far; see `TreeReader`."""
        return self._reader.origins

    @property
    def skipped(self) -> SkippedByCause:
        """The foreign messages, which were skipped."""
        return self._reader.skipped

    @property
    def unresolved(self) -> errors.TopicHalted | None:
        """The error that would be raised if the messages ended here, or None."""
        return self._broken or self._reader.unresolved

    def receive(self, received: Iterable[ReceivedMessage]) -> VerifiedBatch | None:
        """Process messages in their order, and return what is verified now.

        Raises:
            SealBroken, OffsetGone: see `next_batch`.
        """
        self.add(received)
        return self.next_batch()

    def add(self, received: Iterable[ReceivedMessage]) -> None:
        """As `add_parsed`, for messages as the client delivers them."""
        self.add_parsed(map(message.parsed_or_error, received))

    def add_parsed(self, messages: Iterable[Parsed]) -> None:
        """Process messages in their order in the topic.

        A caller may pass them in parts of any size.
        """
        for each in messages:
            if self._broken or self.rewind is not None:
                return  # halted, or the caller has not rewound yet
            self.is_ended = False
            try:
                if each.offset < self.next_offset:
                    self._add_missing(each)
                else:
                    self._process(each)
            except errors.TopicHalted as why:
                self._broken = why

    def end(self) -> None:
        """Record that the end is reached: an unresolved error is now final."""
        self.is_ended = self.rewind is None

    def next_batch(self) -> VerifiedBatch | None:
        """The leaves up to the last verified checkpoint that were not returned yet, or None.

        Raises:
            SealBroken: the messages are not what the topic's owner sealed. Leaves that were
                verified before are returned first.
            OffsetGone: a message was deleted before it could be read again.
        """
        final = self.is_ended or self._unresolved_messages > _MOST_UNRESOLVED
        while not self._incomplete and (verified := self._reader.try_open_checkpoint(final=final)):
            self._collect(verified)
        checkpoints, self._checkpoints = self._checkpoints, []
        if checkpoints:
            start, ready = self._start, self._ready
            self._start, self._ready = start + len(ready), []
            return VerifiedBatch(self.topic, self.number, start, ready, checkpoints, self._resume)
        if self._broken:
            raise self._broken
        unresolved = self._reader.unresolved
        if unresolved and final:
            raise unresolved
        return None

    def _process(self, parsed: Parsed) -> None:
        """Pass the next message to the reader, and store it if there is room."""
        if self._incomplete:
            raise errors.OffsetGone(self.topic.name, self.number, self._incomplete.start)
        offset = parsed.offset
        self.next_offset = offset + 1
        if isinstance(parsed, errors.MessageMalformed):
            self.skipped.add(parsed.what, offset)
            return
        size = parsed.size
        index, reader = parsed.leaf_index, self._reader
        if 0 <= index - reader.size < WINDOW and self._bytes + size <= MOST_BYTES:
            self._stored[offset] = parsed
            self._bytes += size
        verified = reader.feed(index, parsed.leaf, parsed.sealed, offset)
        if not verified and reader.has_postponed and self._bytes > _MOST_POSTPONED_BYTES:
            verified = reader.try_open_checkpoint()
        if verified:
            self._collect(verified)
        elif reader.unresolved:
            self._unresolved_messages += 1

    def _collect(self, verified: VerifiedLeaves) -> None:
        """Collect the messages of verified leaves. If some are not stored, request a rewind."""
        stored = self._stored
        if stored.keys() >= set(verified.offsets):
            self._complete(verified)
            return
        leaves = zip(verified.offsets, verified.leaves, strict=True)
        self._missing = {offset: leaf for offset, leaf in leaves if offset not in stored}
        wanted = set(verified.offsets)
        self._stored = {offset: each for offset, each in stored.items() if offset in wanted}
        self._bytes = sum(each.size for each in self._stored.values())
        self._incomplete, self.rewind, self.is_ended = verified, min(self._missing), False

    def _add_missing(self, parsed: Parsed) -> None:
        """Store a message that is read again, if a checkpoint covers it."""
        offset = parsed.offset
        leaf = self._missing.pop(offset, None)
        if leaf is None or self._incomplete is None:
            return
        if isinstance(parsed, errors.MessageMalformed):
            raise parsed
        self._bytes += parsed.size
        start, end = self._incomplete.start, self._incomplete.end
        if self._bytes > MOST_BYTES:
            raise errors.BatchTooLarge(self._origin, start, end, MOST_BYTES)
        if parsed.leaf != leaf:
            raise errors.SealMismatch(self._origin, start, end)
        self._stored[offset] = parsed
        if not self._missing:
            verified, self._incomplete = self._incomplete, None
            self._complete(verified)

    def _complete(self, verified: VerifiedLeaves) -> None:
        stored = self._stored
        messages = [stored.pop(offset) for offset in verified.offsets]
        self._ready += messages
        self._checkpoints.append(verified)
        self._verified_since_drop += len(messages)
        if not stored or self._bytes > MOST_BYTES // 2:
            # The remaining messages are probably foreign, and the next batch needs the memory.
            self._stored, self._bytes = {}, 0
        else:
            self._bytes -= sum(each.size for each in messages)
            self._drop_below(verified.end)
        self._after_checkpoint = self.next_offset
        self._unresolved_messages = 0

    def _drop_below(self, end: int) -> None:
        """Drop stored messages below a tree size, once enough leaves are verified.

        So the cost of dropping is constant per verified leaf.
        """
        if self._verified_since_drop >= len(self._stored):
            self._stored = {at: each for at, each in self._stored.items() if each.leaf_index >= end}
            self._bytes = sum(each.size for each in self._stored.values())
            self._verified_since_drop = 0

    @property
    def _resume(self) -> int:
        """The offset from which all leaves are read that were not returned yet."""
        offsets = self._incomplete.offsets if self._incomplete else ()
        pending = self._reader.lowest_pending_offset
        return min([self._after_checkpoint, *offsets, *([] if pending is None else [pending])])
