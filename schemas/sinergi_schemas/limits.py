"""How large an event may be: limits of the contract, which publishing and reading both hold.

Whoever publishes is refused at once. A reader sets an event apart that is larger: it comes from
somebody who does not hold the contract, and may be made to cost its readers memory or time.
"""

from __future__ import annotations

from typing import Final

MOST_DATUM_BYTES: Final = 256 * 1024
MOST_ITEMS: Final = 10_000  # of all lists of an event together
MOST_KEY_BYTES: Final = 256  # of a record_id, in UTF-8: tables are keyed by it
# Of a batch as the brokers keep it: the largest event, with its key, its headers and a checkpoint.
MOST_BATCH_BYTES: Final = MOST_DATUM_BYTES + 32 * 1024

TOO_LARGE = f"it is above {MOST_DATUM_BYTES} bytes"
TOO_MANY_ITEMS = f"its lists hold more than {MOST_ITEMS} items"
