"""What `sinergi quarantine` does with bytes: shows them and tries them again, kept or not."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any

from sinergi.cli import root
from sinergi_consumers.quarantined import Contents, State
from sinergi_schemas import errors, stored

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sinergi_consumers.leaf_reading import LeafReading
    from sinergi_consumers.quarantined import Quarantine, Quarantined
    from sinergi_consumers.retrying import Decision, Entry, Outcome
    from sinergi_schemas.topics import Topic


def contents(quarantine: Quarantine, row: Quarantined) -> Contents:
    """Key and datum of a row, read again from the topic where they are not kept.

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
    missing: dict[tuple[str, int], list[Quarantined]] = {}
    for row in rows:
        if found[row.id] is None:
            missing.setdefault((_topic(row).name, row.partition), []).append(row)
    for (topic, partition), without in missing.items():
        wanted = {row.leaf_index: bytes.fromhex(row.leaf_hash) for row in without}
        read = _reading().read(topic, partition, wanted)
        found |= {
            row.id: Contents(leaf.key, leaf.datum)
            for row in without
            if (leaf := read.get(row.leaf_index))
        }
    return found


def add_contents(
    quarantine: Quarantine, rows: Sequence[Quarantined], told: Sequence[dict[str, Any]]
) -> list[errors.LeafNotRead]:
    """Add key and datum in hex to what is told of rows; why those are missing that are."""
    found = all_contents(quarantine, rows)
    for row, each in zip(rows, told, strict=True):
        if kept := found[row.id]:
            each |= {"key": kept.key.hex(), "datum": kept.datum.hex()}
    return [_not_read(row) for row in rows if found[row.id] is None]


def _not_read(row: Quarantined) -> errors.LeafNotRead:
    return errors.LeafNotRead(row.topic, row.partition, row.leaf_index)


def _reading() -> LeafReading:
    from sinergi_consumers.leaf_reading import LeafReading  # noqa: PLC0415 - heavy: not for list

    return LeafReading(root.settings().connection)


def retried(rows: Sequence[Quarantined], decision: Decision) -> list[Outcome]:
    """Try rows again; what came of each.

    Raises:
        SettingsRefused: the topic is wanted, and nobody said where the brokers are.
        ProjectionRefused: a projection is not installed here.
    """
    from sinergi_consumers.agreed import Agreed  # noqa: PLC0415 - heavy: not for list and show
    from sinergi_consumers.decoding import Decoders  # noqa: PLC0415
    from sinergi_consumers.projection import projections_of  # noqa: PLC0415
    from sinergi_consumers.retrying import Retrial  # noqa: PLC0415
    from sinergi_consumers.sinks.postgresql import PostgresqlSink  # noqa: PLC0415
    from sinergi_schemas.catalog import Catalog  # noqa: PLC0415

    settings, catalog = root.settings(), Catalog.shipped()
    if not all(each.kept or each.state == State.RETRIED for each in rows):
        settings.connection()  # before anything is done
    entries = [_entry(each) for each in rows]
    agreed = Agreed(settings.agreements(), settings.agency)
    projections = projections_of(catalog, (each.topic.event_type for each in entries))
    quota = settings.values.consumer.quarantine_bytes
    with closing(PostgresqlSink(settings.consumer_database, projections, quota)) as sink:
        sink.check()
        retrial = Retrial(sink, projections, Decoders(catalog, agreed), _reading())
        return list(retrial.retry(entries, decision))


def _entry(row: Quarantined) -> Entry:
    from sinergi_consumers.retrying import Entry  # noqa: PLC0415 - heavy: not for list and show

    return Entry(row.projection, _topic(row), row.partition, row.leaf_index)


def _topic(row: Quarantined) -> Topic:
    return stored.topic(row.topic, "sinergi_consumer.quarantine", f"of id {row.id}")
