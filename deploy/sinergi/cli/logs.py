"""The log on standard error, as lines for people or as JSON for programs."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING, Any, TextIO, cast

import structlog

from sinergi.cli import terminal
from sinergi_schemas.plain_text import plain, plain_lines

if TYPE_CHECKING:
    from structlog.typing import EventDict, WrappedLogger

_SEVERAL_LINES = ("exception",)  # a traceback


class _Libraries(logging.Handler):
    """Logs the messages of libraries without their arguments, which could quote a row."""

    def emit(self, record: logging.LogRecord) -> None:
        """Log the template of a message, and the class of its exception."""
        why = {"why": record.exc_info[0].__name__} if record.exc_info and record.exc_info[0] else {}
        structlog.get_logger().log(record.levelno, str(record.msg), library=record.name, **why)


_STDERR = cast("TextIO", terminal.standard_error)


def set_up(level: str, *, as_json: bool) -> None:
    """Send everything that is logged at `level` or above to standard error."""
    render: list[Any] = (
        [structlog.processors.JSONRenderer(default=str), _plain_json]
        if as_json
        else [_plain, structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())]
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            *render,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(level.upper())),
        logger_factory=lambda *_: structlog.WriteLogger(_STDERR),
        cache_logger_on_first_use=False,
    )
    root = logging.getLogger()
    if not any(isinstance(each, _Libraries) for each in root.handlers):
        root.addHandler(_Libraries(logging.WARNING))


def _plain(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Make each text plain and one line, since a broker, a file or a database may have sent it.

    Other values are shown by their `repr`, which escapes them already.
    """
    return {
        key: (plain_lines(value) if key in _SEVERAL_LINES else plain(value))
        if isinstance(value, str)
        else value
        for key, value in event.items()
    }


def _plain_json(_logger: WrappedLogger, _method: str, line: str) -> str:
    """The line without the one control character that JSON does not escape (U+007F)."""
    return plain(line)
