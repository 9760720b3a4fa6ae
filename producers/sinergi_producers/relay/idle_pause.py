"""How long a relay waits before it looks for rows again, where none was."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sinergi_schemas.timeouts import RelayTimeouts

_SHARE = 0.01


def idle_pause(idle_seconds: float, timeouts: RelayTimeouts) -> float:
    """A hundredth of the time for which no row has come, between the two bounds of the settings.

    So a pause adds little to the time between two events, and a relay to which nothing comes asks
    the database only a few times a second.

    Args:
        idle_seconds: how long ago the last row came.
    """
    return max(timeouts.idle, min(timeouts.idle_most, _SHARE * idle_seconds))
