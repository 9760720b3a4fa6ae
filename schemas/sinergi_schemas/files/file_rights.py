"""Who may read or write a file besides its owner, by its mode."""

from __future__ import annotations

import stat


def is_open(mode: int) -> bool:
    """Whether anybody but the owner may read or write it: then it must not hold a secret."""
    return bool(mode & (stat.S_IRWXG | stat.S_IRWXO))


def is_writable_by_all(mode: int) -> bool:
    """Whether every user of the machine may write it: then its content cannot be trusted."""
    return bool(mode & stat.S_IWOTH)
