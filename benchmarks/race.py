"""Running contenders, each in a process of its own, and waiting for what they have done."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from usage import PeakMemory

from sinergi_schemas.clock import SYSTEM

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from country import Country
    from stage import Stage

_DEADLINE_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class Finish:
    """How a contender came in. The processor time is that of all its processes and threads.

    The memory is what a process has ever held, and of one that ends by itself, and may have let
    others read for it, what all of them held at once.
    """

    seconds: float
    peak_mib: float
    cpu_seconds: float


def run(name: str, stage: Stage, **order: Any) -> Finish:
    """Let a contender run that ends by itself."""
    process = _start(name, stage, order)
    with PeakMemory(process.pid) as memory:
        result = _result(process)
    return _finish([result | {"peak_mib": memory.mib}])


def materialise(
    stage: Stage | Country, url: str, kinds: Sequence[str], count: int, workers: int = 1
) -> Finish:
    """Let Sinergi's materialisers fill a database until all projections have all events."""
    order = {"url": url, "kinds": kinds}
    processes = [_start("sinergi", stage, order) for _ in range(workers)]
    engine = sa.create_engine(url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    question = sa.text("SELECT coalesce(sum(tree_size), 0) FROM sinergi_consumer.position")
    try:
        with engine.connect() as connection:
            until(
                lambda: (
                    connection.execute(question).scalar() == count * len(kinds)
                    or any(each.poll() is not None for each in processes)
                )
            )
    finally:
        results = [_result(each) for each in processes]
    return _finish(results)


def relay(stage: Stage, url: str, count: int) -> Finish:
    """Let Sinergi's relay send what waits, until the broker has confirmed so many leaves."""
    process = _start("sinergi_relay", stage, {"url": url})
    engine = sa.create_engine(url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    question = sa.text("SELECT coalesce(sum(sent_size), 0) FROM sinergi_producer.tree")
    try:
        with engine.connect() as connection:
            until(
                lambda: connection.execute(question).scalar() == count or process.poll() is not None
            )
    finally:
        result = _result(process)
    return _finish([result])


@contextmanager
def running(name: str, stage: Stage | Country, **order: Any) -> Iterator[int]:
    """Let a process run while the block lasts, and stop it in order. Yields its id."""
    process = _start(name, stage, order)
    try:
        yield process.pid
    finally:
        _result(process)


def together(name: str, stage: Stage, orders: Sequence[dict[str, Any]]) -> None:
    """Let processes begin at the same moment, and wait until all have ended."""
    processes = [_start(name, stage, order) for order in orders]
    for process in processes:
        assert process.stdout
        process.stdout.readline()
    for process in processes:
        assert process.stdin
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in processes:
        _result(process)


def until(is_so: Callable[[], bool], look_seconds: float = 0.05) -> None:
    """Wait for something of other processes to come true."""
    patience = threading.Event()
    end = SYSTEM.monotonic() + _DEADLINE_SECONDS
    while not is_so():
        if SYSTEM.monotonic() > end:
            raise TimeoutError(f"not done after {_DEADLINE_SECONDS:.0f} s")
        patience.wait(look_seconds)


def _start(name: str, stage: Stage | Country, order: dict[str, Any]) -> subprocess.Popen[str]:
    process = subprocess.Popen(  # noqa: S603 - our own program
        [sys.executable, str(Path(__file__).with_name("contend.py")), name],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin
    process.stdin.write(stage.order(**order) + "\n")
    process.stdin.flush()
    return process


def _result(process: subprocess.Popen[str]) -> dict[str, float]:
    output, _ = process.communicate()
    if process.returncode:
        raise RuntimeError(f"{process.args!r} ended with status {process.returncode}")
    found: dict[str, float] = json.loads(output)
    return found


def _finish(results: Sequence[dict[str, float]]) -> Finish:
    began = min(each["began"] for each in results)
    ended = max(each["ended"] for each in results)
    peak, cpu = max(each["peak_mib"] for each in results), sum(each["cpu"] for each in results)
    return Finish(ended - began, peak, cpu)
