"""Retry of events in quarantine: by a person, after an upgrade, or under a new agreement.

A retry decodes and merges events with the same code as the materialiser, so the result is the same
if nothing has changed. An event that succeeds late has the same effect as one in time, because the
highest revision of a record wins in any order. The topic is read only for events whose bytes are
not in quarantine.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

from sinergi_consumers.decode.agreement_check import NOT_AGREED
from sinergi_consumers.quarantine.isolate import merge_and_quarantine
from sinergi_consumers.sinks.protocol import Decision
from sinergi_schemas import errors

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from sinergi_consumers.decode.batches import RefusedEvent
    from sinergi_consumers.decode.decoder import Decoders
    from sinergi_consumers.projections.projection import Projection
    from sinergi_consumers.quarantine.leaf_reading import LeafReading
    from sinergi_consumers.sinks.protocol import EventWithoutBytes, QuarantineKey, Sink
    from sinergi_schemas.message import Message
    from sinergi_schemas.topics import Topic, TopicPartition

RETRIED = "retried"
NOT_QUARANTINED = "not held"
NOT_READ = "not read"

_MOST = 200  # entries of one transaction, for which a worker of the partition waits
_MOST_BYTES = 8 * 1024 * 1024  # read again from a topic for one transaction


UPGRADED = Decision("sinergi materialise", "its schema is known here now")
AGREED = Decision("sinergi materialise", "an agreement that allows it is loaded now")


class RetryOutcome(NamedTuple):
    """The outcome of the retry of one entry.

    Attributes:
        entry: the event and the projection.
        result: `RETRIED`; the reason why it stays in quarantine; `NOT_READ` if its bytes are not in
            quarantine and could not be read from the topic; or `NOT_QUARANTINED`.
        detail: what is wrong and where, without any value of the event.
    """

    entry: QuarantineKey
    result: str
    detail: str = ""

    @property
    def is_merged(self) -> bool:
        """Whether the event has become rows."""
        return self.result == RETRIED


@dataclass(frozen=True, slots=True)
class QuarantinedLeaves:
    """Leaves of one partition from quarantine; see `sinergi_consumers.reading.partition.Leaves`."""

    topic: Topic
    partition: int
    messages: Sequence[Message]

    def message(self, leaf_index: int) -> Message:
        """The message with a leaf index."""
        return next(each for each in self.messages if each.leaf_index == leaf_index)


class RetryPortion(NamedTuple):
    """Entries of one partition that are retried together.

    Attributes:
        tp: the partition.
        entries: in the order of their leaves.
        without_bytes: the leaves whose bytes are not in quarantine.
    """

    tp: TopicPartition
    entries: Sequence[QuarantineKey]
    without_bytes: Mapping[int, EventWithoutBytes]


@dataclass(frozen=True, slots=True)
class QuarantineRetry:
    """The retry of a sink's events in quarantine.

    Attributes:
        sink: the database.
        projections: the installed ones.
        decoders: decode the events.
        reading: reads leaves from the topic whose bytes are not in quarantine.
    """

    sink: Sink
    projections: Sequence[Projection]
    decoders: Decoders
    reading: LeafReading

    def retry(self, entries: Sequence[QuarantineKey], decision: Decision) -> Iterator[RetryOutcome]:
        """Retry entries in several transactions. Yields each outcome after its commit.

        If a topic cannot be read, the result of events whose bytes are not in quarantine is
        `NOT_READ`.

        Raises:
            ProjectionRefused: a projection is not installed here.
            Unavailable: the database does not answer; the outcomes until then are committed.
            DatabaseBroken: the database refuses a statement.
        """
        known = {each.name for each in self.projections}
        for each in entries:
            if each.projection not in known:
                raise errors.ProjectionRefused(each.projection, "it is not installed here")
        for _, group in groupby(sorted(entries, key=leaf_of), lambda each: each.tp):
            away: errors.SinergiError | None = None
            for portion in self.portions([*group]):
                read: Mapping[int, Message] = {}
                try:
                    read = {} if away else self.read(portion)
                except errors.Unavailable as why:
                    away = why
                yield from self.retry_portion(portion, read, decision, away)

    def portions(self, entries: Sequence[QuarantineKey]) -> Iterator[RetryPortion]:
        """Split entries of one partition, in the order of their leaves, into transactions."""
        for start in range(0, len(entries), _MOST):
            some = entries[start : start + _MOST]
            tp = some[0].tp
            leaves = sorted({each.leaf_index for each in some})
            without_bytes = self.sink.without_bytes(tp, leaves)
            for part in _parts(leaves, without_bytes):
                chosen = [each for each in some if each.leaf_index in part]
                missing = {at: without_bytes[at] for at in part & {*without_bytes}}
                yield RetryPortion(tp, chosen, missing)

    def read(self, portion: RetryPortion, seconds: float | None = None) -> Mapping[int, Message]:
        """Read the events whose bytes are not in quarantine; see `LeafReading.read`.

        Raises:
            Unavailable, NotPermitted: the topic cannot be read.
        """
        wanted = {at: each.leaf_hash for at, each in portion.without_bytes.items()}
        return self.reading.read(portion.tp, wanted, seconds)

    def retry_portion(
        self,
        portion: RetryPortion,
        read: Mapping[int, Message],
        decision: Decision,
        away: errors.SinergiError | None = None,
    ) -> Iterator[RetryOutcome]:
        """Retry entries, in one transaction per projection.

        Args:
            portion: the entries.
            read: their messages that were read again from the topic.
            decision: who retries, and why.
            away: why the topic could not be read, or None.

        Raises:
            Unavailable, DatabaseBroken: as `retry`.
        """
        known = {each.name: each for each in self.projections}
        by_projection = sorted(portion.entries)
        for name, group in groupby(by_projection, lambda each: each.projection):
            yield from self._retry(known[name], [*group], read, decision, away)

    def _retry(
        self,
        projection: Projection,
        entries: Sequence[QuarantineKey],
        read: Mapping[int, Message],
        decision: Decision,
        away: errors.SinergiError | None,
    ) -> list[RetryOutcome]:
        tp, topic = entries[0].tp, entries[0].tp.event_topic
        leaves = [each.leaf_index for each in entries]
        with self.sink.transaction() as transaction:
            stored = transaction.quarantined(projection, tp, leaves)
            found = {at: each or read.get(at) for at, each in stored.items()}
            messages = [each for each in found.values() if each]
            quarantined = QuarantinedLeaves(topic, tp.partition, messages)
            refused: dict[int, tuple[str, str]] = {}
            for part in self.decoders.of(topic.event_type).found_parts(quarantined):
                refused |= _reasons(part.refused)
                if decision is AGREED:
                    # Events that are still not agreed stay in quarantine unchanged.
                    left = [each for each in part.refused if each.reason != NOT_AGREED]
                    part = replace(part, refused=left)  # noqa: PLW2901 - the rest of the part
                refused |= _reasons(
                    merge_and_quarantine(transaction, projection, [quarantined], part)
                )
            outcomes = [
                RetryOutcome(each, *_result(each, found, refused, away)) for each in entries
            ]
            transaction.mark_retried([each.entry for each in outcomes if each.is_merged])
            omitted = _unrecorded_results(decision)
            recorded = [
                (each.entry, each.result) for each in outcomes if each.result not in omitted
            ]
            transaction.record_decisions(recorded, decision)
        return outcomes


def leaf_of(entry: QuarantineKey) -> tuple[TopicPartition, int]:
    """The topic-partition and the leaf index of an entry."""
    return entry.tp, entry.leaf_index


def _parts(
    leaves: Sequence[int], without_bytes: Mapping[int, EventWithoutBytes]
) -> Iterator[set[int]]:
    """Split leaves into groups that fit into memory when they are read again."""
    part: set[int] = set()
    size = 0
    for each in leaves:
        more = without_bytes[each].size if each in without_bytes else 0
        if part and size + more > _MOST_BYTES:
            yield part
            part, size = set(), 0
        part.add(each)
        size += more
    if part:
        yield part


def _reasons(refused: Sequence[RefusedEvent]) -> dict[int, tuple[str, str]]:
    return {each.message.leaf_index: (each.reason, each.detail) for each in refused}


def _unrecorded_results(decision: Decision) -> frozenset[str]:
    """The results that are not recorded as decisions."""
    if decision is AGREED:
        return frozenset({NOT_QUARANTINED, NOT_READ, NOT_AGREED})
    if decision is UPGRADED:
        return frozenset({NOT_QUARANTINED, NOT_READ})
    return frozenset({NOT_QUARANTINED})


def _result(
    entry: QuarantineKey,
    found: Mapping[int, Message | None],
    refused: Mapping[int, tuple[str, str]],
    away: errors.SinergiError | None,
) -> tuple[str, str]:
    tp, index = leaf_of(entry)
    if index not in found:
        return NOT_QUARANTINED, "it is merged already, or its projection will read it again"
    if found[index] is None:
        return NOT_READ, str(away or errors.LeafNotRead(*tp, index))
    return refused.get(index, (RETRIED, ""))
