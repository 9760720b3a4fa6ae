"""The example of the inter-prison transfers succeeds, cleans up, and reports a failure."""

from __future__ import annotations

import csv
import importlib
import json
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest

if TYPE_CHECKING:
    from types import ModuleType

pytestmark = pytest.mark.long

FOLDER = Path(__file__).parents[1] / "examples" / "inter-prison-transfers"


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The example as a module, found as Python finds it when it is run."""
    monkeypatch.syspath_prepend(str(FOLDER))
    return importlib.import_module("run")


class Reader:
    """A reader's database with given answers."""

    name = "reader"

    def __init__(self, moves: Counter[Any], statuses: Counter[str]) -> None:
        self._answers = [[(*key, n) for key, n in moves.items()], list(statuses.items())]

    def query(self, _question: str) -> list[Any]:
        return self._answers.pop(0)


def assert_nothing_left(folder: Path) -> None:
    assert list(folder.iterdir()) == []
    running = [each.info["cmdline"] or [] for each in psutil.process_iter(["cmdline"])]
    assert not any(str(folder) in word for words in running for word in words)


def test_a_file_reaches_two_databases_and_a_second_run_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    done = subprocess.run(
        [sys.executable, str(FOLDER / "run.py")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == {
        "lines": 600,
        "published": 600,
        "refused": 0,
        "rows": {"nz-courts": 600, "nz-police": 600},
    }
    assert_nothing_left(tmp_path)


def test_ctrl_c_in_the_midst_leaves_nothing_running(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    with subprocess.Popen(
        [sys.executable, str(FOLDER / "run.py")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as running:
        assert running.stderr is not None
        assert any("publishes" in line for line in running.stderr)
        running.send_signal(signal.SIGINT)
        out, reported = running.communicate()
    assert running.returncode == 130, reported
    assert out == ""
    assert_nothing_left(tmp_path)


def test_the_small_register_has_the_traps_of_the_real_one(
    script: ModuleType, tmp_path: Path
) -> None:
    path, again = tmp_path / "register.csv", tmp_path / "again.csv"
    script.small_register.write(path)
    script.small_register.write(again)
    assert path.read_bytes() == again.read_bytes()
    assert path.read_bytes().startswith(b"\r\nFrom,To,")
    assert not path.read_bytes().endswith(b"\n")
    with path.open(newline="") as file:
        rows = list(csv.reader(file))[2:]
    assert len(rows) == 600
    assert len({tuple(row) for row in rows}) < 450
    assert len({row[4] for row in rows}) == 27
    assert sum(row[0] == row[1] for row in rows) == 3
    assert Counter(row[3] for row in rows).most_common(1)[0][0] == "30-Dec-20"


def test_one_row_too_few_or_in_another_month_is_not_so(script: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "register.csv"
    script.small_register.write(path)
    counted = script.counting.count(path)
    script.compare(Reader(counted.moves, counted.statuses), counted)
    first = next(iter(counted.moves))
    for change in (Counter({first: -1}), Counter({first: -1, (*first[:2], "1999-01"): 1})):
        moves = counted.moves.copy()
        moves.update(change)
        with pytest.raises(script.Failed, match="rows differ"):
            script.compare(Reader(moves, counted.statuses), counted)
    statuses = counted.statuses.copy()
    statuses["Sentenced"] += 1
    with pytest.raises(script.Failed, match="status"):
        script.compare(Reader(counted.moves, statuses), counted)


@pytest.mark.parametrize("key", ["lines", "published", "refused", "warned", "already"])
def test_what_publish_says_is_held_to_the_file(
    script: ModuleType, tmp_path: Path, key: str
) -> None:
    path = tmp_path / "register.csv"
    script.small_register.write(path)
    counted = script.counting.count(path)
    reported = {"lines": 600, "published": 600, "already": 0, "refused": 0, "warned": 3}
    again = reported | {"published": 0, "already": 600}
    script.check(counted, reported, again)
    with pytest.raises(script.Failed, match=key):
        script.check(counted, reported | {key: reported[key] + 1}, again)
    with pytest.raises(script.Failed, match=key):
        script.check(counted, reported, again | {key: again[key] + 1})


def test_a_register_that_is_not_there_is_reported() -> None:
    done = subprocess.run(
        [sys.executable, str(FOLDER / "run.py"), "nowhere.csv"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("nowhere.csv does not exist")
    assert done.stdout == ""
