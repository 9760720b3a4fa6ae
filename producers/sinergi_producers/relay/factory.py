"""Builds a relay: for the command, for tests and for benchmarks alike."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sinergi_producers.relay.loop import Relay
from sinergi_producers.relay.receipt_history import ReceiptHistory
from sinergi_producers.relay.receipt_store import ReceiptStore
from sinergi_producers.relay.store import OutboxStore
from sinergi_producers.relay.term import TermSetup
from sinergi_schemas.clock import SYSTEM
from sinergi_schemas.observer import UNOBSERVED
from sinergi_schemas.timeouts import DEFAULT

if TYPE_CHECKING:
    from sinergi_producers.relay.term import Identity
    from sinergi_schemas.catalog import Catalog
    from sinergi_schemas.clock import Clock
    from sinergi_schemas.kafka import Connection
    from sinergi_schemas.observer import Observer
    from sinergi_schemas.timeouts import Timeouts


@dataclass(frozen=True, slots=True)
class RelaySetup:
    """What a relay needs, and a recovery of its database.

    Attributes:
        database: where the agency's outbox is; see `sinergi_schemas.postgresql.address`.
        timeouts: how often the relay looks, and how long it waits for what.
    """

    identity: Identity
    database: str
    connection: Connection
    catalog: Catalog
    timeouts: Timeouts = DEFAULT
    clock: Clock = SYSTEM


def build_relay(
    setup: RelaySetup,
    *,
    store_class: type[OutboxStore] = OutboxStore,
    observer: Observer = UNOBSERVED,
) -> Relay:
    """A relay that has not begun.

    Args:
        store_class: a subclass to use instead, for example in a benchmark that records times.
        observer: is told what the relay does.
    """
    store = store_class(setup.database, setup.timeouts)
    terms = TermSetup(
        setup.identity,
        store,
        setup.connection,
        setup.catalog,
        setup.clock,
        setup.timeouts.relay,
    )
    receipts = ReceiptHistory(
        setup.identity.agency,
        setup.connection,
        ReceiptStore(setup.database, setup.timeouts.database),
        setup.clock,
        setup.timeouts.relay,
    )
    return Relay(
        terms,
        store,
        receipts,
        clock=setup.clock,
        timeouts=setup.timeouts.relay,
        observer=observer,
    )
