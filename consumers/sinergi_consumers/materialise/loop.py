"""The materialiser: from the topics of other agencies to the tables of this one, exactly once.

One loop, and one database transaction for the small batches of many topic-partitions. The position,
rows, quarantine and receipt of a batch become visible together or not at all, so a crash at any
point leaves a state from which the next start goes on. While batches are stored (steps 4 to 6, on a
thread of its own, in `store`), the next ones are polled, verified and decoded.

    1. poll a batch
    2. verify it, up to the last checkpoint
    3. decode it to frames, those of many topic-partitions together
    4. advance the positions, if they are still this worker's
    5. merge rows; write quarantine rows and the receipt
    6. commit
    7. publish receipts, and commit Kafka offsets for tools that show lag

A topic-partition that cannot be read on is suspended, while the others go on. `_verified` finds
why. `_suspend` stops it, and records a halt if its messages are the cause (`TopicHalted`).
`_claim_assigned` claims it again when its pause is over, or earlier: when the agreements have
changed (`_reload_agreements` ends all pauses), when the group has revoked it and assigns it again
(`Assignment._on_revoke`), or when the client was replaced (`Assignment._replace_client`).
`Halts` deletes the record once it is read on without a fault.

Two threads share the sink, and never use it at the same time: the thread that stores has it from
`_start_storing` until `_finish_storing` returns, and the loop has it for the rest of the round.
"""

from __future__ import annotations

import gc
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import TYPE_CHECKING

import structlog

from sinergi_consumers.materialise.claim import Claim
from sinergi_consumers.materialise.claiming import claimed
from sinergi_consumers.materialise.halts import Halts
from sinergi_consumers.materialise.loaded_agreements import LoadedAgreements
from sinergi_consumers.materialise.pauses import Pauses
from sinergi_consumers.materialise.position_check import PositionCheck
from sinergi_consumers.materialise.ready_batches import ClaimedBatch, ReadyBatches, decoded
from sinergi_consumers.materialise.store import Outcome, Stored
from sinergi_consumers.materialise.work_report import WorkReport
from sinergi_schemas import errors
from sinergi_schemas.garbage import collect_rarely, leave_loaded_objects
from sinergi_schemas.kafka.skip_report import SkipReport
from sinergi_schemas.observer import WorkState
from sinergi_schemas.timeouts import DEFAULT
from sinergi_schemas.topics import TopicPartition

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from threading import Event

    from sinergi_consumers.bus import Bus
    from sinergi_consumers.materialise.arrival import Arrival
    from sinergi_consumers.materialise.assignment import Assignment
    from sinergi_consumers.materialise.receipts import Receipts
    from sinergi_consumers.materialise.store import Store
    from sinergi_consumers.reading.partition import VerifiedBatch
    from sinergi_consumers.sinks.protocol import Receipt
    from sinergi_schemas.clock import Clock
    from sinergi_schemas.seal.skipped import SkippedMessages
    from sinergi_schemas.timeouts import MaterialiserTimeouts

_log = structlog.get_logger(__name__)

_KEEP_ALIVE_SECONDS = 20.0
# In a round of the loop.
_MOST_CLAIMS = 500
_CLAIM_SECONDS = 0.5

ReadingError = errors.TopicHalted | errors.Unavailable


class Materialiser:
    """One worker of a database. The group divides the topic-partitions among any number of them."""

    def __init__(
        self,
        assignment: Assignment,
        store: Store,
        receipts: Receipts,
        bus: Bus,
        clock: Clock,
        timeouts: MaterialiserTimeouts = DEFAULT.materialiser,
    ) -> None:
        self._observer = store.observer
        self._report = WorkReport(store.observer)
        self._timeouts = timeouts
        self._assignment = assignment
        self._store = store
        self._sink = store.sink
        self._receipts = receipts
        self._clock = clock
        self._claims: dict[TopicPartition, Claim] = {}
        self._loaded = LoadedAgreements(bus, store, clock, timeouts)
        self._halts = Halts(store.sink, clock, timeouts.retry_first, timeouts.retry_most)
        self._claim_pauses = Pauses(clock, timeouts.retry_first, timeouts.retry_unclaimed)
        self._arrived: set[TopicPartition] = set()
        self._skipped: list[tuple[TopicPartition, Sequence[SkippedMessages]]] = []
        self._skip_report = SkipReport()
        self._position_check = PositionCheck(store.sink, clock, timeouts.positions)

    def run(self, stopping: Event) -> None:
        """Materialise until `stopping` is set; then finish the batch that is being stored.

        The base of an error says what is done. `Unavailable` is tried again; `TopicHalted` stops
        one topic-partition, which is looked at again; `Superseded` drops what was read of one. The
        materialiser ends after any other.

        Raises:
            Refused: for example `TablesMissing`, `BrokerTooOld`, `KafkaSettingsRefused`.
            Fatal: for example `DatabaseBroken`.
        """
        leave_loaded_objects()
        collect_rarely()
        try:
            self._begin(stopping)
            with ThreadPoolExecutor(1, "database") as database:
                storing: Future[list[Outcome]] | None = None
                while not stopping.is_set():
                    self._observer.turned()
                    # The other thread may be storing the batch before: the sink is not used here.
                    out_of_range = self._poll(storing)  # 1 and 2, part by part
                    self._unclaim(out_of_range)
                    batches, failed = self._verified()  # 2
                    ready = decoded(batches, self._loaded.decoders)  # 3
                    self._finish_storing(storing)  # 6 and 7, for the batch before
                    # From here on nothing is being stored, and the sink is used here alone.
                    with self._report.left_for_later("halt not cleared yet"):
                        self._halts.clear(self._claims.keys())
                    self._suspend(failed)
                    self._report_skipped()
                    self._reload_agreements()
                    self._check_positions()
                    self._claim_assigned(stopping)
                    self._report.counts(
                        self._assignment.assigned, self._claims.keys(), self._halts.pauses.begun
                    )
                    self._retry_quarantined()
                    storing = self._start_storing(database, ready)  # 4 to 6
                    if storing:
                        gc.collect()
                self._finish_storing(storing)
        finally:
            self._leave()

    def _begin(self, stopping: Event) -> None:
        """Wait until the database is prepared and the brokers answer; then join the group."""
        while not stopping.is_set():
            try:
                self._sink.check()
                self._receipts.send(self._sink.unpublished_receipts())
                self._assignment.look_ups.report_missing_topics()
            except errors.Unavailable as why:
                _log.warning("not started yet", why=str(why))
                self._observer.failed(why)
                self._observer.entered(WorkState.WAITING, why)
                self._observer.turned(self._timeouts.retry_start)
                stopping.wait(self._timeouts.retry_start)
            else:
                self._assignment.subscribe()
                self._report.counts(None, frozenset(), frozenset())
                self._observer.entered(WorkState.WORKING)
                return

    def _poll(self, storing: Future[list[Outcome]] | None) -> set[TopicPartition]:
        """Poll, and verify what arrives.

        Args:
            storing: the batch before, until whose end nothing else can be stored.

        Returns:
            The topic-partitions whose next offset is no longer on the broker.
        """
        none: set[TopicPartition] = set()
        # The variable of a loop would hold each part until the next one is there.
        arrivals = self._assignment.poll(lambda: storing is not None and not storing.done())
        return none.union(*map(self._verify, arrivals))

    def _verify(self, arrival: Arrival) -> set[TopicPartition]:
        """Verify a part of what has arrived; see `_poll`."""
        self._arrived |= arrival.messages.keys() | arrival.ended
        for tp, messages in arrival.messages.items():
            self._claims[tp].partition.add(messages)
        for batch in arrival.unreadable:
            self._claims[batch.tp].partition.skipped.add(batch.cause, batch.offset)
            self._arrived.add(batch.tp)
        for tp in arrival.ended:
            self._claims[tp].partition.end()
        return arrival.out_of_range

    def _unclaim(self, out_of_range: set[TopicPartition]) -> None:
        """Let topic-partitions be claimed anew: their next leaf may be at another offset."""
        for tp in out_of_range & self._claims.keys() & self._assignment.active:
            del self._claims[tp]
            self._assignment.unclaim(tp)

    def _verified(self) -> tuple[list[ClaimedBatch], dict[TopicPartition, ReadingError]]:
        """The batches that a checkpoint covers, and the topic-partitions that cannot be read on.

        The verified leaves before a fault are returned first, and the error in the next round. A
        topic-partition of which nothing has arrived costs nothing.
        """
        failed: dict[TopicPartition, ReadingError] = {}
        batches: list[ClaimedBatch] = []
        for tp in self._arrived & self._claims.keys() & self._assignment.active:
            claim = self._claims[tp]
            try:
                batch = self._verified_batch(claim)
                if batch:
                    self._loaded.find_schemas(batch)
                    batches.append(ClaimedBatch(claim, batch))
            except (errors.TopicHalted, errors.Unavailable) as why:
                failed[tp] = why
            if skipped := claim.partition.skipped.drain():
                self._skipped.append((tp, skipped))
        self._arrived = {each.claim.tp for each in batches}
        return batches, failed

    def _verified_batch(self, claim: Claim) -> VerifiedBatch | None:
        """The verified batch of a topic-partition, if there is one; go back in the topic if needed.

        Raises:
            TopicHalted: the topic is not what its owner sealed.
            Unavailable: the broker is away.
        """
        partition = claim.partition
        try:
            batch = claim.next_batch()
        except errors.TopicHalted:
            if claim.is_faultless or claim.start.is_first:
                raise
            self._read_from_first(claim)
            return None
        if partition.rewind is not None:
            self._assignment.rewind(claim.tp, partition.rewind)
            partition.rewind = None
        elif not claim.is_faultless and (batch or partition.is_ended):
            claim.is_faultless = True
            self._halts.end(claim.tp)
        return batch

    def _read_from_first(self, claim: Claim) -> None:
        """Read a topic from its first message: what follows the stored offset does not fit."""
        tp = claim.tp
        _log.info("topic read from its first message", topic=tp.topic, partition=tp.partition)
        claim.partition = self._loaded.partition(tp, claim.partition.frontier)
        claim.start = claim.start.first
        self._assignment.rewind(claim.tp, claim.start.offset)

    def _start_storing(
        self, database: ThreadPoolExecutor, ready: Sequence[ReadyBatches]
    ) -> Future[list[Outcome]] | None:
        """Hand batches to the other thread, if their claims are still valid."""
        valid = [some for each in ready if (some := each.under(self._claims)).claimed]
        if not valid:
            return None
        return database.submit(lambda: [done for each in valid for done in self._store.store(each)])

    def _finish_storing(self, storing: Future[list[Outcome]] | None) -> None:
        """Wait until the batch before is stored, and publish its receipts."""
        stored: list[Stored] = []
        if storing:
            while not wait([storing], timeout=_KEEP_ALIVE_SECONDS).done:
                self._assignment.keep_alive()
            for outcome in storing.result():
                if isinstance(outcome, Stored):
                    claim = outcome.work.claim
                    claim.positions, claim.was_refused = outcome.positions, outcome.was_refused
                    stored.append(outcome)
                elif isinstance(outcome, errors.PositionLost):
                    self._drop_claim(outcome)
                else:
                    _log.warning(
                        "batch not stored; it is read again after the next start", why=str(outcome)
                    )
        # 7. publish receipts, and commit Kafka offsets for tools that show lag
        self._receipts.send(each.receipt for each in stored)
        self._assignment.commit(
            (each.work.claim.tp, each.work.batch.next_offset) for each in stored
        )
        self._mark_published(self._receipts.confirmed())

    def _check_positions(self) -> None:
        """Check now and then that the database still has what it stored."""
        if not self._position_check.is_due(self._claims):
            return
        with self._report.left_for_later("positions not looked at"):
            lost = self._position_check.lost(self._claims)
            self._observer.entered(WorkState.WORKING)  # the database has answered
            for each in lost:
                self._drop_claim(each)

    def _drop_claim(self, lost: errors.PositionLost) -> None:
        """Drop what was read under a claim that no longer holds.

        Another worker has claimed the topic-partition, or the database was restored. If the group
        confirms that it is assigned to this worker, it is claimed again from the stored position.
        """
        tp = TopicPartition(lost.topic, lost.partition)
        if tp not in self._assignment.active:
            return  # the group has revoked it while its batch was being stored
        held = self._claims.pop(tp).positions[lost.projection]
        about = {"projection": lost.projection, "epoch": held.epoch}
        _log.info("topic-partition lost", **tp._asdict(), **about)
        self._assignment.mark_lost(tp)

    def _suspend(self, failed: Mapping[TopicPartition, ReadingError]) -> None:
        """Stop topic-partitions for a while, and record those that are halted. The others go on."""
        for tp, why in failed.items():
            self._claims.pop(tp, None)
            self._assignment.suspend(tp)
            self._observer.failed(why)
            if isinstance(why, errors.Unavailable):
                self._pause(tp, why)
                continue
            self._halts.begin(tp, why)
        with self._report.left_for_later("halt not recorded yet"):
            self._halts.record()

    def _pause(self, tp: TopicPartition, why: errors.Unavailable) -> None:
        """Leave a topic-partition for a while, and try to claim it again after that."""
        paused = {**tp._asdict(), "why": str(why), "next_try_seconds": self._claim_pauses.begin(tp)}
        _log.warning("topic-partition not claimed yet", **paused)

    def _report_skipped(self) -> None:
        """Log what was skipped, once for each cause and topic-partition, and count all of it."""
        for tp, skipped in self._skipped:
            self._skip_report.report(tp, skipped)
            with self._report.left_for_later("skipped messages not counted"):
                self._sink.record_skipped(tp, skipped)
        self._skipped.clear()

    def _reload_agreements(self) -> None:
        """If the agreements have changed, read on under the new ones from the stored positions.

        What was read and decoded under the old ones is dropped with its claim.
        """
        if self._loaded.reload():
            for tp in [*self._claims]:
                del self._claims[tp]
                self._assignment.mark_lost(tp)
            self._halts.pauses.end_all()
            self._claim_pauses.end_all()

    def _claim_assigned(self, stopping: Event) -> None:
        """Claim the topic-partitions that the group has assigned and that are not claimed yet."""
        for tp in self._claims.keys() - self._assignment.active:
            del self._claims[tp]
        for tp in (*self._halts.pauses.over(), *self._claim_pauses.over()):
            self._assignment.resume(tp)
        # Those that could not be claimed before come last, and keep none of the others waiting.
        failed = self._claim_pauses.begun
        ordered = sorted(self._assignment.claimable, key=lambda tp: (tp in failed, tp))
        claimable = ordered[:_MOST_CLAIMS]
        if claimable:
            try:
                self._assignment.look_ups.look_at(claimable)
            except errors.Unavailable as why:
                self._suspend(dict.fromkeys(claimable, why))
            else:
                self._claim_some(claimable, stopping)

    def _claim_some(self, claimable: Sequence[TopicPartition], stopping: Event) -> None:
        """Claim topic-partitions for a short time. The others are claimed after the next poll.

        Who does not poll for `max.poll.interval.ms` is expelled from the group. And what is claimed
        is read while the others still wait.
        """
        end = self._clock.monotonic() + _CLAIM_SECONDS
        for tp, found in claimed(claimable, self._assignment, self._sink, self._loaded):
            self._observer.turned()
            if isinstance(found, Claim):
                self._claims[tp] = found
                self._claim_pauses.forget(tp)
                self._observer.entered(WorkState.WORKING)
            else:
                self._suspend({tp: found})
            # Each claim may wait for brokers that do not answer.
            if stopping.is_set() or self._clock.monotonic() > end:
                break
        self._assignment.fetch()

    def _retry_quarantined(self) -> None:
        """Try a few of the events again that quarantine holds without their bytes."""
        with self._report.left_for_later("quarantined events not read"):
            self._loaded.automatic_retry.retry_some(self._claims.keys())

    def _leave(self) -> None:
        """End in order: publish the last receipts, leave the group, give the connection back."""
        self._mark_published(self._receipts.finish(self._timeouts.stop))
        self._assignment.close()
        self._sink.close()

    def _mark_published(self, receipts: Sequence[Receipt]) -> None:
        with self._report.left_for_later("receipts not marked as published"):
            if receipts:
                self._sink.mark_published(receipts, self._clock.now())
