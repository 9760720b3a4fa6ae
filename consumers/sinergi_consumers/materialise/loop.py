"""The materialiser: from the topics of other agencies to the tables of this one, exactly once.

One loop, one database transaction a batch. Position, rows, quarantine and receipt become visible
together or not at all, so that a crash anywhere leaves a state from which the next start goes on.
While the database works on a batch (steps 4 to 6, on a thread of its own, in `store`), the next
one is polled, verified and decoded.

    1. poll a batch
    2. verify it, cut at the last checkpoint
    3. decode it to frames
    4. advance the positions, if they are still ours
    5. merge rows; write quarantine rows and the receipt
    6. commit
    7. publish receipts, and commit Kafka offsets for the lag tools only
"""

from __future__ import annotations

import gc
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

import structlog

from sinergi_consumers.decode.decoder import DecodedParts
from sinergi_consumers.materialise.loaded_agreements import LoadedAgreements
from sinergi_consumers.materialise.pauses import Pauses
from sinergi_consumers.materialise.position_check import PositionCheck
from sinergi_consumers.materialise.store import Claim, ReadyBatch, Stored
from sinergi_schemas import errors
from sinergi_schemas.garbage import collect_rarely, leave_loaded_objects
from sinergi_schemas.topics import TopicPartition

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from threading import Event

    from sinergi_consumers.bus import Bus
    from sinergi_consumers.materialise.assignment import Assignment
    from sinergi_consumers.materialise.receipts import Receipts
    from sinergi_consumers.materialise.store import Store
    from sinergi_consumers.reading.partition import VerifiedBatch
    from sinergi_consumers.sinks.protocol import Receipt
    from sinergi_schemas.clock import Clock

_log = structlog.get_logger(__name__)

_PATIENCE_SECONDS = 20.0
_PARTING_SECONDS = 10.0
_PAUSE_SECONDS = 1.0
_MOST_UNCLAIMED_SECONDS = 10.0

Obstacle = errors.TopicHalted | errors.Unavailable
Outcome = Stored | errors.PositionLost | errors.Unavailable


class Materialiser:
    """One worker of a database. The group divides the topic-partitions among any number of them."""

    def __init__(
        self,
        assignment: Assignment,
        store: Store,
        receipts: Receipts,
        bus: Bus,
        clock: Clock,
    ) -> None:
        self._assignment = assignment
        self._store = store
        self._sink = store.sink
        self._receipts = receipts
        self._clock = clock
        self._claims: dict[TopicPartition, Claim] = {}
        self._loaded = LoadedAgreements(bus, store, clock)
        self._halts = Pauses(clock)
        self._unclaimed = Pauses(clock, _MOST_UNCLAIMED_SECONDS)
        self._logged: set[tuple[TopicPartition, str]] = set()
        self._unrecorded: dict[TopicPartition, tuple[errors.TopicHalted, float]] = {}
        self._position_check = PositionCheck(store.sink, clock)

    def run(self, stopping: Event) -> None:
        """Materialise until `stopping` is set; then finish what the database has in hand.

        Raises:
            TablesMissing: the database was not prepared for this version.
            DatabaseBroken: it refuses the work itself.
            BrokerTooOld, KafkaSettingsRefused: the client cannot work with this broker.
        """
        leave_loaded_objects()
        collect_rarely()
        try:
            self._begin(stopping)
            with ThreadPoolExecutor(1, "database") as database:
                storing: Future[list[Outcome]] | None = None
                while not stopping.is_set():
                    gone = self._take()  # 1 and 2, part by part
                    self._find_again(gone)
                    batches, broken = self._cut()
                    ready = [self._decode(*each) for each in batches]  # 3
                    self._settle(storing)  # the outcome of 4–6 for the batch before, and its 7
                    self._halt(broken)
                    self._report()
                    self._reload()
                    self._check_positions()
                    self._claim()
                    self._look_again()
                    storing = self._hand_over(database, ready)  # 4–6
                    if storing:
                        gc.collect()
                self._settle(storing)
        finally:
            self._part()

    def _begin(self, stopping: Event) -> None:
        """See that the database is prepared, waiting for it if need be, and join the group."""
        while not stopping.is_set():
            try:
                self._sink.check()
                self._receipts.send(self._sink.unpublished())
                self._look_at_topics()
            except errors.Unavailable as why:
                _log.warning("not started yet", why=str(why))
                stopping.wait(_PAUSE_SECONDS)
            else:
                self._assignment.subscribe()
                return

    def _look_at_topics(self) -> None:
        """Say which topics are not there; they are read as soon as they are."""
        try:
            for each in self._assignment.missing_topics():
                _log.warning("topic not there yet", topic=each, mend="sinergi provision apply")
        except errors.NotPermitted as why:
            _log.warning("topics not looked at", why=str(why))

    def _take(self) -> set[TopicPartition]:
        """Poll and verify; the topic-partitions whose next message the broker no longer has."""
        gone: set[TopicPartition] = set()
        for arrival in self._assignment.poll():
            for tp, messages in arrival.messages.items():
                self._claims[tp].partition.take(messages)
            for batch in arrival.unreadable:
                self._claims[batch.tp].partition.noise.add(batch.cause, batch.offset)
            for tp in arrival.ended:
                self._claims[tp].partition.end()
            gone |= arrival.out_of_range
        return gone

    def _find_again(self, gone: set[TopicPartition]) -> None:
        """Claim topic-partitions anew whose offset is gone: their next leaf may lie elsewhere."""
        for tp in gone & self._ours().keys():
            del self._claims[tp]
            self._assignment.unclaim(tp)

    def _cut(
        self,
    ) -> tuple[list[tuple[Claim, VerifiedBatch]], dict[TopicPartition, Obstacle]]:
        """The batches that stand under a checkpoint, and the topic-partitions that do not hold.

        What is broken behind a batch shows in the next round, when the batch is stored.
        """
        broken: dict[TopicPartition, Obstacle] = {}
        batches: list[tuple[Claim, VerifiedBatch]] = []
        for tp, claim in self._ours().items():
            try:
                batch = self._judge(claim)
            except (errors.TopicHalted, errors.Unavailable) as why:
                broken[tp] = why
            else:
                if batch:
                    batches.append((claim, batch))
        return batches, broken

    def _judge(self, claim: Claim) -> VerifiedBatch | None:
        """The verified batch of a topic-partition; reading it again is begun where that is due.

        Raises:
            Broken: the topic is not what its owner sealed.
            Unavailable: the broker is away.
        """
        partition = claim.partition
        try:
            batch = claim.cut()
        except errors.TopicHalted:
            if claim.is_sound or claim.start.is_first:
                raise
            self._read_from_first(claim)
            return None
        if partition.rewind is not None:
            self._assignment.rewind(claim.tp, partition.rewind)
            partition.rewind = None
        elif not claim.is_sound and (batch or partition.is_ended):
            self._is_sound(claim)
        return batch

    def _read_from_first(self, claim: Claim) -> None:
        """What lies behind the place from which a topic-partition is read does not bear it out."""
        tp = claim.tp
        _log.info("topic read from its first message", topic=tp.topic, partition=tp.partition)
        claim.partition = self._loaded.partition(tp, claim.partition.frontier)
        claim.start = claim.start.first
        self._assignment.rewind(claim.tp, claim.start.offset)

    def _is_sound(self, claim: Claim) -> None:
        """A topic-partition was read on, or to its end, without an objection."""
        with self._unhurried("topic-partition not recorded as sound yet"):
            self._sink.sound(claim.tp)
            claim.is_sound = True
            self._halts.forget(claim.tp)

    def _ours(self) -> dict[TopicPartition, Claim]:
        """The claims whose topic-partitions flow."""
        flowing = self._assignment.active
        return {tp: claim for tp, claim in self._claims.items() if tp in flowing}

    def _decode(self, claim: Claim, batch: VerifiedBatch) -> ReadyBatch:
        decoder = self._loaded.decoders.of(batch.topic.event_type)
        return ReadyBatch(claim, batch, DecodedParts(decoder, batch))

    def _hand_over(
        self, database: ThreadPoolExecutor, ready: Sequence[ReadyBatch]
    ) -> Future[list[Outcome]] | None:
        """Give the database what is still ours: a claim may have gone since it was read."""
        ours = [each for each in ready if self._claims.get(each.claim.tp) is each.claim]
        if not ours:
            return None
        return database.submit(lambda: [self._store.store(each) for each in ours])

    def _settle(self, storing: Future[list[Outcome]] | None) -> None:
        """Wait for the database to end the batch before, and draw the consequences."""
        stored: list[Stored] = []
        if storing:
            while not wait([storing], timeout=_PATIENCE_SECONDS).done:
                self._assignment.keep_alive()
            for outcome in storing.result():
                if isinstance(outcome, Stored):
                    outcome.work.claim.positions = outcome.positions
                    stored.append(outcome)
                elif isinstance(outcome, errors.PositionLost):
                    self._drop(outcome)
                else:
                    _log.warning("left for the next start", why=str(outcome))
        # 7. publish receipts, and commit Kafka offsets for the lag tools only
        self._receipts.send(each.receipt for each in stored)
        self._assignment.commit(
            (each.work.claim.tp, each.work.batch.next_offset) for each in stored
        )
        self._mark_published(self._receipts.confirmed())

    def _check_positions(self) -> None:
        """See now and then that the database has kept what is stored, though nothing arrives."""
        with self._unhurried("positions not looked at"):
            for each in self._position_check.lost(self._claims):
                self._drop(each)

    def _drop(self, lost: errors.PositionLost) -> None:
        """Drop what was read under a claim that another worker, or a restored database, has ended.

        If the group confirms that it is ours it is `waiting` then, and claimed again from the row.
        """
        tp = TopicPartition(lost.topic, lost.partition)
        if tp not in self._assignment.active:
            return  # the group has given it away while the database had its batch
        held = self._claims.pop(tp).positions[lost.projection]
        _log.info(
            "topic-partition lost",
            topic=lost.topic,
            partition=lost.partition,
            projection=lost.projection,
            epoch=held.epoch,
        )
        self._assignment.mark_lost(tp)

    def _halt(self, broken: Mapping[TopicPartition, Obstacle]) -> None:
        """Stop the topic-partitions that do not hold, loudly, for a while; the others go on."""
        for tp, why in broken.items():
            self._claims.pop(tp, None)
            self._assignment.halt(tp)
            if isinstance(why, errors.Unavailable):
                self._pause(tp, why)
                continue
            seconds = self._halts.begin(tp)
            _log.error(
                "topic-partition halted",
                topic=tp.topic,
                partition=tp.partition,
                why=str(why),
                next_look_seconds=seconds,
            )
            self._unrecorded[tp] = why, seconds
        with self._unhurried("halt not recorded yet"):
            for tp, (why, seconds) in list(self._unrecorded.items()):
                looks_at = self._clock.now() + timedelta(seconds=seconds)
                self._sink.halt(tp, why, looks_at)
                del self._unrecorded[tp]

    def _pause(self, tp: TopicPartition, why: errors.SinergiError) -> None:
        """Leave a topic-partition that cannot be claimed now alone for a while."""
        seconds = self._unclaimed.begin(tp)
        _log.warning(
            "topic-partition not claimed yet",
            topic=tp.topic,
            partition=tp.partition,
            why=str(why),
            next_try_seconds=seconds,
        )
        self._assignment.halt(tp)

    def _report(self) -> None:
        """Log and count what was skipped, once for each cause and topic-partition."""
        for tp, claim in self._claims.items():
            skipped = claim.partition.noise.drain()
            for each in skipped:
                if (tp, each.cause) not in self._logged:
                    self._logged.add((tp, each.cause))
                    _log.warning(
                        "messages skipped",
                        topic=tp.topic,
                        partition=tp.partition,
                        why=each.cause,
                        offset=each.first,
                        messages=each.count,
                    )
            if skipped:
                with self._unhurried("skipped messages not counted"):
                    self._sink.skipped(tp, skipped)

    def _reload(self) -> None:
        """Where other agreements hold by now, read on from the database's positions under them.

        What was decoded of a topic-partition under those before is dropped with its claim.
        """
        if self._loaded.reload():
            for tp in [*self._claims]:
                del self._claims[tp]
                self._assignment.mark_lost(tp)
            self._halts.end()
            self._unclaimed.end()

    def _claim(self) -> None:
        """Claim the topic-partitions that the group has assigned and that are not claimed yet."""
        for tp in self._claims.keys() - self._assignment.active:
            del self._claims[tp]
        for tp in (*self._halts.over(), *self._unclaimed.over()):
            self._assignment.release(tp)
        for tp in sorted(self._assignment.claimable):
            try:
                self._claims[tp] = self._claim_one(tp)
                self._unclaimed.forget(tp)
            except errors.TopicHalted as why:
                self._halt({tp: why})
            except errors.Unavailable as why:
                self._pause(tp, why)

    def _claim_one(self, tp: TopicPartition) -> Claim:
        place = self._assignment.incarnation(tp)
        positions = self._sink.claim(tp)
        # An upgrade of this program is a new claim, so that what waited for a schema comes in now.
        self._loaded.awaiting.upgrade(tp)
        least = min(positions.values(), key=lambda each: each.frontier.size)
        partition = self._loaded.partition(tp, least.frontier)
        start = self._assignment.start(tp, least, place)
        _log.info(
            "topic-partition claimed",
            topic=tp.topic,
            partition=tp.partition,
            leaf=least.frontier.size,
        )
        return Claim(tp, partition, positions, place, start)

    def _look_again(self) -> None:
        """Try again a little of what quarantine holds without its bytes."""
        with self._unhurried("quarantined events not read"):
            self._loaded.awaiting.look(self._claims)

    def _part(self) -> None:
        """Leave in order: receipts out, the group told, the connection given back."""
        self._mark_published(self._receipts.finish(_PARTING_SECONDS))
        self._assignment.close()
        self._sink.close()

    def _mark_published(self, receipts: Sequence[Receipt]) -> None:
        with self._unhurried("receipts not marked as published"):
            if receipts:
                self._sink.published(receipts, self._clock.now())

    @contextmanager
    def _unhurried(self, what: str) -> Iterator[None]:
        """For work that the next round does again: a service that is away is only spoken of.

        So is a right that the broker does not give: it concerns one topic and not the others.
        """
        try:
            yield
        except errors.Unavailable as why:
            _log.warning(what, why=str(why))
