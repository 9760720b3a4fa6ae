"""How large an event may be: limits of the contract, which publishing and reading both hold.

Whoever publishes is refused at once. A reader sets an event apart that is larger: it comes from
somebody who does not hold the contract, and may be made to cost its readers memory or time.
"""

from __future__ import annotations

MOST_DATUM_BYTES = 256 * 1024
MOST_KEY_BYTES = 256  # of a record_id, in UTF-8: tables are keyed by it
