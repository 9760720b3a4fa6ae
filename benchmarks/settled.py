"""What lists and status take once much is settled, beside a database with none of it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
from results import Figure, median

sys.path.append(str(Path(__file__).parents[1] / "tests"))

from settled_rows import statements
from sinergi import migrate
from sinergi.status import databases
from sinergi_consumers.quarantine.admin import UNSETTLED, Quarantine, QuarantineFilter
from sinergi_producers.outbox.pending import pending_rows
from sinergi_schemas.clock import SYSTEM
from sinergi_schemas.postgresql.address import conninfo

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from sinergi.local import Local

ROWS = 500_000
ROUNDS = 15
_MOST_SHOWN = 100


def measure(local: Local) -> Iterator[Figure]:
    """How many times longer each takes with so many settled rows."""
    url = local.database("scale_lists")
    for role in migrate.Role:
        migrate.upgrade(url, role)
    empty = _times(url)
    with psycopg.connect(conninfo(url), autocommit=True) as connection:
        for each in statements(ROWS):
            connection.execute(each)
        connection.execute("VACUUM ANALYZE")
    for name, seconds in _times(url).items():
        yield Figure(f"scale.list_{name}_to_empty", seconds / empty[name], "times")


def _times(url: str) -> Mapping[str, float]:
    quarantine = Quarantine(url)
    looks: dict[str, Callable[[], object]] = {
        "outbox": lambda: pending_rows(url, None, _MOST_SHOWN),
        "quarantine": lambda: quarantine.rows(QuarantineFilter(states=UNSETTLED), _MOST_SHOWN),
        "publisher_status": lambda: databases.producer_rows(url),
        "reader_status": lambda: databases.consumer_rows(url),
    }
    return {name: median(_seconds(look) for _ in range(ROUNDS)) for name, look in looks.items()}


def _seconds(look: Callable[[], object]) -> float:
    began = SYSTEM.monotonic()
    look()
    return SYSTEM.monotonic() - began
