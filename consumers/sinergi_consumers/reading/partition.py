"""One topic-partition as it is being read: messages in, verified batches out.

The materialiser, replay and verification read through this, so that there is one answer to what a
topic says. Nothing is decoded here, and nothing leaves that does not stand under a checkpoint of
the topic's owner.

Anybody may have written to the topic. Messages that wait for a checkpoint are kept up to a number
of bytes; of the others only hash and offset are known. Where a checkpoint covers such a message,
`rewind` says from which offset the topic is to be read again, and what is read then is picked by
offset and hash.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from sinergi_schemas import errors, message
from sinergi_schemas.seal.candidates import WINDOW
from sinergi_schemas.seal.merkle import leaf_hash
from sinergi_schemas.seal.reader import TreeReader

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sinergi_schemas.message import Message, ReceivedMessage
    from sinergi_schemas.seal.history import VerifiedHistory
    from sinergi_schemas.seal.key_ring import KeyRing
    from sinergi_schemas.seal.merkle import Frontier
    from sinergi_schemas.seal.noise import Noise
    from sinergi_schemas.seal.reader import VerifiedLeaves
    from sinergi_schemas.topics import Topic

MOST_BYTES = 12 * 1024 * 1024  # a relay's batch is 8 MiB and one event; the next one may begin
_MOST_DOUBTED = 20_000


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
class VerifiedBatch:
    """The leaves `[start, end)` of a partition, under a checkpoint that was verified.

    Attributes:
        messages: one a leaf, in order, resends left out.
        checkpoints: those met on the way, at least one; the last one stands at `end`.
        next_offset: the offset from which the leaf `end` is met.
    """

    topic: Topic
    partition: int
    start: int
    messages: Sequence[Message]
    checkpoints: Sequence[VerifiedLeaves]
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
    """A partition being read from a known tree onwards.

    Args:
        compare: tell resends from other leaves under a sealed index; see `TreeReader`.

    Attributes:
        noise: what was skipped.
        rewind: the offset from which the topic must be read again; None where it is read on. The
            caller sets it to None when it has gone back.
        next_offset: the offset behind the last message that was judged.
        is_ended: nothing more lies on the broker behind the messages taken so far.
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
        self._origin = f"{bus}/{topic.name}/{number}"
        self._reader = TreeReader(self._origin, keys, tree, compare=compare)
        self._start = tree.size
        self._kept: dict[int, Message] = {}
        self._bytes = 0
        self._absent: dict[int, bytes] = {}
        self._incomplete: VerifiedLeaves | None = None
        self._ready: list[Message] = []
        self._checkpoints: list[VerifiedLeaves] = []
        self._behind = 0
        self._passed = 0
        self._doubted = 0
        self._broken: errors.TopicHalted | None = None

    @property
    def size(self) -> int:
        """The leaves given out so far, those before the start counted."""
        return self._start

    @property
    def frontier(self) -> Frontier:
        """The tree that is verified."""
        return self._reader.frontier

    @property
    def pending(self) -> int:
        """The leaves that no checkpoint has covered yet."""
        return self._reader.pending

    @property
    def resends(self) -> int:
        """The messages that were ignored as known."""
        return self._reader.resends

    @property
    def history(self) -> VerifiedHistory | None:
        """What is compared, and what could not be; see `TreeReader`."""
        return self._reader.history

    @property
    def noise(self) -> Noise:
        """What was skipped."""
        return self._reader.noise

    @property
    def unresolved(self) -> errors.TopicHalted | None:
        """What a valid checkpoint says that the messages so far do not bear out."""
        return self._broken or self._reader.unresolved

    def receive(self, received: Iterable[ReceivedMessage]) -> VerifiedBatch | None:
        """Verify messages in their order on the topic; what is verified by now.

        Raises:
            SealBroken, OffsetGone: see `cut`.
        """
        self.take(received)
        return self.cut()

    def take(self, received: Iterable[ReceivedMessage]) -> None:
        """Verify messages in their order on the topic.

        They may come in parts of any size, each of which can be let go at once.
        """
        for each in received:
            if self._broken or self.rewind is not None:
                return  # nothing counts any more, or until the caller has gone back
            self.is_ended = False
            offset = each.offset() or 0
            try:
                if offset < self.next_offset:
                    self._pick(each, offset)
                else:
                    self._judge(each, offset)
            except errors.TopicHalted as why:
                self._broken = why

    def end(self) -> None:
        """Note that nothing more lies on the broker: no message can answer an objection."""
        self.is_ended = self.rewind is None

    def cut(self) -> VerifiedBatch | None:
        """What is verified by now, cut at the last checkpoint; what comes behind is held back.

        Raises:
            SealBroken: the messages are not what the topic's owner sealed. What was verified before
                them is given out first.
            OffsetGone: a message was deleted before it could be read again.
        """
        final = self.is_ended or self._doubted > _MOST_DOUBTED
        while not self._incomplete and (verified := self._reader.try_open_checkpoint(final=final)):
            self._take_messages(verified)
        checkpoints, self._checkpoints = self._checkpoints, []
        if checkpoints:
            start, ready = self._start, self._ready
            self._start, self._ready = start + len(ready), []
            return VerifiedBatch(self.topic, self.number, start, ready, checkpoints, self._resume)
        if self._broken:
            raise self._broken
        objection = self._reader.unresolved
        if objection and final:
            raise objection
        return None

    def _judge(self, received: ReceivedMessage, offset: int) -> None:
        """Feed the next message to the reader."""
        if self._incomplete:
            raise errors.OffsetGone(self.topic.name, self.number, self._incomplete.start)
        self.next_offset = offset + 1
        try:
            parsed = message.parse(received)
        except errors.MessageMalformed as why:
            self.noise.add(why.what, offset)
            return
        room = parsed.size
        index, reader = parsed.leaf_index, self._reader
        if 0 <= index - reader.size < WINDOW and self._bytes + room <= MOST_BYTES:
            self._kept[offset] = parsed
            self._bytes += room
        verified = reader.feed(index, parsed.leaf_data, parsed.sealed, offset)
        if verified:
            self._take_messages(verified)
        elif reader.unresolved:
            self._doubted += 1

    def _take_messages(self, verified: VerifiedLeaves) -> None:
        """Take the messages of verified leaves; those that were not kept are read again."""
        kept = self._kept
        if kept.keys() >= set(verified.offsets):
            self._complete(verified)
            return
        leaves = zip(verified.offsets, verified.leaves, strict=True)
        self._absent = {offset: leaf for offset, leaf in leaves if offset not in kept}
        wanted = set(verified.offsets)
        self._kept = {offset: each for offset, each in kept.items() if offset in wanted}
        self._bytes = sum(each.size for each in self._kept.values())
        self._incomplete, self.rewind, self.is_ended = verified, min(self._absent), False

    def _pick(self, received: ReceivedMessage, offset: int) -> None:
        """Keep a message that is read again, if it is one of those that a checkpoint covers."""
        leaf = self._absent.pop(offset, None)
        if leaf is None or self._incomplete is None:
            return
        parsed = message.parse(received)
        self._bytes += parsed.size
        start, end = self._incomplete.start, self._incomplete.end
        if self._bytes > MOST_BYTES:
            raise errors.BatchTooLarge(self._origin, start, end, MOST_BYTES)
        if leaf_hash(parsed.leaf_data) != leaf:
            raise errors.SealMismatch(self._origin, start, end)
        self._kept[offset] = parsed
        if not self._absent:
            verified, self._incomplete = self._incomplete, None
            self._complete(verified)

    def _complete(self, verified: VerifiedLeaves) -> None:
        kept = self._kept
        taken = [kept.pop(offset) for offset in verified.offsets]
        self._ready += taken
        self._checkpoints.append(verified)
        self._passed += len(taken)
        if not kept or self._bytes > MOST_BYTES // 2:
            # What is left over is likely noise, and must not take the room of the next batch.
            self._kept, self._bytes = {}, 0
        else:
            self._bytes -= sum(each.size for each in taken)
            self._drop_passed(verified.end)
        self._behind = self.next_offset
        self._doubted = 0

    def _drop_passed(self, end: int) -> None:
        """Drop kept messages below a tree size, not more often than leaves are verified."""
        if self._passed >= len(self._kept):
            self._kept = {at: each for at, each in self._kept.items() if each.leaf_index >= end}
            self._bytes = sum(each.size for each in self._kept.values())
            self._passed = 0

    @property
    def _resume(self) -> int:
        """The offset from which all is met that was not given out."""
        offsets = self._incomplete.offsets if self._incomplete else ()
        earliest = self._reader.lowest_pending_offset
        waiting = self._behind if earliest is None else min(earliest, self._behind)
        return min([waiting, *offsets])
