"""What every sink does with batches of several topic-partitions in one transaction, as tests.

The test module of a sink derives a class from `StoredTogetherContract` beside `SinkContract`, with
the same fixtures.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from sinergi_consumers.decode.decoder import DecodedParts, Decoder
from sinergi_consumers.materialise.ready_batches import ReadyBatches
from sinergi_consumers.materialise.store import Stored
from sinergi_consumers.testing.sinks import BUS, TOPIC, Worker, transfer
from sinergi_consumers.testing.tape import Tape
from sinergi_schemas import errors
from sinergi_schemas.catalog import Catalog
from sinergi_schemas.topics import Topic

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sinergi_consumers.materialise.store import Outcome
    from sinergi_consumers.sinks.protocol import Sink
    from sinergi_schemas.events import Event

PLACES = ((TOPIC, 0), (TOPIC, 1), (Topic("lapas-kedua", "transfer"), 0))
TOO_MANY = ({"escort_agency": "Brimob", "count": 100},)
FAILING = ({"escort_agency": "Meledak", "count": 1},)


class PlacedWorkers:
    """Workers of one sink, each with a topic-partition of its own."""

    def __init__(self, sink: Sink, places: Sequence[tuple[Topic, int]] = PLACES) -> None:
        self.each = [Worker(sink, Tape(BUS, topic, number)) for topic, number in places]
        self._decoder = Decoder(Catalog.shipped(), TOPIC.event_type)

    def work(self, *lots: Sequence[Event]) -> ReadyBatches:
        """A batch of each topic-partition that has events, decoded together."""
        pairs = zip(self.each, lots, strict=True)
        works = [worker.work(events) for worker, events in pairs if events]
        claimed = [each for work in works for each in work.claimed]
        return ReadyBatches(claimed, DecodedParts(self._decoder, *(each.batch for each in claimed)))

    def store(self, work: ReadyBatches) -> Sequence[Outcome]:
        """Store batches in one transaction."""
        return self.each[0].store_together(work)


class StoredTogetherContract:
    """The tests that every sink must pass."""

    @pytest.fixture
    def workers(self, open_sink: Callable[[], Sink]) -> PlacedWorkers:
        """Workers of two partitions of one topic, and of one of another."""
        return PlacedWorkers(open_sink())

    def test_each_topic_partition_has_its_position_rows_and_receipt(
        self, workers: PlacedWorkers, rows: Any
    ) -> None:
        """The leaves of all begin with 0, and one event has no child rows."""
        lots = [transfer("P/1"), transfer("P/2")], [transfer("P/3", escort=())], [transfer("P/1")]
        assert all(isinstance(each, Stored) for each in workers.store(workers.work(*lots)))
        own = "lapas-rekaan"
        places = [("lapas-kedua", 0, 1), (own, 0, 2), (own, 1, 1)]
        question = "SELECT split_part(topic, '.', 2), partition, {} FROM {} ORDER BY 1, 2"
        assert rows(question.format("tree_size", _POSITIONS)) == places
        assert rows(question.format("size", "sinergi_consumer.receipt")) == places
        assert rows(question.format("size", "sinergi_consumer.checkpoint")) == places
        rows_of = "SELECT agency, partition, record_id FROM {} ORDER BY 1, 2, 3"
        records = [
            ("lapas-kedua", 0, "P/1"),
            ("lapas-rekaan", 0, "P/1"),
            ("lapas-rekaan", 0, "P/2"),
        ]
        for name in ("transfer_escort", "transfer_history_escort", "few_escorts"):
            assert rows(rows_of.format(f"sinergi.{name}")) == records
        records.append((own, 1, "P/3"))
        for name in ("transfer", "transfer_history", "few_escorts_record"):
            assert rows(rows_of.format(f"sinergi.{name}")) == records

    def test_one_that_another_worker_has_claimed_is_left_out(
        self, workers: PlacedWorkers, rows: Any
    ) -> None:
        """The others are stored."""
        work = workers.work([transfer("P/1")], [transfer("P/2")], [transfer("P/3")])
        workers.each[1].sink.claim([workers.each[1].claim.tp])
        lost, *stored = workers.store(work)
        assert isinstance(lost, errors.PositionLost)
        assert (lost.topic, lost.partition) == workers.each[1].claim.tp
        assert all(isinstance(each, Stored) for each in stored)
        assert rows("SELECT record_id FROM sinergi.transfer ORDER BY 1") == [("P/1",), ("P/3",)]
        assert rows("SELECT count(*) FROM sinergi_consumer.receipt") == [(2,)]
        assert rows(
            "SELECT topic, partition FROM sinergi_consumer.position WHERE tree_size = 0"
        ) == 3 * [workers.each[1].claim.tp]

    @pytest.mark.parametrize("escort", [TOO_MANY, FAILING], ids=["row", "projection"])
    def test_one_whose_event_is_refused_keeps_no_other_from_its_rows(
        self, workers: PlacedWorkers, rows: Any, escort: Any
    ) -> None:
        """Only the topic-partition of the refused event is marked."""
        bad = transfer("P/2", escort=escort)
        lots = [transfer("P/1")], [transfer("P/0"), bad], [transfer("P/3")]
        workers.store(workers.work(*lots))
        assert rows("SELECT topic, partition, leaf_index FROM sinergi_consumer.quarantine") == [
            (*workers.each[1].claim.tp, 1)
        ]
        assert [each.claim.was_refused for each in workers.each] == [False, True, False]
        assert rows("SELECT record_id FROM sinergi.few_escorts ORDER BY 1") == [
            ("P/0",),
            ("P/1",),
            ("P/3",),
        ]
        assert rows("SELECT count(*) FROM sinergi.transfer") == [(4,)]

    def test_datums_that_do_not_decode_stay_with_their_topic_partitions(
        self, workers: PlacedWorkers, rows: Any
    ) -> None:
        """A leaf of the same index is sound elsewhere."""
        first, second, third = workers.each
        bad = [second.tape.write_datums([(transfer("P/9").event_id, "P/9", b"\x00\x01")])]
        claimed = [
            *first.work([transfer("P/1")]).claimed,
            *second.received(bad[0]).claimed,
            *third.work([transfer("P/3")]).claimed,
        ]
        decoder = Decoder(Catalog.shipped(), TOPIC.event_type)
        parts = DecodedParts(decoder, *(each.batch for each in claimed))
        workers.store(ReadyBatches(claimed, parts))
        assert rows(
            "SELECT DISTINCT topic, partition, leaf_index, reason FROM sinergi_consumer.quarantine"
        ) == [(*second.claim.tp, 0, "datum-invalid")]
        assert rows("SELECT record_id FROM sinergi.transfer ORDER BY 1") == [("P/1",), ("P/3",)]
        assert rows("SELECT DISTINCT tree_size FROM sinergi_consumer.position") == [(1,)]


_POSITIONS = "(SELECT DISTINCT topic, partition, tree_size FROM sinergi_consumer.position) AS p"
