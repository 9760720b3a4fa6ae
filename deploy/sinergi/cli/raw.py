"""Bytes of one event on their way out, as they are: to a file of its owner, or into a pipe."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from sinergi_schemas import errors

STANDARD_OUTPUT = Path("-")

_OWNERS = 0o600  # an event holds personal data


def write(data: bytes, path: Path) -> None:
    """Write bytes to a file that is not there yet, or to standard output.

    Raises:
        QuarantineRefused: the file is there, or cannot be written; or a terminal would get them.
    """
    if path == STANDARD_OUTPUT:
        if sys.stdout.isatty():
            raise errors.QuarantineRefused("bytes are no text for a terminal; name a file")
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
        return
    try:
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _OWNERS)
        try:
            with os.fdopen(file, "wb") as target:
                target.write(data)
        except OSError:
            path.unlink()
            raise
    except FileExistsError:
        what = f"{path} is there already, and is not written over; name another file"
        raise errors.QuarantineRefused(what) from None
    except OSError as why:
        what = f"{path} cannot be written ({why.strerror}); name another file"
        raise errors.QuarantineRefused(what) from None
