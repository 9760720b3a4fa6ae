"""The refused lines of a file, in a file beside it: the way back to whoever keeps the register.

One JSON object a line: the line's number and, for each rule it breaks, the field and the rule.
Never what stands in the cells, so that it may be sent by any mail.
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

    from sinergi_producers.sources.files.field_sources import Breach


class RefusedLines(AbstractContextManager["RefusedLines"]):
    """Writes the refused lines, by the rule for all outputs (`output_file`).

    A file is made only if a line is refused, and only when the whole input was read: where the
    intake stops before, the next run of the same command tells all of them.

    Args:
        path: where to; None keeps no file.
        force: replace a file that is there already, by an empty one if no line is refused.
    """

    def __init__(self, path: Path | None, *, force: bool = False) -> None:
        self._path = path
        self._force = force
        self._output: OutputFile | None = None
        self._is_empty = True

    def __enter__(self) -> Self:
        """Make sure, before anything is published, that the file can be written.

        Raises:
            OutputExists: it is there already, and not to be replaced.
            OutputRefused: it cannot.
        """
        if self._path is not None:
            self._output = OutputFile.open(self._path, force=self._force, mode=AS_USUAL)
        return self

    def add(self, line: int, breaches: Sequence[Breach]) -> None:
        """One refused line with all the rules it breaks.

        Raises:
            OutputRefused: the file cannot be written.
        """
        self._is_empty = False
        if self._output is not None:
            document = {"line": line, "problems": [breach._asdict() for breach in breaches]}
            with _midway():
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
        with _midway():
            self._output.finish()


@contextmanager
def _midway() -> Iterator[None]:
    """Say of an output that fails while events are published what is with them."""
    try:
        yield
    except OutputRefused as why:
        remedy = "what was published stays, and the same command goes on where it stopped"
        raise OutputRefused(why.path, why.why, remedy) from None
