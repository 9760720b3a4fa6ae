"""Reads one topic-partition of the agency, beyond the tree that its database has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sinergi_producers.recovery import lost_events
from sinergi_producers.recovery.restoring import TreeExtension
from sinergi_schemas import errors
from sinergi_schemas.message import parsed_or_error, parsed_or_none
from sinergi_schemas.seal.candidates import WINDOW
from sinergi_schemas.seal.reader import TreeReader, VerifiedLeaves
from sinergi_schemas.seal.writer import TreeWriter

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sinergi_producers.relay.sealing import TreeKey
    from sinergi_schemas.catalog import Catalog
    from sinergi_schemas.message import Message, ReceivedMessage
    from sinergi_schemas.seal.key_ring import KeyRing
    from sinergi_schemas.seal.keys import SigningKey
    from sinergi_schemas.seal.merkle import Frontier
    from sinergi_schemas.seal.skipped import SkippedByCause
    from sinergi_schemas.topics import Topic

_MOST_UNPROVED_BYTES = 12 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Extent:
    """How many leaves of one topic-partition the database has, and how many only the topic has.

    Of the leaves that the database knows, only the first is looked for on the topic: a recovery
    reads what lies beyond them. `sinergi replay` verifies the whole topic.

    Attributes:
        known: in the database.
        proved: beyond them, under a valid checkpoint on the topic.
        unproved: beyond those, in messages that no checkpoint covers.
        lost: how many of the first leaves that a relay has sent are missing on the topic.
    """

    topic: str
    partition: int
    known: int
    proved: int
    unproved: int
    lost: int = 0

    @property
    def is_forgotten(self) -> bool:
        """Whether the topic proves more than the database knows."""
        return self.proved > 0


class TopicReading:
    """The leaves that one topic-partition has beyond a tree. Its messages are read twice.

    At the first reading the checkpoints decide which messages are the leaves. At the second one
    these are kept. Behind the last checkpoint, where nothing is proved, the first event of this
    agency is kept for each leaf.

    Attributes:
        leaves: a message for each leaf beyond the tree, in order.
        lost: how many of the first leaves of the tree are missing on the topic.
    """

    def __init__(
        self,
        tree_key: TreeKey,
        topic: Topic,
        origin: str,
        ring: KeyRing,
        tree: Frontier,
    ) -> None:
        self.tree_key = tree_key
        self.tree = tree
        self.leaves: list[Message] = []
        self.lost = 0
        self._topic = topic
        self._origin = origin
        self._ring = ring
        self._reader = TreeReader(origin, ring, tree)
        self._checkpoints: list[VerifiedLeaves] = []
        self._wanted: dict[int, tuple[int, bytes]] = {}
        self._proved: dict[int, Message] = {}
        self._unproved: dict[int, Message] = {}
        self._room = _MOST_UNPROVED_BYTES

    @property
    def skipped(self) -> SkippedByCause:
        """What was skipped."""
        return self._reader.skipped

    @property
    def proved(self) -> int:
        """How many leaves a checkpoint covers."""
        return self._reader.size

    @property
    def extent(self) -> Extent:
        """How many leaves the database has, and how many only the topic has."""
        known = self.tree.size
        proved = self.proved - known
        unproved = len(self.leaves) - proved
        return Extent(self._topic.name, self.tree_key[1], known, proved, unproved, self.lost)

    def verify(self, received: ReceivedMessage) -> None:
        """Verify the next message.

        Raises:
            SealFork: this agency has signed two histories.
        """
        offset = received.offset() or 0
        parsed = parsed_or_error(received)
        if isinstance(parsed, errors.MessageMalformed):
            self.skipped.add(parsed.what, offset)
            return
        verified = self._reader.feed(parsed.leaf_index, parsed.leaf, parsed.sealed, offset)
        # At once: a postponed checkpoint is covered by a larger one and would not be restored.
        if verified is None and self._reader.has_postponed:
            verified = self._reader.try_open_checkpoint()
        while verified:
            self._checkpoints.append(verified)
            verified = self._reader.try_open_checkpoint()

    def conclude(self) -> None:
        """Verify the last checkpoints, when everything was read once.

        Raises:
            SealBroken: a checkpoint of this agency covers leaves that are missing, or other leaves.
        """
        while verified := self._reader.try_open_checkpoint(final=True):
            self._checkpoints.append(verified)
        if self._reader.unresolved:
            raise self._reader.unresolved
        for each in self._checkpoints:
            for index, (offset, leaf) in enumerate(
                zip(each.offsets, each.leaves, strict=True), each.start
            ):
                self._wanted[offset] = index, leaf

    def collect(self, received: ReceivedMessage, catalog: Catalog) -> None:
        """Keep the next message of the second reading, if it is a leaf or may be one."""
        parsed = parsed_or_none(received)
        if parsed is None:
            return
        index, leaf = self._wanted.get(parsed.offset, (None, b""))
        if index is not None and parsed.leaf == leaf:
            self._proved[index] = parsed
        elif 0 <= parsed.leaf_index - self.proved < WINDOW:
            self._keep_unproved(parsed, catalog)

    def _keep_unproved(self, parsed: Message, catalog: Catalog) -> None:
        """Keep an event of this agency after the last checkpoint, the first one for each leaf."""
        index, room = parsed.leaf_index, len(parsed.datum) + len(parsed.key)
        if index in self._unproved or room > self._room:
            return
        try:
            event = lost_events.topic_event(self.tree_key, parsed, catalog, is_proved=False)
        except (errors.SchemaRefused, errors.DatumInvalid) as why:
            self.skipped.add(f"no event of ours ({type(why).__name__})", parsed.offset, index)
            return
        self._unproved[event.leaf_index] = parsed
        self._room -= room

    def complete(self) -> None:
        """Put the leaves in order.

        Raises:
            OffsetGone: a leaf is no longer on the broker.
        """
        for index in range(self.tree.size, self.proved):
            if index not in self._proved:
                raise errors.OffsetGone(self._topic.name, self.tree_key[1], index)
            self.leaves.append(self._proved[index])
        index = self.proved
        while index in self._unproved:
            self.leaves.append(self._unproved[index])
            index += 1

    def extension(self, count: int, keys: Sequence[SigningKey]) -> TreeExtension:
        """How the tree grows by its first leaves beyond it.

        Args:
            count: how many leaves are added.
            keys: the private keys. They sign a new checkpoint, still to be sent, for leaves that no
                checkpoint on the topic covers.

        Raises:
            SigningKeyMissing: the key that must sign that checkpoint is not among them.
        """
        checkpoints = list(self._checkpoints)
        size = self.tree.size + count
        if size > self.proved:
            signers = self._ring.signers(self._origin, size, keys)
            writer = TreeWriter(self._origin, signers, self._reader.frontier)
            for each in self.leaves[self.proved - self.tree.size : count]:
                writer.add(each.leaf_data)
            sealed, after = writer.checkpoint(), writer.frontier
            last = VerifiedLeaves(self.proved, after.size, after.root(), sealed.note, after, (), ())
            checkpoints.append(last)
        return TreeExtension(self.tree_key, self.tree.size, checkpoints, self.proved)
