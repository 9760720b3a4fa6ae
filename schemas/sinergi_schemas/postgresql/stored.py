"""Values in our own tables, checked before they are used: somebody may have written over them."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from psycopg.errors import NumericValueOutOfRange

from sinergi_schemas import errors
from sinergi_schemas.seal.merkle import Frontier
from sinergi_schemas.topics import Topic, is_slug

if TYPE_CHECKING:
    from collections.abc import Iterator


def frontier(size: int, data: bytes, table: str, row: str) -> Frontier:
    """A Merkle tree, stored as its size and its frontier.

    Args:
        size: how many leaves it has.
        data: the stored frontier.
        table: the table that holds it, with its schema.
        row: the key of its row.

    Raises:
        StoredStateInvalid: the bytes are not the frontier of a tree of this size.
    """
    try:
        return Frontier.parse(size, bytes(data))
    except ValueError as why:
        raise errors.StoredStateInvalid(f"{table}.frontier", row, str(why)) from None


def topic(name: str, table: str, row: str) -> Topic:
    """A topic, stored as its name.

    Raises:
        StoredStateInvalid: no topic can have this name.
    """
    try:
        return Topic.parse(name)
    except ValueError as why:
        raise errors.StoredStateInvalid(f"{table}.topic", row, str(why)) from None


def event_type(name: str, table: str, row: str) -> str:
    """An event type, stored as its name.

    Raises:
        StoredStateInvalid: no event type can have this name.
    """
    if not is_slug(name):
        what = f"{name!r} is not lower-case words joined by hyphens"
        raise errors.StoredStateInvalid(f"{table}.event_type", row, what)
    return name


def offset(value: int | None) -> int | None:
    """An offset of Kafka's; None where none is stored, or a number that cannot be one.

    An offset is only a cache of the position, so the reader then looks for the leaf instead.
    """
    return None if value is None or value < 0 else value


@contextmanager
def raising_epoch(table: str, row: str) -> Iterator[None]:
    """A block whose one statement raises the epoch of a row.

    Raises:
        StoredStateInvalid: the epoch is already the highest number that its column can hold.
    """
    try:
        yield
    except NumericValueOutOfRange:
        what = "no number is higher"
        raise errors.StoredStateInvalid(f"{table}.epoch", row, what) from None
