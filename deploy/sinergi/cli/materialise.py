"""`sinergi materialise`: turn other agencies' events into rows of this agency's database."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sinergi.cli import root
from sinergi.cli.monitoring import Listen, observed
from sinergi.cli.native_output import logged_native_output
from sinergi.settings.model import BusRole
from sinergi.signals import stopping as on_signals
from sinergi_schemas import errors

if TYPE_CHECKING:
    from sinergi.settings.settings import Settings
    from sinergi_consumers.materialise.factory import MaterialiserSetup


def materialise(listen: Listen = None) -> None:
    """Turn what other agencies publish into rows of this agency's database, exactly once.

    It runs until SIGTERM or Ctrl-C, then finishes the batch that the database is writing. Start as
    many as you like: they share the partitions among them.

    Example: sinergi --config /etc/sinergi/sinergi.toml materialise
    """
    settings = root.settings()
    # Reads the password, perhaps from a pipe, while signals still interrupt.
    settings.connection(BusRole.CONSUMER)
    stopping = on_signals()
    # polars starts threads when it is imported, and they must have the signals blocked as well.
    from sinergi_consumers.materialise.factory import build_materialiser  # noqa: PLC0415

    with logged_native_output():
        setup = setup_of(settings)
        with observed("materialise", listen, settings) as observer:
            build_materialiser(setup, stopping, observer=observer).run(stopping)


def setup_of(settings: Settings) -> MaterialiserSetup:
    """The values that a materialiser needs, from the settings.

    Raises:
        SettingsRefused: a setting is missing, or the agency is party to no agreement.
        AgreementRefused: the agreements cannot be used.
        NothingToRead: the agreements let this agency read nothing.
        EventTypeUnknown: this version knows no event type that they let it read.
    """
    from sinergi_consumers.bus import Bus  # noqa: PLC0415 - heavy: not for --help
    from sinergi_consumers.materialise.factory import MaterialiserSetup  # noqa: PLC0415
    from sinergi_consumers.materialise.loaded_agreements import known_here  # noqa: PLC0415
    from sinergi_consumers.projections.projection import projections_of  # noqa: PLC0415
    from sinergi_consumers.reading.source import KafkaSource  # noqa: PLC0415
    from sinergi_schemas.catalog import Catalog  # noqa: PLC0415

    agreements, catalog = settings.agreements(), Catalog.shipped()
    settings.check_party(agreements)
    agreed = agreements.read_by(settings.agency)
    if not agreed:
        raise errors.NothingToRead(str(settings.values.agreements), settings.agency)
    topics = known_here(agreed, catalog)
    if not topics:
        raise errors.EventTypeUnknown(agreed[0].event_type, catalog.event_types)
    connection = settings.connection(BusRole.CONSUMER)
    source = KafkaSource(connection)
    return MaterialiserSetup(
        Bus(source, agreements, catalog, settings.agency, settings.agreements),
        connection,
        topics,
        settings.consumer_database,
        settings.consumer_name,
        settings.receipt_key(agreements),
        projections_of(catalog, (each.event_type for each in topics)),
        settings.values.consumer.quarantine_bytes,
        settings.values.timeouts,
    )
