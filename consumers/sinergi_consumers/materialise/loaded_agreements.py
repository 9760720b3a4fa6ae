"""The agreements of a running materialiser, read again from time to time.

When they change, everything that depends on them is made anew: the keys of each partition, the
rules that events are checked against, and the retry of events that no agreement allowed before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from sinergi_consumers.decode.agreement_check import AgreementCheck
from sinergi_consumers.quarantine.automatic_retry import AutomaticRetry
from sinergi_consumers.quarantine.leaf_reading import LeafReading
from sinergi_consumers.quarantine.retry import QuarantineRetry
from sinergi_consumers.reading.partition import Partition
from sinergi_schemas import errors
from sinergi_schemas.agreements.reload_report import ReloadReport

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sinergi_consumers.bus import Bus
    from sinergi_consumers.materialise.store import Store
    from sinergi_consumers.reading.partition import VerifiedBatch
    from sinergi_schemas.agreements.collection import Agreements
    from sinergi_schemas.catalog import Catalog
    from sinergi_schemas.clock import Clock
    from sinergi_schemas.seal.merkle import Frontier
    from sinergi_schemas.timeouts import MaterialiserTimeouts
    from sinergi_schemas.topics import Topic, TopicPartition

_log = structlog.get_logger(__name__)


class LoadedAgreements:
    """The agreements in use, and what depends on them.

    Attributes:
        decoders: they check events against these agreements.
        automatic_retry: it retries events that these agreements allow.
    """

    def __init__(
        self, bus: Bus, store: Store, clock: Clock, timeouts: MaterialiserTimeouts
    ) -> None:
        self._bus = bus
        self._store = store
        self._reload_report = ReloadReport(store.observer)
        self._clock = clock
        self._timeouts = timeouts
        self._due = clock.monotonic() + timeouts.reload
        self._adopt(bus.agreements)

    def partition(self, tp: TopicPartition, tree: Frontier) -> Partition:
        """A partition to be read from a tree size onwards, under the keys of its owner."""
        topic, number = tp.event_topic, tp.partition
        keys = self._agreements.ring(topic, number)
        return Partition(self._agreements.bus, topic, number, keys, tree)

    def file_of(self, tp: TopicPartition) -> str:
        """The path of the agreement on a topic-partition."""
        return self._agreements.file_of(tp.event_topic)

    def find_schemas(self, batch: VerifiedBatch) -> None:
        """Look for schemas of a batch that are not installed here.

        Raises:
            Unavailable: the owner's control topic cannot be read.
        """
        self.decoders.of(batch.topic.event_type).find_schemas(batch)

    def reload(self) -> bool:
        """Read the agreements again, from time to time; whether they have changed.

        If they cannot be reloaded, the loaded ones stay in use.
        """
        now = self._clock.monotonic()
        if self._bus.load is None or now < self._due:
            return False
        self._due = now + self._timeouts.reload
        try:
            found = self._bus.load()
        except errors.Refused as why:
            self._reload_report.failed(why)
            return False
        self._reload_report.succeeded()
        if found.versions == self._agreements.versions:
            return False
        before = self._agreements
        self._adopt(found)
        self._reload_report.changed(found)
        self._log_new_topics(before, found)
        return True

    def _adopt(self, agreements: Agreements) -> None:
        self._agreements = agreements
        self.decoders = self._bus.decoders(AgreementCheck(agreements, self._bus.reader))
        reading = LeafReading(lambda: self._bus.source, self._timeouts.silence)
        quarantine_retry = QuarantineRetry(
            self._store.sink, self._store.projections, self.decoders, reading
        )
        self.automatic_retry = AutomaticRetry(quarantine_retry, self._clock)

    def _log_new_topics(self, before: Agreements, found: Agreements) -> None:
        """Log which topics need a restart: the group is joined for those known at the start."""
        reader = self._bus.reader
        if reader is not None:
            new = sorted({*found.read_by(reader)} - {*before.read_by(reader)})
            for each in known_here(new, self._bus.catalog):
                _log.warning("topic is read only after a restart", topic=each.name)


def known_here(topics: Iterable[Topic], catalog: Catalog) -> list[Topic]:
    """The topics whose event types this version knows. The others are logged.

    Agreements are made between many agencies, and not all of them have the newest version.
    """
    found = []
    for each in topics:
        if each.event_type in catalog.event_types:
            found.append(each)
        else:
            _log.warning(
                "topic not read, since this version does not know its event type",
                topic=each.name,
                event_type=each.event_type,
                mend="install the version of Sinergi that has it",
            )
    return found
