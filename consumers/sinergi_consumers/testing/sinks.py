"""The requirements for a sink, as tests that every sink must pass.

The test module of a sink derives a class from `SinkContract` and defines the fixtures `open_sink`
and `rows`:

    class TestPostgresql(SinkContract): ...
"""

from __future__ import annotations

import threading
from contextlib import suppress
from itertools import permutations
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
import sqlalchemy as sa

from sinergi_consumers.decode.decoder import DecodedParts, Decoder
from sinergi_consumers.materialise.claim import Claim
from sinergi_consumers.materialise.ready_batches import ClaimedBatch, ReadyBatches
from sinergi_consumers.materialise.store import Store, Stored
from sinergi_consumers.projections.projection import current, history, projection
from sinergi_consumers.reading.partition import Partition
from sinergi_consumers.reading.position import TopicIncarnation
from sinergi_consumers.reading.start import Start
from sinergi_consumers.sinks.protocol import PositionMove, Receipt
from sinergi_consumers.testing.tape import Tape
from sinergi_schemas import errors
from sinergi_schemas.catalog import Catalog
from sinergi_schemas.clock import SYSTEM
from sinergi_schemas.events import Transfer, Unit
from sinergi_schemas.seal.keys import Algorithm, SigningKey
from sinergi_schemas.topics import Topic, TopicPartition

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sinergi_consumers.materialise.store import Outcome
    from sinergi_consumers.projections.projection import Projection
    from sinergi_consumers.reading.partition import VerifiedBatch
    from sinergi_consumers.sinks.protocol import Sink
    from sinergi_consumers.testing.tape import TapeMessage
    from sinergi_schemas.events import Event

BUS = "sinergi.test.example"
TOPIC = Topic("lapas-rekaan", "transfer")
PLACE = TopicIncarnation("cluster", "topic")

_SCHEMA = Catalog.shipped().newest(TOPIC.event_type)
CURRENT, HISTORY = current(_SCHEMA), history(_SCHEMA)


@projection(
    "transfer",
    table=sa.Table(
        "few_escorts",
        sa.MetaData(),
        sa.Column("escort_agency", sa.Text, nullable=False),
        sa.Column("escorts", sa.Integer, sa.CheckConstraint("escorts < 100"), nullable=False),
    ),
)
def FEW_ESCORTS(events: pl.DataFrame) -> pl.DataFrame:  # noqa: N802 - a projection is a constant
    """An integrator's projection: its table refuses 100 escorts, and its code fails on one name."""
    escorts = events.explode("escort").drop_nulls("escort").unnest("escort")
    if escorts.filter(pl.col("escort_agency") == "Meledak").height:
        raise ValueError("an error in an integrator's code")
    return escorts.select("event_id", "escort_agency", pl.col("count").alias("escorts"))


PROJECTIONS: tuple[Projection, ...] = (CURRENT, HISTORY, FEW_ESCORTS)


def transfer(record_id: str, revision: int = 1, **changes: Any) -> Transfer:
    """A transfer with a revision. Its action is RECORDED for revision 1, else CORRECTED."""
    now = SYSTEM.now()
    document = {
        "record_id": record_id,
        "revision": revision,
        "action": "RECORDED" if revision == 1 else "CORRECTED",
        "occurred_at": now,
        "zone": "Asia/Jakarta",
        "purpose": "PRISON_SECURITY",
        "handling": "R",
        "origin": Unit(name="Lapas Rekaan"),
        "destination": Unit(name="Lapas Khusus Rekaan"),
        "departed_at": now,
        "reason": "HEALTH",
        "escort": ({"escort_agency": "Brimob", "count": 3},),
    }
    return Transfer.model_validate(document | changes)


def events_of(work: ReadyBatches) -> pl.DataFrame:
    """All events of a batch in one frame."""
    return pl.concat([each.events for each in work.parts])


class Worker:
    """The part of a materialiser that uses a sink. A test calls it step by step.

    Args:
        sink: under test.
        tape: the partition that it reads.
        projections: the projections of the sink.
        catalog: the schemas that it has; the shipped ones by default.
    """

    def __init__(
        self,
        sink: Sink,
        tape: Tape,
        projections: Sequence[Projection] = PROJECTIONS,
        catalog: Catalog | None = None,
    ) -> None:
        self.sink = sink
        key = SigningKey.generate(f"{BUS}/bnnk-rekaan/main", Algorithm.COSIGNATURE)
        self._store = Store(sink, projections, key, SYSTEM, threading.Event())
        self._decoder = Decoder(catalog or Catalog.shipped(), tape.topic.event_type)
        self.tape = tape
        self.claim = self.claim_partition()

    def claim_partition(self) -> Claim:
        """Claim the partition, again if it is claimed already."""
        tape = self.tape
        tp = TopicPartition(tape.topic.name, tape.number)
        positions = self.sink.claim([tp])[tp]
        least = min((each.frontier for each in positions.values()), key=lambda each: each.size)
        partition = Partition(tape.bus, tape.topic, tape.number, tape.keys, least)
        start = Start(0, 0)
        self.claim = Claim(tp, partition, positions, PLACE, start)
        return self.claim

    def work(self, events: Sequence[Event]) -> ReadyBatches:
        """Write events to the tape, and return the batch that the loop would store."""
        return self.received(self.tape.write(events))

    def received(self, messages: Sequence[TapeMessage]) -> ReadyBatches:
        """The batch of some messages of the tape; a checkpoint must cover the last one."""
        batch = self.claim.partition.receive(messages)
        assert batch is not None
        return self.ready(batch)

    def ready(self, batch: VerifiedBatch) -> ReadyBatches:
        """The decoded batch of verified leaves."""
        parts = DecodedParts(self._decoder, batch)
        return ReadyBatches([ClaimedBatch(self.claim, batch)], parts)

    def store(self, work: ReadyBatches) -> Outcome:
        """Store a batch and update the positions of the claim, as the loop does."""
        (outcome,) = self.store_together(work)
        return outcome

    def store_together(self, work: ReadyBatches) -> Sequence[Outcome]:
        """Store batches of any topic-partitions in one transaction."""
        outcomes = self._store.store(work)
        for each in outcomes:
            if isinstance(each, Stored):
                claim = each.work.claim
                claim.positions, claim.was_refused = each.positions, each.was_refused
        return outcomes


class SinkContract:
    """The tests that every sink must pass."""

    @pytest.fixture
    def open_sink(self) -> Callable[[], Sink]:
        """A function that opens the sink with `PROJECTIONS`, each time on a new connection."""
        raise NotImplementedError

    @pytest.fixture
    def rows(self) -> Callable[[str], list[tuple[Any, ...]]]:
        """A function that runs an SQL query on the sink's database and returns the rows."""
        raise NotImplementedError

    @pytest.fixture
    def tape(self) -> Tape:
        """The partition that is read."""
        return Tape(BUS, TOPIC)

    @pytest.fixture
    def worker(self, open_sink: Callable[[], Sink], tape: Tape) -> Worker:
        """A worker that has claimed the partition."""
        return Worker(open_sink(), tape)

    def test_rows_and_position_appear_together(self, worker: Worker, rows: Any) -> None:
        """After a batch the database has both, and a receipt."""
        assert isinstance(worker.store(worker.work([transfer("P/1"), transfer("P/2")])), Stored)
        assert rows("SELECT record_id FROM sinergi.transfer ORDER BY 1") == [("P/1",), ("P/2",)]
        assert rows("SELECT DISTINCT tree_size FROM sinergi_consumer.position") == [(2,)]
        assert rows("SELECT size FROM sinergi_consumer.receipt") == [(2,)]
        assert rows("SELECT size FROM sinergi_consumer.checkpoint") == [(2,)]

    def test_a_transaction_that_raises_leaves_nothing(self, worker: Worker, rows: Any) -> None:
        """Neither its rows nor its position are visible."""
        work = worker.work([transfer("P/1")])
        position = worker.claim.positions[CURRENT.name]
        with suppress(ZeroDivisionError), worker.sink.transaction() as transaction:
            transaction.advance(
                [PositionMove(CURRENT.name, position, work.claimed[0].batch, PLACE)]
            )
            transaction.merge(CURRENT, CURRENT.rows(events_of(work)))
            raise ZeroDivisionError
        assert rows("SELECT * FROM sinergi.transfer") == []
        assert rows("SELECT max(tree_size) FROM sinergi_consumer.position") == [(0,)]

    def test_a_worker_whose_partition_was_claimed_by_another_writes_nothing(
        self, worker: Worker, open_sink: Any, tape: Tape, rows: Any
    ) -> None:
        """The epoch of the later claim protects the rows."""
        work = worker.work([transfer("P/1")])
        Worker(open_sink(), tape)
        assert isinstance(worker.store(work), errors.PositionLost)
        assert rows("SELECT * FROM sinergi.transfer") == []

    def test_the_same_batch_twice_is_stored_once(self, worker: Worker, rows: Any) -> None:
        """Even if the response to the first commit was lost and the claim has the old positions."""
        work = worker.work([transfer("P/1")])
        before = dict(worker.claim.positions)
        worker.store(work)
        worker.claim.positions = before
        assert isinstance(worker.store(work), errors.PositionLost)
        assert rows("SELECT count(*) FROM sinergi.transfer_history") == [(1,)]

    def test_a_later_claim_continues_after_the_last_committed_leaf(
        self, worker: Worker, open_sink: Any, tape: Tape, rows: Any
    ) -> None:
        """Tree, offset and topic incarnation are those of the last commit."""
        worker.store(worker.work([transfer("P/1"), transfer("P/2")]))
        successor = Worker(open_sink(), tape)
        position = successor.claim.positions[HISTORY.name]
        assert (position.frontier.size, position.offset_at(PLACE)) == (2, 2)
        assert position.offset_at(TopicIncarnation("cluster", "recreated topic")) is None
        assert isinstance(successor.store(successor.work([transfer("P/3")])), Stored)
        assert rows("SELECT count(*) FROM sinergi.transfer") == [(3,)]

    def test_the_highest_revision_wins_in_every_order_of_arrival(
        self, worker: Worker, rows: Any
    ) -> None:
        """Every order of three revisions, in one batch and in three."""
        for number, order in enumerate(permutations((1, 2, 3))):
            whole = [self._revision(f"whole/{number}", revision) for revision in order]
            worker.store(worker.work(whole))
            for revision in order:
                worker.store(worker.work([self._revision(f"single/{number}", revision)]))
        assert rows("SELECT DISTINCT revision, movement_id FROM sinergi.transfer") == [(3, "m3")]
        assert rows("SELECT count(*) FROM sinergi.transfer") == [(12,)]
        assert rows("SELECT DISTINCT escort_agency FROM sinergi.transfer_escort") == [("e3",)]
        assert rows("SELECT count(*) FROM sinergi.transfer_escort") == [(12,)]
        assert rows("SELECT count(*) FROM sinergi.transfer_history") == [(36,)]
        assert rows("SELECT count(*) FROM sinergi.transfer_history_escort") == [(36,)]
        assert rows("SELECT count(*) FROM sinergi_consumer.quarantine") == [(0,)]

    def test_a_revision_without_rows_still_wins(self, worker: Worker, rows: Any) -> None:
        """The rows of the earlier revision are deleted."""
        worker.store(worker.work([transfer("P/1")]))
        assert rows("SELECT escorts FROM sinergi.few_escorts") == [(3,)]
        worker.store(worker.work([transfer("P/1", 2, escort=())]))
        assert rows("SELECT escorts FROM sinergi.few_escorts") == []
        worker.store(worker.work([transfer("P/1", 3), transfer("P/2", 1, escort=())]))
        assert rows("SELECT record_id FROM sinergi.few_escorts") == [("P/1",)]

    def test_a_retracted_record_stays_with_action_retracted(
        self, worker: Worker, rows: Any
    ) -> None:
        """Its row is not deleted, because agencies may have acted on it."""
        worker.store(worker.work([transfer("P/1"), transfer("P/1", 2, action="RETRACTED")]))
        assert rows("SELECT record_id, action FROM sinergi.transfer") == [("P/1", "RETRACTED")]

    def test_of_two_events_with_one_revision_the_first_leaf_wins(
        self, worker: Worker, rows: Any
    ) -> None:
        """The second one goes to quarantine as a revision conflict, in one batch and in two."""
        first, second, third = transfer("P/1"), transfer("P/1"), transfer("P/1")
        worker.store(worker.work([first, second]))
        worker.store(worker.work([third]))
        assert rows("SELECT event_id FROM sinergi.transfer_history") == [(first.event_id,)]
        assert rows(
            "SELECT leaf_index, reason FROM sinergi_consumer.quarantine"
            " WHERE projection = 'transfer_history' ORDER BY 1"
        ) == [(1, "revision-conflict"), (2, "revision-conflict")]

    def test_only_the_event_of_a_refused_row_is_quarantined(
        self, worker: Worker, rows: Any
    ) -> None:
        """The other events are stored, and the event itself in the other projections."""
        events = [transfer(f"P/{number}") for number in range(20)]
        events[7] = transfer("P/7", escort=({"escort_agency": "Brimob", "count": 100},))
        worker.store(worker.work(events))
        assert rows("SELECT count(*) FROM sinergi.few_escorts") == [(19,)]
        assert rows("SELECT count(*) FROM sinergi.transfer") == [(20,)]
        assert rows("SELECT projection, leaf_index, reason FROM sinergi_consumer.quarantine") == [
            ("few_escorts", 7, "rows-refused")
        ]

    def test_only_the_event_on_which_a_projection_fails_is_quarantined(
        self, worker: Worker, rows: Any
    ) -> None:
        """The tables of other projections have the event."""
        events = [transfer(f"P/{number}") for number in range(20)]
        events[7] = transfer("P/7", escort=({"escort_agency": "Meledak", "count": 1},))
        worker.store(worker.work(events))
        assert rows("SELECT count(*) FROM sinergi.few_escorts") == [(19,)]
        assert rows("SELECT projection, leaf_index, reason FROM sinergi_consumer.quarantine") == [
            ("few_escorts", 7, "projection-failed")
        ]

    def test_a_datum_that_does_not_decode_is_quarantined_for_every_projection(
        self, worker: Worker, tape: Tape, rows: Any
    ) -> None:
        """It is sealed, so the position moves past it."""
        good = transfer("P/1")
        batch = worker.claim.partition.receive(
            [
                *tape.write_datums([(good.event_id, "P/0", b"\x00\x01")]),
                *tape.write([good]),
            ]
        )
        assert batch is not None
        worker.store(worker.ready(batch))
        assert rows("SELECT record_id FROM sinergi.transfer") == [("P/1",)]
        assert rows(
            "SELECT count(*), max(reason), max(leaf_index) FROM sinergi_consumer.quarantine"
        ) == [(len(PROJECTIONS), "datum-invalid", 0)]

    def test_receipts_stay_unpublished_until_they_are_marked(self, worker: Worker) -> None:
        """Only the newest one of a partition is published; marking it also marks the older ones."""
        worker.store(worker.work([transfer("P/1")]))
        worker.store(worker.work([transfer("P/2")]))
        (receipt,) = worker.sink.unpublished_receipts()
        assert receipt.size == 2
        worker.sink.mark_published([receipt], SYSTEM.now())
        assert worker.sink.unpublished_receipts() == []

    def test_a_receipt_of_a_smaller_tree_than_an_earlier_one_is_not_stored(
        self, worker: Worker, rows: Any
    ) -> None:
        """A topic that is read again for a new projection has been in the database since before."""
        worker.store(worker.work([transfer("P/1"), transfer("P/2")]))
        ((note, signed_at),) = rows("SELECT note, signed_at FROM sinergi_consumer.receipt")
        with worker.sink.transaction() as transaction:
            topic, number = worker.claim.tp
            for size in (1, 2):
                receipt = Receipt(topic, number, size, note, SYSTEM.now())
                transaction.store_receipts([receipt])
        assert rows("SELECT size, signed_at FROM sinergi_consumer.receipt") == [(2, signed_at)]

    def test_unusual_text_is_stored_unchanged(self, worker: Worker, rows: Any) -> None:
        """Quotes, commas, backslashes, and text like COPY's end-of-data and NULL markers."""
        odd = ['"', ",", "\\", "\\.", "\\N", "a,b\"c'd", "NULL", "é\N{PILE OF POO}", "  x  "]
        for number, text in enumerate(odd):
            worker.store(worker.work([transfer(f"P/{number}", movement_id=text)]))
        found = rows("SELECT movement_id FROM sinergi.transfer ORDER BY leaf_index")
        assert [text for (text,) in found] == odd

    @staticmethod
    def _revision(record_id: str, revision: int) -> Transfer:
        return transfer(
            record_id,
            revision,
            movement_id=f"m{revision}",
            escort=({"escort_agency": f"e{revision}", "count": revision},),
        )
