"""A relay written by hand: it selects, produces and marks row by row. It seals nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
import sqlalchemy as sa
from confluent_kafka import Producer

from sinergi_schemas.clock import SYSTEM

if TYPE_CHECKING:
    from confluent_kafka import KafkaError, Message
    from stage import Stage

_BATCH = 1_000


def run(stage: Stage, url: str, count: int) -> tuple[float, float]:
    """Relay so many rows of the table `waiting`."""
    conninfo = sa.make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    producer = Producer(
        {"bootstrap.servers": stage.kafka, "enable.idempotence": True, "linger.ms": 5}
    )
    failed: list[KafkaError] = []

    def reported(error: KafkaError | None, _: Message) -> None:
        if error is not None:
            failed.append(error)

    with psycopg.connect(conninfo) as connection:
        began = SYSTEM.monotonic()
        done = 0
        while done < count:
            rows = connection.execute(
                "SELECT id, event_id, key, value FROM waiting WHERE NOT sent"
                " ORDER BY id LIMIT %s FOR UPDATE",
                (_BATCH,),
            ).fetchall()
            for _, event_id, key, value in rows:
                producer.produce(
                    stage.topic.name,
                    value,
                    key,
                    on_delivery=reported,
                    headers={"ce_id": str(event_id)},
                )
            producer.flush()
            if failed:
                raise RuntimeError(failed[0].str())
            for row_id, *_ in rows:
                connection.execute("UPDATE waiting SET sent = true WHERE id = %s", (row_id,))
            connection.commit()
            done += len(rows)
        return began, SYSTEM.monotonic()
