"""The identity of a row: what makes publishing the same file twice publish it once.

Rows of a register often equal each other in every column and yet speak of different people, so an
identity made of the contents would drop them. File digest and line number tell them apart.
"""

from __future__ import annotations

import hashlib
from uuid import UUID

_VERSION_8 = 0x8 << 76
_VARIANT = 0b10 << 62
_FREE_BITS = ~((0xF << 76) | (0b11 << 62))


def row_event_id(digest: bytes, line: int) -> UUID:
    """The event_id of the row that starts on a line of a file: a UUIDv8 (RFC 9562 §5.8).

    Its 122 free bits are the head of SHA-256(digest ‖ line), in their places.

    Args:
        digest: SHA-256 of the file's bytes (32 bytes).
        line: number of the row's first physical line, from 1; hashed as 8 bytes, big-endian.
    """
    hashed = hashlib.sha256(digest + line.to_bytes(8, "big")).digest()
    bits = int.from_bytes(hashed[:16], "big") & _FREE_BITS
    return UUID(int=bits | _VERSION_8 | _VARIANT)


def short_digest(digest: bytes) -> str:
    """What `{@digest}` stands for in a template: the first 16 hex digits of the file's SHA-256."""
    return digest.hex()[:16]
