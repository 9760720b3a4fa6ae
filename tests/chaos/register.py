"""The agency's own register: each of its transactions writes a row of its own and publishes an
event, both or neither. These rows are what the judge believes; nothing of Sinergi writes them.

Sometimes a transaction is rolled back at its end, on purpose, as the agency's systems do.
"""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Self

import sqlalchemy as sa

from agency_pair import transfer
from chaos.timing import drawn
from sinergi_schemas.events import Unit

if TYPE_CHECKING:
    from concurrent.futures import Future
    from random import Random

    from sinergi_producers.outbox.publishing import Outbox

TABLES = """
    CREATE SCHEMA register;
    CREATE TABLE register.record (record_id text PRIMARY KEY, movements integer NOT NULL);
    CREATE TABLE register.movement (
        event_id uuid PRIMARY KEY, record_id text NOT NULL, number integer NOT NULL,
        said text NOT NULL, guards integer NOT NULL, UNIQUE (record_id, number));
"""
_COUNT = sa.text(
    "INSERT INTO register.record AS r VALUES (:record, 1) ON CONFLICT (record_id)"
    " DO UPDATE SET movements = r.movements + 1 RETURNING movements"
)
_NOTE = sa.text("INSERT INTO register.movement VALUES (:event, :record, :number, :said, :guards)")
_ROLLED_BACK = 0.05
_MOST_IN_ONE = 4
_MOST_GUARDS = 4
_PAUSE_SECONDS = 0.2


class RolledBack(Exception):
    """The agency has changed its mind."""


class Register:
    """The register of one agency, in the database from which it publishes."""

    def __init__(self, engine: sa.Engine, outbox: Outbox) -> None:
        self.engine = engine
        self._outbox = outbox

    def prepare(self) -> None:
        """Make its tables."""
        with self.engine.begin() as connection:
            connection.execute(sa.text(TABLES))

    def move(
        self, connection: sa.Connection, record: str, said: str, guards: int = 1, **more: Any
    ) -> None:
        """Note a movement and publish it, in the caller's transaction.

        Args:
            said: free text, by which the judge knows the event's contents again.
            guards: how many guards go along: rows of a child table at the reader.
            more: what else the event says.
        """
        number = connection.execute(_COUNT, {"record": record}).scalar_one()
        event = transfer(
            record,
            "RECORDED" if number == 1 else "CORRECTED",
            origin=Unit(name=said),
            escort=tuple({"escort_agency": f"Brimob {at}", "count": 1} for at in range(guards)),
            **more,
        )
        self._outbox.publish(connection, event)
        noted = {"event": event.event_id, "record": record, "number": number}
        connection.execute(_NOTE, {**noted, "said": said, "guards": guards})

    def committed(self) -> int:
        """How many movements there are."""
        with self.engine.connect() as connection:
            count = connection.execute(sa.text("SELECT count(*) FROM register.movement"))
            return int(count.scalar_one())


class Load:
    """Writers that keep committing to a register, whatever is away, as far as they are allowed.

    Args:
        records: so many records the events are about; fewer records, more revisions.
    """

    def __init__(self, register: Register, seed: str, records: int, writers: int = 2) -> None:
        self._register = register
        self._seeds = [f"{seed}/{number}" for number in range(writers)]
        self._records = records
        self._threads = ThreadPoolExecutor(writers, "writer")
        self._running: list[Future[None]] = []
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._allowed = 0
        self._waiting = 0

    def __enter__(self) -> Self:
        self._running = [self._threads.submit(self._write, drawn(each)) for each in self._seeds]
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._threads.shutdown()
        for each in self._running:
            each.result()

    def allow(self, events: int) -> None:
        """Let so many more events be written."""
        with self._lock:
            self._allowed += events
            self._waiting += events

    @property
    def waiting(self) -> int:
        """How many of the allowed events are not committed."""
        return self._waiting

    def _write(self, rng: Random) -> None:
        while not self._stopping.is_set():
            events = self._take(rng.randint(1, _MOST_IN_ONE))
            if not events:
                self._stopping.wait(_PAUSE_SECONDS / 4)
                continue
            # One order in each transaction: these writers are not about deadlocks.
            records = sorted(f"M/{rng.randrange(self._records)}" for _ in range(events))
            while not self._commit(records, rng):
                if self._stopping.wait(_PAUSE_SECONDS / 4):
                    return
            with self._lock:
                self._waiting -= events

    def _take(self, most: int) -> int:
        with self._lock:
            taken = min(most, self._allowed)
            self._allowed -= taken
            return taken

    def _commit(self, records: list[str], rng: Random) -> bool:
        """One transaction; False if it did not commit and shall be tried again."""
        try:
            with self._register.engine.begin() as connection:
                for record in records:
                    said = f"Lapas {rng.randrange(10**9)}"
                    self._register.move(connection, record, said, rng.randrange(_MOST_GUARDS))
                if rng.random() < _ROLLED_BACK:
                    raise RolledBack  # noqa: TRY301 - that is how a transaction is rolled back
        except (sa.exc.DBAPIError, RolledBack):
            return False
        return True
