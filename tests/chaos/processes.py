"""Relays and materialisers as the processes that users start: killed, stopped, resumed by pid."""

from __future__ import annotations

import json
import signal
import sys
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import psutil

from sinergi.local.process import Program

if TYPE_CHECKING:
    from pathlib import Path

    from chaos.services import Starter

_END_SECONDS = 60.0


@dataclass(frozen=True)
class Worker:
    """One process and its log."""

    name: str
    process: psutil.Process
    log: Path

    @property
    def said(self) -> list[dict[str, Any]]:
        """What it has logged so far, whole lines only."""
        lines = self.log.read_text("utf-8").splitlines(keepends=True)
        return [json.loads(line) for line in lines if line.startswith("{") and line.endswith("\n")]

    def says(self, event: str, words: str = "") -> bool:
        """Whether it has logged an event, with some words in it."""
        return any(each["event"] == event and words in str(each) for each in self.said)

    @property
    def runs(self) -> bool:
        """Whether it has not ended."""
        return alive(self.process)

    def kill(self) -> None:
        """End it by SIGKILL, which it can neither hear nor prepare for."""
        with suppress(psutil.NoSuchProcess):
            self.process.kill()
        self.process.wait(_END_SECONDS)  # also of one that died by itself, or it stays a zombie

    def pause(self) -> None:
        """Let it stand still (SIGSTOP)."""
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on as if nothing had happened (SIGCONT)."""
        self.process.send_signal(signal.SIGCONT)

    def stop(self) -> int | None:
        """Ask it to end in order; its exit status, or None if it did not within a minute."""
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(_END_SECONDS)
        except psutil.TimeoutExpired:
            return None


class Workers:
    """Starts workers, and kills at the end those that still run."""

    def __init__(self, starter: Starter, logs: Path) -> None:
        self._starter = starter
        self._logs = logs
        self._all: list[Worker] = []
        logs.mkdir()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for each in self._all:
            each.kill()

    def start(self, work: str, settings: Path) -> Worker:
        """Start `sinergi <work>`; what it says goes to a log of its own."""
        options = ("--config", str(settings), "--log-json")
        return self.run(work, (sys.executable, "-m", "sinergi", *options, work))

    def run(self, name: str, command: tuple[str, ...]) -> Worker:
        """Start a command as a worker."""
        name = f"{name}-{len(self._all) + 1}"
        log = self._logs / f"{name}.log"
        process = self._starter.start(Program(command, log))
        self._all.append(Worker(name, process, log))
        return self._all[-1]


def alive(process: psutil.Process) -> bool:
    """Whether a process has not ended, though perhaps nobody has asked for its status yet."""
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
