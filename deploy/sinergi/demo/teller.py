"""Who tells the stories: agencies commit, others are waited for, and it is noted what was done."""

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
class CommittedEvents:
    """What the stories themselves know of what they did, for the reckoning at the end.

    Attributes:
        committed: the ids of events whose transaction was committed, by topic.
        taken_back: the ids of events whose transaction was rolled back.
    """

    committed: dict[Topic, set[UUID]] = field(default_factory=dict)
    taken_back: set[UUID] = field(default_factory=set)

    def note(self, events: Iterable[Event]) -> None:
        """Note events that were committed."""
        for each in events:
            topic = Topic(each.agency, each.event_type)
            self.committed.setdefault(topic, set()).add(each.event_id)


class Storyline:
    """The hand that moves the agencies."""

    def __init__(self, bench: DemoBus, workers: Workers, clock: StoryClock, screen: Screen) -> None:
        self.bench = bench
        self.workers = workers
        self.clock = clock
        self.screen = screen
        self.told = CommittedEvents()

    @property
    def lapas(self) -> Agency:
        """The prison."""
        return self.bench.agencies[LAPAS.slug]

    @property
    def bnnk(self) -> Agency:
        """The narcotics agency."""
        return self.bench.agencies[BNNK.slug]

    @property
    def polresta(self) -> Agency:
        """The police."""
        return self.bench.agencies[POLRESTA.slug]

    def commit(self, agency: Agency, event: Event, moment: datetime) -> Event:
        """Have an agency commit its row and an event at a moment of the story."""
        self.clock.turn_to(moment)
        published = agency.commits(event)
        self.told.note([published])
        return published

    def commit_many(self, agency: Agency, events: list[Event], moment: datetime) -> None:
        """The same for many events in one transaction."""
        self.clock.turn_to(moment)
        self.told.note(agency.commits_many(events))

    def roll_back(
        self, agency: Agency, event: Event, taken: RegisterEntry, moment: datetime
    ) -> None:
        """Have an agency publish an event in a transaction that fails on another row of its own.

        Raises:
            DemoFailed: the transaction went through.
        """
        self.clock.turn_to(moment)
        try:
            agency.commits(event, taken)
        except sa.exc.IntegrityError:
            self.told.taken_back.add(event.event_id)
            return
        raise DemoFailed("a register gave out a number twice", event.record_id)

    def arrives(self, event: Event, reader: Agency) -> float:
        """Wait until a reader's table has an event; how long it took, in seconds.

        Raises:
            DemoFailed: it does not come.
        """
        history = self.bench.history(event.event_type)
        query = sa.select(history.c.leaf_index).where(history.c.event_id == event.event_id)
        began = SYSTEM.monotonic()
        with self.screen.waiting(f"{event.record_id} is on its way to {reader.slug}"):
            if not self.workers.wait_until(lambda: bool(reader.answers(query))):
                what = f"revision {event.revision} of {event.record_id} did not arrive"
                raise DemoFailed(what, f"{reader.slug} has no such row")
        return SYSTEM.monotonic() - began
