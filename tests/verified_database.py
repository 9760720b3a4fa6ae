"""A reader's database that a test edits as with psql, and the commands that check it."""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from confluent_kafka import Producer
from confluent_kafka.admin import NewTopic

from agency_pair import AgencyPair, transfer
from sinergi.cli.root import run
from sinergi_schemas.kafka.admin import describe, open_admin
from sinergi_schemas.kafka.scan import open_scan
from sinergi_schemas.topics import TopicPartition
from waiting import PATIENCE_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import pytest

COUNT = 12
NIK = "9999990101900001"
INMATE = {"role": "CONVICT", "name": "Contoh Satu", "nik": NIK}


def fill(pair: AgencyPair) -> None:
    """Publish transfers of which one is corrected, and materialise them."""
    pair.publish(*(transfer(f"P/{number}", inmate=INMATE) for number in range(COUNT - 1)))
    escort = ({"escort_agency": "Brimob", "count": 5}, {"escort_agency": "PJR", "count": 2})
    pair.publish(transfer("P/3", "CORRECTED", movement_id="m2", escort=escort))
    with pair.relaying(), pair.materialising():
        pair.until_rows("sinergi.transfer_history", COUNT)
        until_receipted(pair)


def until_receipted(pair: AgencyPair) -> None:
    """Wait until all receipts are published."""
    unpublished = "sinergi_consumer.receipt WHERE published_at IS NULL"
    pair.until(lambda: pair.count(unpublished) == 0, "receipts published")


class VerifiedDatabase:
    """A reader's database, and the command line of its agency."""

    def __init__(self, pair: AgencyPair, capsys: pytest.CaptureFixture[str]) -> None:
        self.pair = pair
        self._capsys = capsys

    def fill(self) -> None:
        """Fill it."""
        fill(self.pair)

    @contextmanager
    def working(self) -> Iterator[None]:
        """Relay and materialiser run."""
        with self.pair.relaying(), self.pair.materialising():
            yield

    def until_receipted(self) -> None:
        until_receipted(self.pair)

    def execute(self, *statements: str) -> None:
        """Run statements as with psql, as the owner of the tables."""
        with self.pair.consumer.begin() as connection:
            for each in statements:
                connection.exec_driver_sql(each)

    def rows(self, table: str) -> list[Any]:
        """All rows of a table, in the order of their values."""
        return self.pair.ask(f"SELECT t::text FROM {table} AS t ORDER BY 1")

    def run(self, *command: str) -> tuple[int, str, str]:
        """Run a command with the settings of the reader: exit status, output, errors."""
        self._capsys.readouterr()
        status = run(["--config", str(self.pair.reader_settings), *command])
        return (status, *self._capsys.readouterr())

    def document(self, *command: str) -> tuple[int, dict[str, Any]]:
        """The same with --json."""
        status, out, err = self.run(*command, "--json")
        assert out, err
        return status, json.loads(out)

    def parts(self, verdict: str) -> list[dict[str, Any]]:
        """The parts of a verification that have a verdict."""
        _, found = self.document("verify")
        return [each for each in found["parts"] if each["verdict"] == verdict]

    def messages(self, topic: str, partition: int) -> list[Any]:
        with open_scan(self.pair.connection, TopicPartition(topic, partition)) as scan:
            return [each for chunk in scan.read(*scan.bounds()) for each in chunk]

    def replace_topic(
        self, topic: str, partitions: int, change: Callable[[int, list[Any]], Sequence[Any]]
    ) -> None:
        """Delete a topic and create it again with other messages, as an operator can."""
        kept = [change(number, self.messages(topic, number)) for number in range(partitions)]
        admin = open_admin(self.pair.connection)
        admin.delete_topics([topic])[topic].result(PATIENCE_SECONDS)
        self.pair.until(lambda: topic not in describe(admin, [topic]), "the topic is gone")
        admin.create_topics([NewTopic(topic, partitions, 1)])[topic].result(PATIENCE_SECONDS)
        producer = Producer({"bootstrap.servers": self.pair.kafka})
        for number, messages in enumerate(kept):
            for each in messages:
                headers: Any = each.headers()
                producer.produce(topic, each.value(), each.key(), number, headers=headers)
        assert producer.flush(PATIENCE_SECONDS) == 0


def copied(table: str, record_id: str, /, **changes: object) -> str:
    """The SQL that adds a copy of a record's rows, with other values in some columns."""
    values = json.dumps(changes)
    return (
        f"INSERT INTO {table} SELECT (jsonb_populate_record(t, '{values}')).*"
        f" FROM {table} AS t WHERE record_id = '{record_id}'"
    )


def place_of(pair: AgencyPair, record_id: str) -> tuple[int, int]:
    """Partition and leaf of the current revision of a record."""
    where = f"SELECT partition, leaf_index FROM sinergi.transfer WHERE record_id = '{record_id}'"
    ((partition, leaf),) = pair.ask(where)
    return partition, leaf
