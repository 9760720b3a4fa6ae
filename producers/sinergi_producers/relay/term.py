"""A term: the time for which one relay holds the lease of its outbox.

A term begins with step 0 of the relay: the topics are compared with the database, and what a topic
has lost is marked as not sent. It ends when something fails, when another relay takes the lease, or
when the agreements, the private keys or the schemas have changed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import structlog

from sinergi_producers.relay import topic_evidence
from sinergi_producers.relay.comparison import Comparison
from sinergi_producers.relay.control_topic import ControlTopic
from sinergi_producers.relay.registered_schemas import RegisteredSchemas
from sinergi_producers.relay.row_check import RowCheck
from sinergi_producers.relay.sealing import Sealer, TreeKey
from sinergi_producers.relay.sending import Sender
from sinergi_producers.relay.watermark import Watermarks
from sinergi_schemas import errors
from sinergi_schemas.kafka.partitions import PartitionCheck

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from sinergi_producers.relay.registered_schemas import UsableSchemas
    from sinergi_producers.relay.sealing import OutboxRow
    from sinergi_producers.relay.store import OutboxStore
    from sinergi_schemas.agreements.collection import Agreements
    from sinergi_schemas.agreements.reload_report import ReloadReport
    from sinergi_schemas.catalog import Catalog
    from sinergi_schemas.clock import Clock
    from sinergi_schemas.kafka import Connection
    from sinergi_schemas.seal.keys import SigningKey
    from sinergi_schemas.seal.merkle import Frontier
    from sinergi_schemas.timeouts import RelayTimeouts

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Identity:
    """Whose relay this is: the agency, the keys that sign for it, and its agreements.

    Attributes:
        keys: the private keys that the agency has now.
        load: reads the agreements. It is called again from time to time, so that a new version
            needs no restart.
        load_keys: reads the private keys in the same way; without it they stay as they are.
    """

    agency: str
    keys: Sequence[SigningKey]
    load: Callable[[], Agreements]
    load_keys: Callable[[], Sequence[SigningKey]] | None = None

    def current_keys(self) -> Sequence[SigningKey]:
        """The private keys as they are now."""
        return self.load_keys() if self.load_keys else self.keys


@dataclass(slots=True)
class Term:
    """What a leader works with under one lease.

    Attributes:
        epoch: the number of the lease; every write names it.
        trees: each tree as it is sealed.
        sent: each tree as far as the broker has confirmed it.
        agreements: those under which the term began.
        schemas: those that it can send; they are on the control topic.
        watermarks: where the next rows are looked for.
        is_outdated: the agreements, the private keys or the schemas have changed, so another term
            must begin.
    """

    epoch: int
    sealer: Sealer
    control: ControlTopic
    sender: Sender
    trees: dict[TreeKey, Frontier]
    sent: dict[TreeKey, Frontier]
    agreements: Agreements
    schemas: UsableSchemas
    watermarks: Watermarks
    is_outdated: bool = False

    @property
    def versions(self) -> frozenset[str]:
        """The hashes of the agreements under which the term began."""
        return self.agreements.versions


class TermSetup:
    """Begins the terms of one relay, and keeps each up to date."""

    def __init__(
        self,
        identity: Identity,
        store: OutboxStore,
        connection: Connection,
        catalog: Catalog,
        clock: Clock,
        timeouts: RelayTimeouts,
    ) -> None:
        self._timeouts = timeouts
        self._identity = identity
        self._store = store
        self._connection = connection
        self._schemas = RegisteredSchemas(store.registered_schemas, catalog)
        self._clock = clock
        self._partition_check = PartitionCheck()
        self._released_for: frozenset[str] = frozenset()
        self._left_aside: dict[str, str] = {}
        self._comparison = Comparison(store, connection, identity.agency, timeouts.silence)

    @property
    def agency(self) -> str:
        """Whose relay it is."""
        return self._identity.agency

    def begin(self, epoch: int, while_reading: Callable[[], None] = lambda: None) -> Term:
        """Begin a term under a lease that was just taken. This is step 0 of the relay.

        Args:
            while_reading: called for each message of the topics that is read: they may be many.

        Raises:
            OutboxBehindTopic: the database is older than a topic.
            OutboxForked: a topic shows another history than the database has sealed.
            PartitionsDiffer: a topic has fewer partitions than its agreement says.
            LeaseLost: another relay has taken the lease.
            StoredStateInvalid: a stored tree is not what was stored.
            Refused: agreements or private keys cannot be used.
            Unavailable: the database is away, or the brokers are.
        """
        agency = self._identity.agency
        agreements, keys = self._identity.load(), self._identity.current_keys()
        counts = topic_evidence.agreed_partitions(
            self._connection, agency, agreements, self._partition_check, self._clock.now()
        )
        self._report_left_aside(agreements, counts)
        tree_keys = [
            TreeKey(name, number) for name, count in counts.items() for number in range(count)
        ]
        self._store.ensure_trees(tree_keys, epoch)
        trees = self._store.trees()
        # 0. refuse if a topic shows more than the database has, or another history
        sizes = {tree_key: trees[tree_key].size for tree_key in tree_keys}
        shown = self._comparison.leaves_on_topics(agreements, sizes, while_reading)
        # 0. mark what a topic has lost as not sent
        sent = self._store.rewind_sent(shown, epoch)
        control = ControlTopic(
            self._connection, agreements.bus, agency, keys, agreements.ring, self._clock
        )
        schemas = self._schemas.usable()
        self._publish_schemas(control, counts, schemas.catalog)
        control.wait_for_schemas()
        sender = Sender(self._connection, agreements.bus, agency, schemas.ids, self._clock)
        sealer = self._sealer(agreements, keys, counts, schemas)
        _log.info("leading", agency=agency, epoch=epoch)
        watermarks = Watermarks(full_read=self._timeouts.full_read)
        return Term(epoch, sealer, control, sender, trees, sent, agreements, schemas, watermarks)

    def reload(self, term: Term, report: ReloadReport) -> None:
        """Read the agreements, the private keys and the registered schemas again, and release the
        held rows whose reason no longer applies.

        If they have changed, the term is outdated. If they cannot be reloaded, the loaded ones stay
        in use.

        Args:
            report: is told whether they could be read.
        """
        try:
            agreements, keys = self._identity.load(), self._identity.current_keys()
        except errors.Refused as why:
            report.failed(why)
            return
        report.succeeded()
        held = {each.public for each in term.sealer.keys}
        if agreements.versions != term.versions or {each.public for each in keys} != held:
            term.is_outdated = True
        if agreements.versions != term.versions:
            report.changed(agreements)
        in_force = agreements.published_by(self._identity.agency, self._clock.now())
        if {each.event_type for each in in_force} - term.sealer.counts.keys():
            term.is_outdated = True
        schemas = self._schemas.usable()
        if schemas.catalog.all() == term.schemas.catalog.all():
            term.schemas = schemas
        else:
            term.is_outdated = True  # the next term publishes them before it seals their events
        covered = [name for name in term.sealer.counts if term.sealer.is_agreed(name)]
        term.sealer = replace(term.sealer, fault=self._row_fault(agreements, term.schemas))
        known = [each.fingerprint for each in term.schemas.catalog.all()]
        # An outdated term may still hold rows under the old agreements, so the release waits for
        # the next term.
        is_new = not term.is_outdated and self._released_for != term.versions
        released = self._store.release_held(covered, known, has_new_agreements=is_new)
        if is_new:
            self._released_for = term.versions
        if released:
            _log.info("held rows released", rows=released)
            term.watermarks.reset()

    def _report_left_aside(self, agreements: Agreements, counts: Mapping[str, int]) -> None:
        """Log once which topics do not exist because no agreement on them is in force."""
        agency, now = self._identity.agency, self._clock.now()
        published = agreements.published_by(agency)
        left_aside = {
            each.name: agreements.why_not_in_force(agency, each.event_type, now)
            for each in published
            if each.event_type not in counts
        }
        if not published:
            left_aside = {f"sinergi.{agency}.*": "no agreement lets this agency publish"}
        for topic, why in left_aside.items():
            if self._left_aside.get(topic) != why:
                _log.warning("no agreement in force: waiting for one", topic=topic, why=why)
        self._left_aside = left_aside

    def _publish_schemas(
        self, control: ControlTopic, event_types: Iterable[str], catalog: Catalog
    ) -> None:
        """Publish the schemas of the agreed event types, as far as this version has them."""
        agreed, known = {*event_types}, {*catalog.event_types}
        control.publish_schemas(
            each for name in sorted(agreed & known) for each in catalog.versions(name)
        )
        for name in sorted(agreed - known):
            _log.warning(
                "this version does not know an event type of the agreements",
                event_type=name,
                mend="install the version of Sinergi that has it",
            )

    def _row_fault(
        self, agreements: Agreements, schemas: UsableSchemas
    ) -> Callable[[OutboxRow], str | None]:
        """The check whether a row can be sent."""
        return RowCheck(self._identity.agency, schemas, agreements).fault

    def _sealer(
        self,
        agreements: Agreements,
        keys: Sequence[SigningKey],
        counts: Mapping[str, int],
        schemas: UsableSchemas,
    ) -> Sealer:
        agency = self._identity.agency

        def is_agreed(name: str) -> bool:
            now = self._clock.now()
            return name in counts and agreements.covering(agency, name, now) is not None

        def why_not_in_force(name: str) -> str:
            return agreements.why_not_in_force(agency, name, self._clock.now())

        fault = self._row_fault(agreements, schemas)
        return Sealer(
            agreements.bus,
            agency,
            keys,
            counts,
            is_agreed,
            agreements.ring,
            fault,
            why_not_in_force,
        )
