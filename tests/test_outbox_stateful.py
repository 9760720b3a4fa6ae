"""The outbox equals a model of it after any publishing, refusals, resends and rollbacks."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy.orm import Session

from agency_pair import transfer
from sinergi_producers.outbox.publishing import Outbox
from sinergi_schemas import codec, errors
from sinergi_schemas.agreements.collection import Agreements
from sinergi_schemas.catalog import Catalog
from sinergi_schemas.events import parse

if TYPE_CHECKING:
    from collections.abc import Callable

    from sinergi_schemas.events import Event

AGENCY = "lapas-banyuwangi"
EXAMPLE = Path(__file__).parent.parent / "examples" / "agreement"
RECORDS = ["P/1", "P/2", "P/3"]
ACTIONS = ["RECORDED", "CORRECTED", "RETRACTED"]


@dataclass
class Model:
    """What an outbox must hold: per record its events in order, the last one's action with it."""

    records: dict[str, list[Event]] = field(default_factory=dict)

    def copy(self) -> Model:
        return Model({name: list(events) for name, events in self.records.items()})

    def stored(self, event: Event) -> Event | None:
        everything = (each for events in self.records.values() for each in events)
        return next((each for each in everything if each.event_id == event.event_id), None)

    def publish(self, event: Event) -> Event:
        """The event that must come back; raises what must be raised."""
        known = self.records.get(event.record_id, [])
        stored = self.stored(event)
        if stored is not None:
            if stored.record_id != event.record_id:
                raise errors.EventIdTaken(str(event.event_id))
            if (stored.action, stored.reason) != (event.action, event.reason):  # type: ignore[attr-defined]
                raise errors.EventDiffers(str(event.event_id))
            return stored
        if (event.action == "RECORDED") != (not known):
            raise errors.ActionRefused(event.action, "")
        if known and known[-1].action == "RETRACTED":
            raise errors.ActionRefused(event.action, "")
        issued = event.model_copy(update={"revision": len(known) + 1})
        self.records.setdefault(event.record_id, []).append(issued)
        return issued


class OutboxMachine(RuleBasedStateMachine):
    """One caller whose transactions end one way or the other."""

    engine: sa.Engine

    def __init__(self) -> None:
        super().__init__()
        self.outbox = Outbox(AGENCY, Agreements.load(EXAMPLE), Catalog.shipped())
        with self.engine.begin() as connection:
            # Without the triggers, which refuse to delete what is sealed.
            connection.execute(sa.text("SET LOCAL session_replication_role = replica"))
            for table in ("outbox", "head", "tree", "checkpoint"):
                connection.execute(sa.text(f"DELETE FROM sinergi_producer.{table}"))
        self.session = Session(self.engine)
        self.committed, self.now = Model(), Model()
        self.given: list[Event] = []

    def teardown(self) -> None:
        self.session.close()

    def event(self, record: str, action: str, reuse: int | None, reason: str) -> Event:
        """A new event, or one under an id given before."""
        changes: dict[str, Any] = {"reason": reason}
        if reuse is not None and self.given:
            changes["event_id"] = self.given[reuse % len(self.given)].event_id
        made = transfer(record, action, occurred_at=NOW, departed_at=NOW, **changes)
        self.given.append(made)
        return made

    @rule(
        record=st.sampled_from(RECORDS),
        action=st.sampled_from(ACTIONS),
        reuse=st.none() | st.integers(0, 50),
        reason=st.sampled_from(["HEALTH", "OTHER"]),
    )
    def publish(self, record: str, action: str, reuse: int | None, reason: str) -> None:
        event = self.event(record, action, reuse, reason)
        self._publish(event)

    @rule(index=st.integers(0, 50))
    def publish_again(self, index: int) -> None:
        if self.given:
            self._publish(self.given[index % len(self.given)])

    def _publish(self, event: Event) -> None:
        expected, got = (
            _outcome(lambda: self.now.publish(event)),
            _outcome(lambda: self.outbox.publish(self.session, event)),
        )
        if isinstance(expected, Exception):
            assert type(got) is type(expected)
        else:
            _same(got, expected)

    @rule(
        wanted=st.lists(
            st.tuples(
                st.sampled_from(RECORDS),
                st.sampled_from(ACTIONS),
                st.none() | st.integers(0, 50),
                st.sampled_from(["HEALTH", "OTHER"]),
            ),
            max_size=6,
        )
    )
    def publish_many(self, wanted: list[tuple[str, str, int | None, str]]) -> None:
        events = [self.event(*each) for each in wanted]
        attempt, expected = self.now.copy(), {}
        in_lock_order = sorted(range(len(events)), key=lambda at: (events[at].record_id, at))
        for place in in_lock_order:
            try:
                expected[place] = attempt.publish(events[place])
            except errors.Refused:
                try:
                    self.outbox.publish_many(self.session, events)
                except errors.EventsRefused as why:
                    assert why.place == place  # noqa: PT017 - the model said that it is refused
                    return
                raise AssertionError(
                    "many were published although one of them is refused"
                ) from None
        done = self.outbox.publish_many(self.session, events)
        for place, published in enumerate(done):
            _same(published.event, expected[place])
        self.now = attempt

    @rule()
    def commit(self) -> None:
        self.session.commit()
        self.committed = self.now.copy()

    @rule()
    def roll_back(self) -> None:
        self.session.rollback()
        self.now = self.committed.copy()

    @invariant()
    def the_transaction_sees_what_the_model_holds(self) -> None:
        self._holds(self.session.connection(), self.now)

    @invariant()
    def everybody_else_sees_what_is_committed(self) -> None:
        with self.engine.connect() as other:
            self._holds(other, self.committed)

    def _holds(self, connection: sa.Connection, model: Model) -> None:
        heads = connection.execute(
            sa.text("SELECT record_id, revision, action FROM sinergi_producer.head")
        ).all()
        assert {(name, revision, action) for name, revision, action in heads} == {
            (name, len(events), events[-1].action.value) for name, events in model.records.items()
        }
        rows = connection.execute(
            sa.text(
                "SELECT record_id, event_id, revision, datum, leaf_hash IS NOT NULL"
                " FROM sinergi_producer.outbox ORDER BY record_id, id"
            )
        ).all()
        expected = [each for name in sorted(model.records) for each in model.records[name]]
        assert [tuple(row[:3]) for row in rows] == [
            (each.record_id, each.event_id, each.revision) for each in expected
        ]
        schema = Catalog.shipped().newest("transfer")
        for row, event in zip(rows, expected, strict=True):
            if row[4]:  # pruned: nothing is left of its contents
                assert row[3] == b""
                continue
            _same(parse("transfer", codec.decode(bytes(row[3]), schema)), event)


NOW = datetime(2026, 3, 3, tzinfo=UTC)


def _same(event: Event, expected: Event) -> None:
    """The model knows nothing of agreements and clocks; all else must agree."""
    issue = {name: getattr(event, name) for name in ("agency", "agreement", "recorded_at")}
    assert event == expected.model_copy(update=issue)


def _outcome(action: Callable[[], Event]) -> Any:
    """What it gives or refuses."""
    try:
        return action()
    except errors.Refused as why:
        return why


@pytest.mark.parametrize("examples", [8, pytest.param(25, marks=pytest.mark.long)])
def test_an_outbox_holds_what_its_model_holds(postgresql: str, examples: int) -> None:
    engine = sa.create_engine(postgresql)
    OutboxMachine.engine = engine
    try:
        run_state_machine_as_test(OutboxMachine, settings=settings(max_examples=examples))
    finally:
        engine.dispose()
