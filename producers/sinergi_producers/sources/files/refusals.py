"""Writes the refused lines of a file to another file, for the person who keeps the register.

Each line of that file is a JSON object: the number of the refused line, and for each problem the
field, the rule and the columns. It never holds the contents of cells, so it may be sent by mail.
"""

from __future__ import annotations

import json
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Self

from sinergi_schemas.errors import OutputRefused
from sinergi_schemas.files.output_file import AS_USUAL, OutputFile

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path
    from types import TracebackType

    from sinergi_producers.sources.files.field_sources import RowProblem


class RefusedLines(AbstractContextManager["RefusedLines"]):
    """Writes the refused lines by the rules for all output files (`output_file`).

    The file is created only if a line is refused, and only after the whole input was read. If the
    intake stops earlier, the next run of the same command writes all refused lines.

    Args:
        path: the file; None writes no file.
        force: replace an existing file, by an empty one if no line is refused.
    """

    def __init__(self, path: Path | None, *, force: bool = False) -> None:
        self._path = path
        self._force = force
        self._output: OutputFile | None = None
        self._is_empty = True

    def __enter__(self) -> Self:
        """Check that the file can be written, before anything is published.

        Raises:
            OutputExists: the file exists already, and is not to be replaced.
            OutputRefused: the file cannot be written.
        """
        if self._path is not None:
            self._output = OutputFile.open(self._path, force=self._force, mode=AS_USUAL)
        return self

    def add(self, line: int, problems: Sequence[RowProblem]) -> None:
        """Write one refused line with all of its problems.

        Raises:
            OutputRefused: the file cannot be written.
        """
        self._is_empty = False
        if self._output is not None:
            document = {"line": line, "problems": [problem._asdict() for problem in problems]}
            with _while_publishing():
                self._output.write(f"{json.dumps(document)}\n".encode())

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._output is None:
            return
        if kind is not None or (self._is_empty and not self._output.is_replacing):
            self._output.discard()
            return
        with _while_publishing():
            self._output.finish()


@contextmanager
def _while_publishing() -> Iterator[None]:
    """If the file cannot be written after events were published, state that they stay."""
    try:
        yield
    except OutputRefused as why:
        remedy = "what was published stays, and the same command goes on where it stopped"
        raise OutputRefused(why.path, why.why, remedy) from None
