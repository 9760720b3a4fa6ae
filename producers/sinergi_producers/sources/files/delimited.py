"""Splits a delimited file into numbered rows, in constant memory.

A row has the number of its first line. For a row that cannot be read, its fault is returned, and
reading continues at the next line. Quoting follows RFC 4180 §2: the csv module in strict mode.

Text inside a quoted cell is never read as a row. If a cell holds a line break that the mapping does
not allow, or its quotes are damaged, then all lines up to the line that closes the quote are
refused as one row. If no line closes the quote, only the line of the quote is refused.
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

_UNDECODED = "\udcff"  # replaces bytes that cannot be decoded
# Surrogates: valid text has none. Decoders such as that of UTF-7 return them for half a character.
_NOT_TEXT = re.compile("[\ud800-\udfff]")
_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF32_LE, {"utf-32", "utf-32-le"}),
    (codecs.BOM_UTF32_BE, {"utf-32", "utf-32-be"}),
    (codecs.BOM_UTF8, {"utf-8", "utf-8-sig"}),
    (codecs.BOM_UTF16_LE, {"utf-16", "utf-16-le"}),
    (codecs.BOM_UTF16_BE, {"utf-16", "utf-16-be"}),
)
_SPREADSHEETS = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1")  # .xlsx and .ods; .xls
_OTHER_ENCODING = 'set file.encoding, such as "windows-1252" for a file of Excel on Windows'
_NEED_BYTE_ORDER_MARK = {"utf-16", "utf-32"}
_HOST_NAME_CODECS = {"idna", "punycode"}
_SPACE = " \t\u00a0"
_DELIMITERS = (";", "\t", "|", ",")  # Excel uses the first one in Indonesia
_FEWEST_DELIMITERS = 2
_LINE_BREAK = re.compile("\r?\n")
_FAULTS = (
    ("unexpected end", "a quote is left open: double it if it belongs to the text"),
    ("expected after", "text after a closing quote: a quote inside a cell is written twice"),
    ("new-line character", "a carriage return inside the row"),
    ("field larger", "a cell longer than 131,072 characters"),
)


def _mark_undecoded(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return _UNDECODED, error.end


codecs.register_error("sinergi-marked", _mark_undecoded)


@dataclass(frozen=True, slots=True)
class FileForm:
    """How a delimited file is written.

    Args:
        encoding: a Python name of a text encoding; a byte order mark must agree with it.
        delimiter: one character between cells.
        quote: one character around cells that hold a delimiter; "" if no cell is quoted.
        header_line: the number of the line that names the columns; earlier lines are skipped.
        line_breaks: the replacement for a line break in a quoted cell; None refuses such rows.
    """

    encoding: str = "utf-8"
    delimiter: str = ","
    quote: str = '"'
    header_line: int = 1
    line_breaks: str | None = None


class FileRow(NamedTuple):
    """One row of a file: its cells, or its fault."""

    line: int
    cells: list[str]
    fault: str = ""

    @property
    def blank(self) -> bool:
        """Whether all cells are empty, as in the rows that a spreadsheet leaves at the end."""
        return not self.fault and not any(self.cells)


class DelimitedFile(AbstractContextManager["DelimitedFile"]):
    """An open file. Digest and header are read at once, the rows one by one.

    Args:
        path: a regular file.
        form: how the file is written.

    Raises:
        InputRefused: the file does not exist, is not a regular file, or has no valid header.
    """

    def __init__(self, path: Path, form: FileForm) -> None:
        self.path = path
        self._form = form
        self._quotes = _Quotes(form)
        self._binary = _opened(path)
        self._text: io.TextIOWrapper | None = None
        try:
            self._stamp = self._stamped()
            self.digest = hashlib.file_digest(self._binary, "sha256").digest()
            _check_is_text(path, self._binary)
            self.rewind()
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
        """The size of the file, in bytes."""
        return self._stamp[0]

    @property
    def position(self) -> int:
        """The number of bytes read so far, read-ahead included, for a progress bar."""
        return self._binary.tell()

    def check_unchanged(self) -> None:
        """Check that the rows still belong to the digest.

        Raises:
            InputChanged: somebody wrote to the file after it was opened.
        """
        if self._stamped() != self._stamp:
            raise InputChanged(str(self.path), self._lines.number)

    def rewind(self) -> None:
        """Go back to the first row, so that the rows can be read once more."""
        self._start()
        self.header = self._read_header()

    def first_rows(self, most: int) -> list[FileRow]:
        """Return the first rows of the file, those before the header too, and then rewind."""
        self._start()
        found: list[FileRow] = []
        while len(found) < most and (line := self._lines.next()):
            row = self._row(line, expected=None)
            found.append(row._replace(cells=_names(row.cells)))
        self.rewind()
        return found

    def __iter__(self) -> Iterator[FileRow]:
        """Yield the rows after the header, also blank ones and those with a fault."""
        while line := self._lines.next():
            yield self._row(line, expected=len(self.header))

    def _start(self) -> None:
        if self._text is not None:
            self._text.detach()  # else the file would be closed together with the decoder
        self._text = self._decoded()
        self._lines = Lines(self._text, self._form.quote)

    def _stamped(self) -> tuple[int, int]:
        found = os.fstat(self._binary.fileno())
        return found.st_size, found.st_mtime_ns

    def _decoded(self) -> io.TextIOWrapper:
        encoding = _codec_name(self.path, self._form.encoding)
        self._binary.seek(0)
        head = self._binary.read(4)
        mark, allowed = next(
            ((mark, names) for mark, names in _BYTE_ORDER_MARKS if head.startswith(mark)),
            (b"", set()),
        )
        if mark and encoding not in allowed:
            raise InputRefused(
                str(self.path),
                f"it begins with the byte order mark of {min(allowed)}, and the mapping says"
                f" {self._form.encoding}",
            )
        if not mark and encoding in _NEED_BYTE_ORDER_MARK:
            raise InputRefused(
                str(self.path),
                f"{encoding} needs a byte order mark and there is none: write {encoding}-le or -be",
            )
        self._binary.seek(0 if encoding in _NEED_BYTE_ORDER_MARK else len(mark))
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
                fault = f"it is one cell with {other!r} in it; set file.delimiter"
            raise InputRefused(str(self.path), f"line {row.line} should be the header, but {fault}")
        return _names(row.cells)

    def _row(self, first: TextLine, *, expected: int | None) -> FileRow:
        number = self._lines.number
        taken = [first]
        count = 0  # the number of lines of the row; 0 means not known yet
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
            count = count or self._lines_of_row(taken)
            self._lines.give_back(taken[count:])
            together = f"; all {count} lines up to its end are refused" if count > 1 else ""
            return FileRow(number, [], fault + together)
        return FileRow(
            number, *self._checked("".join(line.text for line in taken), cells, expected)
        )

    def _misquoted(self, taken: list[TextLine]) -> str:
        """Return what is wrong with the quotes of a row that the csv module accepts, or ""."""
        if len(taken) > 1 and self._form.line_breaks is None:
            return "a line break in a quoted cell; set file.line_breaks if cells hold some"
        if sum(line.quotes for line in taken) % 2 == 0:
            return ""
        if len(taken) > 1:
            return "a quote in a quoted cell is not doubled"
        if self._quotes.are_indented(taken[0].text):
            return "a space before the quote that opens a cell"
        return ""

    def _lines_of_row(self, taken: list[TextLine]) -> int:
        """Count the lines of a row with a fault, up to the line that closes its quote.

        Quotes outside quoted cells come in pairs, so an odd number of quotes leaves a cell open.
        """
        if not self._quotes.open_a_cell(taken[0].text):
            return 1
        quotes = length = 0
        for place, line in enumerate(self._with_following(taken)):
            quotes += line.quotes
            length += len(line.text) if place else 0
            if quotes % 2 == 0:
                return place + 1 if not place or self._quotes.close_a_cell(line.text) else 1
            if length >= LIMIT:
                return 1
        return 1

    def _with_following(self, taken: list[TextLine]) -> Iterator[TextLine]:
        """Yield the lines taken so far and then the following lines, which it adds to `taken`."""
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
            return [], f"bytes that are not {self._form.encoding}: {_OTHER_ENCODING}"
        if "\0" in text:
            return [], "a NUL character"
        if expected is not None and len(cells) != expected and any(cells):
            return [], f"{_counted(len(cells))} where the header has {expected}"
        return cells, ""

    def _texts(self, taken: list[TextLine]) -> Iterator[str]:
        """Yield the lines that the csv module requests while a cell is open."""
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
    """Finds quotes that may open or close a cell."""

    def __init__(self, form: FileForm) -> None:
        quote, end = re.escape(form.quote), re.escape(form.delimiter)
        space = "[" + "".join(re.escape(each) for each in _SPACE if each != form.delimiter) + "]"
        self._opening = re.compile(f"(?:^|{end}){space}*{quote}" if quote else "(?!)")
        self._indented = re.compile(f"(?:^|{end}){space}+{quote}" if quote else "(?!)")
        self._closing = re.compile(f"{quote}{space}*(?:{end}|\r?\n?$)" if quote else "(?!)")

    def open_a_cell(self, text: str) -> bool:
        """Whether a cell of the line begins with a quote."""
        return self._opening.search(text) is not None

    def are_indented(self, text: str) -> bool:
        """Whether a cell begins with spaces and a quote, which the csv module reads as text."""
        return self._indented.search(text) is not None

    def close_a_cell(self, text: str) -> bool:
        """Whether a cell of the line ends with a quote."""
        return self._closing.search(text) is not None


def _opened(path: Path) -> io.BufferedReader:
    try:
        if path.exists() and not path.is_file():
            what = "it is not a regular file; it is read twice, so save it first"
            raise InputRefused(str(path), what)
        return path.open("rb")
    except OSError as error:
        raise InputRefused(str(path), error.strerror or type(error).__name__) from error


def _check_is_text(path: Path, binary: io.BufferedReader) -> None:
    binary.seek(0)
    if binary.read(8).startswith(_SPREADSHEETS):
        raise InputRefused(str(path), "it is a spreadsheet; save it as CSV, with NIKs as text")


def _names(cells: list[str]) -> list[str]:
    return [" ".join(cell.split()) for cell in cells]


def _codec_name(path: Path, encoding: str) -> str:
    try:
        "".encode(encoding)
        name = codecs.lookup(encoding).name
    except (LookupError, ValueError) as error:
        raise InputRefused(str(path), f"{encoding} is not a text encoding of Python") from error
    if name in _HOST_NAME_CODECS:
        raise InputRefused(str(path), f"{encoding} is an encoding of host names, not of files")
    return name


def _other_delimiter(cells: list[str]) -> str:
    """Return the delimiter inside the only cell of a header, or "" if there is none."""
    if len(cells) != 1:
        return ""
    return next((each for each in _DELIMITERS if cells[0].count(each) >= _FEWEST_DELIMITERS), "")


def _fault(error: csv.Error) -> str:
    found = str(error)
    return next((text for part, text in _FAULTS if part in found), found)


def _counted(cells: int) -> str:
    return "1 cell" if cells == 1 else f"{cells} cells"
