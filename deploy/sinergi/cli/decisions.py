"""Who decides or reads, and why, as it is recorded in the database."""

from __future__ import annotations

import os
import pwd
import socket
from typing import TYPE_CHECKING

from sinergi_consumers.sinks import protocol
from sinergi_schemas import errors
from sinergi_schemas.plain_text import has_words

if TYPE_CHECKING:
    from sinergi_consumers.sinks.protocol import Decision


def decision(why: str) -> Decision:
    """The decision for `--why`, made by the account of this process on this machine.

    Raises:
        QuarantineRefused: it says nothing.
    """
    if not has_words(why):
        raise errors.QuarantineRefused("--why says nothing")
    return protocol.Decision(account(), why)


def account() -> str:
    """The account of this process and its machine, `user@machine`, as this machine states them."""
    try:
        name = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # as in a container
        name = f"user {os.getuid()}"
    return f"{name}@{socket.gethostname()}"
