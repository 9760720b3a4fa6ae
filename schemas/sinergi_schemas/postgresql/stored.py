"""What a database holds of ours, read as what it must be: somebody may have written over it."""

from __future__ import annotations

from sinergi_schemas import errors
from sinergi_schemas.seal.merkle import Frontier
from sinergi_schemas.topics import Topic, is_slug


def frontier(size: int, data: bytes, table: str, row: str) -> Frontier:
    """A tree that is stored by its size and its frontier.

    Args:
        table: where it stands, with its schema.
        row: in which row, by its key.

    Raises:
        StoredStateInvalid: it is none.
    """
    try:
        return Frontier.parse(size, bytes(data))
    except ValueError as why:
        raise errors.StoredStateInvalid(f"{table}.frontier", row, str(why)) from None


def topic(name: str, table: str, row: str) -> Topic:
    """A topic that is stored by its name.

    Raises:
        StoredStateInvalid: it is none.
    """
    try:
        return Topic.parse(name)
    except ValueError as why:
        raise errors.StoredStateInvalid(f"{table}.topic", row, str(why)) from None


def event_type(name: str, table: str, row: str) -> str:
    """An event type that is stored by its name.

    Raises:
        StoredStateInvalid: nothing can be called so.
    """
    if not is_slug(name):
        what = f"{name!r} is not lower-case words joined by hyphens"
        raise errors.StoredStateInvalid(f"{table}.event_type", row, what)
    return name
