"""Puts a materialiser together: for the command, for tests and for benchmarks alike."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sinergi_consumers.materialise.assignment import Assignment
from sinergi_consumers.materialise.loop import Materialiser
from sinergi_consumers.materialise.receipts import Receipts
from sinergi_consumers.materialise.store import Store
from sinergi_consumers.sinks.postgresql.sink import QUARANTINE_BYTES, PostgresqlSink
from sinergi_schemas.clock import SYSTEM
from sinergi_schemas.observer import UNOBSERVED
from sinergi_schemas.timeouts import DEFAULT

if TYPE_CHECKING:
    from collections.abc import Sequence
    from threading import Event

    from sinergi_consumers.bus import Bus
    from sinergi_consumers.projections.projection import Projection
    from sinergi_schemas.clock import Clock
    from sinergi_schemas.kafka import Connection
    from sinergi_schemas.observer import Observer
    from sinergi_schemas.seal.keys import SigningKey
    from sinergi_schemas.timeouts import Timeouts
    from sinergi_schemas.topics import Topic


@dataclass(frozen=True, slots=True)
class MaterialiserSetup:
    """What a materialiser needs.

    Attributes:
        bus: the brokers, the agreements and the schemas, for the agency that reads.
        connection: to the same brokers, for the consumer group and the receipts.
        topics: the event topics to read.
        database: where the rows go; see `sinergi_schemas.postgresql.address`.
        database_name: the database's name on the bus: in the consumer group and in receipts.
        receipt_key: the private key with which this database signs its receipts.
        projections: those that live in the database.
        quarantine_bytes: how many bytes of events in quarantine are kept of each publisher.
        timeouts: how often the materialiser looks, and how long it waits.
    """

    bus: Bus
    connection: Connection
    topics: Sequence[Topic]
    database: str
    database_name: str
    receipt_key: SigningKey
    projections: Sequence[Projection]
    quarantine_bytes: int = QUARANTINE_BYTES
    timeouts: Timeouts = DEFAULT
    clock: Clock = SYSTEM


def build_materialiser(
    setup: MaterialiserSetup,
    stopping: Event,
    *,
    assignment: type[Assignment] = Assignment,
    store: type[Store] = Store,
    observer: Observer = UNOBSERVED,
) -> Materialiser:
    """A materialiser that has not begun; its `run` takes the same `stopping`.

    Args:
        stopping: set when the process shall end.
        assignment, store: subclasses to use instead, for example in a benchmark that records times.
        observer: is told what the materialiser does.

    Raises:
        ValueError: the bus names no agency that reads.
    """
    bus, clock, timeouts = setup.bus, setup.clock, setup.timeouts.materialiser
    if bus.reader is None:
        raise ValueError("a materialiser reads for an agency, and the bus names none")
    group = f"{bus.reader}.{setup.database_name}"
    counts = {each.name: bus.agreements.partitions(each) for each in setup.topics}
    sink = PostgresqlSink(
        setup.database, setup.projections, setup.quarantine_bytes, setup.timeouts.database
    )
    return Materialiser(
        assignment(setup.connection, group, counts, clock, timeouts.stalled),
        store(sink, setup.projections, setup.receipt_key, clock, stopping, observer),
        Receipts(bus.reader, setup.database_name, setup.connection, clock, timeouts.report),
        bus,
        clock,
        timeouts,
    )
