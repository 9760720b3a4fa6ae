"""What each process looks at: its database and the brokers, with the process's own rights."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sinergi.metrics import broker_families, database_families
from sinergi.metrics.looks import Look
from sinergi.settings.model import BusRole
from sinergi.status import databases
from sinergi_consumers.materialise.loaded_agreements import known_here
from sinergi_schemas.catalog import Catalog

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client.core import Metric

    from sinergi.metrics.agreed_topics import AgreedTopics
    from sinergi.settings.settings import Settings
    from sinergi.status.databases import ConsumerRows, ProducerRows
    from sinergi_schemas.clock import Clock

_DATABASE, _BROKERS = "database", "brokers"


def relay_looks(settings: Settings, agreed: AgreedTopics, clock: Clock) -> list[Look[Any]]:
    """At the outbox, and at the receipts of its readers."""
    timeouts = settings.values.timeouts
    database, agency = settings.producer_database, settings.agency
    connection = settings.connection(BusRole.PRODUCER)

    def outbox() -> ProducerRows:
        agreed.reload()
        return databases.producer_rows(database, timeouts.metrics.statement)

    def outbox_families(rows: ProducerRows) -> Iterator[Metric]:
        yield from database_families.producer_families(agency, agreed.names, rows, clock.now())

    def receipts() -> broker_families.ReceiptFigures:
        topics, silence = agreed.topics, timeouts.status.silence
        return broker_families.receipts(connection, agreed.agreements, topics, silence, clock.now())

    return [
        Look(_DATABASE, outbox, outbox_families, timeouts.metrics.database, clock),
        Look(_BROKERS, receipts, broker_families.receipt_families, timeouts.metrics.brokers, clock),
    ]


def materialiser_looks(settings: Settings, agreed: AgreedTopics, clock: Clock) -> list[Look[Any]]:
    """At the tables, and at the topics that are read."""
    timeouts = settings.values.timeouts
    database, agency = settings.consumer_database, settings.agency
    statement, silence = timeouts.metrics.statement, timeouts.status.silence
    connection = settings.connection(BusRole.CONSUMER)
    read = broker_families.ReadTopicsLook(connection, database, statement, silence, clock)
    catalog, quota = Catalog.shipped(), settings.values.consumer.quarantine_bytes

    def tables() -> ConsumerRows:
        agreed.reload()
        return databases.consumer_rows(database, statement)

    def table_families(rows: ConsumerRows) -> Iterator[Metric]:
        yield from database_families.consumer_families(agreed.names, rows, quota)

    def topics() -> broker_families.ReadTopics:
        known = known_here(agreed.topics, catalog)
        return read.look(agency, agreed.agreements, known)

    def topic_families(found: broker_families.ReadTopics) -> Iterator[Metric]:
        yield from broker_families.read_families(found, clock.now())

    return [
        Look(_DATABASE, tables, table_families, timeouts.metrics.database, clock),
        Look(_BROKERS, topics, topic_families, timeouts.metrics.brokers, clock),
    ]
