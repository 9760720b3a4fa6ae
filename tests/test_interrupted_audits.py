"""Brokers and databases that are killed in the middle of an audit: no verdict is false, and another
run gives the whole of it.
"""

from __future__ import annotations

import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from agency_pair import AgencyPair
from chaos.services import Services
from sinergi import migrate
from sinergi.cli.root import run
from sinergi.restoring.topic_restoring import TopicRestoring
from test_changed_topics import change_after_first_batch
from test_moved_topics import deleted, held, made

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from chaos.services import Server

pytestmark = pytest.mark.long

COUNT = 3_000
ROWS = "sinergi.transfer_history"


@pytest.fixture(scope="module")
def servers() -> Iterator[Services]:
    with (
        tempfile.TemporaryDirectory(prefix="interrupted-") as name,
        Services(Path(name) / "services", has_authorizer=False) as found,
    ):
        yield found


@pytest.fixture(scope="module")
def pair(servers: Services, tmp_path_factory: pytest.TempPathFactory) -> AgencyPair:
    """A pair whose database has all events of a topic, on servers that can be killed."""
    urls = servers.agency_database("agency"), servers.reader_database("reader")
    for url in urls:
        for role in migrate.Role:
            migrate.upgrade(url, role)
    folder = tmp_path_factory.mktemp("pair")
    found = AgencyPair(folder, servers.bootstrap, "lapas-rekaan", *urls, partitions=1)
    found.publish_and_materialise(COUNT)
    return found


@contextmanager
def crashed(server: Server, interrupt: Callable[[Callable[[], None]], None]) -> Iterator[None]:
    """Kill a server at a moment of the block, and start it beside the block.

    Args:
        interrupt: has its argument called at that moment.
    """
    with ThreadPoolExecutor(1) as thread:
        started: list[Any] = []

        def crash() -> None:
            server.crash()
            started.append(thread.submit(server.start))

        interrupt(crash)
        yield
    assert len(started) == 1, "the server was killed"
    started[0].result()


def sinergi(
    settings: Path, capsys: pytest.CaptureFixture[str], *words: str
) -> tuple[int, str, str]:
    capsys.readouterr()
    status = run(["--config", str(settings), *words])
    return (status, *capsys.readouterr())


@pytest.mark.parametrize("command", ["replay", "archive", "verify"])
def test_an_audit_whose_broker_is_killed_goes_on_or_gives_no_verdict(
    servers: Services,
    pair: AgencyPair,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    command: str,
) -> None:
    file = tmp_path / "archive.zip"
    words = {
        "replay": ("replay", pair.topic.name, "--output", "ndjson"),
        "archive": ("archive", pair.topic.name, "-o", str(file)),
        "verify": ("verify",),
    }[command]
    with crashed(servers.kafka, lambda crash: change_after_first_batch(monkeypatch, crash)):
        status, out, err = sinergi(pair.reader_settings, capsys, *words)
    assert status in (0, 2), err
    assert "Traceback" not in err
    assert file.exists() == (command == "archive" and status == 0)
    file.unlink(missing_ok=True)
    calm, whole, err = sinergi(pair.reader_settings, capsys, *words)
    assert calm == 0, err
    if command == "replay":
        assert whole.count("\n") == COUNT
        assert whole.startswith(out)
        assert (out == whole) == (status == 0)


@pytest.mark.parametrize("words", [("verify",), ("rebuild", "transfer", "--apply"), ("reconcile",)])
def test_an_audit_whose_database_is_killed_gives_no_verdict_and_changes_nothing(
    servers: Services,
    pair: AgencyPair,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    words: tuple[str, ...],
) -> None:
    with crashed(servers.reader, lambda crash: change_after_first_batch(monkeypatch, crash)):
        status, _, err = sinergi(pair.reader_settings, capsys, *words)
    assert status == 2, err
    assert "The database is not available" in err
    assert "Traceback" not in err
    assert pair.count(ROWS) == COUNT
    status, _, err = sinergi(pair.reader_settings, capsys, *words)
    assert status == 0, err


def test_a_restore_whose_broker_is_killed_is_finished_by_the_next_and_doubles_nothing(
    servers: Services,
    pair: AgencyPair,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    file = tmp_path / "archive.zip"
    status, _, err = sinergi(
        pair.reader_settings, capsys, "archive", pair.topic.name, "-o", str(file)
    )
    assert status == 0, err
    before = contents(pair)
    deleted(pair)
    made(pair)
    words = ("archive", "restore", str(file))
    flush = TopicRestoring._flush

    def killed_in_the_middle(crash: Callable[[], None]) -> None:
        def flushed(restoring: TopicRestoring, *rest: Any) -> None:
            monkeypatch.setattr(TopicRestoring, "_flush", flush)
            crash()  # the first messages may have arrived, and nobody knows which
            flush(restoring, *rest)

        monkeypatch.setattr(TopicRestoring, "_flush", flushed)

    with crashed(servers.kafka, killed_in_the_middle):
        status, _, err = sinergi(pair.agency_settings, capsys, *words)
    assert status in (0, 2), err
    assert "Traceback" not in err
    status, _, err = sinergi(pair.agency_settings, capsys, *words)
    assert status == 0, err
    assert contents(pair) == before
    assert sinergi(pair.reader_settings, capsys, "verify")[0] == 0


def contents(pair: AgencyPair) -> list[tuple[Any, ...]]:
    """The messages of its topic, in their order."""
    return [(each.key(), each.value(), each.headers()) for each in held(pair, pair.topic.name, 0)]
