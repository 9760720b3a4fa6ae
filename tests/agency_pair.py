"""One publisher and one reader for a test: their agreement, databases, keys, and processes."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
import tomli_w
from confluent_kafka import Producer
from confluent_kafka.admin import NewTopic
from sqlalchemy.orm import Session

from signed_agreement import write_signed
from sinergi import migrate
from sinergi_consumers.bus import Bus
from sinergi_consumers.materialise.factory import MaterialiserSetup, build_materialiser
from sinergi_consumers.projections.projection import Projection, projections_of
from sinergi_consumers.reading.source import KafkaSource
from sinergi_consumers.sinks.postgresql.sink import QUARANTINE_BYTES
from sinergi_consumers.testing.sinks import transfer as at_revision
from sinergi_consumers.testing.tape import Tape
from sinergi_producers.outbox.publishing import Outbox
from sinergi_producers.relay.factory import RelaySetup, build_relay
from sinergi_producers.relay.term import Identity
from sinergi_schemas import topics
from sinergi_schemas.agreements.collection import Agreements
from sinergi_schemas.catalog import Catalog
from sinergi_schemas.clock import SYSTEM, Clock
from sinergi_schemas.kafka import Connection
from sinergi_schemas.kafka.admin import open_admin
from sinergi_schemas.seal.keys import Algorithm, SigningKey
from sinergi_schemas.timeouts import DEFAULT, MaterialiserTimeouts, RelayTimeouts, Timeouts
from sinergi_schemas.topics import Topic
from waiting import PATIENCE_SECONDS, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from sinergi_consumers.materialise.loop import Materialiser
    from sinergi_consumers.testing.tape import TapeMessage
    from sinergi_schemas.events import Event, Transfer
    from sinergi_schemas.seal.keys import VerifyingKey

__all__ = [
    "BUS",
    "DATABASE",
    "RELOADING",
    "AgencyPair",
    "Worker",
    "agreement",
    "running",
    "transfer",
    "until",
]

BUS = "sinergi.test.example"
DATABASE = "main"
# Relay and materialiser read the agreements again each moment.
RELOADING = Timeouts(relay=RelayTimeouts(reload=0.2), materialiser=MaterialiserTimeouts(reload=0.2))


def transfer(record_id: str, action: str = "RECORDED", **changes: Any) -> Transfer:
    """A transfer that says as little as it may, and leaves its revision to the outbox."""
    return at_revision(record_id, 0, action=action, **changes)


@dataclass(frozen=True)
class Worker:
    """A materialiser's process."""

    process: subprocess.Popen[bytes]
    log: Path

    @property
    def said(self) -> list[dict[str, Any]]:
        """What it has logged so far."""
        lines = self.log.read_text(encoding="utf-8").splitlines(keepends=True)
        return [json.loads(line) for line in lines if line.endswith("\n")]

    @property
    def claimed(self) -> set[int]:
        """The partitions that it has claimed so far."""
        return {
            each["partition"] for each in self.said if each["event"] == "topic-partition claimed"
        }


@dataclass
class AgencyPair:
    """One publisher and one reader with their databases, on the Kafka of the test run."""

    folder: Path
    kafka: str
    publisher: str
    producer_url: str
    consumer_url: str
    partitions: int = 2
    quarantine_bytes: int = QUARANTINE_BYTES
    timeouts: Timeouts = DEFAULT
    publisher_clock: Clock = SYSTEM
    reader_clock: Clock = SYSTEM
    key: SigningKey = field(init=False)
    receipt_key: SigningKey = field(init=False)
    _kept: dict[sa.Engine, sa.Connection] | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        self.reader = self.publisher.replace("lapas", "bnnk")
        self.topic = Topic(self.publisher, "transfer")
        self.key = SigningKey.generate(f"{BUS}/{self.publisher}")
        self.receipt_key = SigningKey.generate(
            f"{BUS}/{self.reader}/{DATABASE}", Algorithm.COSIGNATURE
        )
        self.agree(self.agreement)
        self._make_topics()
        migrate.upgrade(self.consumer_url, migrate.Role.CONSUMER, self.projections)
        self._open_databases()

    def _open_databases(self) -> None:
        self.producer = sa.create_engine(self.producer_url, poolclass=sa.NullPool)
        self.consumer = sa.create_engine(self.consumer_url, poolclass=sa.NullPool)

    def copied(self, folder: Path, databases: Callable[[str], str]) -> AgencyPair:
        """The same publisher, reader and topics, with copies of their databases and agreements.

        A test may change the copies. It leaves the topics as they are.
        """
        found = copy(self)
        for name, value in vars(type(self)).items():
            if isinstance(value, cached_property):
                vars(found).pop(name, None)
        found.folder = folder
        for each in self.folder.iterdir():
            if each.is_file():
                shutil.copy(each, folder)
        found.producer_url = databases(self.producer_url)
        found.consumer_url = databases(self.consumer_url)
        found._open_databases()
        return found

    @cached_property
    def agreement(self) -> dict[str, Any]:
        """What its agreement says, for a test to write another version of."""
        return agreement(self.key.public, self.receipt_key.public, self.partitions)

    def agree(self, document: dict[str, Any] | str, name: str = "pks.toml") -> None:
        """Write a version of the agreement that publisher and reader have signed."""
        write_signed(self.folder / name, document, self.party_keys)

    @property
    def party_keys(self) -> tuple[SigningKey, SigningKey]:
        """With which publisher and reader sign agreements."""
        return self.key, signs_nothing_else(self.reader)

    @cached_property
    def agreements(self) -> Agreements:
        return Agreements.load(self.folder)

    @cached_property
    def connection(self) -> Connection:
        return Connection(self.kafka, timeouts=self.timeouts.kafka)

    @cached_property
    def bus(self) -> Bus:
        return Bus(KafkaSource(self.connection), self.agreements, Catalog.shipped(), self.reader)

    @cached_property
    def projections(self) -> tuple[Projection, ...]:
        return projections_of(Catalog.shipped(), ["transfer"])

    @cached_property
    def outbox(self) -> Outbox:
        return Outbox(self.publisher, self.agreements, Catalog.shipped(), self.publisher_clock)

    def issued(self, event: Transfer) -> Transfer:
        """A transfer as the publisher issues it, under the agreement in force, at revision 1."""
        agreement = self.agreements.covering(self.publisher, "transfer", SYSTEM.now())
        assert agreement
        return event.issued(
            agency=self.publisher, agreement=agreement.hash, recorded_at=SYSTEM.now(), revision=1
        )

    def publish(self, *events: Event) -> None:
        with Session(self.producer) as session, session.begin():
            self.outbox.publish_many(session, events)

    def publish_and_materialise(self, count: int) -> None:
        """Publish so many transfers, and wait for their rows and for the receipts on the topic."""
        self.publish(*(transfer(f"P/{number}") for number in range(count)))
        with self.relaying(), self.materialising():
            self.until_rows("sinergi.transfer_history", count)
            self.until(
                lambda: self.count("sinergi_consumer.receipt WHERE published_at IS NULL") == 0,
                "receipts published",
            )

    def tape(self, number: int = 0, catalog: Catalog | None = None) -> Tape:
        """A partition of its topic, for a publisher who writes what an outbox would refuse."""
        *_, agreed = self.agreements
        return Tape(BUS, self.topic, number, catalog, self.key, agreed.hash)

    @contextmanager
    def relaying(self) -> Iterator[None]:
        """Run a relay while the block lasts; what it raises comes out."""
        with running(build_relay(self.relay_setup).run):
            yield

    @property
    def relay_setup(self) -> RelaySetup:
        """What a relay of the publisher needs."""
        return RelaySetup(
            Identity(self.publisher, [self.key], lambda: self.agreements),
            self.producer_url,
            self.connection,
            Catalog.shipped(),
            self.timeouts,
            clock=self.publisher_clock,
        )

    @contextmanager
    def materialising(self, projections: Sequence[Projection] | None = None) -> Iterator[None]:
        """Run a materialiser while the block lasts; what it raises comes out."""
        with running(lambda stopping: self.materialiser(stopping, projections).run(stopping)):
            yield

    def materialiser(
        self, stopping: threading.Event, projections: Sequence[Projection] | None = None
    ) -> Materialiser:
        setup = MaterialiserSetup(
            self.bus,
            self.connection,
            [self.topic],
            self.consumer_url,
            DATABASE,
            self.receipt_key,
            self.projections if projections is None else projections,
            self.quarantine_bytes,
            self.timeouts,
            clock=self.reader_clock,
        )
        return build_materialiser(setup, stopping)

    @cached_property
    def agency_settings(self) -> Path:
        """The file with which the publisher's processes start."""
        producer = {"producer": {"database": self.producer_url}}
        return self._settings("agency", self.publisher, self.key, producer)

    @cached_property
    def reader_settings(self) -> Path:
        """The file with which the reader's processes start."""
        consumer = {
            "consumer": {
                "database": self.consumer_url,
                "name": DATABASE,
                "quarantine_bytes": self.quarantine_bytes,
            }
        }
        return self._settings("reader", self.reader, self.receipt_key, consumer)

    def _settings(self, place: str, agency: str, key: SigningKey, part: dict[str, Any]) -> Path:
        keys = self.folder / place / "keys"
        keys.mkdir(parents=True)
        key.save(keys / "own.key")
        settings = {
            "agency": agency,
            "agreements": str(self.folder),
            "keys": str(keys),
            "kafka": {"bootstrap": self.kafka},
            "timeouts": self.timeouts.model_dump(exclude_unset=True),
            **part,
        }
        file = keys.with_name("sinergi.toml")
        file.write_text(tomli_w.dumps(settings), encoding="utf-8")
        return file

    @contextmanager
    def worker(self, name: str) -> Iterator[Worker]:
        """A materialiser as a process of its own, killed if the block leaves it running."""
        log = self.folder / f"{name}.log"
        options = ["--config", str(self.reader_settings), "--log-json"]
        command = [sys.executable, "-m", "sinergi", *options, "materialise"]
        with (
            log.open("w", encoding="utf-8") as stderr,
            subprocess.Popen(command, stderr=stderr) as process,
        ):
            try:
                yield Worker(process, log)
            finally:
                process.kill()

    def ask(self, question: str, of: sa.Engine | None = None) -> list[Any]:
        """Rows of a query on the reader's database, or on another."""
        engine = of or self.consumer
        if self._kept is None:
            with engine.connect() as connection:
                return [tuple(row) for row in connection.execute(sa.text(question))]
        if engine not in self._kept:
            self._kept[engine] = engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        return [tuple(row) for row in self._kept[engine].execute(sa.text(question))]

    def count(self, table: str) -> int:
        return int(self.ask(f"SELECT count(*) FROM {table}")[0][0])

    def until(self, is_so: Callable[[], bool], what: str) -> None:
        """Wait for something of other processes to come true.

        Meanwhile each database is asked over one connection: to open one costs more than to ask.
        """
        if self._kept is not None:  # it waits for something else already
            until(is_so, what)
            return
        self._kept = {}
        try:
            until(is_so, what)
        finally:
            for each in self._kept.values():
                each.close()
            self._kept = None

    def until_rows(self, table: str, count: int) -> None:
        self.until(lambda: self.count(table) >= count, f"{count} rows in {table}")

    def _make_topics(self) -> None:
        admin = open_admin(self.connection)
        # As many copies as the brokers are set to keep.
        wanted = [NewTopic(self.topic.name, self.partitions, -1)]
        wanted += [
            NewTopic(name, 1, -1, config={"cleanup.policy": "compact"})
            for name in (topics.control_topic(self.publisher), topics.receipts_topic(self.reader))
        ]
        for made in admin.create_topics(wanted).values():
            made.result(timeout=PATIENCE_SECONDS)


def agreement(
    publisher: VerifyingKey, receipts: VerifyingKey, partitions: int = 1, **changes: Any
) -> dict[str, Any]:
    """An agreement on transfers between the agency of a key and that of a key for receipts."""
    agency, reader = publisher.name.split("/")[1], receipts.name.split("/")[1]
    return {
        "bus": BUS,
        "title": "Kerja sama rekaan",
        "legal_basis": ["Undang-Undang Nomor 35 Tahun 2009 tentang Narkotika"],
        "numbers": [{"party": agency, "number": "PKS/1"}, {"party": reader, "number": "PKS/2"}],
        "in_force": {
            "from": datetime(2020, 1, 1, tzinfo=UTC),
            "until": datetime(2099, 1, 1, tzinfo=UTC),
        },
        "parties": {
            agency: {"name": "Lapas Rekaan", "keys": [str(publisher)], "receipt_keys": []},
            reader: {
                "name": "BNNK Rekaan",
                "keys": [str(signs_nothing_else(reader).public)],
                "receipt_keys": [{"database": DATABASE, "key": str(receipts)}],
            },
        },
        "events": {
            "transfer": {
                "publishers": [agency],
                "readers": [reader],
                "purposes": ["PRISON_SECURITY"],
                "partitions": partitions,
            }
        },
    } | changes


@lru_cache
def signs_nothing_else(agency: str) -> SigningKey:
    """The one key of an agency that only reads: it signs agreements."""
    return SigningKey.generate(f"{BUS}/{agency}")


def send(pair: AgencyPair, messages: Sequence[TapeMessage]) -> None:
    """Put messages on a topic as they are, whoever has sealed them."""
    producer = Producer({"bootstrap.servers": pair.kafka})
    for each in messages:
        headers: Any = each.headers()
        producer.produce(each.topic(), each.value(), each.key(), each.partition(), headers=headers)
        producer.poll(0)
    assert producer.flush(60) == 0


@contextmanager
def running(run: Callable[[threading.Event], None]) -> Iterator[threading.Event]:
    """Run a process's loop in a thread, and stop it in order at the end of the block."""
    stopping = threading.Event()
    with ThreadPoolExecutor(1) as thread:
        done = thread.submit(run, stopping)
        try:
            yield stopping
        finally:
            stopping.set()
        done.result()
