"""The topics that may be values of a label, by the agreements as they are now."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from sinergi_schemas import errors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from sinergi_schemas.agreements.collection import Agreements
    from sinergi_schemas.clock import Clock
    from sinergi_schemas.topics import Topic


class AgreedTopics:
    """The topics of one process, read again from time to time as the process does.

    Args:
        load: reads the agreements.
        of: which of their topics the process writes or reads.
        seconds: how often they are read again.
    """

    def __init__(
        self,
        load: Callable[[], Agreements],
        of: Callable[[Agreements], Iterable[Topic]],
        clock: Clock,
        seconds: float,
    ) -> None:
        self._load = load
        self._of = of
        self._clock = clock
        self._seconds = seconds
        self._agreements = load()
        self._due = clock.monotonic() + seconds

    @property
    def agreements(self) -> Agreements:
        """The agreements, as they were read last."""
        return self._agreements

    @property
    def topics(self) -> list[Topic]:
        """The topics of the process, sorted."""
        return sorted(self._of(self._agreements))

    @property
    def names(self) -> list[str]:
        """The names of these topics."""
        return [each.name for each in self.topics]

    def reload(self) -> None:
        """Read the agreements again if it is time; those that cannot be used change nothing."""
        if self._clock.monotonic() < self._due:
            return
        self._due = self._clock.monotonic() + self._seconds
        with suppress(errors.Refused):  # the process itself reads them too, and logs why
            self._agreements = self._load()
