"""Whether topics, and a reader's database, have what the owners sealed: all of it, part by part.

One snapshot of the database is read first, then the topics to their ends. So a topic has at least
the leaves that the database has, unless some were taken away.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sinergi_consumers.audit import verified_parts, verified_rows
from sinergi_consumers.audit.projection_check import LeafRange, ProjectionCheck
from sinergi_consumers.audit.verified_parts import UNREAD, PositionResult
from sinergi_consumers.sinks.postgresql import stored_statements
from sinergi_schemas import errors
from sinergi_schemas.seal import checkpoint
from sinergi_schemas.topics import is_topic

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    import psycopg

    from sinergi_consumers.audit.audit import Audit
    from sinergi_consumers.audit.projection_check import ProjectionResult
    from sinergi_consumers.audit.series import AuditSeries
    from sinergi_consumers.audit.verified_parts import VerifiedPart
    from sinergi_consumers.bus import Bus
    from sinergi_consumers.projections.projection import Projection
    from sinergi_consumers.sinks.postgresql.stored_statements import (
        StoredCheckpoint,
        StoredPosition,
    )
    from sinergi_consumers.sinks.protocol import PositionKey
    from sinergi_schemas.seal.merkle import Frontier
    from sinergi_schemas.topics import Topic, TopicPartition

_ALL = 2**63 - 1  # the largest bigint


@dataclass(slots=True)
class Verification:
    """The verification of one database.

    Attributes:
        bus: the source, the agreements, and the agency that reads.
        series: the audits of the topics.
        projections: of the database.
        own_name: the name of the database's key for receipts; empty without a database.
        is_partial: whether only some topics are verified.
        is_archived: whether an archive is read, which may be older than the database.
        parts: what is proved, what is not, and what could not be checked.
        projection_results: how the tables differ from the events.
    """

    bus: Bus
    series: AuditSeries
    projections: Sequence[Projection]
    own_name: str
    is_partial: bool = False
    is_archived: bool = False
    parts: list[VerifiedPart] = field(default_factory=list)
    projection_results: list[ProjectionResult] = field(default_factory=list)

    def run(self, connection: psycopg.Connection, progressed: Callable[[], None]) -> None:
        """Verify everything.

        Args:
            connection: in a transaction that sees one state of the database; see
                `Database.scratch`.
            progressed: called after each batch of messages.

        Raises:
            SinergiError: the database, or the only topic, cannot be read.
        """
        audits = self.series.audits
        # The agency's own topics have no position, and no rows in its database.
        read = [each for each in audits if each.topic.agency != self.bus.reader]
        topics = [each.topic.name for each in read] if self.is_partial else None
        decoders = self.bus.decoders(self.bus.agreement_check)
        stored = [
            each
            for each in stored_statements.stored_positions(connection)
            if topics is None or each.key.tp.topic in topics
        ]
        trees = {each.key: each.tree for each in stored if each.tree is not None}
        limits = {each.key: each.size for each in stored}
        check = ProjectionCheck(connection, self.projections, decoders, limits, topics)
        checkpoints = self._checkpoints(connection)
        published = stored_statements.largest_published(connection)
        for audited in self.series.batches(tree_sizes(trees, checkpoints)):
            if audited.audit in read:
                check.add(audited.batch)
            progressed()
        by_topic = {each.topic.name: each for each in read}
        positions = [
            self._position(each, by_topic.get(each.key.tp.topic), checkpoints) for each in stored
        ]
        unchecked: dict[str, list[LeafRange]] = defaultdict(list)
        for each in positions:
            if found := _unshown(each):
                unchecked[each.key.projection].append(found)
        for audit in audits:
            self.parts += verified_parts.of_topic(audit, is_archived=self.is_archived)
            self.parts += self._of_receipts(audit, published)
        self.parts += self._of_checkpoints(by_topic, checkpoints)
        installed = {each.name for each in self.projections}
        self.parts += verified_parts.of_unknown(
            {each.key.projection for each in positions if each.key.projection not in installed}
        )
        for result in check.results(unchecked):
            self.projection_results.append(result)
            own = [each for each in positions if each.key.projection == result.projection.name]
            of_type = [
                each for each in read if each.topic.event_type == result.projection.event_type
            ]
            self.parts += verified_parts.of_positions(result.projection, own, of_type)
            self.parts += verified_rows.of_rows(result, has_position=bool(own))
            progressed()

    def run_topics(self, progressed: Callable[[], None], unchecked: str | None) -> None:
        """Verify the topics alone, their owners' heads and the receipts: there is no database.

        Args:
            progressed: called after each batch of messages.
            unchecked: why the database of an agency is not checked; None for an auditor.

        Raises:
            SinergiError: the only topic cannot be read.
        """
        for _ in self.series.batches({}):
            progressed()
        for audit in self.series.audits:
            self.parts += verified_parts.of_topic(audit, is_archived=self.is_archived)
            self.parts += self._of_receipts(audit, {})
        if unchecked is not None:
            self.parts.append(verified_parts.of_no_database(unchecked))

    def _of_receipts(
        self, audit: Audit, published: Mapping[TopicPartition, int]
    ) -> Iterator[VerifiedPart]:
        return verified_parts.of_receipts(
            audit, self.own_name, published, is_archived=self.is_archived
        )

    def _checkpoints(
        self, connection: psycopg.Connection
    ) -> dict[TopicPartition, StoredCheckpoint]:
        """The checkpoints of the database; one whose topic is none is disproved."""
        found = {}
        for tp, stored in stored_statements.largest_checkpoints(connection).items():
            if is_topic(tp.topic):
                found[tp] = stored
            elif not self.is_partial:
                self.parts.append(verified_parts.of_no_topic(tp))
        return found

    def _position(
        self,
        position: StoredPosition,
        audit: Audit | None,
        checkpoints: Mapping[TopicPartition, StoredCheckpoint],
    ) -> PositionResult:
        key, frontier, counts = position.key, position.tree, _counts(audit, position.key.tp)
        if frontier is None:
            why = str(position.fault)
            return PositionResult(key, position.size, counts, is_proved=False, fault=why)
        if audit is None or counts is None:
            return PositionResult(key, frontier.size, None, None)
        root = audit.root(key.tp.partition, frontier.size)
        if root is None:
            return PositionResult(key, frontier.size, counts, None)
        stored = checkpoints.get(key.tp)
        is_signed = (
            stored is not None
            and stored.root == frontier.root()
            and self._is_signed(audit.topic, key.tp, stored)
        )
        is_proved = root == frontier.root()
        return PositionResult(key, frontier.size, counts, is_proved, is_signed and not is_proved)

    def _is_signed(self, topic: Topic, tp: TopicPartition, stored: StoredCheckpoint) -> bool:
        """Whether the owner of a topic has signed a stored checkpoint."""
        agreements = self.bus.agreements
        try:
            ring = agreements.ring(topic, tp.partition)
            signed = checkpoint.verify(stored.note, tp.origin(agreements.bus), ring)
        except errors.SealBroken:
            return False
        return (signed.size, signed.root) == (stored.size, stored.root)

    def _of_checkpoints(
        self,
        audits: Mapping[str, Audit],
        checkpoints: Mapping[TopicPartition, StoredCheckpoint],
    ) -> Iterator[VerifiedPart]:
        """The checkpoints of the database that are not those of the topic."""
        for tp, stored in checkpoints.items():
            audit = audits.get(tp.topic)
            root = None if audit is None else audit.root(tp.partition, stored.size)
            if audit is not None and root is not None and root != stored.root:
                is_signed = self._is_signed(audit.topic, tp, stored)
                yield verified_parts.of_other_history(audit, tp, stored.size, is_signed=is_signed)


def tree_sizes(
    positions: Mapping[PositionKey, Frontier],
    checkpoints: Mapping[TopicPartition, StoredCheckpoint],
) -> dict[Topic, dict[int, set[int]]]:
    """The sizes of the trees of positions and checkpoints, by topic and partition."""
    found: dict[Topic, dict[int, set[int]]] = defaultdict(lambda: defaultdict(set))
    for key, frontier in positions.items():
        found[key.tp.event_topic][key.tp.partition].add(frontier.size)
    for tp, stored in checkpoints.items():
        found[tp.event_topic][tp.partition].add(stored.size)
    return found


def _counts(audit: Audit | None, tp: TopicPartition) -> int | None:
    """How many leaves of a topic-partition are verified; None if it was not read."""
    if audit is None or audit.verdict.not_read:
        return None
    counts = (each for each in audit.partition_counts if each.partition == tp.partition)
    return next((each.verified for each in counts), None)


def _unshown(position: PositionResult) -> LeafRange | None:
    """The leaves below a position that cannot be compared with the topic."""
    tp, size = position.key.tp, position.size
    if position.verified is None:
        return LeafRange(tp, 0, size, UNREAD) if size else None
    if position.fault:
        return LeafRange(tp, 0, _ALL, "its position was edited")
    if position.is_proved is False:
        return LeafRange(tp, 0, size, "the topic has other leaves")
    if position.verified < size:
        why = f"the topic shows {position.verified} of its {size} leaves"
        return LeafRange(tp, position.verified, size, why)
    return None
