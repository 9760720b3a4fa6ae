"""`sinergi archive restore` that is killed or stopped, and a topic that changes meanwhile."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from sinergi.exit_status import ExitStatus
from sinergi_consumers.archives import message_blocks
from test_archive import ArchivedPair, lost, own_archived, pair
from test_forged_restore import count, restore
from test_moved_topics import deleted, held, made
from waiting import PATIENCE_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from agency_pair import AgencyPair

__all__ = ["own_archived", "pair"]  # fixtures

# Does what `sinergi` does, and waits for a line on standard input after each block is written.
PAUSING = """
import sys
from sinergi.cli.root import run
from sinergi.restoring.topic_restoring import TopicRestoring

flush = TopicRestoring._flush

def pausing(self, producer):
    flush(self, producer)
    print("written", flush=True)
    sys.stdin.readline()

TopicRestoring._flush = pausing
sys.exit(run(sys.argv[1:]))
"""


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch, own_archived: ArchivedPair) -> ArchivedPair:
    """An archive whose blocks have few messages."""
    with monkeypatch.context() as patch:
        patch.setattr(message_blocks, "BLOCK_BYTES", 1_500)
        words = ("archive", "create", own_archived.pair.topic.name, "--force")
        status, _, err = own_archived.run(*words, "-o", str(own_archived.file))
    assert status == 0, err
    return own_archived


@contextmanager
def restoring(archived: ArchivedPair) -> Iterator[subprocess.Popen[str]]:
    """A restore in a process of its own, which has written its first block and waits."""
    settings = str(archived.pair.agency_settings)
    words = ["--config", settings, "archive", "restore", str(archived.file)]
    with subprocess.Popen(
        [sys.executable, "-c", PAUSING, *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ,
    ) as child:
        try:
            assert child.stdout is not None
            assert child.stdout.readline() == "written\n"
            yield child
        finally:
            child.kill()


def contents(pair: AgencyPair) -> list[Any]:
    """The messages of the topic, partition by partition."""
    return [
        (number, each.key(), each.value(), each.headers())
        for number in range(pair.partitions)
        for each in held(pair, pair.topic.name, number)
    ]


def test_a_restore_that_is_killed_is_finished_by_the_next_and_doubles_nothing(
    small: ArchivedPair,
) -> None:
    before = contents(small.pair)
    lost(small.pair)
    with restoring(small) as first:
        first.send_signal(signal.SIGKILL)
        first.wait(PATIENCE_SECONDS)
    assert 0 < count(small.pair) < len(before)
    status, _, err = restore(small, small.file)
    assert status == 0, err
    assert contents(small.pair) == before


def test_a_restore_that_was_stopped_while_another_finished_writes_nothing_more(
    small: ArchivedPair,
) -> None:
    before = contents(small.pair)
    lost(small.pair)
    with restoring(small) as first:
        first.send_signal(signal.SIGSTOP)
        status, _, err = restore(small, small.file)
        assert status == 0, err
        first.send_signal(signal.SIGCONT)
        out, err = first.communicate("\n" * 1_000, PATIENCE_SECONDS)
    assert (first.returncode, out) == (ExitStatus.ERROR, "")
    assert "another process has written to" in err
    assert contents(small.pair) == before


def again(pair: AgencyPair) -> None:
    deleted(pair)
    made(pair)


@pytest.mark.parametrize(
    ("change", "expected"),
    [(again, "was created again meanwhile"), (deleted, "")],
    ids=["created again", "deleted"],
)
def test_a_topic_that_is_lost_again_while_it_is_restored_is_named(
    small: ArchivedPair, change: Callable[[AgencyPair], None], expected: str
) -> None:
    lost(small.pair)
    with restoring(small) as first:
        change(small.pair)
        out, err = first.communicate("\n" * 1_000, PATIENCE_SECONDS)
    assert (first.returncode, out) == (ExitStatus.ERROR, "")
    assert expected in err
    assert small.pair.topic.name in err
    assert "Traceback" not in err
