"""A relay that blocks after Kafka has confirmed its messages and before the database says so.

It prints how many messages it has sent and waits to be killed. Arguments: folder with agreement and
key, URL of the database, address of Kafka, agency.
"""

from __future__ import annotations

import sys
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING

from sinergi.cli.logs import set_up
from sinergi_producers.relay.factory import RelaySetup, build_relay
from sinergi_producers.relay.store import OutboxStore
from sinergi_producers.relay.term import Identity
from sinergi_schemas.agreements.collection import Agreements
from sinergi_schemas.catalog import Catalog
from sinergi_schemas.kafka import Connection
from sinergi_schemas.seal.keys import SigningKey
from sinergi_schemas.timeouts import RelayTimeouts, Timeouts

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sinergi_producers.relay.sealing import TreeUpdate

TERM_SECONDS = 5.0


class StoreWithoutMarks(OutboxStore):
    """Blocks for ever instead of marking rows as sent."""

    def mark_sent(self, updates: Iterable[TreeUpdate]) -> None:
        print(sum(len(each.rows) for each in updates), flush=True)  # noqa: T201 - for the test
        Event().wait()


def main(folder: Path, url: str, kafka: str, agency: str) -> None:
    set_up("info", as_json=False)
    agreements = Agreements.load(folder)
    key = SigningKey.load(folder / "own.key")
    identity = Identity(agency, [key], lambda: agreements)
    timeouts = Timeouts(relay=RelayTimeouts(lease=TERM_SECONDS))
    setup = RelaySetup(identity, url, Connection(kafka), Catalog.shipped(), timeouts)
    build_relay(setup, store_class=StoreWithoutMarks).run(Event())


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
