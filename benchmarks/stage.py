"""What every measurement stands on: local services, a publisher, a reader, and their topic.

The processes are put together by the same factories as those of the command line.
"""

from __future__ import annotations

import json
import secrets
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import samples
import sqlalchemy as sa
import tomli_w
from confluent_kafka.admin import NewTopic

from sinergi import migrate
from sinergi_consumers.bus import Bus
from sinergi_consumers.materialise.factory import MaterialiserSetup
from sinergi_consumers.projections.projection import Projection, current, history
from sinergi_consumers.reading.source import KafkaSource
from sinergi_producers.outbox.publishing import Outbox
from sinergi_producers.relay.factory import RelaySetup
from sinergi_producers.relay.sealing import MOST_MESSAGES, OutboxRow, Sealer, TreeKey
from sinergi_producers.relay.sending import Sender
from sinergi_producers.relay.term import Identity
from sinergi_schemas import topics
from sinergi_schemas.agreements.collection import Agreements
from sinergi_schemas.kafka import Connection
from sinergi_schemas.kafka.admin import open_admin
from sinergi_schemas.seal.keys import Algorithm, SigningKey
from sinergi_schemas.seal.merkle import Frontier
from sinergi_schemas.topics import Topic

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from sinergi.local import Local
    from sinergi_schemas.catalog import Catalog

BUS = "bench.example"
READER = "bnnk-rekaan"
DATABASE = "main"


@dataclass(frozen=True)
class Place:
    """A bus on a local broker, and what its processes need.

    Attributes:
        folder: keys and agreements, for the processes that are started.
        kafka: where the broker is, `host:port`.
    """

    folder: str
    kafka: str
    event_type: str

    @cached_property
    def catalog(self) -> Catalog:
        """A catalogue that knows the event type."""
        return samples.catalog(self.event_type)

    @cached_property
    def connection(self) -> Connection:
        """The broker."""
        return Connection(self.kafka)

    @cached_property
    def agreements(self) -> Agreements:
        """The agreements that were made."""
        return Agreements.load(Path(self.folder) / "agreements")

    def key(self, name: str) -> SigningKey:
        """A key that was made, by the name of its file: `receipts` or a publisher's."""
        return SigningKey.load(Path(self.folder) / f"{name}.key")

    def projections(self, kinds: Iterable[str]) -> list[Projection]:
        """The ready projections of these kinds, `current` and `history`."""
        makers: dict[str, Callable[..., Projection]] = {"current": current, "history": history}
        return [makers[kind](self.catalog.newest(self.event_type)) for kind in kinds]

    def prepare_reader(self, url: str, kinds: Sequence[str]) -> str:
        """Make the tables of a reader; its database's URL again."""
        migrate.upgrade(url, migrate.Role.CONSUMER, self.projections(kinds))
        return url


class Publication:
    """Seals and sends rows of an outbox, as the relay does, without a database behind."""

    def __init__(self, place: Place, topic: Topic, key: SigningKey, partitions: int = 1) -> None:
        self._sealer = Sealer(
            BUS,
            topic.agency,
            [key],
            {topic.event_type: partitions},
            lambda _: True,
            place.agreements.ring,
            lambda _: None,
        )
        ids = {each.fingerprint: each.id for each in place.catalog.all()}
        self._sender = Sender(place.connection, BUS, topic.agency, ids)
        self._trees = {TreeKey(topic.event_type, at): Frontier.empty() for at in range(partitions)}

    def send(self, rows: Iterable[OutboxRow]) -> None:
        """Send rows under one checkpoint, and wait until the broker has confirmed them."""
        batch = self._sealer.seal([*rows], self._trees)
        self._sender.enqueue(batch.updates)
        self._trees.update((each.tree_key, each.after) for each in batch.updates)
        self._sender.flush(lambda: None)


def seal_and_send(publication: Publication, rows: Iterator[OutboxRow], per_checkpoint: int) -> None:
    """Send all rows, with a checkpoint for so many of them."""
    while chunk := list(islice(rows, per_checkpoint)):
        publication.send(chunk)


@dataclass(frozen=True)
class Stage(Place):
    """One agency's topic of one event type."""

    publisher: str
    partitions: int

    @classmethod
    def set_up(cls, folder: Path, local: Local, event_type: str, partitions: int = 1) -> Self:
        """A stage of its own: a publisher that nobody else uses, its keys, agreement and topics."""
        publisher = f"lapas-{secrets.token_hex(3)}"
        place = folder / publisher
        place.mkdir()
        stage = cls(str(place), local.bootstrap, event_type, publisher, partitions)
        SigningKey.generate(f"{BUS}/{publisher}").save(place / "publisher.key")
        receipts = SigningKey.generate(f"{BUS}/{READER}/{DATABASE}", Algorithm.COSIGNATURE)
        receipts.save(place / "receipts.key")
        (place / "agreements").mkdir()
        text = tomli_w.dumps(stage._agreement())
        (place / "agreements/pks.toml").write_text(text, encoding="utf-8")
        stage._make_topics()
        return stage

    def order(self, **more: Any) -> str:
        """What a process is told on its standard input: this stage, and what else it is to do."""
        return json.dumps({"stage": asdict(self), **more})

    @cached_property
    def topic(self) -> Topic:
        """The publisher's topic."""
        return Topic(self.publisher, self.event_type)

    def materialiser_setup(self, url: str, kinds: Sequence[str]) -> MaterialiserSetup:
        """What a materialiser into this database needs; each database has a group of its own."""
        return MaterialiserSetup(
            Bus(KafkaSource(self.connection), self.agreements, self.catalog, READER),
            self.connection,
            [self.topic],
            url,
            str(sa.make_url(url).database),
            self.key("receipts"),
            self.projections(kinds),
        )

    def prepare_publisher(self, url: str) -> str:
        """Make the tables of a publisher; its database's URL again."""
        migrate.upgrade(url, migrate.Role.PRODUCER)
        return url

    def relay_setup(self, url: str) -> RelaySetup:
        """What a relay of this database's outbox needs."""
        identity = Identity(self.publisher, [self.key("publisher")], lambda: self.agreements)
        return RelaySetup(identity, url, self.connection, self.catalog)

    def outbox(self) -> Outbox:
        """The publisher's outbox."""
        return Outbox(self.publisher, self.agreements, self.catalog)

    def fill(self, count: int, per_checkpoint: int = MOST_MESSAGES) -> None:
        """Seal and send so many sample events, as the relay does, without a database behind."""
        (agreement,) = self.agreements
        rows = samples.rows(self.event_type, self.publisher, count, agreement.hash)
        key = self.key("publisher")
        publication = Publication(self, self.topic, key, self.partitions)
        seal_and_send(publication, rows, per_checkpoint)

    def _make_topics(self) -> None:
        admin = open_admin(self.connection)
        wanted = [NewTopic(self.topic.name, self.partitions, 1)]
        wanted += [
            NewTopic(name, 1, 1, config={"cleanup.policy": "compact"})
            for name in (topics.control_topic(self.publisher), topics.receipts_topic(READER))
            if name not in admin.list_topics(timeout=30).topics
        ]
        for made in admin.create_topics(wanted).values():
            made.result(timeout=30)

    def _agreement(self) -> dict[str, Any]:
        receipts = {"database": DATABASE, "key": str(self.key("receipts").public)}
        reader_key = SigningKey.generate(f"{BUS}/{READER}").public
        return {
            "bus": BUS,
            "title": "Kerja sama rekaan",
            "legal_basis": ["Undang-Undang Nomor 35 Tahun 2009 tentang Narkotika"],
            "numbers": [
                {"party": self.publisher, "number": "PKS/1"},
                {"party": READER, "number": "PKS/2"},
            ],
            "in_force": {
                "from": datetime(2020, 1, 1, tzinfo=UTC),
                "until": datetime(2099, 1, 1, tzinfo=UTC),
            },
            "parties": {
                self.publisher: {
                    "name": "Lapas Rekaan",
                    "keys": [str(self.key("publisher").public)],
                    "receipt_keys": [],
                },
                READER: {
                    "name": "BNNK Rekaan",
                    "keys": [str(reader_key)],
                    "receipt_keys": [receipts],
                },
            },
            "events": {
                self.event_type: {
                    "publishers": [self.publisher],
                    "readers": [READER],
                    "purposes": ["INVESTIGATION"],
                    "partitions": self.partitions,
                }
            },
        }
