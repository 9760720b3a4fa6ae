"""A delimited file, cut into numbered rows in constant memory.

A line is what ends with a line feed (LF or CR LF), counted from 1 as an editor and `sed -n` count
it; a row bears the number of its first line. A row that cannot be read is given with its fault, and
reading goes on at the line behind it. Quoting is RFC 4180 §2 by the csv module in strict mode.
"""

from __future__ import annotations

import codecs
import csv
import hashlib
import io
import os
import re
from collections import deque
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from sinergi_schemas.errors import InputChanged, InputRefused

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from types import TracebackType

_LINE_LIMIT = 1 << 20  # characters of one row; an event takes a quarter of it at most
_MARK = "\udcff"  # stands for what did not decode: no decoder gives a lone surrogate
_MARKS_OF_ORDER = (
    (codecs.BOM_UTF32_LE, {"utf-32", "utf-32-le"}),
    (codecs.BOM_UTF32_BE, {"utf-32", "utf-32-be"}),
    (codecs.BOM_UTF8, {"utf-8", "utf-8-sig"}),
    (codecs.BOM_UTF16_LE, {"utf-16", "utf-16-le"}),
    (codecs.BOM_UTF16_BE, {"utf-16", "utf-16-be"}),
)
_NEED_MARK = {"utf-16", "utf-32"}
_SPACE = " \t\u00a0"
_LINE_BREAK = re.compile("\r?\n")
_FAULTS = (
    (
        "unexpected end",
        "a quote is left open: double it, or set file.line_breaks if cells hold some",
    ),
    ("expected after", "text behind a closing quote: a quote inside a cell is written twice"),
    ("new-line character", "a carriage return inside the row"),
    ("field larger", "a cell longer than 131,072 characters"),
)


def _marked(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return _MARK, error.end


codecs.register_error("sinergi-marked", _marked)


@dataclass(frozen=True, slots=True)
class FileForm:
    """How a delimited file is written.

    Args:
        encoding: a Python name of a text encoding; a byte order mark must agree with it.
        delimiter: one character between cells.
        quote: one character around cells that hold a delimiter; "" where nothing is quoted.
        header_line: the line that names the columns; what stands before it is skipped.
        line_breaks: what a line break inside a quoted cell becomes; None where no cell holds one.
    """

    encoding: str = "utf-8"
    delimiter: str = ","
    quote: str = '"'
    header_line: int = 1
    line_breaks: str | None = None


class Row(NamedTuple):
    """One row of a file: its cells, or what is wrong with it."""

    line: int
    cells: list[str]
    fault: str = ""

    @property
    def blank(self) -> bool:
        """Whether it holds nothing at all, as the rows that a spreadsheet leaves at its end."""
        return not self.fault and not any(self.cells)


class DelimitedFile(AbstractContextManager["DelimitedFile"]):
    """An open file: its digest and header at once, its rows one by one.

    Args:
        path: a regular file.
        form: how it is written.

    Raises:
        InputRefused: it is not there, not a regular file, or its header cannot be read.
    """

    def __init__(self, path: Path, form: FileForm) -> None:
        self.path = path
        self._form = form
        self._line = 0
        self._pushed_back: deque[str] = deque()
        self._binary = _opened(path)
        try:
            self._stamp = self._stamped()
            self.digest = hashlib.file_digest(self._binary, "sha256").digest()
            self._text = self._decoded()
            self.header = self._read_header()
        except BaseException:
            self._binary.close()
            raise

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._binary.close()

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return self._stamp[0]

    @property
    def position(self) -> int:
        """Bytes read so far, read-ahead included: for a progress bar."""
        return self._binary.tell()

    def check_unchanged(self) -> None:
        """See that the rows still belong to the digest.

        Raises:
            InputChanged: the file was written to since it was opened.
        """
        if self._stamped() != self._stamp:
            raise InputChanged(str(self.path), self._line)

    def __iter__(self) -> Iterator[Row]:
        """The rows behind the header, blank ones too, each with its line and its fault if any."""
        while line := self._next_line():
            yield self._row(line, expected=len(self.header))

    def _stamped(self) -> tuple[int, int]:
        found = os.fstat(self._binary.fileno())
        return found.st_size, found.st_mtime_ns

    def _decoded(self) -> io.TextIOWrapper:
        encoding = _codec_name(self.path, self._form.encoding)
        self._binary.seek(0)
        head = self._binary.read(4)
        mark, allowed = next(
            ((mark, names) for mark, names in _MARKS_OF_ORDER if head.startswith(mark)),
            (b"", set()),
        )
        if mark and encoding not in allowed:
            raise InputRefused(
                str(self.path),
                f"it begins with the byte order mark of {min(allowed)}, and the mapping says"
                f" {self._form.encoding}",
            )
        if not mark and encoding in _NEED_MARK:
            raise InputRefused(
                str(self.path),
                f"{encoding} needs a byte order mark and there is none: say {encoding}-le or -be",
            )
        self._binary.seek(0 if encoding in _NEED_MARK else len(mark))
        return io.TextIOWrapper(self._binary, encoding, errors="sinergi-marked", newline="\n")

    def _read_header(self) -> list[str]:
        for _ in range(self._form.header_line - 1):
            self._next_line()
        line = self._next_line()
        if not line:
            raise InputRefused(
                str(self.path),
                f"the mapping says that line {self._form.header_line} is the header, and the file"
                f" ends with line {self._line}",
            )
        row = self._row(line, expected=None)
        if row.fault or row.blank:
            fault = row.fault or "it is blank; set file.header_line"
            raise InputRefused(str(self.path), f"line {row.line} should be the header, but {fault}")
        return [" ".join(cell.split()) for cell in row.cells]

    def _next_line(self) -> str:
        line = (
            self._pushed_back.popleft() if self._pushed_back else self._text.readline(_LINE_LIMIT)
        )
        if line:
            self._line += 1
        return line

    def _row(self, first: str, *, expected: int | None) -> Row:
        number = self._line
        taken = [first]
        try:
            cells = next(csv.reader(self._lines_of_row(taken), strict=True, **self._dialect()))
        except csv.Error as error:
            self._pushed_back.extendleft(reversed(taken[1:]))
            self._line = number
            cells, fault = [], _fault(error)
            del taken[1:]
        else:
            cells, fault = self._checked("".join(taken), cells, expected)
        if len(taken[-1]) == _LINE_LIMIT and not taken[-1].endswith("\n"):
            self._skip_rest()
            cells, fault = [], f"a line longer than {_LINE_LIMIT:,} characters"
        return Row(number, cells, fault)

    def _checked(self, text: str, cells: list[str], expected: int | None) -> tuple[list[str], str]:
        if text.count("\n") > 1:
            cells = [
                _LINE_BREAK.sub(lambda _: self._form.line_breaks or "", each) for each in cells
            ]
        cells = [cell.strip(_SPACE) for cell in cells]
        if _MARK in text:
            return [], f"bytes that are not {self._form.encoding}"
        if "\0" in text:
            return [], "a NUL character"
        if expected is not None and len(cells) != expected and any(cells):
            return [], f"{_counted(len(cells))} where the header has {expected}"
        return cells, ""

    def _lines_of_row(self, taken: list[str]) -> Iterator[str]:
        yield taken[0]
        length = len(taken[0])
        if self._form.line_breaks is None:
            return
        while length < _LINE_LIMIT and (line := self._next_line()):
            taken.append(line)
            length += len(line)
            yield line

    def _skip_rest(self) -> None:
        while (rest := self._text.readline(_LINE_LIMIT)) and not rest.endswith("\n"):
            continue

    def _dialect(self) -> dict[str, Any]:
        quote = self._form.quote
        return {
            "delimiter": self._form.delimiter,
            "quotechar": quote or None,
            "quoting": csv.QUOTE_MINIMAL if quote else csv.QUOTE_NONE,
        }


def _opened(path: Path) -> io.BufferedReader:
    if path.exists() and not path.is_file():
        raise InputRefused(
            str(path), "it is not a regular file; it is read twice, so save it first"
        )
    try:
        return path.open("rb")
    except OSError as error:
        raise InputRefused(str(path), error.strerror or type(error).__name__) from error


def _codec_name(path: Path, encoding: str) -> str:
    try:
        "".encode(encoding)
        return codecs.lookup(encoding).name
    except LookupError as error:
        raise InputRefused(str(path), f"{encoding} is not a text encoding that we know") from error


def _fault(error: csv.Error) -> str:
    found = str(error)
    return next((words for sign, words in _FAULTS if sign in found), found)


def _counted(cells: int) -> str:
    return "1 cell" if cells == 1 else f"{cells} cells"
