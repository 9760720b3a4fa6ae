"""The outbox that a command changes as its owner."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sinergi.settings.model import BusRole
from sinergi_producers.outbox import ownership

if TYPE_CHECKING:
    from sinergi.settings.settings import Settings


def owned_outbox(settings: Settings) -> str:
    """Where the owner of this agency's outbox logs in.

    Raises:
        OwnerDatabaseRefused: it is not the database of `producer.database`, or another agency's.
    """
    values = settings.values
    url = settings.producer_database if values.producer.database else None
    address = settings.owner_database(BusRole.PRODUCER)
    ownership.check_owned_outbox(address, url, values.agency or None, values.timeouts.database)
    return address
