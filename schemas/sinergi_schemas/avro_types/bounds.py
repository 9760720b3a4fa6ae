"""The bounds of single values, which every decoder applies. Both ends of a pair are included."""

from __future__ import annotations

from typing import Final

INT: Final = (-(2**31), 2**31 - 1)
LONG: Final = (-(2**63), 2**63 - 1)

# Since 1970-01-01 in UTC. The years 1 to 9999: Python has no dates outside them.
DAYS: Final = (-719_162, 2_932_896)
MICROSECONDS: Final = (-62_135_596_800_000_000, 253_402_300_799_999_999)

# The canonical form of a UUID and no other: else one event_id could be written in two ways.
UUID: Final = "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
