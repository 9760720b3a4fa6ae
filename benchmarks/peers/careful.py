"""A careful consumer written by hand: `consume(1000)`, fastavro, psycopg's `executemany`.

Rows and offset commit in one transaction; a revision is never replaced by an older one. There is no
seal, no quarantine and no receipt.
"""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING, Any

import fastavro
import psycopg
import sqlalchemy as sa
from confluent_kafka import Consumer, TopicPartition

from peers import tables
from sinergi_schemas.clock import SYSTEM

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stage import Stage

    from peers.tables import Document, Filling

_BATCH = 1_000
_FRAME = 5


def run(stage: Stage, url: str, kinds: Sequence[str], count: int) -> tuple[float, float]:
    """Take in so many events."""
    schema = fastavro.parse_schema(stage.catalog.newest(stage.event_type).parsed)
    fillings = tables.fillings(stage, kinds)
    consumer = Consumer(
        {
            "bootstrap.servers": stage.kafka,
            "group.id": "careful",
            "enable.auto.commit": False,
            "auto.offset.reset": "error",
            "fetch.queue.backoff.ms": 10,
        }
    )
    conninfo = sa.make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(conninfo) as connection:
        connection.execute(
            "CREATE TABLE IF NOT EXISTS reached (topic text PRIMARY KEY, next bigint)"
        )
        connection.commit()
        consumer.assign([TopicPartition(stage.topic.name, 0, 0)])
        began = SYSTEM.monotonic()
        done = 0
        while done < count:
            messages = [each for each in consumer.consume(_BATCH, 0.1) if each.error() is None]
            if not messages:
                continue
            documents: list[tuple[Document, int]] = [
                (_document(each.value() or b"", schema), each.offset() or 0) for each in messages
            ]
            with connection.transaction(), connection.cursor() as cursor:
                for each in fillings:
                    _store(cursor, each, documents)
                cursor.execute(
                    "INSERT INTO reached VALUES (%s, %s)"
                    " ON CONFLICT (topic) DO UPDATE SET next = excluded.next",
                    (stage.topic.name, documents[-1][1] + 1),
                )
            done += len(messages)
        ended = SYSTEM.monotonic()
    consumer.close()
    return began, ended


def _document(value: bytes, schema: Any) -> Any:
    return fastavro.schemaless_reader(BytesIO(value[_FRAME:]), schema, None)


def _store(
    cursor: psycopg.Cursor[Any], filling: Filling, documents: Sequence[tuple[Document, int]]
) -> None:
    if filling.is_current:
        documents = tables.newest(documents)
        if filling.children:
            documents = _above(cursor, filling, documents)
    kind, record = filling.projection.kind, filling.projection.record
    cursor.executemany(
        tables.upsert(record, kind, _values(record)), [filling.record(*each) for each in documents]
    )
    for child, rows in filling.children:
        if filling.is_current:
            cursor.executemany(
                f"DELETE FROM sinergi.{child.name} WHERE agency = %s AND record_id = %s",
                [
                    (each["agency"], each["record_id"])
                    for each, _ in documents
                    if each["revision"] > 1
                ],
            )
        cursor.executemany(
            tables.upsert(child, kind, _values(child)),
            [row for each in documents for row in rows(*each)],
        )


def _above(
    cursor: psycopg.Cursor[Any], filling: Filling, documents: Sequence[tuple[Document, int]]
) -> list[tuple[Document, int]]:
    """Those above what stands in the table, so that children are replaced by newer ones only."""
    cursor.execute(
        f"SELECT record_id, revision FROM sinergi.{filling.projection.record.name}"
        " WHERE agency = %s AND record_id = ANY(%s)",
        (documents[0][0]["agency"], [each["record_id"] for each, _ in documents]),
    )
    held = dict(cursor.fetchall())
    return [each for each in documents if each[0]["revision"] > held.get(each[0]["record_id"], 0)]


def _values(table: sa.Table) -> str:
    return f"VALUES ({', '.join(['%s'] * len(table.columns))})"
