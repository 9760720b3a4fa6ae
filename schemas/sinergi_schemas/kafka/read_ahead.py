"""Several processes that read a long range of offsets ahead of the one that verifies it.

To wait for a client, to take messages apart and to hash their leaves takes two thirds of the time
of a verification, and a process in Python uses one processor. So the parts of a long range are read
by processes of their own, in turns, and come back in the order of their offsets. These processes
know no keys and verify nothing.

    processor 1   part 1 ……… part 3 ……… part 5 ………
    processor 2      part 2 ……… part 4 ………
    verified            1   2     3   4     5

If one of them fails, for whatever reason, the caller reads on by itself, and reports an error if it
meets one too.
"""

from __future__ import annotations

import json
import os
import socket
import struct
import subprocess
import sys
from collections import deque
from contextlib import contextmanager
from multiprocessing.connection import Connection as Channel
from typing import TYPE_CHECKING

import structlog

from sinergi_schemas.kafka.parsed_block import ParsedBlock
from sinergi_schemas.kafka.reading_process import dump_login

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sinergi_schemas.kafka.connection import Connection
    from sinergi_schemas.topics import TopicPartition

_log = structlog.get_logger(__name__)

_MOST_PROCESSES = 4
_PROGRAM = (
    "import sys; sys.path[:] = sys.argv[1:];"
    " from sinergi_schemas.kafka.reading_process import main; main()"
)


class ReadAhead:
    """Processes that read ahead. They are started when the first long range is read.

    Args:
        connection: to the brokers.
        processes: how many there are.
        fewest: how many offsets a range has that is long.
        part: how many offsets one process reads at a time.
    """

    def __init__(
        self, connection: Connection, processes: int, fewest: int = 100_000, part: int = 30_000
    ) -> None:
        self._connection = connection
        self._count = processes
        self._fewest = fewest
        self._part = part
        self._is_busy = False
        self._processes: list[_ReadingProcess] = []

    def close(self) -> None:
        """End the processes."""
        while self._processes:
            self._processes.pop().close()

    def blocks(self, tp: TopicPartition, offsets: range) -> Iterator[ParsedBlock]:
        """The messages of a range; fewer where a process fails.

        There are none where the range is short, or where the processes are reading another one.
        """
        if self._is_busy or self._count == 0 or len(offsets) < self._fewest:
            return
        self._is_busy = True
        try:
            yield from self._blocks(tp, offsets)
        finally:
            self._is_busy = False

    def _blocks(self, tp: TopicPartition, offsets: range) -> Iterator[ParsedBlock]:
        parts = deque(
            range(at, min(at + self._part, offsets.stop))
            for at in range(offsets.start, offsets.stop, self._part)
        )
        try:
            turns = deque(self._start()[: len(parts)])
            for each in turns:
                each.order(tp, parts.popleft())
            while turns:
                process = turns.popleft()
                yield from process.blocks()  # 1. in the order of the parts
                if parts:
                    process.order(tp, parts.popleft())  # 2. it reads on while others are taken
                    turns.append(process)
        except OSError as why:
            _log.warning("reading in one process", topic=tp.topic, why=str(why))
            self.close()
        except BaseException:  # also where the range is given up in its middle
            self.close()
            raise

    def _start(self) -> list[_ReadingProcess]:
        while len(self._processes) < self._count:
            self._processes.append(_ReadingProcess(self._connection))
        return self._processes


def usable_processes() -> int:
    """How many processes may read ahead here: one for each processor, and none for a single one."""
    usable = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    return min(_MOST_PROCESSES, usable) if usable > 1 else 0


def _command() -> list[str]:
    """How Python is started so that it finds the modules of this process, and no others.

    An empty entry of the path is the working directory, where a file may be named like a module.

    Raises:
        OSError: it is not known where Python is, as in a program that embeds it.
    """
    if not sys.executable:
        raise OSError("it is not known with which program Python is started")
    flags = "-I" if sys.flags.isolated else "-EP" if sys.flags.ignore_environment else "-P"
    return [sys.executable, flags, "-c", _PROGRAM, *filter(None, sys.path)]


class _ReadingProcess:
    """One process, and the range that it was asked for.

    The socket is its standard input, a descriptor that it always has. It prints nothing that
    concerns a user, and gets no signals of the terminal.
    """

    def __init__(self, connection: Connection) -> None:
        # It reports by itself that the topic is silent; this is for a process that hangs.
        self._patience_seconds = connection.timeouts.silence + connection.timeouts.answer
        login = dump_login(connection)
        ours, theirs = socket.socketpair()
        with ours, theirs:
            # It may hang in the middle of a block, too.
            patience = struct.pack("ll", *divmod(int(self._patience_seconds * 1e6), 1_000_000))
            ours.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, patience)
            ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, patience)
            self._process = subprocess.Popen(  # noqa: S603 - our own program
                _command(),
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
            self._channel = Channel(ours.detach())
        self._send(login)

    def close(self) -> None:
        """End it. What it was asked for is lost."""
        self._channel.close()
        self._process.kill()
        self._process.wait()

    def order(self, tp: TopicPartition, offsets: range) -> None:
        """Ask for a range. The one before must be read to its end.

        Raises:
            OSError: the process has ended.
        """
        self._tp = tp
        self._send(json.dumps([*tp, offsets.start, offsets.stop]).encode())

    def blocks(self) -> Iterator[ParsedBlock]:
        """What it reads of the range.

        Raises:
            OSError: it has failed, has ended or hangs.
        """
        is_last = False
        while not is_last:
            block = ParsedBlock.load(self._received(), self._tp)
            yield block
            if block.failure:
                raise OSError(block.failure)
            is_last = block.is_last

    def _send(self, data: bytes) -> None:
        with self._failures():
            self._channel.send_bytes(data)

    def _received(self) -> bytes:
        with self._failures():
            return self._channel.recv_bytes()

    @contextmanager
    def _failures(self) -> Iterator[None]:
        """Say what has happened to it where the socket only says that nothing arrives."""
        try:
            yield
        except BlockingIOError:
            what = f"a reading process did nothing for {self._patience_seconds:g} s"
            raise OSError(what) from None
        except (EOFError, ConnectionError):
            status = self._process.wait()
            raise OSError(f"a reading process has ended with status {status}") from None
