"""The log on standard error, as lines for people or as JSON for programs."""

from __future__ import annotations

import logging
import re
import sys
from typing import TYPE_CHECKING, Any, TextIO, cast

import structlog

from sinergi.cli import terminal
from sinergi_schemas.plain_text import plain, plain_lines

if TYPE_CHECKING:
    from structlog.typing import EventDict, WrappedLogger

_SEVERAL_LINES = ("exception",)  # a traceback
_OWN = ("event", "level", "timestamp")  # the renderer shows them as they are
_LISTED = re.compile(r"(?<=:)\n *")
_LINE_END = re.compile(r"\n *")
_QUOTED = re.compile(r"[\s=\"']")


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
        key: _shown(key, value) if isinstance(value, str) else value for key, value in event.items()
    }


def _shown(key: str, value: str) -> str | _Text:
    if key in _SEVERAL_LINES:
        return plain_lines(value)
    line = plain(_LINE_END.sub("; ", _LISTED.sub(" ", value)))
    return line if key in _OWN else _Text(line)


class _Text:
    """A value of an event. The `repr` of a text would escape the escapes once more."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        if not _QUOTED.search(self._text):
            return self._text
        mark = '"' if "'" in self._text and '"' not in self._text else "'"
        return f"{mark}{self._text}{mark}"


def _plain_json(_logger: WrappedLogger, _method: str, line: str) -> str:
    """The line without the one control character that JSON does not escape (U+007F)."""
    return plain(line)
