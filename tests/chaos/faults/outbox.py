"""The outbox under 16 writers, a relay reading it: rollbacks, deadlocks, long transactions."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from enum import Enum, auto
from functools import partial
from typing import TYPE_CHECKING

import sqlalchemy as sa

from chaos.chaos_bus import chaos_bus, stop_all
from chaos.register import RolledBack
from chaos.report import Report
from chaos.timing import drawn, go_on, pause

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from random import Random

    from chaos.chaos_bus import Scale
    from chaos.register import Register
    from chaos.services import Services

_RECORDS = 400
_CONTESTED = 10
_MEETING_SECONDS = 60.0
_LONGEST_SECONDS = 3.0
_DEADLOCK = "40P01"


class Kind(Enum):
    """What a transaction does."""

    PLAIN = auto()
    ROLLED_BACK = auto()
    CROSSED = auto()
    LONG = auto()


_SHARES = {Kind.PLAIN: 80, Kind.ROLLED_BACK: 10, Kind.CROSSED: 9.8, Kind.LONG: 0.2}


@dataclass
class Tally:
    """How the transactions of one writer ended."""

    committed: int = 0
    rolled_back: int = 0
    deadlocks: int = 0
    long: int = 0


_COUNTED = {
    "committed": "",
    "rolled_back": "transaction rolled back",
    "deadlocks": "deadlock",
    "long": "transaction of seconds",
}
"""Each of these numbers must not be 0; those with words are faults."""


@dataclass(frozen=True)
class Duel:
    """What one of two writers does so that PostgreSQL must roll one of them back."""

    writer: int
    records: tuple[str, str]
    meeting: threading.Barrier


def duels(writers: int) -> list[Duel]:
    """Each writer's: of every two, both take the same records, each the other's last one first."""
    found = []
    for number in range(0, writers - 1, 2):
        one, other = f"D/{number}", f"D/{number + 1}"
        meeting = threading.Barrier(2, timeout=_MEETING_SECONDS)
        found += [
            Duel(number, (one, other), meeting),
            Duel(number + 1, (other, one), meeting),
        ]
    return found


def run(services: Services, folder: Path, seed: str, scale: Scale) -> Report:
    """`scale.events` transactions by `scale.rounds` writers."""
    report = Report(f"outbox with {scale.rounds} writers")
    with chaos_bus(services, folder) as bus:
        relay, materialiser = bus.relay(), bus.materialiser()
        bus.until_leads()
        writing = _Writing(bus.register, scale.events)
        with closing(writing), ThreadPoolExecutor(scale.rounds, "writer") as threads:
            tallies = list(threads.map(partial(writing.run, seed), duels(scale.rounds)))
        bus.settle(report)
        stop_all(report, relay, materialiser)
        for name, kind in _COUNTED.items():
            count = sum(getattr(each, name) for each in tallies)
            if not count:
                report.problems.append(f"nothing was proved: no transaction was {name}")
            if kind:
                report.in_data[kind] += count
    return report


class _Writing:
    """Transactions, until so many have been tried."""

    def __init__(self, register: Register, transactions: int) -> None:
        self._register = register
        self._left = transactions
        self._lock = threading.Lock()
        # Deadlocks are what this is about: let PostgreSQL look for them sooner than after 1 s.
        self._engine = sa.create_engine(
            register.engine.url,
            poolclass=sa.QueuePool,
            pool_size=64,
            connect_args={"options": "-c deadlock_timeout=20ms"},
        )

    def run(self, seed: str, duel: Duel) -> Tally:
        """One writer."""
        tally, rng = Tally(), drawn(seed, "outbox", duel.writer)
        with self._engine.connect() as connection:
            with self._counted(Kind.CROSSED, tally), connection.begin():
                self._move(connection, rng, duel.records[0])
                duel.meeting.wait()
                self._move(connection, rng, duel.records[1])
            for kind in self._kinds(rng):
                self._transact(connection, rng, kind, tally)
        return tally

    def close(self) -> None:
        """Give the connections back."""
        self._engine.dispose()

    def _kinds(self, rng: Random) -> Iterator[Kind]:
        """One of each kind to begin with, then as chance will have it."""
        first = list(Kind)
        while self._take():
            yield first.pop() if first else rng.choices(list(_SHARES), list(_SHARES.values()))[0]

    def _take(self) -> bool:
        go_on()
        with self._lock:
            self._left -= 1
            return self._left >= 0

    def _transact(self, connection: sa.Connection, rng: Random, kind: Kind, tally: Tally) -> None:
        crossed = kind is Kind.CROSSED
        records = rng.sample(range(_CONTESTED), 2) if crossed else [rng.randrange(_RECORDS)]
        with self._counted(kind, tally), connection.begin():
            for record in records:
                self._move(connection, rng, f"M/{record}")
            if kind is Kind.LONG:
                pause(rng.uniform(0, _LONGEST_SECONDS))
            if kind is Kind.ROLLED_BACK:
                raise RolledBack

    def _move(self, connection: sa.Connection, rng: Random, record: str) -> None:
        self._register.move(connection, record, f"Lapas {rng.randrange(10**9)}")

    @contextmanager
    def _counted(self, kind: Kind, tally: Tally) -> Iterator[None]:
        """Count how the transaction inside ends."""
        try:
            yield
        except RolledBack:
            tally.rolled_back += 1
        except sa.exc.OperationalError as why:
            if getattr(why.orig, "sqlstate", None) != _DEADLOCK:
                raise
            tally.deadlocks += 1
        else:
            tally.committed += 1
            tally.long += kind is Kind.LONG
