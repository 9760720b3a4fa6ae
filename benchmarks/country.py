"""Many agencies that publish events of one type, and one that reads them all."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Self

import samples
import sqlalchemy as sa
import tomli_w
from stage import BUS, DATABASE, READER, Place, Publication, seal_and_send

from sinergi.provision.cluster import Cluster
from sinergi.provision.topics import wanted
from sinergi_consumers.bus import Bus
from sinergi_consumers.materialise.factory import MaterialiserSetup
from sinergi_consumers.reading.source import KafkaSource
from sinergi_schemas.clock import SYSTEM
from sinergi_schemas.kafka.admin import open_admin
from sinergi_schemas.seal.keys import Algorithm, SigningKey
from sinergi_schemas.topics import Topic

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from sinergi.local import Local
    from sinergi_producers.relay.sealing import OutboxRow

_SENDERS = 8  # each waits for the broker most of the time


@dataclass(frozen=True)
class Country(Place):
    """So many agencies, each with a topic of one partition."""

    agencies: int

    @classmethod
    def set_up(cls, folder: Path, local: Local, event_type: str, agencies: int) -> Self:
        """Make keys, agreements and topics."""
        place = folder / f"country-{agencies}"
        (place / "agreements").mkdir(parents=True)
        country = cls(str(place), local.bootstrap, event_type, agencies)
        receipts = SigningKey.generate(f"{BUS}/{READER}/{DATABASE}", Algorithm.COSIGNATURE)
        receipts.save(place / "receipts.key")
        reader = {
            "name": READER,
            "keys": [str(SigningKey.generate(f"{BUS}/{READER}").public)],
            "receipt_keys": [{"database": DATABASE, "key": str(receipts.public)}],
        }
        for publisher in country.publishers:
            key = SigningKey.generate(f"{BUS}/{publisher}")
            key.save(place / f"{publisher}.key")
            agreement = country._agreement(publisher, key, reader)
            text = tomli_w.dumps(agreement)
            (place / "agreements" / f"{publisher}.toml").write_text(text, encoding="utf-8")
        cluster = Cluster(open_admin(country.connection))
        cluster.apply(cluster.plan(wanted(country.agreements, SYSTEM.now(), [event_type])))
        return country

    def order(self, **more: Any) -> str:
        """What a process is told on its standard input: this country, and what else it is to do."""
        return json.dumps({"country": asdict(self), **more})

    @property
    def publishers(self) -> list[str]:
        """The agencies that publish. Two countries have none in common."""
        return [f"lapas-{self.agencies}-{number}" for number in range(self.agencies)]

    def materialiser_setup(self, url: str, kinds: Sequence[str]) -> MaterialiserSetup:
        """What a materialiser into this database needs; each database has a group of its own."""
        return MaterialiserSetup(
            Bus(KafkaSource(self.connection), self.agreements, self.catalog, READER),
            self.connection,
            [Topic(each, self.event_type) for each in self.publishers],
            url,
            str(sa.make_url(url).database),
            self.key("receipts"),
            self.projections(kinds),
        )

    def fill(self, count: int, per_checkpoint: int) -> None:
        """Seal and send so many sample events of each agency, as its relay does."""
        with ThreadPoolExecutor(_SENDERS) as senders:
            sent = [
                senders.submit(self._send, publisher, count, per_checkpoint)
                for publisher in self.publishers
            ]
            for each in sent:
                each.result()

    def publication(self, publisher: str) -> Publication:
        """What sends the events of a publisher, whose topic is empty."""
        return Publication(self, Topic(publisher, self.event_type), self.key(publisher))

    def rows(self, publisher: str, count: int) -> Iterator[OutboxRow]:
        """So many sample events of a publisher."""
        agreement = self.agreements.covering(publisher, self.event_type, SYSTEM.now())
        assert agreement is not None
        return samples.rows(self.event_type, publisher, count, agreement.hash)

    def _send(self, publisher: str, count: int, per_checkpoint: int) -> None:
        rows = self.rows(publisher, count)
        seal_and_send(self.publication(publisher), rows, per_checkpoint)

    def _agreement(self, publisher: str, key: SigningKey, reader: dict[str, Any]) -> dict[str, Any]:
        return {
            "bus": BUS,
            "title": "Kerja sama rekaan",
            "legal_basis": ["Undang-Undang Nomor 35 Tahun 2009 tentang Narkotika"],
            "numbers": [{"party": each, "number": "PKS/1"} for each in (publisher, READER)],
            "in_force": {
                "from": datetime(2020, 1, 1, tzinfo=UTC),
                "until": datetime(2099, 1, 1, tzinfo=UTC),
            },
            "parties": {
                publisher: {"name": publisher, "keys": [str(key.public)], "receipt_keys": []},
                READER: reader,
            },
            "events": {
                self.event_type: {
                    "publishers": [publisher],
                    "readers": [READER],
                    "purposes": ["INVESTIGATION"],
                    "partitions": 1,
                }
            },
        }
