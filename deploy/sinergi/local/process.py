"""Our processes: how they are started, found again, and stopped.

A random mark of the folder on its command line identifies a process. So a pid that the system has
assigned to another process is never mistaken for ours, also after a kill or a reboot, and a process
that was started just before a crash is found although its pid was not recorded.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from collections.abc import Sequence

_LEASH = Path(__file__).with_name("leash.py")
# A database or a broker that stops in order writes first, which takes long on a slow disk.
_PATIENCE_SECONDS = 60.0
_LOG_BYTES = 1 << 20
_REASON_CHARACTERS = 400
# How PostgreSQL, its tools, Java and `leash` begin an error message.
_ERROR = re.compile(r"\b(error|fatal|panic|exception)\b|\w(Error|Exception)\b", re.IGNORECASE)
_SAID_TO_CLIENTS = re.compile(r"the database system is|authentication failed")
_EXCEPTION_FOLLOWS = re.compile(r"\bERROR\b.* - ")


@dataclass(frozen=True, slots=True)
class Program:
    """A program that can be started.

    Attributes:
        command: the program's full path and its arguments.
        log: the file that takes its output.
        user: the user that it runs as, in the notation of `leash`; empty for the current one.
        folder: its working directory and its file descriptor 3, whatever user it runs as; None for
            the current directory.
        stops_by: the signal that asks it to stop in order.
        dies_by: the signal that it gets when its parent dies.
    """

    command: tuple[str, ...]
    log: Path
    user: str = ""
    stops_by: signal.Signals = signal.SIGTERM
    dies_by: signal.Signals = signal.SIGKILL
    folder: Path | None = None

    def run(self) -> None:
        """Run it to its end. If interrupted, it dies with all processes that it has started.

        Raises:
            subprocess.CalledProcessError: it ended with another status than 0; `output` is the
                line in which it says why.
        """
        since = self.logged
        with self.log.open("ab") as log:
            running = subprocess.Popen(  # noqa: S603 - our own programs by full path, no shell
                self._leashed(leashed=False),
                env=_environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        try:
            status = running.wait()
        except BaseException:
            _kill_session(running)
            raise
        if status:
            raise subprocess.CalledProcessError(status, self.command, self.reason(since))

    @property
    def logged(self) -> int:
        """The size of its log in bytes."""
        return self.log.stat().st_size if self.log.exists() else 0

    def reason(self, since: int) -> str:
        """Why it has ended, from its log after this many bytes.

        That is the first line that speaks of an error, with the next one where Java put the
        exception there; else its last line.
        """
        with self.log.open("rb") as log:
            log.seek(since)
            written = log.read(_LOG_BYTES).decode("utf-8", "replace")
        lines = [line.strip() for line in written.splitlines() if line.strip()]
        for number, line in enumerate(lines):
            if _ERROR.search(line) and not _SAID_TO_CLIENTS.search(line):
                told = lines[number : number + (2 if _EXCEPTION_FOLLOWS.search(line) else 1)]
                return ": ".join(told)[:_REASON_CHARACTERS]
        return lines[-1][:_REASON_CHARACTERS] if lines else "it ended without a word"

    def start(self, *, leashed: bool) -> psutil.Process:
        """Start it and leave it running.

        Args:
            leashed: whether it dies with the calling thread, as with a thread that ends.
        """
        output = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            command = self._leashed(leashed=leashed)
            pid = os.posix_spawn(
                command[0],
                command,
                _environment(),
                file_actions=[
                    (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                    (os.POSIX_SPAWN_DUP2, output, 1),
                    (os.POSIX_SPAWN_DUP2, output, 2),
                ],
                setsigmask=(),
                setsigdef=(signal.SIGINT, signal.SIGTERM, signal.SIGPIPE),
            )
        finally:
            os.close(output)
        return psutil.Process(pid)

    def _leashed(self, *, leashed: bool) -> list[str]:
        parent = os.getpid() if leashed else 0
        leash = [sys.executable, "-I", "-S", str(_LEASH)]
        folder = str(self.folder or "")
        order = [str(parent), str(int(self.dies_by)), self.user, folder, "--"]
        return [*leash, *order, *self.command]


def find(mark: str) -> psutil.Process | None:
    """The running process that bears a mark as the end of one of its arguments."""
    marked = {
        process.pid: process
        for process in psutil.process_iter(["cmdline", "ppid"])
        if any(word.endswith(mark) for word in process.info["cmdline"] or ())
    }
    # A child of PostgreSQL has the mark too, until it sets a title of its own.
    return next((one for one in marked.values() if one.info["ppid"] not in marked), None)


def stop(process: psutil.Process, gently: signal.Signals) -> None:
    """Ask a process to stop, and kill it if it has not ended within a minute."""
    stop_all([(process, gently)])


def stop_all(running: Sequence[tuple[psutil.Process, signal.Signals]]) -> None:
    """Ask processes to stop, each with its signal, and kill those that run after a minute."""
    for process, gently in running:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(gently)
    _, late = psutil.wait_procs([process for process, _ in running], _PATIENCE_SECONDS)
    for process in late:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(late, _PATIENCE_SECONDS)


def ended_within(process: psutil.Process, seconds: float) -> bool:
    """Wait at most this long for a process to end; return whether it did."""
    try:
        process.wait(seconds)
    except psutil.TimeoutExpired:
        return False
    return True


def _kill_session(leader: subprocess.Popen[bytes]) -> None:
    """Kill a program and its children, and wait until none of them can write."""
    children: list[psutil.Process] = []
    with suppress(psutil.NoSuchProcess):
        children = psutil.Process(leader.pid).children(recursive=True)
    with suppress(ProcessLookupError):  # it has no session of its own yet
        os.killpg(leader.pid, signal.SIGKILL)
    leader.kill()
    leader.wait()
    psutil.wait_procs(children, timeout=_PATIENCE_SECONDS)


def _environment() -> dict[str, str]:
    """The environment of a service: ours without variables that would change its settings."""
    return {"PATH": os.defpath, "LC_ALL": "C.UTF-8", "HOME": str(Path("~").expanduser())}
