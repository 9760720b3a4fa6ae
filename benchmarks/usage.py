"""What running processes take of the machine."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from threading import Event, Thread
from typing import TYPE_CHECKING, Self

import psutil

from sinergi_schemas.clock import SYSTEM

if TYPE_CHECKING:
    from sinergi.local import Local

_LOOK_SECONDS = 0.1
_MIB = 2**20

BROKER, DATABASE, READER = "broker", "database", "reader"

Cores = Mapping[str, float]  # processor seconds a second, by who took them


class Meter:
    """Measures broker, database server and one reader from now on.

    Args:
        reader: the id of its process.
    """

    def __init__(self, local: Local, reader: int) -> None:
        status = local.status()
        pids = {BROKER: status.brokers[0].pid, DATABASE: status.postgresql.pid, READER: reader}
        self._pids = {who: pid for who, pid in pids.items() if pid is not None}
        self._before = self._seconds()
        self._since = SYSTEM.monotonic()

    def cores(self) -> Cores:
        """What each has taken since the meter was made."""
        seconds = SYSTEM.monotonic() - self._since
        return {
            who: (after - self._before[who]) / seconds for who, after in self._seconds().items()
        }

    def _seconds(self) -> Mapping[str, float]:
        return {who: cpu_seconds(pid) for who, pid in self._pids.items()}


class PeakMemory:
    """The most memory that a process and its children have had together while the block ran.

    What they share counts once: the shares of PSS (proc(5)) are added up, ten times a second.

    Attributes:
        mib: the most so far.
    """

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._is_over = Event()
        self._looking = Thread(target=self._look)
        self.mib = 0.0

    def __enter__(self) -> Self:
        self._looking.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._looking.join()

    def _look(self) -> None:
        while not self._is_over.wait(_LOOK_SECONDS):
            with suppress(psutil.NoSuchProcess):  # it may end meanwhile
                pss = sum(each.memory_full_info().pss for each in _family(self._pid))
                self.mib = max(self.mib, pss / _MIB)


def cpu_seconds(pid: int) -> float:
    """The processor time of a process, of its children, and of those that have ended before it."""
    process, *children = _family(pid)
    # Its own and that of ended children; the fifth figure is time that it waited for a disk.
    ended_too = sum(process.cpu_times()[:4])
    return ended_too + sum(sum(each.cpu_times()[:2]) for each in children)


def _family(pid: int) -> list[psutil.Process]:
    """A process, and all of its children and theirs."""
    process = psutil.Process(pid)
    return [process, *process.children(recursive=True)]
