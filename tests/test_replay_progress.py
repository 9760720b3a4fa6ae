"""The one progress bar of a command that reads topics: its total, rate and time left."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import pytest
from rich.progress import Progress

from sinergi.cli import terminal
from sinergi.cli.replay_progress import progress_columns
from sinergi.cli.root import run
from test_events import seizure
from test_events import transfer as transfer_document
from test_replay_several_topics import prepare, publish

if TYPE_CHECKING:
    from collections.abc import Callable

    from agency_pair import AgencyPair


def line_of(progress: Progress) -> str:
    with progress.console.capture() as captured:
        progress.console.print(progress.make_tasks_table(progress.tasks))
    return captured.get().strip()


def test_the_bar_shows_count_rate_and_the_time_that_is_left_at_it() -> None:
    now = 0.0
    progress = Progress(*progress_columns("verifying"), get_time=lambda: now)
    task = progress.add_task("", total=None)
    assert "0 of ? messages" in line_of(progress)
    for second in range(1, 11):  # 20,000 a second, of five million
        now = float(second)
        progress.update(task, completed=20_000 * second, total=5_000_000)
    shown = line_of(progress)
    assert "200,000 of 5,000,000 messages, 20,000/s" in shown
    assert "0:04:00" in shown
    assert len(shown.splitlines()) == 1
    assert len(shown) <= 80


class RecordedBar:
    """A progress bar that keeps what it is told, in place of one on a terminal."""

    def __init__(self) -> None:
        self.updates: list[tuple[int, int]] = []

    def __call__(self, *_: object) -> Self:
        return self

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def add_task(self, _: str, total: int | None) -> int:
        assert total is None
        return 0

    def update(self, _: int, *, completed: int, total: int) -> None:
        self.updates.append((completed, total))


@pytest.fixture(scope="module")
def filled_pair(pair_of_module: Callable[..., AgencyPair]) -> AgencyPair:
    """One with events in two topics of three."""
    pair = pair_of_module()
    prepare(pair)
    publish(
        pair,
        *(("transfer", transfer_document(record_id=f"T/{number}")) for number in range(40)),
        ("seizure", seizure(record_id="S/1")),
    )
    return pair


@pytest.mark.parametrize(
    ("words", "times"),
    [
        (("replay", "--output", "ndjson"), 1),
        (("replay", "--output", "ndjson", "--key", "T/3", "--related"), 2),
        (("verify",), 1),
        (("archive", "create", "--force", "-o"), 1),
    ],
)
def test_one_bar_has_the_total_of_all_topics_from_the_start_and_ends_at_it(
    filled_pair: AgencyPair,
    monkeypatch: pytest.MonkeyPatch,
    words: tuple[str, ...],
    times: int,
) -> None:
    bar = RecordedBar()
    monkeypatch.setattr(terminal, "progress", bar)
    file = [str(filled_pair.folder / "all.zip")] if words[-1] == "-o" else []
    run(["--config", str(filled_pair.reader_settings), *words, *file])
    assert bar.updates
    totals = {total for _, total in bar.updates}
    assert len(totals) == 1
    done = [completed for completed, _ in bar.updates]
    assert done == sorted(done)
    assert done[-1] == totals.pop() >= 41 * times
