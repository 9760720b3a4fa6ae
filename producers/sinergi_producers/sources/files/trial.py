"""A dry run: checks events as publishing does, as far as that is possible without a database."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sinergi_producers.outbox.publishing import Published
from sinergi_schemas.codes import Action
from sinergi_schemas.errors import ActionRefused, EventsRefused, Refused

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sinergi_schemas.events import Event


class DryRun:
    """Takes the place of what publishes events. It keeps a number for each record of the file.

    Args:
        check: checks one event, and raises as `publish` would; None checks only the records.
    """

    def __init__(self, check: Callable[[Event], None] | None) -> None:
        self._check = check
        self._records: set[int] = set()

    def __call__(self, events: Sequence[Event]) -> Sequence[Published]:
        """Check all events.

        Raises:
            EventsRefused: one of them would be refused; the error names it.
        """
        records: set[int] = set()
        for place, event in enumerate(events):
            try:
                self._check_event(event, records)
            except Refused as why:
                raise EventsRefused(place, str(why)) from why
        self._records |= records
        return [Published(event, is_new=True) for event in events]

    def _check_event(self, event: Event, records: set[int]) -> None:
        if self._check is not None:
            self._check(event)
        record = hash(event.record_id)
        if event.action is Action.RECORDED and (record in self._records or record in records):
            raise ActionRefused(event.action.value, "an earlier line of the file has this record")
        records.add(record)
