"""The limits of the contract for one event. Publishing and reading both apply them.

A publisher that exceeds a limit gets an error at once. A reader puts such an event into quarantine:
its publisher did not use Sinergi, or changed it, and the event may be meant to cost its readers
memory or time.
"""

from __future__ import annotations

from typing import Final

MOST_DATUM_BYTES: Final = 256 * 1024
FREE_ITEMS: Final = 80  # items that all lists of an event may hold together, of any size
BYTES_OF_ITEM: Final = 32  # that a datum has at least for each further item
MOST_KEY_BYTES: Final = 256  # of a record_id in UTF-8: it is part of the keys of tables
# Of a batch on a broker: the largest event with its key, its headers and a checkpoint.
MOST_BATCH_BYTES: Final = MOST_DATUM_BYTES + 32 * 1024

TOO_LARGE = f"it is above {MOST_DATUM_BYTES} bytes"
TOO_MANY_ITEMS = (
    f"its lists hold more than {FREE_ITEMS} items and one for each {BYTES_OF_ITEM} bytes of it"
)


def most_items(size: int) -> int:
    """How many items all lists of an event may hold together.

    Every item becomes a row in the database of every reader, and an item can be as short as two
    bytes. Without this limit a batch of a few megabytes could become millions of rows, which take a
    database minutes.

    Args:
        size: the size of its datum, in bytes.
    """
    return FREE_ITEMS + size // BYTES_OF_ITEM
