"""The bytes of events in quarantine: shown, and tried again, whether they are kept or not."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any

from sinergi.cli import root
from sinergi.settings.model import BusRole
from sinergi_consumers.decode import agreement_check, decoder, published_schemas
from sinergi_consumers.projections import projection
from sinergi_consumers.quarantine import leaf_reading, retry
from sinergi_consumers.quarantine.admin import Contents, QuarantineState
from sinergi_consumers.reading import source
from sinergi_consumers.sinks import protocol
from sinergi_consumers.sinks.postgresql import sink
from sinergi_schemas import catalog, errors
from sinergi_schemas.postgresql import stored
from sinergi_schemas.topics import TopicPartition

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sinergi.settings.settings import Settings
    from sinergi_consumers.decode.published_schemas import PublishedSchemas
    from sinergi_consumers.quarantine.admin import Quarantine, Quarantined
    from sinergi_consumers.quarantine.retry import RetryOutcome
    from sinergi_consumers.reading.source import KafkaSource
    from sinergi_consumers.sinks.protocol import Decision, QuarantineKey


def contents(quarantine: Quarantine, row: Quarantined) -> Contents:
    """Key and datum of a row, read from the topic if quarantine does not keep them.

    Raises:
        LeafNotRead: the topic does not have them either.
    """
    found = all_contents(quarantine, [row])[row.id]
    if found is None:
        raise _not_read(row)
    return found


def all_contents(quarantine: Quarantine, rows: Sequence[Quarantined]) -> dict[int, Contents | None]:
    """Key and datum of each row, by its id; None where neither quarantine nor topic has them."""
    found = {row.id: quarantine.contents(row.id) for row in rows}
    missing: dict[TopicPartition, list[Quarantined]] = {}
    for row in rows:
        if found[row.id] is None:
            missing.setdefault(_tp(row), []).append(row)
    for tp, without in missing.items():
        wanted = {row.leaf_index: bytes.fromhex(row.leaf_hash) for row in without}
        read = leaf_reading.LeafReading(_source).read(tp, wanted)
        found |= {
            row.id: Contents(leaf.key, leaf.datum)
            for row in without
            if (leaf := read.get(row.leaf_index))
        }
    return found


def add_contents(
    quarantine: Quarantine, rows: Sequence[Quarantined], documents: Sequence[dict[str, Any]]
) -> list[errors.LeafNotRead]:
    """Add key and datum in hex to the documents of rows; the errors for those that have none."""
    found = all_contents(quarantine, rows)
    for row, document in zip(rows, documents, strict=True):
        if kept := found[row.id]:
            document |= {"key": kept.key.hex(), "datum": kept.datum.hex()}
    return [_not_read(row) for row in rows if found[row.id] is None]


def _not_read(row: Quarantined) -> errors.LeafNotRead:
    return errors.LeafNotRead(row.topic, row.partition, row.leaf_index)


def _source() -> KafkaSource:
    return source.KafkaSource(root.settings().connection(BusRole.CONSUMER))


def retried(rows: Sequence[Quarantined], decision: Decision) -> list[RetryOutcome]:
    """Try rows again; what came of each.

    Raises:
        SettingsRefused: the topic has to be read, and no setting says where the brokers are.
        ProjectionRefused: a projection is not installed here.
    """
    settings, known = root.settings(), catalog.Catalog.shipped()
    if not all(each.kept or each.state == QuarantineState.RETRIED for each in rows):
        settings.connection(BusRole.CONSUMER)  # before anything is done
    entries = [_entry(each) for each in rows]
    agreed = agreement_check.AgreementCheck(settings.agreements(), settings.agency)
    projections = projection.projections_of(
        known, (each.tp.event_topic.event_type for each in entries)
    )
    quota, timeouts = settings.values.consumer.quarantine_bytes, settings.values.timeouts
    database = settings.consumer_database
    with closing(sink.PostgresqlSink(database, projections, quota, timeouts.database)) as target:
        target.check()
        decoders = decoder.Decoders(known, agreed, _published(settings, known))
        reading = leaf_reading.LeafReading(_source)
        retrying = retry.QuarantineRetry(target, projections, decoders, reading)
        return list(retrying.retry(entries, decision))


def _published(settings: Settings, known: catalog.Catalog) -> PublishedSchemas | None:
    """Schemas that are not installed; None if no setting says where the brokers are."""
    try:
        settings.connection(BusRole.CONSUMER)
    except errors.SettingsRefused:
        return None
    return published_schemas.PublishedSchemas(_source, known)


def _entry(row: Quarantined) -> QuarantineKey:
    return protocol.QuarantineKey(row.projection, _tp(row), row.leaf_index)


def _tp(row: Quarantined) -> TopicPartition:
    topic = stored.topic(row.topic, "sinergi_consumer.quarantine", f"of id {row.id}")
    return TopicPartition(topic.name, row.partition)
