"""The relay: from the outbox to the topics. One process for each outbox, one leader at a time.

    0. begin a term: take the lease; compare the topics with the database, and refuse to go on if a
       topic has more leaves or other ones (as after the restore of a backup); mark what a topic has
       lost as not sent; send again what is sealed and not confirmed
    1. read the next rows that have no leaf yet
    2. seal them: decide leaves, trees and checkpoints, and commit these to the agency's database
    3. send them with an idempotent producer
    4. wait for every delivery report, and record how far each tree is sent
    5. keep the receipts that readers have signed since; see `receipt_history`

While many rows wait, three batches are in hand at the same time: one to commit (2), the one before
it to send (3), and the one before that to confirm (4). The database commits on a thread of its own,
and then reads the rows for the next round (1). Receipts are kept on another thread (5).

Whatever fails ends the term, and with it the Kafka client: messages after one that failed must not
be delivered. The next term begins at 0 with what was sealed. It sends the same bytes under the same
leaf indexes, and every reader skips what it has read already.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING

import structlog

from sinergi_producers.relay.idle_pause import idle_pause
from sinergi_producers.relay.row_check import UNKNOWN_SCHEMA
from sinergi_producers.relay.sealing import MOST_MESSAGES, SealedBatch
from sinergi_producers.relay.watermark import UnsealedRows
from sinergi_schemas import errors
from sinergi_schemas.agreements.reload_report import ReloadReport
from sinergi_schemas.backoff import Backoff
from sinergi_schemas.clock import SYSTEM
from sinergi_schemas.garbage import leave_loaded_objects
from sinergi_schemas.observer import UNOBSERVED, WorkState, WorkStep
from sinergi_schemas.timeouts import DEFAULT
from sinergi_schemas.topics import Topic

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from threading import Event

    from sinergi_producers.relay.receipt_history import ReceiptHistory
    from sinergi_producers.relay.sealing import TreeUpdate
    from sinergi_producers.relay.store import OutboxStore
    from sinergi_producers.relay.term import Term, TermSetup
    from sinergi_producers.relay.watermark import Watermarks
    from sinergi_schemas.clock import Clock
    from sinergi_schemas.observer import Observer
    from sinergi_schemas.timeouts import RelayTimeouts

_log = structlog.get_logger(__name__)

_LOOK_AGAIN_SECONDS = 1.0


class Relay:
    """The relay of one outbox. A second one stands by until the lease of the first is free.

    Args:
        observer: is told what the relay does.
    """

    def __init__(
        self,
        terms: TermSetup,
        store: OutboxStore,
        receipts: ReceiptHistory,
        *,
        clock: Clock = SYSTEM,
        timeouts: RelayTimeouts = DEFAULT.relay,
        observer: Observer = UNOBSERVED,
    ) -> None:
        self._terms = terms
        self._store = store
        self._receipts = receipts
        self._timeouts = timeouts
        self._clock = clock
        self._observer = observer
        self._reload_report = ReloadReport(observer)
        self._committer = ThreadPoolExecutor(1, "commit")
        self._renewal_due = 0.0
        self._horizon_due = 0.0
        self._reload_due = 0.0
        self._row_came_at = 0.0
        self._backoff = Backoff(timeouts.retry_first, timeouts.retry_most)
        self._standing_by_for: str | None = None

    def run(self, stopping: Event) -> None:
        """Relay until `stopping` is set; then seal nothing more, and send what is sealed.

        What cannot be sent then waits in the database for the next start. That is no error: the
        relay has stopped as it was told.

        The base of an error says what is done: the relay waits and tries again after `Unavailable`
        and `TopicHalted`, competes for the lease again after `Superseded`, and ends after any
        other.

        Raises:
            Refused: for example `TablesMissing`, `AgreementRefused`, `OutboxBehindTopic`,
                `OutboxForked`.
            Fatal: for example `DatabaseBroken`.
        """
        leave_loaded_objects()
        try:
            while not stopping.is_set():
                try:
                    self._lead(stopping)
                except (errors.Unavailable, errors.TopicHalted) as why:
                    self._observer.failed(why)
                    if stopping.is_set():
                        _log.warning("stopped before all is sent; it waits here", why=str(why))
                        break
                    self._observer.entered(WorkState.WAITING, why)
                    self._observer.turned(self._backoff.pause)
                    self._backoff.wait(why, stopping)
        finally:
            self._committer.shutdown()
            self._receipts.close()
            self._store.close()

    def _lead(self, stopping: Event) -> None:
        """Lead for one term, or wait for a moment while another relay leads."""
        self._observer.turned()
        self._store.check()
        epoch = self._store.take_lease()  # 0. take the lease
        if epoch is None:
            self._report_leader()
            self._observer.turned(self._timeouts.lease / 10)
            stopping.wait(self._timeouts.lease / 10)
            return
        self._standing_by_for = None
        now = self._clock.monotonic()
        self._renewal_due, self._reload_due = now + self._timeouts.lease / 3, now
        self._row_came_at = now
        term = None
        try:
            # 0. refuse; find what a topic has lost
            term = self._terms.begin(epoch, self._observer.turned)
            self._resend(term)  # 0. send again
            self._observer.entered(WorkState.WORKING)
            self._relay(term, stopping)  # 1 to 4, again and again
        except errors.Superseded as why:  # LeaseLost: another relay leads
            _log.warning("lease lost", why=str(why), epoch=epoch)
            self._observer.failed(why)
            self._observer.entered(WorkState.STANDING_BY)
        finally:
            self._end(epoch, term)

    def _report_leader(self) -> None:
        """Log once which relay leads, and until when if it does not renew its lease."""
        self._backoff.served()
        self._observer.entered(WorkState.STANDING_BY)
        leader = self._store.leader()
        if leader is not None and leader.holder != self._standing_by_for:
            self._standing_by_for = leader.holder
            _log.info("standing by", leader=leader.holder, until=leader.expires_at)

    def _resend(self, term: Term) -> None:
        """Send what is sealed and not confirmed, batch by batch as it was sealed."""
        while updates := self._store.unsent():
            term.sender.enqueue(updates)
            self._record_sent(term, self._wait_for_reports(term))

    def _relay(self, term: Term, stopping: Event) -> None:
        """Seal and send rows until the process is to stop, or the term is outdated."""
        to_send = SealedBatch()
        unsealed = self._read(term)  # 1
        while not (stopping.is_set() or term.is_outdated):
            self._observer.turned()
            self._renew_lease(term)
            self._reload(term)
            self._receipts.proceed(term.agreements)  # 5
            if unsealed.rows:
                self._row_came_at = self._clock.monotonic()
            to_commit = term.sealer.seal(unsealed.rows, term.trees)  # 2. decide
            watermarks = self._next_watermarks(term, unsealed)
            committing = self._committer.submit(self._commit, to_commit, term.epoch, watermarks)
            try:
                confirmed = self._wait_for_reports(term)  # 4, for the batch before `to_send`
                term.sender.enqueue(to_send.updates)  # 3
            finally:
                following = committing.result()  # 2. committed; 1. read for the next round
            self._record_committed(term, to_commit)
            self._record_sent(term, confirmed)  # 4
            to_send = to_commit
            if following is None:  # nothing more waits
                self._send(term, to_send)  # 3 and 4
                to_send = SealedBatch()
                term.control.publish_if_due(term.sent)
                self._backoff.served()
                following = self._look(term, stopping)  # 1
            unsealed = following
        self._send(term, to_send)  # 3 and 4

    def _read(self, term: Term) -> UnsealedRows:
        return self._store.unsealed_rows(self._current_watermarks(term))

    def _look(self, term: Term, stopping: Event) -> UnsealedRows:
        """Read what has come after a pause; no more than one query if nothing has."""
        idle_seconds = self._clock.monotonic() - self._row_came_at
        stopping.wait(idle_pause(idle_seconds, self._timeouts))
        watermarks = self._current_watermarks(term)
        if not self._store.has_unsealed_rows(watermarks):
            return UnsealedRows(
                [], are_backfill=False, live=watermarks.live, backfill=watermarks.backfill
            )
        return self._store.unsealed_rows(watermarks)

    def _commit(
        self, to_commit: SealedBatch, epoch: int, watermarks: Watermarks | None
    ) -> UnsealedRows | None:
        """Commit a batch; then read the rows after it, if watermarks are given."""
        if to_commit.updates or to_commit.held:
            began = self._clock.monotonic()
            self._store.commit_batch(to_commit, epoch)
            seconds = self._clock.monotonic() - began
            self._observer.finished(WorkStep.SEAL, seconds, self._leaves(to_commit.updates))
        return self._store.unsealed_rows(watermarks) if watermarks else None

    def _record_committed(self, term: Term, committed: SealedBatch) -> None:
        term.trees.update((each.tree_key, each.after) for each in committed.updates)
        for why, ids in committed.held.items():
            _log.warning("rows held: see `sinergi outbox list --held`", why=why, rows=len(ids))
            self._observer.held(len(ids))
            if why.startswith(UNKNOWN_SCHEMA):  # its publisher may have registered it since
                soon = self._clock.monotonic() + _LOOK_AGAIN_SECONDS
                self._reload_due = min(self._reload_due, soon)

    def _send(self, term: Term, to_send: SealedBatch) -> None:
        """Wait until everything before a batch is confirmed; then send it, and wait for it too."""
        self._record_sent(term, self._wait_for_reports(term))
        term.sender.enqueue(to_send.updates)
        self._record_sent(term, self._wait_for_reports(term))

    def _wait_for_reports(self, term: Term) -> list[TreeUpdate]:
        """Wait for the report of every message that was sent; what the broker has confirmed."""
        began = self._clock.monotonic()
        confirmed = term.sender.flush(lambda: self._while_waiting(term, began))
        if confirmed:
            self._observer.entered(WorkState.WORKING)
            seconds = self._clock.monotonic() - began
            self._observer.finished(WorkStep.SEND, seconds, self._leaves(confirmed))
        return confirmed

    def _while_waiting(self, term: Term, since: float) -> None:
        self._observer.turned()
        if self._clock.monotonic() - since > self._timeouts.unconfirmed:
            self._observer.entered(WorkState.WAITING, "messages are not confirmed")
        self._renew_lease(term)

    def _leaves(self, updates: Iterable[TreeUpdate]) -> dict[str, int]:
        """How many leaves some updates add to each topic."""
        found: dict[str, int] = {}
        for each in updates:
            topic = Topic(self._terms.agency, each.tree_key.event_type).name
            found[topic] = found.get(topic, 0) + len(each.rows)
        return found

    def _record_sent(self, term: Term, confirmed: Sequence[TreeUpdate]) -> None:
        """Record in the database, and in the control topic, what the broker has confirmed."""
        if confirmed:
            self._store.mark_sent(confirmed)
            self._backoff.reset()
            term.sent.update((each.tree_key, each.after) for each in confirmed)
            term.control.publish_heads(term.sent)

    def _renew_lease(self, term: Term) -> None:
        """Renew the lease when a third of its time has passed."""
        now = self._clock.monotonic()
        if now >= self._renewal_due:
            self._store.renew_lease(term.epoch)
            self._renewal_due = now + self._timeouts.lease / 3

    def _reload(self, term: Term) -> None:
        """Read the agreements and the private keys again, from time to time."""
        now = self._clock.monotonic()
        if now >= self._reload_due:
            self._terms.reload(term, self._reload_report)
            self._reload_due = now + self._timeouts.reload

    def _current_watermarks(self, term: Term) -> Watermarks:
        """A copy of the watermarks as they are now, since the rows are read on another thread."""
        now = self._clock.monotonic()
        if now >= self._horizon_due and term.watermarks.can_rise:
            term.watermarks.observe(self._store.horizon(term.watermarks))
            self._horizon_due = now + self._timeouts.horizon
        term.watermarks.before_read(now)
        return replace(term.watermarks)

    def _next_watermarks(self, term: Term, unsealed: UnsealedRows) -> Watermarks | None:
        """Where to read on after some rows; None if fewer came than one read can give."""
        term.watermarks.after_read(unsealed)
        if len(unsealed.rows) < MOST_MESSAGES:
            return None
        return self._current_watermarks(term)

    def _end(self, epoch: int, term: Term | None) -> None:
        """End a term, for whatever reason: deliver nothing more, and give the lease back."""
        if term:
            term.sender.discard()
            # What is written there is signed and true, whoever leads: the largest size counts.
            term.control.finish(self._timeouts.stop)
        try:
            self._store.release_lease(epoch)
        except errors.Unavailable as why:
            _log.warning("lease not given back; it ends by itself", why=str(why))
