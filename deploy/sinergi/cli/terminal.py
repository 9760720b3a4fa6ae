"""What the commands say: every one of them says it through here, and nowhere else.

Standard output carries what was asked for, standard error everything else. Whatever text is given
reaches neither of them with escape sequences, bidi controls or line ends of its own, and is never
taken for markup: `sinergi_schemas.plain_text` makes it plain. An output whose encoding lacks a
character gets an escape for it, so that no command dies half done over a letter.
"""

from __future__ import annotations

import json
import os
import sys
from contextlib import contextmanager
from io import TextIOWrapper
from typing import TYPE_CHECKING, Any

from sinergi_schemas import errors
from sinergi_schemas.plain_text import ENCODING_ERRORS, plain, plain_lines

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from rich.console import Console
    from rich.progress import Progress, ProgressColumn

    from sinergi.cli.tables import Line, TableCell, TableColumn

STANDARD_OUTPUT = "standard output"

_UNFOLDED = 1_000_000  # a file or a pipe gets one line a row, for grep
_FEWEST_COLUMNS = 20


def prepare() -> None:
    """Let both streams show whatever text there is, whatever their encoding."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # it was closed before we began, as by `>&-`
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115, PTH123
        elif isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors=ENCODING_ERRORS)


def say(text: str, style: str = "") -> None:
    """Write a line to standard output; on a terminal it is broken between words."""
    console = _console()
    if not console.is_terminal:
        _write(f"{plain(text)}\n")
        return
    from sinergi.cli.tables import TableCell, wrapped  # noqa: PLC0415 - only for people

    for each in wrapped(plain(text), console.width):
        _show(console, [TableCell(each, style)])


def note(text: str, style: str = "") -> None:
    """Write a line to standard error; a style shows on a terminal."""
    if style and sys.stderr.isatty():
        _console(stderr=True).print(plain(text), style=style, soft_wrap=True)
    else:
        sys.stderr.write(f"{plain(text)}\n")


def warn(text: str) -> None:
    """Say on standard error, as a line of the log, what is dangerous and hinders nothing."""
    import structlog  # noqa: PLC0415 - only where there is something to warn of

    structlog.get_logger().warning(text)


def note_lines(text: str) -> None:
    """Write an error to standard error, whose message may list things on lines of their own."""
    sys.stderr.write(f"{plain_lines(text)}\n")


def show_text(text: str) -> None:
    """Write text of our own that has several lines to standard output, as it is."""
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


def show_table(columns: Sequence[TableColumn], rows: Iterable[Sequence[str | TableCell]]) -> None:
    """Write a table to standard output, laid out for the terminal or for COLUMNS."""
    from sinergi.cli.tables import laid_out  # noqa: PLC0415 - only where there is a table

    console = _console()
    is_told = console.is_terminal or os.environ.get("COLUMNS", "").isdecimal()
    width = max(_FEWEST_COLUMNS, console.width) if is_told else _UNFOLDED
    for line in laid_out(columns, rows, width, sys.stdout.encoding or "utf-8"):
        _show(console, line)


def progress(*columns: ProgressColumn) -> Progress:
    """A bar on standard error while something lasts; nothing where nobody watches."""
    from rich.progress import Progress  # noqa: PLC0415 - only where something lasts

    console = _console(stderr=True)
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)


def is_terminal() -> bool:
    """Whether standard output is a terminal."""
    return sys.stdout.isatty()


def end() -> None:
    """Have all that was said out, and let nothing fail after this.

    Raises:
        BrokenPipeError: whoever read standard output has closed it.
        OutputRefused: it cannot be written, as on a full disk.
    """
    try:
        with _reporting():
            sys.stdout.flush()
    except (BrokenPipeError, errors.OutputRefused):
        silence()
        raise


def silence() -> None:
    """Send what Python still writes at its end to nobody: it could not be written before."""
    if sys.__stdout__ is not None and sys.stdout is sys.__stdout__:
        nobody = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nobody, sys.stdout.fileno())
        os.close(nobody)


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
    """Turn what keeps standard output from being written into an error of ours."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as why:
        said = why.strerror or type(why).__name__
        raise errors.OutputRefused(STANDARD_OUTPUT, said, "send it elsewhere") from None
