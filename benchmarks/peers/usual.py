"""The usual consumer: DeserializingConsumer, AvroDeserializer, SQLAlchemy's `executemany`.

A thousand events a transaction; offsets are committed to Kafka behind it, so that a crash between
the two brings events again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from confluent_kafka import DeserializingConsumer, TopicPartition
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer
from sqlalchemy.dialects.postgresql import insert

from peers import tables
from sinergi_schemas.clock import SYSTEM

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stage import Stage

    from peers.tables import Document, Filling

_BATCH = 1_000


def run(stage: Stage, url: str, kinds: Sequence[str], count: int) -> tuple[float, float]:
    """Take in so many events."""
    schema = stage.catalog.newest(stage.event_type)
    registry = SchemaRegistryClient.new_client({"url": "mock://here"})
    given = registry.register_schema(
        f"{stage.topic.name}-value", Schema(schema.text.decode(), "AVRO")
    )
    assert given == schema.id
    fillings = tables.fillings(stage, kinds)
    consumer = DeserializingConsumer(
        {
            "bootstrap.servers": stage.kafka,
            "group.id": "usual",
            "enable.auto.commit": False,
            "auto.offset.reset": "error",
            "fetch.queue.backoff.ms": 10,
            "value.deserializer": AvroDeserializer(registry),
        }
    )
    engine = sa.create_engine(url)
    engine.connect().close()
    consumer.assign([TopicPartition(stage.topic.name, 0, 0)])
    began = SYSTEM.monotonic()
    done = 0
    while done < count:
        documents: list[tuple[Document, int]] = []
        while len(documents) < min(_BATCH, count - done):
            message = consumer.poll(0.1)
            if message is not None and message.error() is None:
                document: Any = message.value()
                documents.append((document, message.offset() or 0))
        with engine.begin() as connection:
            for each in fillings:
                _store(connection, each, documents)
        consumer.commit(asynchronous=True)
        done += len(documents)
    ended = SYSTEM.monotonic()
    consumer.close()
    return began, ended


def _store(
    connection: sa.Connection, filling: Filling, documents: Sequence[tuple[Document, int]]
) -> None:
    record = filling.projection.record
    if filling.is_current:
        documents = tables.newest(documents)
        if filling.children:
            documents = _above(connection, record, documents)
    _insert(connection, record, filling, [filling.record(*each) for each in documents])
    for child, rows in filling.children:
        replaced = [
            {"of_agency": each["agency"], "of_record": each["record_id"]}
            for each, _ in documents
            if filling.is_current and each["revision"] > 1
        ]
        if replaced:
            gone = sa.delete(child).where(
                child.c.agency == sa.bindparam("of_agency"),
                child.c.record_id == sa.bindparam("of_record"),
            )
            connection.execute(gone, replaced)
        _insert(connection, child, filling, [row for each in documents for row in rows(*each)])


def _insert(
    connection: sa.Connection, table: sa.Table, filling: Filling, rows: Sequence[tuple[Any, ...]]
) -> None:
    if not rows:
        return
    statement = insert(table)
    keys = list(table.primary_key)
    if filling.is_current and table is filling.projection.record:
        statement = statement.on_conflict_do_update(
            index_elements=keys,
            set_={
                column.name: statement.excluded[column.name]
                for column in table.columns
                if not column.primary_key
            },
            where=statement.excluded.revision > table.c.revision,
        )
    else:
        statement = statement.on_conflict_do_nothing(index_elements=keys)
    names = [column.name for column in table.columns]
    connection.execute(statement, [dict(zip(names, row, strict=True)) for row in rows])


def _above(
    connection: sa.Connection, record: sa.Table, documents: Sequence[tuple[Document, int]]
) -> list[tuple[Document, int]]:
    """Those above what stands in the table, so that children are replaced by newer ones only."""
    found = connection.execute(
        sa.select(record.c.record_id, record.c.revision).where(
            record.c.agency == documents[0][0]["agency"],
            record.c.record_id.in_([each["record_id"] for each, _ in documents]),
        )
    )
    held: dict[str, int] = dict(found.tuples().all())
    return [each for each in documents if each[0]["revision"] > held.get(each[0]["record_id"], 0)]
