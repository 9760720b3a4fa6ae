"""`sinergi materialise`: the events of other agencies into this agency's database, for ever."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sinergi.cli import root
from sinergi.cli.native_output import logged_native_output
from sinergi.signals import stopping as on_signals
from sinergi_schemas import errors

if TYPE_CHECKING:
    from threading import Event

    from sinergi.settings.settings import Settings
    from sinergi_consumers.materialise.loop import Materialiser


def materialise() -> None:
    """Turn what other agencies publish into rows of this agency's database, exactly once.

    It runs until SIGTERM or Ctrl-C, then finishes what the database has in hand. Start as many as
    you like: they share the partitions among them.

    Example: sinergi --config /etc/sinergi/sinergi.toml materialise
    """
    settings = root.settings()
    settings.connection()  # with the password, which a pipe may hold: while signals still raise
    stopping = on_signals()
    with logged_native_output():
        assemble(settings, stopping).run(stopping)


def assemble(settings: Settings, stopping: Event) -> Materialiser:
    """A materialiser out of settings.

    Raises:
        SettingsRefused: a setting is missing, or the agency is party to no agreement.
        AgreementRefused: the agreements cannot be used.
        NothingToRead: they let this agency read nothing.
        EventTypeUnknown: this version knows no event type that they let it read.
    """
    from sinergi_consumers.bus import Bus  # noqa: PLC0415
    from sinergi_consumers.materialise.assignment import Assignment  # noqa: PLC0415 - heavy: not for --help
    from sinergi_consumers.materialise.loaded_agreements import known_here  # noqa: PLC0415
    from sinergi_consumers.materialise.loop import Materialiser  # noqa: PLC0415
    from sinergi_consumers.materialise.receipts import Receipts  # noqa: PLC0415
    from sinergi_consumers.materialise.store import Store  # noqa: PLC0415
    from sinergi_consumers.projections.projection import projections_of  # noqa: PLC0415
    from sinergi_consumers.sinks.postgresql.sink import PostgresqlSink  # noqa: PLC0415
    from sinergi_schemas.catalog import Catalog  # noqa: PLC0415
    from sinergi_schemas.clock import SYSTEM  # noqa: PLC0415

    agreements, connection, catalog = (
        settings.agreements(),
        settings.connection(),
        Catalog.shipped(),
    )
    settings.check_party(agreements)
    agreed = agreements.read_by(settings.agency)
    if not agreed:
        raise errors.NothingToRead(str(settings.values.agreements), settings.agency)
    topics = known_here(agreed, catalog)
    if not topics:
        raise errors.EventTypeUnknown(agreed[0].event_type, ", ".join(catalog.event_types))
    projections = projections_of(catalog, (each.event_type for each in topics))
    quota = settings.values.consumer.quarantine_bytes
    sink = PostgresqlSink(settings.consumer_database, projections, quota)
    key = settings.receipt_key(agreements)
    counts = {each.name: agreements.partitions(each) for each in topics}
    group = f"{settings.agency}.{settings.consumer_name}"
    return Materialiser(
        Assignment(connection, group, counts),
        Store(sink, projections, key, SYSTEM, stopping),
        Receipts(settings.agency, settings.consumer_name, connection),
        Bus(connection, agreements, catalog, settings.agency, settings.agreements),
        SYSTEM,
    )
