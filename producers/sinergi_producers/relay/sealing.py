"""Decides which rows become which leaves, under which checkpoints.

The sealer gets rows and trees, and returns updates of trees with their checkpoints. It uses no
database, no broker and no clock.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from sinergi_schemas.message import leaf_data
from sinergi_schemas.seal.writer import TreeWriter
from sinergi_schemas.topics import Topic, TopicPartition, partition_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from datetime import datetime
    from uuid import UUID

    from sinergi_schemas.seal.checkpoint import SignedCheckpoint
    from sinergi_schemas.seal.key_ring import KeyRing
    from sinergi_schemas.seal.keys import SigningKey
    from sinergi_schemas.seal.merkle import Frontier


class TreeKey(NamedTuple):
    """The key of a tree of this agency: an event type, and a partition of its topic."""

    event_type: str
    partition: int


MOST_MESSAGES = 5_000
MOST_BYTES = 8 * 1024 * 1024

NOT_COVERED = "no agreement in force covers it"
"""The beginning of the reason; if an agreement covered it once or will, that one follows."""
BEHIND = "an earlier revision of its record is held"


class OutboxRow(NamedTuple):
    """A row of the outbox, with what its message needs.

    Attributes:
        event_id: as text if it comes from the database.
        row_fault: what is wrong with the row itself. If its datum is too long, it is empty here.
        is_behind: an earlier revision of its record is held.
    """

    id: int
    event_id: UUID | str
    event_type: str
    key: bytes
    recorded_at: datetime
    fingerprint: bytes
    datum: bytes
    traceparent: str | None
    revision: int = 1
    row_fault: str | None = None
    is_behind: bool = False


@dataclass(frozen=True, slots=True)
class TreeUpdate:
    """What one batch adds to one tree: leaves, and a checkpoint after the last of them.

    Attributes:
        rows: in the order of their leaves, which follow each other from `start` on.
        after: the tree with these leaves.
    """

    tree_key: TreeKey
    rows: Sequence[OutboxRow]
    after: Frontier
    sealed: SignedCheckpoint

    @property
    def start(self) -> int:
        """The size of the tree before, which is the index of the first leaf."""
        return self.after.size - len(self.rows)


@dataclass(slots=True)
class SealedBatch:
    """What becomes of a batch of rows: most update their trees, and some are held.

    Attributes:
        held: the ids of held rows by reason; the reason quotes no value of a row.
    """

    updates: list[TreeUpdate] = field(default_factory=list)
    held: dict[str, list[int]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Sealer:
    """Seals for one agency.

    Attributes:
        keys: the private keys of the agency. For each tree, those sign that must or may.
        counts: how many partitions the topic of each event type has.
        is_agreed: whether an agreement in force lets the agency publish an event type.
        ring: the keys of a topic-partition, from the agreements.
        fault: why a row cannot be sent; None if it can.
        why_not_in_force: which file covers an event type that is not agreed now, and when it comes
            into force or when it ended; empty if no file does.
    """

    bus: str
    agency: str
    keys: Sequence[SigningKey]
    counts: Mapping[str, int]
    is_agreed: Callable[[str], bool]
    ring: Callable[[Topic, int], KeyRing]
    fault: Callable[[OutboxRow], str | None]
    why_not_in_force: Callable[[str], str] = lambda _: ""

    def seal(self, rows: Iterable[OutboxRow], trees: Mapping[TreeKey, Frontier]) -> SealedBatch:
        """Give rows their leaves, in order, and sign a checkpoint for each tree that grows.

        If a row is held, so are the later revisions of its record, and no other rows.

        Raises:
            SigningKeyMissing: the agency does not have a key that must sign a tree.
        """
        batch = SealedBatch()
        by_tree: dict[TreeKey, list[OutboxRow]] = {}
        uncovered: dict[str, str | None] = {}
        held: set[tuple[str, bytes]] = set()
        for row in rows:
            if row.event_type not in uncovered:
                uncovered[row.event_type] = self._why_uncovered(row.event_type)
            why = uncovered[row.event_type]
            if why is not None:
                pass
            elif row.is_behind or (held and (row.event_type, row.key) in held):
                why = BEHIND
            else:
                why = self.fault(row)
            if why is None:
                by_tree.setdefault(self._tree_key(row), []).append(row)
            else:
                batch.held.setdefault(why, []).append(row.id)
                held.add((row.event_type, row.key))
        batch.updates = [
            self._tree_update(tree_key, given, trees[tree_key])
            for tree_key, given in by_tree.items()
        ]
        return batch

    def _why_uncovered(self, event_type: str) -> str | None:
        """Why rows of an event type cannot be sealed now; None if an agreement covers it."""
        if event_type in self.counts and self.is_agreed(event_type):
            return None
        when = self.why_not_in_force(event_type)
        return f"{NOT_COVERED}: {when}" if when else NOT_COVERED

    def _tree_key(self, row: OutboxRow) -> TreeKey:
        count = self.counts[row.event_type]
        return TreeKey(row.event_type, partition_for(row.key, count))

    def _tree_update(
        self, tree_key: TreeKey, rows: Sequence[OutboxRow], tree: Frontier
    ) -> TreeUpdate:
        event_type, partition = tree_key
        topic = Topic(self.agency, event_type)
        origin = TopicPartition(topic.name, partition).origin(self.bus)
        keys = self.ring(topic, partition).signers(origin, tree.size + len(rows), self.keys)
        writer = TreeWriter(origin, keys, tree)
        for row in rows:
            writer.add(leaf_data(row.fingerprint, row.key, row.datum))
        sealed = writer.checkpoint()
        return TreeUpdate(tree_key, rows, writer.frontier, sealed)
