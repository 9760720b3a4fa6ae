"""A delimited file, cut into numbered rows in constant memory.

A row bears the number of its first line. A row that cannot be read is given with its fault, and
reading goes on at the line behind it. Quoting is RFC 4180 §2 by the csv module in strict mode.

What stands inside a quoted cell is never read as a row of its own: where a cell holds a line break
that the mapping does not allow, or its quotes are damaged, all lines up to the one that closes the
quote are refused as one row. A quote that no line closes costs its own line alone.
"""

from __future__ import annotations

import codecs
import csv
import hashlib
import io
import os
import re
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from sinergi_producers.sources.files.lines import LIMIT, Lines
from sinergi_schemas.errors import InputChanged, InputRefused

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from types import TracebackType

    from sinergi_producers.sources.files.lines import TextLine

_MARK = "\udcff"  # stands for what did not decode
# Marks, and what decoders such as that of UTF-7 give for half a character: no text holds either.
_NOT_TEXT = re.compile("[\ud800-\udfff]")
_MARKS_OF_ORDER = (
    (codecs.BOM_UTF32_LE, {"utf-32", "utf-32-le"}),
    (codecs.BOM_UTF32_BE, {"utf-32", "utf-32-be"}),
    (codecs.BOM_UTF8, {"utf-8", "utf-8-sig"}),
    (codecs.BOM_UTF16_LE, {"utf-16", "utf-16-le"}),
    (codecs.BOM_UTF16_BE, {"utf-16", "utf-16-be"}),
)
_NEED_MARK = {"utf-16", "utf-32"}
_NAMES_OF_HOSTS = {"idna", "punycode"}
_SPACE = " \t\u00a0"
_DELIMITERS = (";", "\t", "|", ",")  # Excel writes the first one in Indonesia
_FEWEST_PARTED = 2
_LINE_BREAK = re.compile("\r?\n")
_FAULTS = (
    ("unexpected end", "a quote is left open: double it if it belongs to the text"),
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


class FileRow(NamedTuple):
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
        self._quotes = _Quotes(form)
        self._binary = _opened(path)
        try:
            self._stamp = self._stamped()
            self.digest = hashlib.file_digest(self._binary, "sha256").digest()
            self._lines = Lines(self._decoded(), form.quote)
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
            raise InputChanged(str(self.path), self._lines.number)

    def __iter__(self) -> Iterator[FileRow]:
        """The rows behind the header, blank ones too, each with its line and its fault if any."""
        while line := self._lines.next():
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
        line = self._lines.next()
        for _ in range(self._form.header_line - 1):
            if line is None:
                break
            line = self._lines.next()
        if line is None:
            raise InputRefused(
                str(self.path),
                f"the mapping says that line {self._form.header_line} is the header, and the file"
                f" ends with line {self._lines.number}",
            )
        row = self._row(line, expected=None)
        other = _other_delimiter(row.cells)
        if row.fault or row.blank or other:
            fault = row.fault or "it is blank; set file.header_line"
            if other:
                fault = f"it is one cell with {other!r} between its parts; set file.delimiter"
            raise InputRefused(str(self.path), f"line {row.line} should be the header, but {fault}")
        return [" ".join(cell.split()) for cell in row.cells]

    def _row(self, first: TextLine, *, expected: int | None) -> FileRow:
        number = self._lines.number
        taken = [first]
        count = 0  # of the lines that are the row's; 0 as long as it is not known
        try:
            cells = next(csv.reader(self._texts(taken), strict=True, **self._dialect()))
        except csv.Error as error:
            fault = _fault(error)
        else:
            fault = self._misquoted(taken)
            count = len(taken) if len(taken) > 1 else 0
        if taken[count - 1 if count else 0].is_cut:
            fault, count = f"a line longer than {LIMIT:,} characters", 0
        if fault:
            count = count or self._count(taken)
            self._lines.give_back(taken[count:])
            together = f"; all {count} lines up to its end are refused" if count > 1 else ""
            return FileRow(number, [], fault + together)
        return FileRow(
            number, *self._checked("".join(line.text for line in taken), cells, expected)
        )

    def _misquoted(self, taken: list[TextLine]) -> str:
        """What is wrong with the quotes of a row that the csv module takes."""
        if len(taken) > 1 and self._form.line_breaks is None:
            return "a line break in a quoted cell; set file.line_breaks if cells hold some"
        if sum(line.quotes for line in taken) % 2 == 0:
            return ""
        if len(taken) > 1:
            return "a quote in a quoted cell is not doubled"
        if self._quotes.are_indented(taken[0].text):
            return "a space before the quote that opens a cell"
        return ""

    def _count(self, taken: list[TextLine]) -> int:
        """How many lines a row with a fault takes: up to the line that closes its quote.

        Outside quoted cells quotes come in pairs, so an odd number of them leaves a cell open.
        """
        if not self._quotes.open_a_cell(taken[0].text):
            return 1
        quotes = length = 0
        for place, line in enumerate(self._behind(taken)):
            quotes += line.quotes
            length += len(line.text) if place else 0
            if quotes % 2 == 0:
                return place + 1 if not place or self._quotes.close_a_cell(line.text) else 1
            if length >= LIMIT:
                return 1
        return 1

    def _behind(self, taken: list[TextLine]) -> Iterator[TextLine]:
        """The lines taken so far, and those behind them, which are taken too."""
        yield from list(taken)
        while line := self._lines.next():
            taken.append(line)
            yield line

    def _checked(self, text: str, cells: list[str], expected: int | None) -> tuple[list[str], str]:
        if text.count("\n") > 1:
            cells = [
                _LINE_BREAK.sub(lambda _: self._form.line_breaks or "", each) for each in cells
            ]
        cells = [cell.strip(_SPACE) for cell in cells]
        if _NOT_TEXT.search(text):
            return [], f"bytes that are not {self._form.encoding}"
        if "\0" in text:
            return [], "a NUL character"
        if expected is not None and len(cells) != expected and any(cells):
            return [], f"{_counted(len(cells))} where the header has {expected}"
        return cells, ""

    def _texts(self, taken: list[TextLine]) -> Iterator[str]:
        """The lines as the csv module asks for them, as long as a cell is open."""
        yield taken[0].text
        length = len(taken[0].text)
        while length < LIMIT and (line := self._lines.next()):
            taken.append(line)
            length += len(line.text)
            yield line.text

    def _dialect(self) -> dict[str, Any]:
        quote = self._form.quote
        return {
            "delimiter": self._form.delimiter,
            "quotechar": quote or None,
            "quoting": csv.QUOTE_MINIMAL if quote else csv.QUOTE_NONE,
        }


class _Quotes:
    """Which quotes of a line may open or close a cell."""

    def __init__(self, form: FileForm) -> None:
        quote, end = re.escape(form.quote), re.escape(form.delimiter)
        space = "[" + "".join(re.escape(each) for each in _SPACE if each != form.delimiter) + "]"
        self._opening = re.compile(f"(?:^|{end}){space}*{quote}" if quote else "(?!)")
        self._indented = re.compile(f"(?:^|{end}){space}+{quote}" if quote else "(?!)")
        self._closing = re.compile(f"{quote}{space}*(?:{end}|\r?\n?$)" if quote else "(?!)")

    def open_a_cell(self, text: str) -> bool:
        """Whether a cell begins with one."""
        return self._opening.search(text) is not None

    def are_indented(self, text: str) -> bool:
        """Whether a cell begins with spaces and one, which the csv module takes for text."""
        return self._indented.search(text) is not None

    def close_a_cell(self, text: str) -> bool:
        """Whether a cell ends with one."""
        return self._closing.search(text) is not None


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
        name = codecs.lookup(encoding).name
    except (LookupError, ValueError) as error:
        raise InputRefused(str(path), f"{encoding} is not a text encoding that we know") from error
    if name in _NAMES_OF_HOSTS:
        raise InputRefused(str(path), f"{encoding} is an encoding of names, not of files")
    return name


def _other_delimiter(cells: list[str]) -> str:
    """What parts the one cell of a header that was read with another delimiter; or nothing."""
    if len(cells) != 1:
        return ""
    return next((each for each in _DELIMITERS if cells[0].count(each) >= _FEWEST_PARTED), "")


def _fault(error: csv.Error) -> str:
    found = str(error)
    return next((words for sign, words in _FAULTS if sign in found), found)


def _counted(cells: int) -> str:
    return "1 cell" if cells == 1 else f"{cells} cells"
