"""`sinergi relay`: what the outbox holds, sealed and onto the bus, for ever."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sinergi.cli import root
from sinergi.signals import stopping as on_signals

if TYPE_CHECKING:
    from sinergi.settings.settings import Settings
    from sinergi_producers.relay.loop import Relay
    from sinergi_schemas.seal.keys import SigningKey


def relay() -> None:
    """Seal and send what this agency publishes, in the order in which it was published.

    It runs until SIGTERM or Ctrl-C, then seals nothing more and sends what is sealed. One relay
    leads; start a second one on another machine, and it takes over when the first is gone.

    Example: sinergi --config /etc/sinergi/sinergi.toml relay
    """
    settings = root.settings()
    settings.connection()  # with the password, which a pipe may hold: while signals still raise
    stopping = on_signals()
    assemble(settings).run(stopping)


def assemble(settings: Settings) -> Relay:
    """A relay out of settings.

    Raises:
        SettingsRefused: a setting is missing, or no key is there that an agreement knows.
        AgreementRefused: the agreements cannot be used.
    """
    from sinergi_producers.relay.loop import Identity, Relay  # noqa: PLC0415
    from sinergi_producers.relay.store import Backlog  # noqa: PLC0415 - heavy: not for --help
    from sinergi_schemas.catalog import Catalog  # noqa: PLC0415

    def keys() -> list[SigningKey]:
        return settings.signing_keys(settings.agreements())

    return Relay(
        Identity(settings.agency, keys(), settings.agreements, keys),
        Backlog(settings.producer_database),
        settings.connection(),
        Catalog.shipped(),
    )
