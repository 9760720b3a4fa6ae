"""Batches stored together leave the same rows as batches stored one by one."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from sinergi import migrate
from sinergi_consumers.sinks.postgresql.sink import PostgresqlSink
from sinergi_consumers.testing.sinks import PROJECTIONS, transfer
from sinergi_consumers.testing.together import FAILING, TOO_MANY, PlacedWorkers
from sinergi_schemas.topics import Topic

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sinergi_schemas.events import Event

_COMPARED = (
    (
        "SELECT record_id, revision, event_id, partition, leaf_index, action, {agency}"
        " FROM sinergi.transfer"
    ),
    (
        "SELECT record_id, revision, event_id, partition, leaf_index, {agency}"
        " FROM sinergi.transfer_history"
    ),
    (
        "SELECT record_id, revision, event_id, partition, leaf_index, position, {agency}"
        " FROM sinergi.transfer_history_escort"
    ),
    (
        "SELECT record_id, revision, event_id, partition, leaf_index, position, {agency}"
        " FROM sinergi.transfer_escort"
    ),
    (
        "SELECT record_id, revision, event_id, partition, leaf_index, escorts, {agency}"
        " FROM sinergi.few_escorts"
    ),
    (
        "SELECT projection, partition, leaf_index, reason, state, revision, event_id, {topic}"
        " FROM sinergi_consumer.quarantine"
    ),
    "SELECT projection, partition, tree_size, {topic} FROM sinergi_consumer.position",
)
_NAMES = {"agency": "right(agency, 1)", "topic": "right(split_part(topic, '.', 2), 1)"}
_ESCORTS: dict[str, Any] = {
    "sound": ({"escort_agency": "Brimob", "count": 3},),
    "none": (),
    "row refused": TOO_MANY,
    "projection fails": FAILING,
}
_EVENTS = st.lists(
    st.tuples(st.integers(1, 3), st.integers(1, 3), st.sampled_from([*_ESCORTS])), max_size=5
)
_numbers = count()


@pytest.fixture
def sink(postgresql: str) -> Iterator[PostgresqlSink]:
    migrate.upgrade(postgresql, migrate.Role.CONSUMER, PROJECTIONS)
    sink = PostgresqlSink(postgresql, PROJECTIONS)
    yield sink
    sink.close()


def workers(sink: PostgresqlSink, number: int) -> PlacedWorkers:
    """Workers of two partitions of one topic, and of one of another, at their beginnings."""
    first, second = (Topic(f"lapas-{number}-{name}", "transfer") for name in "ab")
    return PlacedWorkers(sink, [(first, 0), (first, 1), (second, 0)])


def events(place: int, drawn: Sequence[tuple[int, int, str]]) -> list[Event]:
    return [
        transfer(f"P/{place}/{record}", revision, escort=_ESCORTS[kind])
        for record, revision, kind in drawn
    ]


def stored(url: str, number: int) -> list[list[Any]]:
    """What the tables have of the topics with a number."""
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    owned = f"'lapas-{number}-%'"
    where = {"agency": f" WHERE agency LIKE {owned}", "topic": f" WHERE topic LIKE '%.' || {owned}"}
    with engine.connect() as connection:
        return [
            sorted(map(repr, connection.execute(sa.text(each.format(**_NAMES) + where[kind]))))
            for each in _COMPARED
            for kind in ("agency", "topic")
            if f"{{{kind}}}" in each
        ]


@pytest.mark.parametrize("examples", [8, pytest.param(40, marks=pytest.mark.long)])
def test_batches_leave_the_same_rows_together_as_alone(
    sink: PostgresqlSink, postgresql: str, examples: int
) -> None:
    @settings(max_examples=examples)
    @given(rounds=st.lists(st.tuples(_EVENTS, _EVENTS, _EVENTS), min_size=1, max_size=3))
    def hold(rounds: Any) -> None:
        assert_same_rows(sink, postgresql, rounds)

    hold()


def assert_same_rows(sink: PostgresqlSink, postgresql: str, rounds: Any) -> None:
    number = next(_numbers) * 2
    together, alone = workers(sink, number), workers(sink, number + 1)
    for drawn in rounds:
        lots = [events(place, each) for place, each in enumerate(drawn)]
        if any(lots):
            together.store(together.work(*lots))
        for worker, lot in zip(alone.each, lots, strict=True):
            if lot:
                worker.store(worker.work(lot))
    found = stored(postgresql, number)
    assert found == stored(postgresql, number + 1)
