"""What is logged while something is measured."""

from __future__ import annotations

import logging
import sys

import structlog


def logs() -> None:
    """Let warnings through, on standard error; standard output is for figures."""
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
