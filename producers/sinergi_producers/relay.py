"""The relay: from the outbox to the topics, one process an outbox, one leader at a time.

    0. on taking the lease: send again what is sealed and not confirmed
    1. read the next rows without a leaf, by their mark
    2. seal them: leaves, trees and checkpoints, committed in the agency's database
    3. send them with an idempotent, gapless producer
    4. await every delivery report, and advance how far each tree is sent

The broker works on a batch (3) while the next one is read and sealed (1, 2); its reports are awaited
before the next is sent. Whatever fails after 2 is sent again from what was sealed: the same bytes
under the same leaf index, which every reader knows how to ignore.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import structlog

from sinergi_producers.control import Control
from sinergi_producers.floor import Floor
from sinergi_producers.sealing import Batch, Sealer
from sinergi_producers.sending import Sender
from sinergi_schemas import errors
from sinergi_schemas.clock import SYSTEM
from sinergi_schemas.kafka.admin import open_admin, partition_count

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from threading import Event

    from sinergi_producers.backlog import Backlog
    from sinergi_producers.sealing import Growth, Row, Share
    from sinergi_schemas.agreement import Agreements
    from sinergi_schemas.catalog import Catalog
    from sinergi_schemas.clock import Clock
    from sinergi_schemas.kafka import Connection
    from sinergi_schemas.seal.keys import SigningKey
    from sinergi_schemas.seal.merkle import Frontier

_log = structlog.get_logger(__name__)

LOOK_SECONDS = 0.05
_HORIZON_SECONDS = 1.0
_RELOAD_SECONDS = 60.0
_BACKOFF_SECONDS = (0.1, 5.0)


@dataclass(frozen=True, slots=True)
class Identity:
    """Who relays: the agency, the keys that sign for it, and the agreements it is bound by.

    Attributes:
        load: reads the agreements; asked again each minute, so that a new version needs no restart.
    """

    agency: str
    keys: Sequence[SigningKey]
    load: Callable[[], Agreements]


@dataclass(slots=True)
class Term:
    """What a leader holds in hand under one lease.

    Attributes:
        is_outdated: a new agreement speaks of other topics: begin another term.
    """

    epoch: int
    sealer: Sealer
    control: Control
    trees: dict[Share, Frontier]
    sent: dict[Share, Frontier]
    floor: Floor = field(default_factory=Floor)
    sender: Sender | None = None
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
        term_seconds: float,
        clock: Clock = SYSTEM,
    ) -> None:
        self._identity = identity
        self._backlog = backlog
        self._connection = connection
        self._catalog = catalog
        self._term_seconds = term_seconds
        self._clock = clock
        self._renewal_due = 0.0
        self._horizon_due = 0.0
        self._reload_due = 0.0

    def run(self, stopping: Event) -> None:
        """Relay until `stopping` is set; then seal nothing more and send what is sealed.

        A service that is away is waited for, for ever; a lost lease is competed for again.

        Raises:
            TablesMissing: the database was not prepared for this version.
            AgreementRefused: the agreements cannot be read at the start.
            PartitionsDiffer: the broker counts other partitions than the agreement.
            DatabaseBroken: the database refuses the work itself.
        """
        wait, longest = _BACKOFF_SECONDS
        while not stopping.is_set():
            try:
                self._lead(stopping)
                wait = _BACKOFF_SECONDS[0]
            except errors.LeaseLost as why:
                _log.warning("lease lost", why=str(why))
            except errors.Unavailable as why:
                _log.warning("waiting", why=str(why), seconds=wait)
                stopping.wait(wait)
                wait = min(2 * wait, longest)
        self._backlog.close()

    def _lead(self, stopping: Event) -> None:
        """One term as leader, or a moment's wait where another leads."""
        term = self._begin()
        if term is None:
            stopping.wait(self._term_seconds / 10)
            return
        self._resend(term, stopping)  # 0
        while not (stopping.is_set() or term.is_outdated):
            self._renew(term)
            rows = self._look(term)  # 1
            batch = self._seal(term, rows)  # 2
            self._account(term, stopping)  # 4, of the batch before
            self._send(term, batch)  # 3
            if not rows:
                term.control.heads_if_due(term.sent)
                stopping.wait(LOOK_SECONDS)
        self._account(term, stopping)  # 4, of the last
        term.control.finish()
        self._backlog.release(term.epoch)

    def _begin(self) -> Term | None:
        """Take the lease; what a leader needs, or None."""
        agreements = self._identity.load()
        self._backlog.check()
        counts = self._counts(agreements)
        epoch = self._backlog.take(
            (name, number) for name, count in counts.items() for number in range(count)
        )
        if epoch is None:
            return None
        _log.info("leading", agency=self._identity.agency, epoch=epoch)
        now = self._clock.monotonic()
        self._renewal_due = now + self._term_seconds / 3
        self._reload_due = now + _RELOAD_SECONDS
        control = Control(
            self._connection,
            agreements.bus,
            self._identity.agency,
            self._identity.keys,
            self._clock,
        )
        control.schemas(each for name in counts for each in self._catalog.versions(name))
        return Term(
            epoch,
            self._sealer(agreements, counts),
            control,
            self._backlog.trees(),
            self._backlog.sent(),
        )

    def _counts(self, agreements: Agreements) -> dict[str, int]:
        """The partitions of each topic of ours, which the broker must count alike."""
        admin = open_admin(self._connection)
        counts: dict[str, int] = {}
        for topic in agreements.published_by(self._identity.agency):
            counts[topic.event_type] = agreements.partitions(topic)
            found = partition_count(admin, topic.name)
            if found != counts[topic.event_type]:
                raise errors.PartitionsDiffer(topic.name, found, counts[topic.event_type])
        return counts

    def _sealer(self, agreements: Agreements, counts: dict[str, int]) -> Sealer:
        agency = self._identity.agency
        return Sealer(
            agreements.bus,
            agency,
            self._identity.keys,
            counts,
            lambda name: agreements.covering(agency, name, self._clock.now()) is not None,
        )

    def _renew(self, term: Term) -> None:
        now = self._clock.monotonic()
        if now >= self._renewal_due:
            self._backlog.renew(term.epoch)
            self._renewal_due = now + self._term_seconds / 3
        if now >= self._reload_due:
            self._reload(term)
            self._reload_due = now + _RELOAD_SECONDS

    def _reload(self, term: Term) -> None:
        """Read the agreements again, and let rows try again that a new version may cover."""
        try:
            agreements = self._identity.load()
        except errors.AgreementRefused as why:
            _log.error("agreements not loaded again; the old ones hold", why=str(why))
            return
        if {each.event_type for each in agreements.published_by(self._identity.agency)} - set(
            term.sealer.counts
        ):
            term.is_outdated = True
        term.sealer = self._sealer(agreements, dict(term.sealer.counts))
        covered = [name for name in term.sealer.counts if term.sealer.is_agreed(name)]
        if self._backlog.release_held(covered):
            term.floor.reset()

    def _look(self, term: Term) -> list[Row]:
        now = self._clock.monotonic()
        horizon = self._backlog.horizon() if now >= self._horizon_due else None
        rows = self._backlog.waiting(term.floor.before_look(now))
        if horizon:
            self._horizon_due = now + _HORIZON_SECONDS
            if not rows:
                term.floor.after_empty_look(*horizon)
        return rows

    def _seal(self, term: Term, rows: Sequence[Row]) -> Batch:
        if not rows:
            return Batch()
        batch = term.sealer.seal(rows, term.trees)
        self._backlog.seal(batch, term.epoch)
        for each in batch.growths:
            term.trees[each.share] = each.after
        if batch.held:
            _log.warning("held: no agreement in force", rows=len(batch.held))
        return batch

    def _send(self, term: Term, batch: Batch) -> None:
        if batch.growths:
            try:
                self._sender(term).begin(batch.growths)
            except errors.SinergiError as why:
                self._give_up(term, why)

    def _account(self, term: Term, stopping: Event) -> None:
        """Await the reports; where something was not delivered, send again until it is."""
        try:
            if term.sender:
                self._mark(term, term.sender.settle())
                return
        except (errors.DatabaseAway, errors.DatabaseBroken):
            raise
        except errors.SinergiError as why:
            self._give_up(term, why)
        self._resend(term, stopping)

    def _resend(self, term: Term, stopping: Event) -> None:
        """Send what is sealed and not confirmed, batch by batch as it was sealed.

        An orderly stop gives up after one failure: what is sealed waits in the database.
        """
        wait, longest = _BACKOFF_SECONDS
        while growths := self._backlog.unsent():
            self._renew(term)
            try:
                sender = self._sender(term)
                sender.begin(growths)
                self._mark(term, sender.settle())
                wait = _BACKOFF_SECONDS[0]
            except (errors.DatabaseAway, errors.DatabaseBroken):
                raise
            except errors.SinergiError as why:
                self._give_up(term, why)
                if stopping.is_set():
                    return
                stopping.wait(wait)
                wait = min(2 * wait, longest)

    def _mark(self, term: Term, sent: Sequence[Growth]) -> None:
        if sent:
            self._backlog.mark_sent(sent)
            term.sent.update((each.share, each.after) for each in sent)
            term.control.heads(term.sent)

    def _sender(self, term: Term) -> Sender:
        if term.sender is None:
            term.sender = Sender(
                self._connection,
                term.sealer.bus,
                self._identity.agency,
                self._catalog,
                self._clock,
            )
        return term.sender

    def _give_up(self, term: Term, why: errors.SinergiError) -> None:
        """Throw the client away: behind a message that failed nothing of it may be delivered."""
        _log.error("not delivered; sending again", why=str(why))
        if term.sender:
            term.sender.discard()
            term.sender = None
