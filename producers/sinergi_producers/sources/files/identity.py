"""The identity of a row, by which a file that is published twice gives each event once.

Rows of a register often equal each other in every column although they are about different people.
An identity computed from the contents would drop such rows, so it is computed from the digest of
the file and the line number.
"""

from __future__ import annotations

import hashlib
from uuid import UUID

_VERSION_8 = 0x8 << 76
_VARIANT = 0b10 << 62
_FREE_BITS = ~((0xF << 76) | (0b11 << 62))


def row_event_id(digest: bytes, line: int) -> UUID:
    """Return the event_id of a row: a UUIDv8 (RFC 9562 §5.8).

    Its 122 free bits are those at the same places in the first 16 bytes of
    SHA-256(digest ‖ line).

    Args:
        digest: the SHA-256 of the file's bytes (32 bytes).
        line: the number of the row's first line, from 1; hashed as 8 bytes, big-endian.
    """
    hashed = hashlib.sha256(digest + line.to_bytes(8, "big")).digest()
    bits = int.from_bytes(hashed[:16], "big") & _FREE_BITS
    return UUID(int=bits | _VERSION_8 | _VARIANT)


def short_digest(digest: bytes) -> str:
    """Return the value of `{@digest}` in a template: 16 hex digits of the file's SHA-256."""
    return digest.hex()[:16]
