"""Relaying: events that wait in an outbox, sealed, sent and accounted; and a relay by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
import race
import samples
import sqlalchemy as sa
from results import Figure, median
from stage import Stage

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from sinergi.local import Local
    from sinergi_producers.relay.sealing import OutboxRow

EVENTS = 50_000
ROUNDS = 3


def measure(local: Local, folder: Path) -> Iterator[Figure]:
    """Events a second of both."""
    rates: dict[str, list[float]] = {"sinergi": [], "handwritten": []}
    peak = 0.0
    for number in range(ROUNDS):
        stage = Stage.set_up(folder, local, samples.SEIZURE)
        url = stage.prepare_publisher(local.database(f"relaying_{number}"))
        (agreement,) = stage.agreements
        _fill(url, samples.rows(samples.SEIZURE, stage.publisher, EVENTS, agreement.hash))
        finish = race.relay(stage, url, EVENTS)
        rates["sinergi"].append(EVENTS / finish.seconds)
        peak = max(peak, finish.peak_mib)
        finish = race.run("handwritten_relay", stage, url=url, count=EVENTS)
        rates["handwritten"].append(EVENTS / finish.seconds)
    for name, found in rates.items():
        yield Figure(f"relay.{name}", median(found), "events/s", found)
    yield Figure("relay.peak_mib", peak, "MiB")


def _fill(url: str, rows: Iterable[OutboxRow]) -> None:
    """Let the rows wait: in the outbox, and in a table as one would make it by hand."""
    conninfo = sa.make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(conninfo) as connection, connection.cursor() as cursor:
        with cursor.copy(
            "COPY sinergi_producer.outbox (event_id, event_type, record_id, revision, recorded_at,"
            " fingerprint, datum) FROM STDIN"
        ) as copy:
            for each in rows:
                copy.write_row(
                    (
                        each.event_id,
                        each.event_type,
                        each.key.decode(),
                        each.revision,
                        each.recorded_at,
                        each.fingerprint,
                        each.datum,
                    )
                )
        cursor.execute(
            "CREATE TABLE waiting (id bigint PRIMARY KEY, event_id uuid, key bytea, value bytea,"
            " sent boolean NOT NULL DEFAULT false)"
        )
        cursor.execute(
            "INSERT INTO waiting SELECT id, event_id, convert_to(record_id, 'UTF8'),"
            " '\\x0000000001'::bytea || datum FROM sinergi_producer.outbox"
        )
        cursor.execute("CREATE INDEX ON waiting (id) WHERE NOT sent")
        connection.commit()
    with psycopg.connect(conninfo, autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE")
        connection.execute("CHECKPOINT")
