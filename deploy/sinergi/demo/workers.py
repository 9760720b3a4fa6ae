"""The relays and materialisers of the demo: the real processes, started, killed and stopped by pid.

They are leashed: if the demo dies for any reason, they die too.
"""

from __future__ import annotations

import signal
import sys
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Self

import psutil

from sinergi.demo.errors import DemoFailed
from sinergi.local.process import Program
from sinergi_schemas.clock import SYSTEM

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from sinergi.demo.agencies import Agency, DemoBus

_LOOK_SECONDS = 0.1
# No promise: a process that ends is noticed at once; a working one may be slow on a busy machine.
_READY_SECONDS = 300.0

_LEADS = "SELECT FROM sinergi_producer.lease WHERE holder IS NOT NULL"
_CLAIMED = "SELECT DISTINCT topic, partition FROM sinergi_consumer.position"
_PATIENCE_SECONDS = 60.0


class WorkerCommand(StrEnum):
    """What a process does for its agency: the name of its command."""

    RELAY = "relay"
    MATERIALISE = "materialise"


@dataclass(frozen=True, slots=True)
class _Worker:
    process: psutil.Process
    log: Path


class Workers:
    """The processes of all agencies. Leaving the block ends those that still run.

    Args:
        logs: a folder for their logs.
        check: raises KeyboardInterrupt if the demo has to stop.
    """

    def __init__(self, logs: Path, check: Callable[[], None]) -> None:
        self._logs = logs
        self._check_stop = check
        self._running: dict[tuple[str, WorkerCommand], _Worker] = {}

    def __enter__(self) -> Self:
        self._logs.mkdir(exist_ok=True)
        return self

    def __exit__(self, *_: object) -> None:
        self._ask_to_stop()
        self._end()

    def start(self, agency: Agency, work: WorkerCommand) -> int:
        """Start a process and return its pid. It dies with the calling thread."""
        log = self._logs / f"{agency.slug}.{work}.log"
        command = (sys.executable, "-m", "sinergi", "--config", str(agency.settings.file), work)
        process = Program(command, log).start(leashed=True)
        self._running[agency.slug, work] = _Worker(process, log)
        return process.pid

    def wait_until_ready(self, demo: DemoBus) -> None:
        """Wait until every relay leads, and every materialiser has claimed all its partitions.

        Raises:
            DemoFailed: one of them is not ready within five minutes, or has ended.
        """
        agreements = demo.agreements
        shares = {
            each.slug: sum(map(agreements.partitions, agreements.read_by(each.slug)))
            for each in demo.agencies.values()
        }

        def ready() -> bool:
            return all(
                each.query(_LEADS) and len(each.query(_CLAIMED)) == shares[each.slug]
                for each in demo.agencies.values()
            )

        if not self.wait_until(ready, _READY_SECONDS):
            what = f"not all processes were ready within {_READY_SECONDS:.0f} s"
            raise DemoFailed(what, "see the logs")

    def kill(self, agency: Agency, work: WorkerCommand) -> int:
        """Kill a process with SIGKILL, which it cannot handle, and return its pid."""
        worker = self._running.pop((agency.slug, work))
        worker.process.kill()
        worker.process.wait(_PATIENCE_SECONDS)
        return worker.process.pid

    def wait_until(self, question: Callable[[], bool], seconds: float = _READY_SECONDS) -> bool:
        """Ask until the answer is yes or the time is up; return the last answer.

        Raises:
            DemoFailed: one of the processes has ended meanwhile.
        """
        deadline = SYSTEM.monotonic() + seconds
        while not question():
            self._check()
            if SYSTEM.monotonic() > deadline:
                return False
            psutil.wait_procs(self._processes(), timeout=_LOOK_SECONDS)
        return True

    def stop(self) -> None:
        """Stop all of them in order, with SIGTERM.

        Raises:
            DemoFailed: one of them did not end well.
        """
        self._check()
        self._ask_to_stop()
        for (agency, work), worker in self._running.items():
            try:
                status = worker.process.wait(_PATIENCE_SECONDS)
            except psutil.TimeoutExpired:
                status = None
            if status != 0:
                what = f"{work} of {agency} ended with {status} on SIGTERM"
                raise DemoFailed(what, _last_line(worker.log))
        self._running.clear()

    def _check(self) -> None:
        self._check_stop()
        for (agency, work), worker in self._running.items():
            if not worker.process.is_running() or worker.process.status() == psutil.STATUS_ZOMBIE:
                raise DemoFailed(f"{work} of {agency} has ended", _last_line(worker.log))

    def _ask_to_stop(self) -> None:
        for process in self._processes():
            if process.is_running():
                process.send_signal(signal.SIGTERM)

    def _end(self) -> None:
        """Wait for all of them, and kill those that take too long."""
        _, late = psutil.wait_procs(self._processes(), timeout=_PATIENCE_SECONDS)
        for process in late:
            process.kill()
        psutil.wait_procs(late, timeout=_PATIENCE_SECONDS)
        self._running.clear()

    def _processes(self) -> list[psutil.Process]:
        return [each.process for each in self._running.values()]


def _last_line(log: Path) -> str:
    lines = log.read_text("utf-8", errors="replace").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "its log is empty")
