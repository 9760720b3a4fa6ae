"""Runs the stories: agencies commit, readers are waited for, and expected events are recorded."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import sqlalchemy as sa

from sinergi.demo.agencies import BNNK, LAPAS, POLRESTA
from sinergi.demo.errors import DemoFailed
from sinergi_schemas.clock import SYSTEM
from sinergi_schemas.topics import Topic

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime
    from uuid import UUID

    from sinergi.demo.agencies import Agency, DemoBus, StoryClock
    from sinergi.demo.registers import RegisterEntry
    from sinergi.demo.screen import Screen
    from sinergi.demo.workers import Workers
    from sinergi_schemas.events import Event


@dataclass(slots=True)
class ExpectedEvents:
    """The events that the final count must find, as the stories recorded them.

    Attributes:
        committed: the ids of events whose transaction was committed, by topic.
        rolled_back: the ids of events whose transaction was rolled back.
    """

    committed: dict[Topic, set[UUID]] = field(default_factory=dict)
    rolled_back: set[UUID] = field(default_factory=set)

    def add(self, events: Iterable[Event]) -> None:
        """Record events that were committed."""
        for each in events:
            topic = Topic(each.agency, each.event_type)
            self.committed.setdefault(topic, set()).add(each.event_id)


class Scenario:
    """The agencies, their processes, and the clock of the stories."""

    def __init__(self, demo: DemoBus, workers: Workers, clock: StoryClock, screen: Screen) -> None:
        self.demo = demo
        self.workers = workers
        self.clock = clock
        self.screen = screen
        self.expected = ExpectedEvents()

    @property
    def lapas(self) -> Agency:
        """The prison."""
        return self.demo.agencies[LAPAS.slug]

    @property
    def bnnk(self) -> Agency:
        """The narcotics agency."""
        return self.demo.agencies[BNNK.slug]

    @property
    def polresta(self) -> Agency:
        """The police."""
        return self.demo.agencies[POLRESTA.slug]

    def commit(self, agency: Agency, event: Event, moment: datetime) -> Event:
        """Let an agency commit its row and an event at a time of the story."""
        self.clock.turn_to(moment)
        published = agency.publish(event)
        self.expected.add([published])
        return published

    def commit_many(self, agency: Agency, events: list[Event], moment: datetime) -> None:
        """Let an agency commit many events in one transaction."""
        self.clock.turn_to(moment)
        self.expected.add(agency.publish_many(events))

    def roll_back(
        self, agency: Agency, event: Event, taken: RegisterEntry, moment: datetime
    ) -> None:
        """Let an agency publish an event in a transaction that fails on another of its rows.

        Raises:
            DemoFailed: the transaction committed.
        """
        self.clock.turn_to(moment)
        try:
            agency.publish(event, taken)
        except sa.exc.IntegrityError:
            self.expected.rolled_back.add(event.event_id)
            return
        raise DemoFailed("a register accepted a number twice", event.record_id)

    def wait_for(self, event: Event, reader: Agency) -> float:
        """Wait until a reader's table has an event; return the seconds that it took.

        Raises:
            DemoFailed: it does not arrive.
        """
        history = self.demo.history(event.event_type)
        query = sa.select(history.c.leaf_index).where(history.c.event_id == event.event_id)
        began = SYSTEM.monotonic()
        with self.screen.waiting(f"{event.record_id} is on its way to {reader.slug}"):
            if not self.workers.wait_until(lambda: bool(reader.rows(query))):
                what = f"revision {event.revision} of {event.record_id} did not arrive"
                raise DemoFailed(what, f"{reader.slug} has no such row")
        return SYSTEM.monotonic() - began
