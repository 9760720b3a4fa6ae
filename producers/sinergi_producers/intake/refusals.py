"""The refused lines of a file, in a file beside it: the way back to whoever keeps the register.

One JSON object a line: the line's number and, for each rule it breaks, the field and the rule.
Never what stands in the cells, so that it may be sent by any mail.
"""

from __future__ import annotations

import json
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Self, TextIO

from sinergi_schemas.errors import OutputRefused

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from types import TracebackType

    from sinergi_producers.intake.sources import Breach


class RefusedLines(AbstractContextManager["RefusedLines"]):
    """Writes the refused lines; what an earlier run left under that name is replaced.

    Args:
        path: where to; None keeps no file.
    """

    def __enter__(self) -> Self:
        """Make sure, before anything is published, that the file can be written.

        Raises:
            OutputRefused: it cannot.
        """
        if self._path is None:
            return self
        try:
            is_there = self._path.exists()
            self._path.open("a").close()
            if not is_there:
                self._path.unlink()
        except OSError as error:
            raise OutputRefused(str(self._path), error.strerror or type(error).__name__) from error
        return self

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._file: TextIO | None = None

    def add(self, line: int, breaches: Sequence[Breach]) -> None:
        """One refused line with all the rules it breaks.

        Raises:
            OutputRefused: the file cannot be written.
        """
        if self._path is None:
            return
        document = {"line": line, "problems": [breach._asdict() for breach in breaches]}
        try:
            self._file = self._file or self._path.open("w", encoding="utf-8")
            self._file.write(json.dumps(document, ensure_ascii=False) + "\n")
        except OSError as error:
            raise OutputRefused(str(self._path), error.strerror or type(error).__name__) from error

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._file is not None:
            self._file.close()
        elif kind is None and self._path is not None:
            self._path.unlink(missing_ok=True)
