"""Events in quarantine tried once more, by a person, after an upgrade or under a new agreement.

They take the road of the materialiser, on which they were set apart: the same decoding, the same
merge, and so the same verdict where nothing was mended. What goes through stands as if it had come
at its time, since a record's highest revision wins whatever the order. The topics are not read.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

import structlog

from sinergi_consumers.agreed import NOT_AGREED
from sinergi_consumers.storing import take_in
from sinergi_schemas import errors

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from sinergi_consumers.decoding import Decoders, Unfit
    from sinergi_consumers.projection import Projection
    from sinergi_consumers.sinks import Sink
    from sinergi_schemas.message import Message
    from sinergi_schemas.topics import Topic

RETRIED = "retried"
GONE = "not held"

_MOST = 200  # a transaction: a worker of the partition waits for it

_log = structlog.get_logger(__name__)


class Entry(NamedTuple):
    """What tells rows of quarantine apart: an event, and a projection that it was unfit for."""

    projection: str
    topic: Topic
    partition: int
    leaf_index: int

    @property
    def columns(self) -> tuple[str, str, int, int]:
        """The same as in the database."""
        return self.projection, self.topic.name, self.partition, self.leaf_index


class Decision(NamedTuple):
    """Who decides about events in quarantine, and why."""

    by: str
    why: str


UPGRADED = Decision("sinergi materialise", "its schema is known here now")
AGREED = Decision("sinergi materialise", "an agreement that allows it is loaded now")


class Outcome(NamedTuple):
    """What came of one entry.

    Attributes:
        result: `RETRIED`; the reason for which it stays; or `GONE`.
        detail: what is wrong and where, without any value out of the event.
    """

    entry: Entry
    result: str
    detail: str = ""

    @property
    def is_through(self) -> bool:
        """Whether it has become rows."""
        return self.result == RETRIED


@dataclass(frozen=True, slots=True)
class Held:
    """Leaves of one partition out of quarantine; see `sinergi_consumers.partition.Leaves`."""

    topic: Topic
    partition: int
    messages: Sequence[Message]

    def message(self, leaf_index: int) -> Message:
        """The one at a leaf."""
        return next(each for each in self.messages if each.leaf_index == leaf_index)


@dataclass
class Retrial:
    """Tries again what a sink keeps in quarantine, for the projections that live in it."""

    sink: Sink
    projections: Sequence[Projection]
    decoders: Decoders
    _tried: set[tuple[Topic, int]] = field(default_factory=set)

    def retry(self, entries: Sequence[Entry], decision: Decision) -> Iterator[Outcome]:
        """Try entries again, some in a transaction; what came of each, when it is committed.

        Raises:
            ProjectionRefused: a projection is not installed here.
            Unavailable: the database is away; what was told by then is done.
            DatabaseBroken: a table or a privilege is missing.
        """
        known = {each.name: each for each in self.projections}
        for each in entries:
            if each.projection not in known:
                raise errors.ProjectionRefused(each.projection, "it is not installed here")
        for (name, topic, partition), group in groupby(sorted(entries), lambda each: each[:3]):
            leaves = [each.leaf_index for each in group]
            for start in range(0, len(leaves), _MOST):
                some = leaves[start : start + _MOST]
                yield from self._retry(known[name], topic, partition, some, decision)

    def upgrade(self, topic: Topic, partition: int) -> None:
        """Try again what a partition's events waited for: a schema, or an agreement, known by now.

        What no agreement allows is looked at once by each retrial, since its agreements stay the
        same; and where none allows it now nothing is written.

        Raises:
            Unavailable, DatabaseBroken: as `retry`.
        """
        readable = self.decoders.of(topic.event_type).readable
        self._tell(topic, partition, self.sink.awaiting(topic, partition, readable), UPGRADED)
        if (topic, partition) not in self._tried:
            self._tell(topic, partition, self.sink.not_agreed(topic, partition), AGREED)
            self._tried.add((topic, partition))

    def _tell(
        self, topic: Topic, partition: int, entries: Sequence[Entry], decision: Decision
    ) -> None:
        outcomes = list(self.retry(entries, decision))
        tried = [each for each in outcomes if decision is UPGRADED or each.result != NOT_AGREED]
        if tried:
            _log.info(
                "quarantine retried",
                topic=topic.name,
                partition=partition,
                events=len(tried),
                through=sum(each.is_through for each in tried),
            )

    def _retry(
        self,
        projection: Projection,
        topic: Topic,
        partition: int,
        leaves: Sequence[int],
        decision: Decision,
    ) -> list[Outcome]:
        with self.sink.transaction() as transaction:
            held = Held(topic, partition, transaction.held(projection, topic, partition, leaves))
            unfit: dict[int, tuple[str, str]] = {}
            for part in self.decoders.of(topic.event_type).parts(held):
                unfit |= _told(part.unfit)
                if decision is AGREED:
                    # What is still not agreed stands in quarantine as it is; nobody has decided.
                    left = [each for each in part.unfit if each.reason != NOT_AGREED]
                    part = replace(part, unfit=left)  # noqa: PLW2901 - the rest of the part
                unfit |= _told(take_in(transaction, projection, held, part))
            tried = {each.leaf_index: unfit.get(each.leaf_index) for each in held.messages}
            outcomes = [
                Outcome(Entry(projection.name, topic, partition, index), *_result(tried, index))
                for index in leaves
            ]
            transaction.retried([each.entry for each in outcomes if each.is_through])
            quiet = {GONE, NOT_AGREED} if decision is AGREED else {GONE}
            told = [(each.entry, each.result) for each in outcomes if each.result not in quiet]
            transaction.decided(told, decision)
        return outcomes


def _told(unfit: Sequence[Unfit]) -> dict[int, tuple[str, str]]:
    return {each.message.leaf_index: (each.reason, each.detail) for each in unfit}


def _result(tried: Mapping[int, tuple[str, str] | None], index: int) -> tuple[str, str]:
    if index not in tried:
        return GONE, "it is through already, or its projection will come by it anew"
    return tried[index] or (RETRIED, "")
