"""Who else may read or write a file, by its mode: what holds for keys holds for all secrets."""

from __future__ import annotations

import stat


def is_open(mode: int) -> bool:
    """Whether anybody but the owner may read or write it, so that it can hold no secret."""
    return bool(mode & (stat.S_IRWXG | stat.S_IRWXO))


def is_everybodys(mode: int) -> bool:
    """Whether anybody on the machine may write it, so that nothing in it can be trusted."""
    return bool(mode & stat.S_IWOTH)
