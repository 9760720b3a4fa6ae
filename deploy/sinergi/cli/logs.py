"""The log: to standard error, as lines for people or as JSON for machines."""

from __future__ import annotations

import logging
import sys

import structlog


class _Libraries(logging.Handler):
    """What libraries log, in our form and without its arguments: they could quote a row."""

    def emit(self, record: logging.LogRecord) -> None:
        """Say the template of a message, and the kind of an exception."""
        why = {"why": record.exc_info[0].__name__} if record.exc_info and record.exc_info[0] else {}
        structlog.get_logger().log(record.levelno, str(record.msg), library=record.name, **why)


def set_up(level: str, *, as_json: bool) -> None:
    """Send everything that is logged at `level` or above to standard error."""
    render = (
        structlog.processors.JSONRenderer(default=str)
        if as_json
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            render,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(level.upper())),
        logger_factory=lambda *_: structlog.WriteLogger(sys.stderr),
        cache_logger_on_first_use=False,
    )
    root = logging.getLogger()
    if not any(isinstance(each, _Libraries) for each in root.handlers):
        root.addHandler(_Libraries(logging.WARNING))
