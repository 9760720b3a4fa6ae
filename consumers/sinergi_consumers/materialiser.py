"""The materialiser: from the topics of other agencies to the tables of this one, exactly once.

One loop, one database transaction a batch. Position, rows, quarantine and receipt become visible
together or not at all, so that a crash anywhere leaves a state from which the next start goes on.
While the database works on a batch (steps 4 to 6, on a thread of its own, in `storing`), the next
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

from sinergi_consumers.decoding import Parts
from sinergi_consumers.loaded import Loaded
from sinergi_consumers.pauses import Pauses
from sinergi_consumers.position_check import PositionCheck
from sinergi_consumers.storing import Claim, Stored, Work
from sinergi_schemas import errors
from sinergi_schemas.topics import Topic

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from threading import Event

    from sinergi_consumers.assignment import Assignment, Share
    from sinergi_consumers.bus import Bus
    from sinergi_consumers.partition import Batch
    from sinergi_consumers.receipts import Receipt, Receipts
    from sinergi_consumers.storing import Store
    from sinergi_schemas.clock import Clock

_log = structlog.get_logger(__name__)

_MADE_BEFORE_COLLECTION = 50_000
_PATIENCE_SECONDS = 20.0
_PARTING_SECONDS = 10.0
_PAUSE_SECONDS = 1.0
_MOST_UNCLAIMED_SECONDS = 10.0

Outcome = Stored | errors.PositionLost | errors.Unavailable


class Materialiser:
    """One worker of a database. Any number may run; the group divides the shares among them."""

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
        self._claims: dict[Share, Claim] = {}
        self._loaded = Loaded(bus, store, clock)
        self._halts = Pauses(clock)
        self._unclaimed = Pauses(clock, _MOST_UNCLAIMED_SECONDS)
        self._logged: set[tuple[Share, str]] = set()
        self._unrecorded: dict[Share, tuple[errors.Broken, float]] = {}
        self._position_check = PositionCheck(store.sink, clock)

    def run(self, stopping: Event) -> None:
        """Materialise until `stopping` is set; then finish what the database has in hand.

        Raises:
            TablesMissing: the database was not prepared for this version.
            DatabaseBroken: it refuses the work itself.
        """
        # What is loaded by now stays; the garbage collector would walk through it at every batch.
        # Messages are in no cycle; to look for one behind every 700 takes a fifth of the time. What
        # is in one, as an error with what was in hand when it arose, goes after each batch.
        gc.freeze()
        gc.set_threshold(_MADE_BEFORE_COLLECTION)
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
            for each in self._assignment.absent():
                _log.warning("topic not there yet", topic=each, mend="sinergi provision apply")
        except errors.NotPermitted as why:
            _log.warning("topics not looked at", why=str(why))

    def _take(self) -> set[Share]:
        """Poll, and verify what comes; the shares whose next message the broker no longer has."""
        gone: set[Share] = set()
        for arrival in self._assignment.poll():
            for share, messages in arrival.messages.items():
                self._claims[share].partition.take(messages)
            for share, each in arrival.unreadable:
                self._claims[share].partition.noise.add(each.cause, each.offset)
            for share in arrival.ended:
                self._claims[share].partition.end()
            gone |= arrival.gone
        return gone

    def _find_again(self, gone: set[Share]) -> None:
        """Claim shares anew whose offset the broker has no more: their leaf may lie elsewhere."""
        for share in gone & self._ours().keys():
            del self._claims[share]
            self._assignment.let_go(share)

    def _cut(
        self,
    ) -> tuple[list[tuple[Claim, Batch]], dict[Share, errors.Broken | errors.Unavailable]]:
        """The batches that stand under a checkpoint, and the shares that do not hold.

        What is broken behind a batch shows in the next round, when the batch is stored.
        """
        broken: dict[Share, errors.Broken | errors.Unavailable] = {}
        batches: list[tuple[Claim, Batch]] = []
        for share, claim in self._ours().items():
            try:
                batch = self._judge(claim)
            except (errors.Broken, errors.Unavailable) as why:
                broken[share] = why
            else:
                if batch:
                    batches.append((claim, batch))
        return batches, broken

    def _judge(self, claim: Claim) -> Batch | None:
        """What of a share is verified by now; where it is to be read again, that is begun.

        Raises:
            Broken: the topic is not what its owner sealed.
            Unavailable: the broker is away.
        """
        partition = claim.partition
        try:
            batch = claim.cut()
        except errors.Broken:
            if claim.is_sound or claim.start.is_first:
                raise
            self._read_from_first(claim)
            return None
        if partition.rewind is not None:
            self._assignment.go_back(claim.share, partition.rewind)
            partition.rewind = None
        elif not claim.is_sound and (batch or partition.is_ended):
            self._is_sound(claim)
        return batch

    def _read_from_first(self, claim: Claim) -> None:
        """What lies behind the place from which a share is read does not bear it out."""
        topic, number = claim.share
        _log.info("topic read from its first message", topic=topic.name, partition=number)
        claim.partition = self._loaded.partition(topic, number, claim.partition.frontier)
        claim.start = claim.start.first
        self._assignment.go_back(claim.share, claim.start.offset)

    def _is_sound(self, claim: Claim) -> None:
        """A share was read on, or to its end, without an objection."""
        with self._unhurried("share not recorded as sound yet"):
            self._sink.sound(*claim.share)
            claim.is_sound = True
            self._halts.forget(claim.share)

    def _ours(self) -> dict[Share, Claim]:
        """The claims whose shares flow."""
        flowing = self._assignment.flowing
        return {share: claim for share, claim in self._claims.items() if share in flowing}

    def _decode(self, claim: Claim, batch: Batch) -> Work:
        return Work(claim, batch, Parts(self._loaded.decoders.of(batch.topic.event_type), batch))

    def _hand_over(
        self, database: ThreadPoolExecutor, ready: Sequence[Work]
    ) -> Future[list[Outcome]] | None:
        """Give the database what is still ours: a claim may have gone since it was read."""
        ours = [each for each in ready if self._claims.get(each.claim.share) is each.claim]
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
            (each.work.claim.share, each.work.batch.next_offset) for each in stored
        )
        self._mark_published(self._receipts.arrived())

    def _check_positions(self) -> None:
        """See now and then that the database has kept what is stored, though nothing arrives."""
        with self._unhurried("positions not looked at"):
            for each in self._position_check.lost(self._claims):
                self._drop(each)

    def _drop(self, lost: errors.PositionLost) -> None:
        """Another worker has claimed the share, or its rows went back: what is in hand is void.

        If the group confirms that it is ours it is `waiting` then, and claimed again from the row.
        """
        share = Topic.parse(lost.topic), lost.partition
        if share not in self._assignment.flowing:
            return  # the group has given it away while the database had its batch
        held = self._claims.pop(share).positions[lost.projection]
        _log.info(
            "share lost",
            topic=lost.topic,
            partition=lost.partition,
            projection=lost.projection,
            epoch=held.epoch,
        )
        self._assignment.lose(share)

    def _halt(self, broken: Mapping[Share, errors.Broken | errors.Unavailable]) -> None:
        """Stop the shares that do not hold, loudly, for a while; the others go on."""
        for share, why in broken.items():
            topic, number = share
            self._claims.pop(share, None)
            self._assignment.halt(share)
            if isinstance(why, errors.Unavailable):
                self._pause(share, why)
                continue
            seconds = self._halts.begin(share)
            _log.error(
                "share halted",
                topic=topic.name,
                partition=number,
                why=str(why),
                next_look_seconds=seconds,
            )
            self._unrecorded[share] = why, seconds
        with self._unhurried("halt not recorded yet"):
            for share, (why, seconds) in list(self._unrecorded.items()):
                looks_at = self._clock.now() + timedelta(seconds=seconds)
                self._sink.halt(*share, why, looks_at)
                del self._unrecorded[share]

    def _pause(self, share: Share, why: errors.SinergiError) -> None:
        """Leave a share that cannot be claimed now alone for a while."""
        topic, number = share
        seconds = self._unclaimed.begin(share)
        _log.warning(
            "share not claimed yet",
            topic=topic.name,
            partition=number,
            why=str(why),
            next_try_seconds=seconds,
        )
        self._assignment.halt(share)

    def _report(self) -> None:
        """Log what was skipped, once for each cause and share, and keep its count for people."""
        for share, claim in self._claims.items():
            topic, number = share
            skipped = claim.partition.noise.drain()
            for each in skipped:
                if (share, each.cause) not in self._logged:
                    self._logged.add((share, each.cause))
                    _log.warning(
                        "messages skipped",
                        topic=topic.name,
                        partition=number,
                        why=each.cause,
                        offset=each.first,
                        messages=each.count,
                    )
            if skipped:
                with self._unhurried("skipped messages not counted"):
                    self._sink.skipped(topic, number, skipped)

    def _reload(self) -> None:
        """Where other agreements hold by now, read on from the database's positions under them.

        What was decoded of a share under those before is dropped with its claim.
        """
        if self._loaded.reload():
            for share in [*self._claims]:
                del self._claims[share]
                self._assignment.lose(share)
            self._halts.end()
            self._unclaimed.end()

    def _claim(self) -> None:
        """Claim the shares that the group has given us and the database does not know of yet."""
        for share in self._claims.keys() - self._assignment.flowing:
            del self._claims[share]
        for share in (*self._halts.over(), *self._unclaimed.over()):
            self._assignment.release(share)
        for share in sorted(self._assignment.waiting):
            try:
                self._claims[share] = self._claim_one(share)
                self._unclaimed.forget(share)
            except errors.Broken as why:
                self._halt({share: why})
            except (errors.Unavailable, errors.NotPermitted) as why:
                self._pause(share, why)

    def _claim_one(self, share: Share) -> Claim:
        topic, number = share
        place = self._assignment.place(share)
        positions = self._sink.claim(topic, number)
        # An upgrade of this program is a new claim, so that what waited for a schema comes in now.
        self._loaded.awaiting.upgrade(topic, number)
        least = min(positions.values(), key=lambda each: each.frontier.size)
        partition = self._loaded.partition(topic, number, least.frontier)
        start = self._assignment.flow(share, least, place)
        _log.info("share claimed", topic=topic.name, partition=number, leaf=least.frontier.size)
        return Claim(share, partition, positions, place, start)

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
        except (errors.Unavailable, errors.NotPermitted) as why:
            _log.warning(what, why=str(why))
