"""How large an event may be: limits of the contract, which publishing and reading both hold.

Whoever publishes is refused at once. A reader sets an event apart that is larger: it comes from
somebody who does not hold the contract, and may be made to cost its readers memory or time.
"""

from __future__ import annotations

from typing import Final

MOST_DATUM_BYTES: Final = 256 * 1024
FREE_ITEMS: Final = 80  # of all lists of an event together, however small they are
BYTES_OF_ITEM: Final = 32  # for each item more, an event has so many bytes of any kind
MOST_KEY_BYTES: Final = 256  # of a record_id, in UTF-8: tables are keyed by it
# Of a batch as the brokers keep it: the largest event, with its key, its headers and a checkpoint.
MOST_BATCH_BYTES: Final = MOST_DATUM_BYTES + 32 * 1024

TOO_LARGE = f"it is above {MOST_DATUM_BYTES} bytes"
TOO_MANY_ITEMS = (
    f"its lists hold more than {FREE_ITEMS} items and one for each {BYTES_OF_ITEM} bytes of it"
)


def most_items(size: int) -> int:
    """How many items all lists of an event may hold together.

    Each becomes a row of each reader, and may be written in two bytes: without this rule one batch
    of a few megabytes would become millions of rows, which keep a database busy for minutes.

    Args:
        size: of its datum, in bytes.
    """
    return FREE_ITEMS + size // BYTES_OF_ITEM
