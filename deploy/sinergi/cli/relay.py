"""`sinergi relay`: seal what the outbox holds and send it to the topics, until it is stopped."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sinergi.cli import root
from sinergi.cli.monitoring import Listen, observed
from sinergi.settings.model import BusRole
from sinergi.signals import stopping as on_signals
from sinergi_schemas import errors

if TYPE_CHECKING:
    from sinergi.settings.settings import Settings
    from sinergi_producers.relay.factory import RelaySetup
    from sinergi_schemas.seal.keys import SigningKey


def relay(listen: Listen = None) -> None:
    """Seal and send what this agency publishes, in the order in which it was published.

    It runs until SIGTERM or Ctrl-C, then seals nothing more and sends what is sealed. One relay
    leads; start a second one on another machine, and it takes over when the first is gone. What it
    cannot send when it is stopped waits for the next start.

    Example: sinergi --config /etc/sinergi/sinergi.toml relay
    """
    settings = root.settings()
    # Reads the password, perhaps from a pipe, while signals still interrupt.
    settings.connection(BusRole.PRODUCER)
    agreements = settings.agreements()
    settings.check_party(agreements)
    if not agreements.published_by(settings.agency):
        raise errors.NothingToPublish(str(settings.values.agreements), settings.agency)
    stopping = on_signals()
    from sinergi_producers.relay.factory import build_relay  # noqa: PLC0415 - may start threads

    with observed("relay", listen, settings) as observer:
        build_relay(setup_of(settings), observer=observer).run(stopping)


def setup_of(settings: Settings) -> RelaySetup:
    """The values that a relay needs, from the settings.

    Raises:
        SettingsRefused: a setting is missing, or no private key is there whose public half an
            agreement shows.
        AgreementRefused: the agreements cannot be used.
    """
    from sinergi_producers.relay.factory import RelaySetup  # noqa: PLC0415 - heavy: not for --help
    from sinergi_producers.relay.term import Identity  # noqa: PLC0415
    from sinergi_schemas.catalog import Catalog  # noqa: PLC0415

    def keys() -> list[SigningKey]:
        return settings.signing_keys(settings.agreements())

    return RelaySetup(
        Identity(settings.agency, keys(), settings.agreements, keys),
        settings.producer_database,
        settings.connection(BusRole.PRODUCER),
        Catalog.shipped(),
        settings.values.timeouts,
    )
