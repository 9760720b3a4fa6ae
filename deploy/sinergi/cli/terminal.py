"""The output of every command: all of it is written by this module.

Standard output carries what was asked for, standard error everything else. No text brings escape
sequences, bidi controls or line ends of its own, and none is read as markup:
`sinergi_schemas.plain_text` makes it plain. A character that the encoding of an output lacks is
written as an escape, so that no command ends half done because of a letter.

If a part of the output cannot be written, the command ends with exit status 2, whatever it has
found out, because nobody could read it. If standard output fails, the command ends at once. If
standard error fails, it goes on, so that no relay ends because its log is full.
"""

from __future__ import annotations

import io
import json
import os
import re
import sys
from contextlib import contextmanager, suppress
from io import TextIOWrapper
from typing import TYPE_CHECKING, Any, NamedTuple, TextIO, TypeVar

from sinergi_schemas import errors
from sinergi_schemas.plain_text import ENCODING_ERRORS, plain, plain_lines

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from rich.console import Console
    from rich.progress import Progress, ProgressColumn

    from sinergi.cli.tables import Line, TableCell, TableColumn

STANDARD_OUTPUT = "standard output"

Row = TypeVar("Row", bound=NamedTuple)

_COLUMNS = 100  # of a table in a file or a pipe, where nothing says how wide it may be
_FEWEST_COLUMNS = 20
_COMMAND = re.compile(r"`[^`]*`")
_JOIN = "\ue000"  # in place of a space, at which no line ends; a plain text has no such character


class StandardError(io.TextIOBase):
    """The standard error of the moment; a logger may be older than what replaced `sys.stderr`.

    Attributes:
        is_incomplete: whether something could not be written to it since `prepare`.
    """

    def __init__(self) -> None:
        self.is_incomplete = False

    def write(self, text: str) -> int:
        """Write what can be written; what cannot be is given up."""
        with self.tolerating():
            sys.stderr.write(text)
        return len(text)

    def flush(self) -> None:
        """Flush what can be written."""
        with self.tolerating():
            sys.stderr.flush()

    @contextmanager
    def tolerating(self) -> Iterator[None]:
        """Remember an OSError of the block, and go on."""
        try:
            yield
        except OSError:
            self.is_incomplete = True


standard_error = StandardError()


def prepare() -> None:
    """Let both streams write any text, whatever their encoding, and all of it."""
    standard_error.is_incomplete = False
    for descriptor, name in ((1, "stdout"), (2, "stderr")):
        stream = getattr(sys, name)
        if stream is None:  # it was closed before the process began, as by `>&-`
            stream = _unwritable(descriptor, name)
            setattr(sys, name, stream)
            setattr(sys, f"__{name}__", stream)
        elif isinstance(stream, TextIOWrapper):
            if stream is getattr(sys, f"__{name}__") and isinstance(stream.buffer, io.RawIOBase):
                stream = _buffered(stream)
                setattr(sys, name, stream)
                setattr(sys, f"__{name}__", stream)
            stream.reconfigure(errors=ENCODING_ERRORS)


def _buffered(stream: TextIOWrapper) -> TextIOWrapper:
    """A stream in place of one that PYTHONUNBUFFERED has left without a buffer.

    Without a buffer a write that the system does only in part is no error, as at the end of a disk
    or of a pipe whose reader has gone: the rest would be missing, and nobody would know.
    """
    encoding = stream.encoding
    raw: Any = stream.detach()
    return TextIOWrapper(io.BufferedWriter(raw), encoding, line_buffering=True)


def _unwritable(descriptor: int, name: str) -> TextIOWrapper:
    """A stream for a closed descriptor, which it occupies; each write fails.

    Else the next file or socket would have the descriptor, and get what native code writes to it.
    """
    opened = os.open(os.devnull, os.O_RDONLY)
    if opened != descriptor:
        os.dup2(opened, descriptor)
        os.close(opened)
    raw = os.fdopen(descriptor, "wb", closefd=False)
    return TextIOWrapper(raw, "utf-8", ENCODING_ERRORS, line_buffering=name == "stderr")


def show_line(text: str, style: str = "") -> None:
    """Write a line to standard output.

    It is broken between words where something says how wide the output is: a terminal or COLUMNS.
    """
    console = _console()
    if not (console.is_terminal or _has_columns()):
        _write(f"{plain(text)}\n")
        return
    from sinergi.cli.tables import TableCell  # noqa: PLC0415 - only for people

    for each in _broken(plain(text), console):
        _show(console, [TableCell(each, style)])


def note(text: str, style: str = "") -> None:
    """Write a line to standard error; on a terminal it has a style and is broken between words.

    In a pipe it stays whole, whatever COLUMNS says: programs and `grep` read it there.
    """
    _note_line(plain(text), style)


def warn(text: str) -> None:
    """Write a warning to the log: something is dangerous, but the command goes on."""
    import structlog  # noqa: PLC0415 - only where there is something to warn of

    structlog.get_logger().warning(text)


def note_lines(text: str) -> None:
    """Write an error, which may have several lines, to standard error; each as `note` does."""
    for each in plain_lines(text).split("\n"):
        _note_line(each, "")


def note_traceback(text: str) -> None:
    """Write a traceback to standard error, as Python has laid it out."""
    standard_error.write(f"{plain_lines(text)}\n")


def _note_line(text: str, style: str) -> None:
    if not sys.stderr.isatty():
        standard_error.write(f"{text}\n")
        return
    console = _console(stderr=True)
    with standard_error.tolerating():
        for each in _broken(text, console):
            console.print(each, style=style or None, soft_wrap=True)


def _broken(text: str, console: Console) -> list[str]:
    """The lines of a plain text. A command between backquotes stays whole, so that it is copied."""
    from sinergi.cli.tables import wrapped  # noqa: PLC0415 - only for people

    joined = _COMMAND.sub(lambda found: found[0].replace(" ", _JOIN), text)
    lines = wrapped(joined, max(_FEWEST_COLUMNS, console.width))
    return [each.replace(_JOIN, " ") for each in lines]


def show_text(text: str) -> None:
    """Write a text of several lines to standard output."""
    _write(plain_lines(text))


def show_json(document: Any, default: Callable[[object], object] | None = None) -> None:
    """Write a document to standard output, in ASCII."""
    _write(f"{plain_lines(json.dumps(document, indent=2, default=default))}\n")


def show_bytes(data: bytes) -> None:
    """Write bytes to standard output, for a file or a pipe."""
    with _reporting():
        sys.stdout.flush()
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()


def show_table(
    columns: Sequence[TableColumn],
    rows: Iterable[Sequence[str | TableCell]],
    *,
    whole_in_pipe: bool = False,
) -> None:
    """Write a table to standard output, laid out for the terminal, COLUMNS or 100.

    Args:
        whole_in_pipe: where standard output is no terminal each row is one line, for `grep`.
    """
    from sinergi.cli.tables import laid_out  # noqa: PLC0415 - only where there is a table

    console = _console()
    is_known = console.is_terminal or _has_columns()
    width = max(_FEWEST_COLUMNS, console.width) if is_known else _COLUMNS
    if whole_in_pipe and not console.is_terminal:
        width = sys.maxsize
    for line in laid_out(columns, rows, width, sys.stdout.encoding or "utf-8"):
        _show(console, line)


def show_rows(
    columns: Sequence[TableColumn],
    rows: Sequence[Row],
    cells: Callable[[Row], Sequence[str | TableCell]],
    count: int,
    notes: Sequence[str] = (),
    *,
    as_json: bool,
) -> None:
    """Write rows of which `--limit` may have left some out, as a table or as one JSON document.

    Args:
        cells: the cells of a row, for the table.
        count: of all rows, those left out included.
        notes: lines for standard error below the table.
    """
    if as_json:
        show_json({"count": count, "rows": [each._asdict() for each in rows]}, str)
        return
    show_table(columns, map(cells, rows))
    for each in notes:
        note(f"sinergi: {each}")
    note_count(count, len(rows))


def note_count(count: int, shown: int) -> None:
    """Write to standard error how many rows there are, and how many of them are shown."""
    note(f"sinergi: {count:,} in all, {shown:,} shown")


def progress(*columns: ProgressColumn) -> Progress:
    """A progress bar on standard error; nothing is written if that is no terminal."""
    from rich.progress import Progress  # noqa: PLC0415 - only for a progress bar

    console = _console(stderr=True)
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)


def is_terminal() -> bool:
    """Whether standard output is a terminal."""
    return sys.stdout.isatty()


def end() -> None:
    """Flush standard output, so that nothing can fail later.

    Raises:
        BrokenPipeError: the reader of standard output has closed it.
        OutputRefused: it cannot be written, as on a full disk.
    """
    try:
        with _reporting():
            sys.stdout.flush()
    except (BrokenPipeError, errors.OutputRefused):
        silence()
        raise


def end_errors() -> None:
    """Flush standard error; what it does not take is discarded, else Python would end with 120."""
    standard_error.flush()
    if standard_error.is_incomplete:
        _discard(sys.stderr, sys.__stderr__)


def silence() -> None:
    """Discard what Python still writes to standard output when it ends: it would fail again."""
    _discard(sys.stdout, sys.__stdout__)


def _discard(stream: TextIO, real: TextIO | None) -> None:
    if real is not None and stream is real:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream.fileno())
        os.close(null)
        with suppress(OSError):
            stream.flush()


def _has_columns() -> bool:
    return os.environ.get("COLUMNS", "").isdecimal()


def _console(*, stderr: bool = False) -> Console:
    from rich.console import Console  # noqa: PLC0415 - not for JSON, and not for --help

    return Console(stderr=stderr, highlight=False, markup=False, emoji=False)


def _show(console: Console, line: Line) -> None:
    if not console.is_terminal:
        _write("".join(each.text for each in line).rstrip(" ") + "\n")
        return
    from rich.text import Text  # noqa: PLC0415 - only for people

    with _reporting():
        console.print(Text.assemble(*line), soft_wrap=True)


def _write(text: str) -> None:
    with _reporting():
        sys.stdout.write(text)


@contextmanager
def _reporting() -> Iterator[None]:
    """Turn an OSError on standard output into an `OutputRefused`."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as why:
        what = why.strerror or type(why).__name__
        raise errors.OutputRefused(STANDARD_OUTPUT, what, "send it elsewhere") from None
