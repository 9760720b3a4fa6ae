"""The relay's watermarks never pass a row that is not sealed yet."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

from hypothesis import given, settings
from hypothesis import strategies as st

from sinergi_producers.relay.sealing import OutboxRow
from sinergi_producers.relay.watermark import Horizon, UnsealedRows, Watermarks
from sinergi_schemas.timeouts import DEFAULT

if TYPE_CHECKING:
    from collections.abc import Iterable


def row(number: int) -> OutboxRow:
    now = datetime(2026, 3, 3, tzinfo=UTC)
    return OutboxRow(number, UUID(int=number), "transfer", b"P", now, b"", b"", None)


@dataclass
class SimulatedDatabase:
    """As much of PostgreSQL as decides who sees which ids: transactions, a sequence, commits."""

    next_xid: int = 1
    last_id: int = 0
    open: dict[int, list[int]] = field(default_factory=dict)
    waiting: dict[int, bool] = field(default_factory=dict)
    seen: list[int] = field(default_factory=list)

    def begin(self) -> None:
        self.open[self.next_xid] = []
        self.next_xid += 1

    def insert(self, pick: int) -> None:
        if self.open:
            self.last_id += 1
            self._chosen(pick).append(self.last_id)

    def end(self, pick: int, *, commit: bool, backfill: bool) -> None:
        if self.open:
            ids = self._chosen(pick)
            del self.open[next(xid for xid, own in self.open.items() if own is ids)]
            self.waiting.update((each, backfill) for each in ids if commit)

    def horizon(self) -> Horizon:
        return Horizon(
            min(self.open, default=self.next_xid),
            self.next_xid,
            self.last_id,
            any(self.waiting.values()),
        )

    def look(self, watermarks: Watermarks, most: int) -> UnsealedRows:
        live = [each for each in self._from(watermarks.live, backfill=False) if self._is_free(each)]
        live = live[:most]
        rows = live or self._from(watermarks.backfill, backfill=True)[:most]
        return UnsealedRows(
            [row(each) for each in rows], not live, watermarks.live, watermarks.backfill
        )

    def seal(self, rows: Iterable[OutboxRow]) -> None:
        for each in rows:
            del self.waiting[each.id]
            self.seen.append(each.id)

    def release(self, pick: int, *, backfill: bool) -> None:
        """A row that was held waits again."""
        if self.seen:
            self.waiting[self.seen.pop(pick % len(self.seen))] = backfill

    def _from(self, floor: int, *, backfill: bool) -> list[int]:
        return sorted(
            each
            for each, is_backfill in self.waiting.items()
            if each > floor and is_backfill is backfill
        )

    def _is_free(self, live: int) -> bool:
        """Whether no backfill of its record waits before it; records are even ids and odd ones."""
        return not any(
            is_backfill and each < live and each % 2 == live % 2
            for each, is_backfill in self.waiting.items()
        )

    def _chosen(self, pick: int) -> list[int]:
        return list(self.open.values())[pick % len(self.open)]


@dataclass
class Simulation:
    """A database and a relay that looks at it."""

    database: SimulatedDatabase = field(default_factory=SimulatedDatabase)
    watermarks: Watermarks = field(default_factory=Watermarks)

    def publish(self, count: int, backfill: bool) -> None:  # noqa: FBT001 - drawn by hypothesis
        self.database.begin()
        for _ in range(count):
            self.database.insert(-1)
        self.database.end(-1, commit=True, backfill=backfill)

    def begin(self) -> None:
        self.database.begin()

    def insert(self, pick: int) -> None:
        self.database.insert(pick)

    def end(self, pick: int, commit: bool, backfill: bool) -> None:  # noqa: FBT001
        self.database.end(pick, commit=commit, backfill=backfill)

    def release(self, pick: int, backfill: bool) -> None:  # noqa: FBT001
        self.database.release(pick, backfill=backfill)
        self.watermarks.reset()

    def look(self, hears: bool, most: int) -> list[int]:  # noqa: FBT001
        if hears and self.watermarks.can_rise:
            self.watermarks.observe(self.database.horizon())
        look = self.database.look(self.watermarks, most)
        self.database.seal(look.rows)
        self.watermarks.after_read(look)
        return [each.id for each in look.rows]


steps: st.SearchStrategy[list[tuple[Any, ...]]] = st.lists(
    st.one_of(
        st.tuples(st.just(Simulation.publish), st.integers(1, 4), st.booleans()),
        st.tuples(st.just(Simulation.begin)),
        st.tuples(st.just(Simulation.insert), st.integers(0, 9)),
        st.tuples(st.just(Simulation.end), st.integers(0, 9), st.booleans(), st.booleans()),
        st.tuples(st.just(Simulation.release), st.integers(0, 9), st.booleans()),
        st.tuples(st.just(Simulation.look), st.booleans(), st.integers(1, 3)),
        st.tuples(st.just(Simulation.look), st.just(value=True), st.integers(1, 3)),
    ),
    max_size=40,
)


@settings(max_examples=500)
@given(steps)
def test_no_row_that_waits_lies_below_a_floor(steps: list[tuple[Any, ...]]) -> None:
    run = Simulation()
    for step, *values in steps:
        step(run, *values)
        for each, is_backfill in run.database.waiting.items():
            assert each > (run.watermarks.backfill if is_backfill else run.watermarks.live)
        for ids in run.database.open.values():
            assert all(each > max(run.watermarks.live, run.watermarks.backfill) for each in ids)


def test_the_floor_follows_once_everybody_who_was_open_has_ended() -> None:
    run = Simulation()
    for number in range(2):
        run.begin()
        run.insert(number)
    run.end(1, commit=True, backfill=False)
    assert [run.look(hears=True, most=10) for _ in range(3)] == [[2], [], []]
    assert run.watermarks.live == 0
    run.end(0, commit=True, backfill=False)
    assert [run.look(hears=True, most=10) for _ in range(2)] == [[1], []]
    assert (run.watermarks.live, run.watermarks.backfill) == (2, 2)


def test_no_released_row_behind_the_history_of_its_record_is_passed_over() -> None:
    run = Simulation()
    run.publish(4, backfill=False)
    for _ in range(3):
        run.look(hears=True, most=10)
    run.release(0, backfill=True)  # row 1
    run.release(1, backfill=False)  # row 3, of the same record
    run.release(1, backfill=False)  # row 4
    assert [run.look(hears=False, most=10) for _ in range(3)] == [[4], [1], [3]]


def test_no_horizon_is_read_once_every_row_that_came_is_settled() -> None:
    run = Simulation()
    can_rise = [run.watermarks.can_rise]
    for _ in range(2):
        run.publish(3, backfill=False)
        run.look(hears=True, most=2)
        can_rise.append(run.watermarks.can_rise)
        for _ in range(3):
            run.look(hears=True, most=2)
        can_rise.append(run.watermarks.can_rise)
        assert run.watermarks.live == run.database.last_id
    run.watermarks.reset()
    assert [*can_rise, run.watermarks.can_rise] == [True, True, False, True, False, True]


def test_once_a_minute_the_look_is_a_full_one() -> None:
    watermarks, seconds = Watermarks(), DEFAULT.relay.full_read
    watermarks.before_read(0.0)
    for _ in range(2):
        watermarks.observe(Horizon(10, 10, 7, backfill_waits=False))
    watermarks.after_read(UnsealedRows([], are_backfill=True, live=0, backfill=0))
    watermarks.before_read(seconds - 0.1)
    assert watermarks.live == 7
    watermarks.before_read(seconds)
    assert (watermarks.live, watermarks.backfill) == (0, 0)
