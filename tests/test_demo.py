"""`sinergi demo` as a process with services of its own: what it proves, and that it cleans up."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from contextlib import contextmanager, suppress
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest
import typer

import sinergi.demo
from sinergi.cli.demo import demo
from sinergi.demo import play
from sinergi.demo.errors import DemoFailed, DemoFolderRefused
from sinergi.demo.final_count import FinalCount, TopicCounts
from sinergi.demo.tampering import Tampered
from sinergi.local.state import is_free
from sinergi_schemas.topics import Topic

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.long

PATIENCE_SECONDS = 300
READERS = {
    "suspicious-visit": {"bnnk-banyuwangi"},
    "transfer": {"bnnk-banyuwangi", "polresta-banyuwangi"},
    "seizure": {"bnnk-banyuwangi", "lapas-banyuwangi", "polresta-banyuwangi"},
}
SEIZURES = Topic("polresta-banyuwangi", "seizure")
PUBLISHED = {
    "lapas-banyuwangi": {"suspicious-visit", "transfer"},
    "bnnk-banyuwangi": {"seizure"},
    "polresta-banyuwangi": {"seizure"},
}
EQUAL = TopicCounts(3, 3, {"bnnk-banyuwangi": 3, "lapas-banyuwangi": 3}, 3, 0)
UNEQUAL = {
    "a committed event was not sealed": TopicCounts(4, 3, {"lapas-banyuwangi": 3}, 3, 0),
    "an event that nobody published was sealed": TopicCounts(3, 4, {"lapas-banyuwangi": 4}, 4, 0),
    "one reader lacks an event": TopicCounts(
        3, 3, {"bnnk-banyuwangi": 3, "lapas-banyuwangi": 2}, 3, 0
    ),
    "a leaf stands under no checkpoint": TopicCounts(3, 3, {"lapas-banyuwangi": 3}, 2, 0),
    "an event is in quarantine": TopicCounts(3, 3, {"lapas-banyuwangi": 3}, 3, 1),
}


@contextmanager
def running(*options: str, temporary: Path) -> Iterator[subprocess.Popen[str]]:
    """The demo as a process; killed at the end, if it still runs."""
    command = [sys.executable, "-m", "sinergi", "demo", "--json", *options]
    with subprocess.Popen(
        command,
        env={**os.environ, "TMPDIR": str(temporary)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def read_until(process: subprocess.Popen[str], words: str) -> None:
    """Read what the demo prints, up to a line with these words."""
    assert process.stderr is not None
    printed = []
    for line in process.stderr:
        printed.append(line)
        if words in line:
            return
    pytest.fail("it ended before:\n" + "".join(printed))


def test_every_event_is_counted_alike_in_five_places_and_the_changed_byte_is_found(
    tmp_path: Path,
) -> None:
    with running(temporary=tmp_path) as process:
        output, printed = process.communicate(timeout=PATIENCE_SECONDS)

    assert process.returncode == 0, printed
    found = json.loads(output)
    assert set(found) == {"agencies", "tampered"}
    assert {agency: set(types) for agency, types in found["agencies"].items()} == PUBLISHED
    for agency, types in found["agencies"].items():
        for event_type, counts in types.items():
            assert_equal(agency, event_type, counts)
    assert_inside_a_batch(found["tampered"], found["agencies"])
    assert printed.count("kill -9") == 2
    assert "polresta-banyuwangi.consumer lacks the right Read on topic" in printed
    assert list(tmp_path.iterdir()) == []


def assert_equal(agency: str, event_type: str, counts: dict[str, Any]) -> None:
    assert set(counts) == {"published", "sealed", "materialised", "verified", "quarantined"}
    readers = READERS[event_type] - {agency}
    published = counts["published"]
    assert published > 0
    assert counts == {
        "published": published,
        "sealed": published,
        "materialised": dict.fromkeys(readers, published),
        "verified": published,
        "quarantined": 0,
    }


def assert_inside_a_batch(tampered: dict[str, Any], agencies: dict[str, Any]) -> None:
    assert set(tampered) == {"topic", "partition", "from", "to", "leaf"}
    topic = Topic.parse(tampered["topic"])
    leaves = agencies[topic.agency][topic.event_type]["sealed"]
    assert 0 <= tampered["from"] <= tampered["leaf"] < tampered["to"] <= leaves
    assert tampered["to"] - tampered["from"] > 1, "the leaf was not singled out of several"


@pytest.mark.parametrize(
    ("number", "status", "when"),
    [
        (signal.SIGINT, 130, "5 · A prison offline"),
        (signal.SIGKILL, -signal.SIGKILL, "1 · A seizure after a visit"),
    ],
)
def test_stopped_in_the_middle_it_leaves_no_process_and_no_port(
    tmp_path: Path, number: signal.Signals, status: int, when: str
) -> None:
    kept = tmp_path / "kept"
    with running("--keep", str(kept), temporary=tmp_path) as process:
        read_until(process, when)
        children = psutil.Process(process.pid).children(recursive=True)
        assert len(children) > 6, "the services, relays and materialisers do not run"
        process.send_signal(number)
        output, _ = process.communicate(timeout=PATIENCE_SECONDS)

    assert process.returncode == status
    assert output == ""
    _, alive = psutil.wait_procs(children, timeout=PATIENCE_SECONDS)
    assert alive == []
    state = json.loads((kept / "services" / "state.json").read_text("utf-8"))
    ports = [value for name, value in state.items() if name.endswith("_port") and value]
    assert len(ports) == 4
    assert all(is_free(port) for port in ports)


def test_stopped_while_its_services_are_being_made_it_leaves_no_file(tmp_path: Path) -> None:
    with running(temporary=tmp_path) as process:
        while not list(tmp_path.glob("*/services/postgresql.making/*")):
            with suppress(subprocess.TimeoutExpired):
                pytest.fail(f"it ended with status {process.wait(0.01)}")
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=PATIENCE_SECONDS)

    assert process.returncode == 130
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("line", UNEQUAL.values(), ids=UNEQUAL.keys())
def test_a_difference_sets_the_exit_status(
    line: TopicCounts, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    final_count = FinalCount({SEIZURES: line}, ())

    with pytest.raises(typer.Exit) as ended:
        end_with(final_count, monkeypatch)

    assert ended.value.exit_code == 1
    assert json.loads(capsys.readouterr().out)["agencies"] == final_count.document()


def test_a_contradiction_beside_equal_counts_sets_the_exit_status(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(typer.Exit) as ended:
        end_with(FinalCount({SEIZURES: EQUAL}, ("a ghost has appeared",)), monkeypatch)

    assert ended.value.exit_code == 1


def test_equal_counts_without_contradiction_end_well(monkeypatch: pytest.MonkeyPatch) -> None:
    end_with(FinalCount({SEIZURES: EQUAL}, ()), monkeypatch)


def end_with(final_count: FinalCount, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run the command after a demo that ended with these counts."""
    tampered = Tampered(SEIZURES, "copy", 0, 1, 4, 2, "refused", Decimal(1), Decimal(0))
    outcome = play.DemoOutcome(final_count, tampered)
    monkeypatch.setattr(play, "play", lambda *_: outcome)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    demo(as_json=True)


def test_a_broken_promise_sets_the_exit_status(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def play_badly(*_: object) -> None:
        raise DemoFailed("a changed byte passed for sealed", "copy")

    monkeypatch.setattr(play, "play", play_badly)
    monkeypatch.setattr(signal, "signal", lambda *_: None)

    with pytest.raises(typer.Exit) as ended:
        demo(as_json=True)

    assert ended.value.exit_code == 1
    assert "a changed byte passed for sealed" in capsys.readouterr().err


def test_a_folder_that_holds_something_is_never_played_in(tmp_path: Path) -> None:
    (tmp_path / "diary").touch()

    with pytest.raises(DemoFolderRefused, match=r"not empty.*with --keep"):
        demo(keep=tmp_path)

    assert [each.name for each in tmp_path.iterdir()] == ["diary"]


def test_every_person_of_the_stories_is_of_the_region_that_does_not_exist() -> None:
    (folder,) = sinergi.demo.__path__
    numbers = [
        number
        for path in Path(folder).glob("*.py")
        for number in re.findall(r"\b\d{16}\b", path.read_text("utf-8"))
    ]

    assert numbers
    assert all(number.startswith("999999") for number in numbers)
