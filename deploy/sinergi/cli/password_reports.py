"""What `sinergi provision` says of new passwords: to a person, or in the log of a watch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from sinergi.cli import terminal

if TYPE_CHECKING:
    from pathlib import Path

_log = structlog.get_logger(__name__)


def tell_password(file: Path) -> None:
    """Say on standard error where a new password is."""
    terminal.note(
        f"sinergi: new password in {file}: hand it over to its owner, and delete the file"
    )


def tell_interrupted(user: str) -> None:
    """Say on standard error that a password may be the old or the new one."""
    terminal.note(
        f"sinergi: a command was interrupted while it replaced the password of {user}, so that"
        " the old or the new one holds: run `sinergi provision rotate` for its owner"
    )


def log_password(file: Path) -> None:
    """Log where a new password is."""
    _log.warning(
        "new password", file=str(file), mend="hand it over to its owner, and delete the file"
    )
