"""The relay: from the outbox to the topics, one process an outbox, one leader at a time.

    0. on taking the lease: refuse if a checkpoint of our own on a topic covers more than the
       database knows, as after a restored backup; send again what is sealed and not confirmed, and
       what the topic has lost
    1. read the next rows without a leaf, by their mark
    2. seal them: leaves, trees and checkpoints, committed in the agency's database
    3. send them with an idempotent, gapless producer
    4. await every delivery report, and advance how far each tree is sent

While much waits, three batches are in hand: the database writes down one and shows the next (2, 1),
the one before it is handed to the client library (3), and the broker has that before (4). Whatever
fails ends the term, and with it the Kafka client: behind a message that failed nothing of it may be
delivered. The next term begins at 0 with what was sealed: the same bytes under the same leaf index,
which every reader knows how to ignore.
"""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import structlog

from sinergi_producers.relay import topic_evidence
from sinergi_producers.relay.comparison import Comparison
from sinergi_producers.relay.control_topic import ControlTopic
from sinergi_producers.relay.patience import Patience
from sinergi_producers.relay.row_check import RowCheck
from sinergi_producers.relay.sealing import MOST_MESSAGES, SealedBatch, Sealer, TreeKey
from sinergi_producers.relay.sending import Sender
from sinergi_producers.relay.watermark import Floors
from sinergi_schemas import errors
from sinergi_schemas.clock import SYSTEM
from sinergi_schemas.garbage import leave_loaded_objects
from sinergi_schemas.kafka.partitions import PartitionCheck

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from threading import Event

    from sinergi_producers.relay.sealing import OutboxRow, TreeUpdate
    from sinergi_producers.relay.store import Backlog
    from sinergi_producers.relay.watermark import UnsealedRows
    from sinergi_schemas.agreements.collection import Agreements
    from sinergi_schemas.catalog import Catalog
    from sinergi_schemas.clock import Clock
    from sinergi_schemas.kafka import Connection
    from sinergi_schemas.seal.keys import SigningKey
    from sinergi_schemas.seal.merkle import Frontier

_log = structlog.get_logger(__name__)

LOOK_SECONDS = 0.05
_HORIZON_SECONDS = 1.0
_RELOAD_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Identity:
    """Who relays: the agency, the keys that sign for it, and the agreements it is bound by.

    Attributes:
        keys: the private keys that are held now.
        load: reads the agreements; asked again each minute, so that a new version needs no restart.
        load_keys: reads the private keys, likewise; without it they stay as they are.
    """

    agency: str
    keys: Sequence[SigningKey]
    load: Callable[[], Agreements]
    load_keys: Callable[[], Sequence[SigningKey]] | None = None

    def held(self) -> Sequence[SigningKey]:
        """The private keys as they are now."""
        return self.load_keys() if self.load_keys else self.keys


@dataclass(slots=True)
class Term:
    """What a leader holds in hand under one lease.

    Attributes:
        versions: the hashes of the agreements under which it began.
        is_outdated: the agreements or the private keys are others by now: begin another term.
    """

    epoch: int
    sealer: Sealer
    control: ControlTopic
    sender: Sender
    trees: dict[TreeKey, Frontier]
    sent: dict[TreeKey, Frontier]
    versions: frozenset[str]
    floors: Floors = field(default_factory=Floors)
    is_outdated: bool = False


class Relay:
    """The relay of one outbox. A second one waits for the lease of the first."""

    def __init__(
        self,
        identity: Identity,
        backlog: Backlog,
        connection: Connection,
        catalog: Catalog,
        *,
        clock: Clock = SYSTEM,
    ) -> None:
        self._identity = identity
        self._backlog = backlog
        self._connection = connection
        self._catalog = catalog
        self._clock = clock
        self._seconds = backlog.term_seconds
        self._hand = ThreadPoolExecutor(1, "sealing")
        self._renewal_due = 0.0
        self._horizon_due = 0.0
        self._reload_due = 0.0
        self._partition_check = PartitionCheck()
        self._comparison = Comparison(backlog, connection, identity.agency)

    def run(self, stopping: Event) -> None:
        """Relay until `stopping` is set; then seal nothing more and send what is sealed.

        A service that is away is waited for, for ever, and so is a right or a partition that the
        brokers' operator has to give; a lost lease is competed for again.

        Raises:
            TablesMissing: the database was not prepared for this version.
            AgreementRefused: the agreements cannot be read.
            OutboxBehindTopic: the database is older than a topic.
            OutboxForked: a topic shows another history than the database has sealed.
            DatabaseBroken: the database refuses the work itself.
            BrokerTooOld, KafkaSettingsRefused: the client cannot work with this broker.
            BrokerAway, DatabaseAway, NotPermitted, …: it was so when we were to stop, and not all
                is sent; what is sealed waits in the database.
        """
        leave_loaded_objects()
        patience = Patience()
        try:
            while not stopping.is_set():
                try:
                    self._lead(patience, stopping)
                except (errors.Unavailable, errors.TopicHalted) as why:
                    if stopping.is_set():
                        raise
                    patience.wait(why, stopping)
        finally:
            self._hand.shutdown()
            self._backlog.close()

    def _lead(self, patience: Patience, stopping: Event) -> None:
        """One term as leader, or a moment's wait where another leads."""
        self._backlog.check()
        epoch = self._backlog.take()
        if epoch is None:
            stopping.wait(self._seconds / 10)
            return
        term = None
        try:
            term = self._begin(epoch)
            self._resend(term)  # 0
            self._loop(term, patience, stopping)
        except errors.Superseded as why:
            _log.warning("lease lost", why=str(why), epoch=epoch)
        finally:
            self._end(epoch, term)

    def _loop(self, term: Term, patience: Patience, stopping: Event) -> None:
        sealed = SealedBatch()
        look = self._look(term)  # 1
        while not (stopping.is_set() or term.is_outdated):
            self._keep(term)
            batch = term.sealer.seal(look.rows, term.trees)  # 2, decided
            with self._writing(term, look, batch) as written:  # 2, committed; 1 for the next
                sent = self._settle(term)  # 4, for what is under way
                term.sender.enqueue(sealed.growths)  # 3, for the batch before
            self._account(term, sent)
            if sent:
                patience.over()
            sealed, next_look = batch, written.result()
            if next_look is None:
                self._send(term, sealed)  # 3 and 4 at once: nothing more waits
                patience.over()
                sealed = SealedBatch()
                term.control.publish_if_due(term.sent)
                stopping.wait(LOOK_SECONDS)
                next_look = self._look(term)
            look = next_look
        self._send(term, sealed)

    def _begin(self, epoch: int) -> Term:
        """What a leader needs."""
        now = self._clock.monotonic()
        self._renewal_due = now + self._seconds / 3
        self._reload_due = now
        agreements, keys = self._identity.load(), self._identity.held()
        counts = topic_evidence.agreed_partitions(
            self._connection, self._identity.agency, agreements, self._partition_check
        )
        tree_keys = [
            TreeKey(name, number) for name, count in counts.items() for number in range(count)
        ]
        self._backlog.plant(tree_keys, epoch)
        trees = self._backlog.trees()
        shown = self._comparison.leaves_on_topics(
            agreements, {tree_key: trees[tree_key].size for tree_key in tree_keys}
        )
        sent = self._backlog.rewind(shown, epoch)
        control = ControlTopic(
            self._connection,
            agreements.bus,
            self._identity.agency,
            keys,
            agreements.ring,
            self._clock,
        )
        known = counts.keys() & {*self._catalog.event_types}
        control.publish_schemas(
            each for name in sorted(known) for each in self._catalog.versions(name)
        )
        for name in sorted(counts.keys() - known):
            _log.warning(
                "this version does not know an event type of the agreements",
                event_type=name,
                mend="install the version of Sinergi that has it",
            )
        _log.info("leading", agency=self._identity.agency, epoch=epoch)
        return Term(
            epoch,
            self._sealer(agreements, keys, counts),
            control,
            Sender(
                self._connection,
                agreements.bus,
                self._identity.agency,
                self._schema_ids(),
                self._clock,
            ),
            trees,
            sent,
            agreements.versions,
        )

    def _end(self, epoch: int, term: Term | None) -> None:
        """Whatever ended the term: deliver nothing more under it, and let a successor begin."""
        if term:
            term.sender.discard()
            term.control.finish()
        try:
            self._backlog.release(epoch)
        except errors.Unavailable as why:
            _log.warning("lease not given back; it ends by itself", why=str(why))

    def _schema_ids(self) -> dict[bytes, int]:
        """The number of each schema by its fingerprint, ours and those of newer versions.

        A newer relay may have led before this one, and sealed what this one has to send.
        """
        known = self._backlog.known_schemas()
        return {fingerprint: each.id for fingerprint, each in known.items()} | {
            each.fingerprint: each.id for each in self._catalog.all()
        }

    def _check(self) -> Callable[[OutboxRow], str | None]:
        """Says why a row cannot be sent; names the versions that this database knows of."""
        known = self._backlog.known_schemas()
        return RowCheck(self._identity.agency, self._catalog, known).fault

    def _sealer(
        self, agreements: Agreements, keys: Sequence[SigningKey], counts: dict[str, int]
    ) -> Sealer:
        agency = self._identity.agency
        return Sealer(
            agreements.bus,
            agency,
            keys,
            counts,
            lambda name: (
                name in counts and agreements.covering(agency, name, self._clock.now()) is not None
            ),
            agreements.ring,
            self._check(),
        )

    def _keep(self, term: Term) -> None:
        """Renew the lease and read the agreements again, when it is time."""
        now = self._clock.monotonic()
        if now >= self._renewal_due:
            self._backlog.renew(term.epoch)
            self._renewal_due = now + self._seconds / 3
        if now >= self._reload_due:
            self._reload(term)
            self._reload_due = now + _RELOAD_SECONDS

    def _reload(self, term: Term) -> None:
        """Read agreements and keys again, and let rows try again that an agreement may cover."""
        try:
            agreements, keys = self._identity.load(), self._identity.held()
        except errors.Refused as why:
            _log.error("agreements not loaded again; the old ones hold", why=str(why))
            return
        held = {each.public for each in term.sealer.keys}
        if agreements.versions != term.versions or {each.public for each in keys} != held:
            term.is_outdated = True
        covered = [name for name in term.sealer.counts if term.sealer.is_agreed(name)]
        term.sealer = replace(term.sealer, fault=self._check())
        known = [each.fingerprint for each in self._catalog.all()]
        if self._backlog.release_held(covered, known):
            term.floors.reset()

    def _look(self, term: Term) -> UnsealedRows:
        return self._backlog.waiting(self._floors(term))

    def _floors(self, term: Term) -> Floors:
        """The floors as they are now; a copy, since the look is taken beside other work."""
        now = self._clock.monotonic()
        if now >= self._horizon_due:
            term.floors.hear(self._backlog.horizon(term.floors))
            self._horizon_due = now + _HORIZON_SECONDS
        term.floors.before_look(now)
        return replace(term.floors)

    @contextmanager
    def _writing(
        self, term: Term, look: UnsealedRows, batch: SealedBatch
    ) -> Iterator[Future[UnsealedRows | None]]:
        """Write what was decided of a look beside what the block does; both end with it.

        Where more waits than one look shows, the next one is taken behind the commit.
        """
        term.floors.after_look(look)
        floors = self._floors(term) if len(look.rows) == MOST_MESSAGES else None
        written = self._hand.submit(self._write, batch, term.epoch, floors)
        try:
            yield written
        finally:
            written.result()
        term.trees.update((each.tree_key, each.after) for each in batch.growths)
        for why, ids in batch.held.items():
            _log.warning("rows held: see `sinergi outbox list --held`", why=why, rows=len(ids))

    def _write(self, batch: SealedBatch, epoch: int, floors: Floors | None) -> UnsealedRows | None:
        if batch.growths or batch.held:
            self._backlog.seal(batch, epoch)
        return self._backlog.waiting(floors) if floors else None

    def _send(self, term: Term, batch: SealedBatch) -> None:
        self._account(term, self._settle(term))
        term.sender.enqueue(batch.growths)
        self._account(term, self._settle(term))

    def _settle(self, term: Term) -> list[TreeUpdate]:
        """Await every report; what the broker has now."""
        return term.sender.flush(lambda: self._keep(term))

    def _account(self, term: Term, sent: Sequence[TreeUpdate]) -> None:
        """Write down what the broker has."""
        if sent:
            self._backlog.mark_sent(sent)
            term.sent.update((each.tree_key, each.after) for each in sent)
            term.control.publish_heads(term.sent)

    def _resend(self, term: Term) -> None:
        """Send what is sealed and not confirmed, batch by batch as it was sealed."""
        while growths := self._backlog.unsent():
            term.sender.enqueue(growths)
            self._account(term, self._settle(term))
