"""Events of a version that is not installed are read with the schema that their owner shows."""

from __future__ import annotations

import json
import shutil
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from confluent_kafka import Producer
from sqlalchemy import text
from sqlalchemy.orm import Session

import sinergi_schemas
from agency_pair import AgencyPair, running, transfer
from sinergi_consumers.decode import published_schemas
from sinergi_consumers.quarantine import automatic_retry
from sinergi_producers.relay.control_topic import ControlTopic
from sinergi_producers.relay.factory import build_relay
from sinergi_schemas import codec
from sinergi_schemas.catalog import Catalog
from sinergi_schemas.topics import control_topic
from test_relay import until_sent
from verified_database import VerifiedDatabase
from waiting import PATIENCE_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

NEW_FIELD = {
    "name": "vehicle_plate",
    "type": ["null", "string"],
    "default": None,
    "doc": "Number plate of the vehicle (nomor polisi).",
}


def newer(folder: Path) -> Catalog:
    """The shipped schemas, and a second version of `transfer` with a new field and a new code."""
    shipped = folder / "avro"
    shutil.copytree(f"{sinergi_schemas.__path__[0]}/avro", shipped)
    parsed = json.loads((shipped / "transfer/1.avsc").read_text("utf-8"))
    parsed["fields"].insert(3, NEW_FIELD)
    for each in parsed["fields"]:
        if each["name"] == "reason":
            each["type"]["symbols"].append("FLOOD")
    (shipped / "transfer/2.avsc").write_text(json.dumps(parsed), "utf-8")
    with (shipped / "ids.toml").open("a", encoding="utf-8") as ids:
        ids.write('"transfer/2" = 4\n')
    return Catalog.load(shipped)


class UpgradedPublisher:
    """A publisher with a newer version of `transfer` than its reader."""

    def __init__(self, pair: AgencyPair, catalog: Catalog) -> None:
        self.pair = pair
        self.catalog = catalog
        self.schema = catalog.newest("transfer")

    def publish(self, record_id: str, action: str = "RECORDED", **said: Any) -> None:
        """Publish a transfer of the newer version, with values that only it has."""
        older, newest = self.catalog.versions("transfer")
        with Session(self.pair.producer) as session, session.begin():
            self.pair.outbox.publish(session, transfer(record_id, action))
            of_last = "FROM sinergi_producer.outbox ORDER BY id DESC LIMIT 1"
            number, datum = session.execute(text(f"SELECT id, datum {of_last}")).one()
            document = codec.decode(bytes(datum), older) | said
            changed = "datum = :datum, fingerprint = :fingerprint"
            session.execute(
                text(f"UPDATE sinergi_producer.outbox SET {changed} WHERE id = :id"),
                {
                    "datum": codec.encode_document(document, newest),
                    "fingerprint": newest.fingerprint,
                    "id": number,
                },
            )

    @contextmanager
    def relaying(self) -> Iterator[None]:
        relay = build_relay(replace(self.pair.relay_setup, catalog=self.catalog))
        with running(relay.run):
            yield


@pytest.fixture
def pair(tmp_path: Path, kafka: str, agency_slug: str, databases: Callable[[], str]) -> AgencyPair:
    return AgencyPair(tmp_path, kafka, agency_slug, databases(), databases())


@pytest.fixture
def publisher(pair: AgencyPair, tmp_path: Path) -> UpgradedPublisher:
    return UpgradedPublisher(pair, newer(tmp_path))


@pytest.mark.filterwarnings("error")
def test_a_reader_reads_the_fields_that_it_knows_of_a_newer_version_and_every_audit_does(
    publisher: UpgradedPublisher, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    pair = publisher.pair
    pair.publish(transfer("P/1"), transfer("P/2"))
    with pair.relaying():
        until_sent(pair, 2)
    publisher.publish("P/1", "CORRECTED", vehicle_plate="P 1234 XY", reason="FLOOD")
    publisher.publish("P/3", vehicle_plate=None)
    reader = VerifiedDatabase(pair, capsys)
    with publisher.relaying(), pair.materialising():
        pair.until_rows("sinergi.transfer_history", 4)
        reader.until_receipted()
    assert pair.count("sinergi_consumer.quarantine") == 0
    rows = "SELECT record_id, revision, reason FROM sinergi.transfer ORDER BY 1"
    assert pair.ask(rows) == [("P/1", 2, "UNKNOWN"), ("P/2", 1, "HEALTH"), ("P/3", 1, "HEALTH")]
    bundle, archive = str(tmp_path / "bundle.zip"), str(tmp_path / "topics.archive")
    for command in (
        ("verify",),
        ("replay", pair.topic.name),
        ("record", "transfer", "P/1"),
        ("rebuild", "transfer"),
        ("reconcile",),
        ("archive", pair.topic.name, "-o", archive),
        ("replay", "--archive", archive),
        ("evidence", "create", "--key", "P/1", "--why", "a test", "-o", bundle),
        ("evidence", "verify", bundle, "--agreement", str(pair.folder / "pks.toml")),
    ):
        status, out, err = reader.run(*command)
        assert status == 0, (command, out, err)
        assert "awaiting-schema" not in out + err, command


def test_an_event_whose_schema_is_published_later_becomes_rows_without_a_person(
    publisher: UpgradedPublisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = publisher.pair
    monkeypatch.setattr(published_schemas, "AGAIN_SECONDS", 0.2)
    monkeypatch.setattr(automatic_retry, "AGAIN_SECONDS", 0.2)
    monkeypatch.setattr(ControlTopic, "publish_schemas", lambda *_: None)
    publisher.publish("P/1", vehicle_plate="P 1234 XY")
    with publisher.relaying(), pair.materialising():
        waiting = "sinergi_consumer.quarantine WHERE reason = 'awaiting-schema' AND state = 'open'"
        pair.until(lambda: pair.count(waiting) == len(pair.projections), "it waits")
        producer = Producer({"bootstrap.servers": pair.kafka})
        key = f"schema/{publisher.schema.fingerprint.hex()}"
        producer.produce(control_topic(pair.publisher), publisher.schema.text, key)
        assert producer.flush(PATIENCE_SECONDS) == 0
        pair.until_rows("sinergi.transfer_history", 1)
        pair.until(lambda: pair.count(waiting) == 0, "nothing waits")
