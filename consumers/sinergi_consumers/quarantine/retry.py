"""Events in quarantine tried once more, by a person, after an upgrade or under a new agreement.

They take the road of the materialiser, on which they were set apart: the same decoding, the same
merge, and so the same verdict where nothing was mended. What goes through stands as if it had come
at its time, since a record's highest revision wins whatever the order. A topic is read only for
events whose bytes quarantine does not keep.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

from sinergi_consumers.decode.agreement_check import NOT_AGREED
from sinergi_consumers.quarantine.isolate import take_in
from sinergi_consumers.sinks.protocol import Decision
from sinergi_schemas import errors

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from sinergi_consumers.decode.decoder import Decoders, Unfit
    from sinergi_consumers.projections.projection import Projection
    from sinergi_consumers.quarantine.leaf_reading import LeafReading
    from sinergi_consumers.sinks.protocol import QuarantineKey, Sink, UnkeptEvent
    from sinergi_schemas.message import Message
    from sinergi_schemas.topics import Topic, TopicPartition

RETRIED = "retried"
GONE = "not held"
NOT_READ = "not read"

_MOST = 200  # a transaction: a worker of the partition waits for it
_MOST_BYTES = 8 * 1024 * 1024  # read again from a topic for one transaction


UPGRADED = Decision("sinergi materialise", "its schema is known here now")
AGREED = Decision("sinergi materialise", "an agreement that allows it is loaded now")


class RetryOutcome(NamedTuple):
    """What came of one entry.

    Attributes:
        result: `RETRIED`; the reason for which it stays; `NOT_READ`, where its bytes are not kept
            and were not to be had; or `GONE`.
        detail: what is wrong and where, without any value out of the event.
    """

    entry: QuarantineKey
    result: str
    detail: str = ""

    @property
    def is_through(self) -> bool:
        """Whether it has become rows."""
        return self.result == RETRIED


@dataclass(frozen=True, slots=True)
class HeldLeaves:
    """Leaves of one partition out of quarantine; a `Leaves` of `materialise.partition`."""

    topic: Topic
    partition: int
    messages: Sequence[Message]

    def message(self, leaf_index: int) -> Message:
        """The one at a leaf."""
        return next(each for each in self.messages if each.leaf_index == leaf_index)


class Portion(NamedTuple):
    """Entries of one partition that are tried in one go.

    Attributes:
        entries: in the order of their leaves.
        unkept: those leaves of which quarantine does not keep the bytes.
    """

    tp: TopicPartition
    entries: Sequence[QuarantineKey]
    unkept: Mapping[int, UnkeptEvent]


@dataclass(frozen=True, slots=True)
class QuarantineRetry:
    """Tries again what a sink keeps in quarantine, for the projections that live in it.

    Attributes:
        reading: where the bytes come from that quarantine does not keep.
    """

    sink: Sink
    projections: Sequence[Projection]
    decoders: Decoders
    reading: LeafReading

    def retry(self, entries: Sequence[QuarantineKey], decision: Decision) -> Iterator[RetryOutcome]:
        """Try entries again, some in a transaction; what came of each, when it is committed.

        Where a topic cannot be read, what quarantine does not keep of it is told as `NOT_READ`.

        Raises:
            ProjectionRefused: a projection is not installed here.
            Unavailable: the database is away; what was told by then is done.
            DatabaseBroken: a table or a privilege is missing.
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

    def portions(self, entries: Sequence[QuarantineKey]) -> Iterator[Portion]:
        """Entries of one partition, in the order of their leaves, as transactions take them."""
        for start in range(0, len(entries), _MOST):
            some = entries[start : start + _MOST]
            tp = some[0].tp
            leaves = sorted({each.leaf_index for each in some})
            unkept = self.sink.unkept(tp, leaves)
            for part in _parts(leaves, unkept):
                those = [each for each in some if each.leaf_index in part]
                yield Portion(tp, those, {at: unkept[at] for at in part & {*unkept}})

    def read(self, portion: Portion, seconds: float | None = None) -> Mapping[int, Message]:
        """Read what quarantine does not keep again; see `LeafReading.read`.

        Raises:
            Unavailable, NotPermitted: the topic cannot be read.
        """
        wanted = {at: each.leaf_hash for at, each in portion.unkept.items()}
        return self.reading.read(portion.tp, wanted, seconds)

    def retry_portion(
        self,
        portion: Portion,
        read: Mapping[int, Message],
        decision: Decision,
        away: errors.SinergiError | None = None,
    ) -> Iterator[RetryOutcome]:
        """Try entries again, in a transaction for each projection.

        Args:
            read: what was read again of them.
            away: why nothing could be read.

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
            there = transaction.held(projection, tp, leaves)
            found = {at: each or read.get(at) for at, each in there.items()}
            held = HeldLeaves(topic, tp.partition, [each for each in found.values() if each])
            unfit: dict[int, tuple[str, str]] = {}
            for part in self.decoders.of(topic.event_type).parts(held):
                unfit |= _told(part.unfit)
                if decision is AGREED:
                    # What is still not agreed stands in quarantine as it is; nobody has decided.
                    left = [each for each in part.unfit if each.reason != NOT_AGREED]
                    part = replace(part, unfit=left)  # noqa: PLW2901 - the rest of the part
                unfit |= _told(take_in(transaction, projection, held, part))
            outcomes = [RetryOutcome(each, *_result(each, found, unfit, away)) for each in entries]
            transaction.retried([each.entry for each in outcomes if each.is_through])
            quiet = _quiet(decision)
            told = [(each.entry, each.result) for each in outcomes if each.result not in quiet]
            transaction.decided(told, decision)
        return outcomes


def leaf_of(entry: QuarantineKey) -> tuple[TopicPartition, int]:
    """The leaf that an entry is about."""
    return entry.tp, entry.leaf_index


def _parts(leaves: Sequence[int], unkept: Mapping[int, UnkeptEvent]) -> Iterator[set[int]]:
    """Leaves in groups that are not too much to read again at once."""
    part: set[int] = set()
    size = 0
    for each in leaves:
        more = unkept[each].size if each in unkept else 0
        if part and size + more > _MOST_BYTES:
            yield part
            part, size = set(), 0
        part.add(each)
        size += more
    if part:
        yield part


def _told(unfit: Sequence[Unfit]) -> dict[int, tuple[str, str]]:
    return {each.message.leaf_index: (each.reason, each.detail) for each in unfit}


def _quiet(decision: Decision) -> frozenset[str]:
    """The results of which no record is kept."""
    if decision is AGREED:
        return frozenset({GONE, NOT_READ, NOT_AGREED})
    return frozenset({GONE, NOT_READ} if decision is UPGRADED else {GONE})


def _result(
    entry: QuarantineKey,
    found: Mapping[int, Message | None],
    unfit: Mapping[int, tuple[str, str]],
    away: errors.SinergiError | None,
) -> tuple[str, str]:
    tp, index = leaf_of(entry)
    if index not in found:
        return GONE, "it is through already, or its projection will come by it anew"
    if found[index] is None:
        return NOT_READ, str(away or errors.LeafNotRead(*tp, index))
    return unfit.get(index, (RETRIED, ""))
