"""Writes events to a Parquet file as they are verified, and what was found out about them last.

polars writes the file in a thread of its own. It takes one part of the events after another, so
that memory holds only a few of them, and asks for the metadata when all parts are written: the
verdict is known only then.
"""

from __future__ import annotations

import io
import json
import os
import signal
from collections import deque
from threading import Condition, Thread, current_thread, main_thread
from typing import IO, TYPE_CHECKING, Any, cast

import polars as pl

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from sinergi_schemas.files.output_file import OutputFile
    from sinergi_schemas.topics import Topic

METADATA_KEY = "sinergi"
"""The key in the metadata of the file, under which a JSON document says what the file is."""

# In a part, so that row groups are not tiny where frames are. polars keeps the rows of a row group
# until it is full, which by default are 262,144, whatever their size; so a row group has as many as
# fill a part by the size of the first ones.
_ROWS, _BYTES = 20_000, 4 * 1024 * 1024
_MOST_WAITING = 2  # parts
# Row groups that polars encodes before the disk takes them. By default they are many more, and more
# on a machine with more processors: with a slow disk memory would hold them all.
_MOST_ENCODED = ("POLARS_INFLIGHT_SINK_MORSEL_LIMIT", "2")
_LOOK_SECONDS = 0.5  # a signal may come to another thread, and then does not end a wait
_END_SECONDS = 10.0  # for a thread that polars does not let end; it dies with the process


class _Abandoned(Exception):
    """The file is not to be finished."""


class ParquetWriter:
    """Writes one file. `finish` or `abandon` ends its thread."""

    def __init__(self, target: OutputFile) -> None:
        self._output = target
        self._target = _Stream(target)
        self._waiting: list[pl.DataFrame] = []
        self._waiting_rows = self._waiting_bytes = 0
        self._parts: deque[pl.DataFrame | None] = deque()
        self._thread: Thread | None = None
        self._changed = Condition()
        self._has_ended = self._is_abandoned = False
        self._facts: Mapping[str, Any] = {}
        self._failure: BaseException | None = None

    def add(self, topic: Topic, events: pl.DataFrame) -> None:
        """Write some events.

        Raises:
            OutputRefused, BrokenPipeError: as `OutputFile.write`.
        """
        del topic
        self.write(events)

    def write(self, frame: pl.DataFrame) -> None:
        """Write some rows.

        Raises:
            OutputRefused, BrokenPipeError: as `OutputFile.write`.
        """
        if self._thread is None:
            of_a_row = int(frame.estimated_size()) // max(1, frame.height) + 1
            group = max(1, min(_ROWS, _BYTES // of_a_row))
            self._thread = Thread(
                target=self._write, args=(frame.schema, group), name="parquet output", daemon=True
            )
            _keep_interrupts()
            os.environ.setdefault(*_MOST_ENCODED)
            self._thread.start()
        self._waiting.append(frame)
        self._waiting_rows += frame.height
        self._waiting_bytes += int(frame.estimated_size())
        if self._waiting_rows >= _ROWS or self._waiting_bytes >= _BYTES:
            self._pass_on()

    def finish(self, facts: Mapping[str, Any]) -> None:
        """Write what was kept back, and the metadata. A file then lacks only its name.

        Args:
            facts: a JSON document about the events.

        Raises:
            OutputRefused, BrokenPipeError: as `OutputFile.write`.
        """
        if self._thread is None:  # no columns are known, so there is no file
            return
        self._facts = facts
        if self._waiting:
            self._pass_on()
        self._put(None)
        with self._changed:
            self._wait(lambda: self._has_ended)
        self._raise_failure()
        self._output.settle()

    def abandon(self) -> None:
        """End the thread, if it still runs. The file is left as it is."""
        with self._changed:
            self._is_abandoned = True
            self._changed.notify_all()
        self._target.goes_on = False
        if self._thread is not None:
            self._thread.join(_END_SECONDS)

    def _pass_on(self) -> None:
        self._put(pl.concat(self._waiting))
        self._waiting.clear()
        self._waiting_rows = self._waiting_bytes = 0

    def _put(self, part: pl.DataFrame | None) -> None:
        with self._changed:
            self._wait(lambda: self._has_ended or len(self._parts) < _MOST_WAITING)
            self._parts.append(part)
            self._changed.notify_all()
        if self._has_ended:
            self._raise_failure()

    def _wait(self, until: Callable[[], bool]) -> None:
        while not self._changed.wait_for(until, _LOOK_SECONDS):
            continue

    def _raise_failure(self) -> None:
        """Raise what ended the thread; polars names the cause of a failed write in words only."""
        if failure := self._target.failure or self._failure:
            raise failure

    def _write(self, schema: pl.Schema, row_group_size: int) -> None:
        def parts(*_: object) -> Iterator[pl.DataFrame]:
            while (part := self._next_part()) is not None:
                yield part

        def metadata(_: object) -> dict[str, str]:
            return {METADATA_KEY: json.dumps(self._facts, ensure_ascii=False)}

        try:
            source = pl.io.plugins.register_io_source(parts, schema=schema, is_pure=False)
            stream = cast("IO[bytes]", self._target)
            source.sink_parquet(
                stream, metadata=metadata, engine="streaming", row_group_size=row_group_size
            )
        except BaseException as why:  # noqa: BLE001 - the thread that waits for this one raises it
            self._failure = why
        finally:
            with self._changed:
                self._has_ended = True
                self._changed.notify_all()

    def _next_part(self) -> pl.DataFrame | None:
        with self._changed:
            self._changed.wait_for(lambda: self._is_abandoned or self._parts)
            if self._is_abandoned:
                raise _Abandoned
            part = self._parts.popleft()
            self._changed.notify_all()
        return part


def _keep_interrupts() -> None:
    """Let Ctrl-C raise KeyboardInterrupt in the main thread, also while polars works.

    When polars is imported it puts a handler of SIGINT before Python's. While a query runs in any
    thread, that handler only tells the query to end, which a query that waits for us never sees.
    """
    handler = signal.getsignal(signal.SIGINT)
    if handler is not None and current_thread() is main_thread():
        signal.signal(signal.SIGINT, handler)


class _Stream(io.RawIOBase):
    """An output as polars writes to it.

    Attributes:
        failure: what a write has raised.
        goes_on: false ends a write that its reader keeps waiting.
    """

    def __init__(self, target: OutputFile) -> None:
        self._target = target
        self.failure: Exception | None = None
        self.goes_on = True

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        try:
            is_written = self._target.write_while(data, lambda: self.goes_on)
        except Exception as why:
            self.failure = why
            raise
        if not is_written:
            raise _Abandoned
        return len(data)
