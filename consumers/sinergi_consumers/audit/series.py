"""Audits of several topics, one after the other, with a verdict for each.

A topic that cannot be read does not keep the others from being audited: its own verdict says why.
"""

from __future__ import annotations

from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from sinergi_consumers.audit.event_filter import RecordSetCondition, ReplayFilter
from sinergi_consumers.audit.related_records import RelatedRecords, UnreadRecords, unread
from sinergi_schemas import errors

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from collections.abc import Set as AbstractSet

    import polars as pl

    from sinergi_consumers.audit.audit import Audit
    from sinergi_consumers.audit.replay import Replay
    from sinergi_consumers.reading.partition import VerifiedBatch
    from sinergi_schemas.topics import Topic

# Errors about one topic. The others can still be audited.
_OF_ONE_TOPIC = (
    errors.TopicMissing,
    errors.TopicChanged,
    errors.NotPermitted,
    errors.PartitionsDiffer,
    errors.EventTypeUnknown,
)


class AuditedEvents(NamedTuple):
    """Verified events of one topic.

    Attributes:
        audit: of the topic.
        events: those that pass the filter.
    """

    audit: Audit
    events: pl.DataFrame


class AuditedBatch(NamedTuple):
    """A verified batch of one topic, whose events are not decoded."""

    audit: Audit
    batch: VerifiedBatch


class AuditSeries:
    """The audits of several topics.

    Args:
        follows_related: find also the events of the records that are related to the chosen ones.
            All topics are read once more for that, before the audits.

    Raises:
        EventTypeUnknown: the only topic is of an event type that is not installed.

    Attributes:
        audits: one for each topic, in the order in which they are read.
        message_count: how many messages there are to read; 0 until `events` has begun.
        unread: the related records in topics that are not read; None if none are followed.
    """

    def __init__(self, audits: Sequence[Audit], *, follows_related: bool = False) -> None:
        self.audits = audits
        self.message_count = 0
        self.unread: list[UnreadRecords] | None = [] if follows_related else None
        self._surveys: list[Replay] = []
        for audit in audits:
            with self._kept(audit):
                audit.check_event_type()

    @property
    def event_types(self) -> frozenset[str]:
        """The event types of the topics that can be read."""
        return frozenset(each.topic.event_type for each in self.readable)

    @property
    def messages_read(self) -> int:
        """How many of the messages have been read."""
        surveyed = sum(each.messages_read for each in self._surveys)
        return surveyed + sum(each.messages_read for each in self.audits)

    def events(self, wanted: ReplayFilter) -> Iterator[AuditedEvents]:
        """The verified events of each topic that pass the filter.

        An error about one topic of several is kept in its verdict. Frames may be empty.

        Raises:
            SinergiError: see `Audit.events`.
        """
        self._count_messages(1 if self.unread is None else 2)
        # A topic that cannot be surveyed is audited all the same: it may be disproved.
        readable = self.readable
        if self.unread is not None:
            related = RelatedRecords()
            yield from self._survey(wanted, related)
            reached = related.reached()
            wanted = replace(wanted, reached=RecordSetCondition(reached))
            self.unread = unread(reached, {each.topic.name for each in self.readable})
        for audit in readable:
            with self._kept(audit):
                for frame in audit.events(wanted):
                    yield AuditedEvents(audit, frame)

    def batches(
        self, sizes: Mapping[Topic, Mapping[int, AbstractSet[int]]]
    ) -> Iterator[AuditedBatch]:
        """The verified batches of each topic. An error about one topic of several is kept.

        Args:
            sizes: further tree sizes of each topic's partitions; see `Audit.batches`.

        Raises:
            SinergiError: see `Audit.events`.
        """
        self._count_messages(1)
        for audit in self.readable:
            with self._kept(audit):
                for batch in audit.batches(sizes.get(audit.topic, {})):
                    yield AuditedBatch(audit, batch)

    def _count_messages(self, times: int) -> None:
        """Count the messages of all topics, each of which is read so many times."""
        for audit in self.readable:
            with self._kept(audit):
                self.message_count += audit.count_messages() * times

    def _survey(self, wanted: ReplayFilter, related: RelatedRecords) -> Iterator[AuditedEvents]:
        """Take the relations of all events. The frames are empty, and only show that it goes on."""
        for audit in self.readable:
            survey = audit.survey()
            self._surveys.append(survey)
            with self._kept(audit):
                for number in survey.partitions():
                    # A broken partition is found again by the audit, which reports it and goes on.
                    with suppress(errors.SealBroken):
                        for frame in survey.partition(number, ReplayFilter()):
                            related.add(audit.topic, frame, survey.chosen(frame, wanted))
                            yield AuditedEvents(audit, frame.clear())

    @property
    def readable(self) -> list[Audit]:
        """The audits of the topics of which nothing has said so far that they cannot be read."""
        return [each for each in self.audits if not each.verdict.not_read]

    @contextmanager
    def _kept(self, audit: Audit) -> Iterator[None]:
        """Keep what is wrong with a topic in its verdict, unless it is the only one."""
        try:
            yield
        except _OF_ONE_TOPIC as why:
            if len(self.audits) == 1:
                raise
            audit.verdict.not_read = str(why)
