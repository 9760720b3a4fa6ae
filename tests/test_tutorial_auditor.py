"""The tutorial for the auditor works as it is printed.

The test writes its blocks and runs its commands in order, beginning with the demo. `…` in printed
output stands for anything.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sinergi.local import Local
from sinergi.local.errors import LocalDown
from test_tutorial_agency import MOST_COLUMNS, Command, blocks, commands

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.long

ROOT = Path(__file__).parent.parent
TUTORIAL = (ROOT / "docs" / "tutorial-auditor.md").read_text(encoding="utf-8")
JOURNALED = {
    "replay",
    "record",
    "received",
    "archive create",
    "evidence create",
    "verify",
    "reconcile",
    "rebuild",
    "withheld",
}
SECTIONS = re.split(r"(?m)^(?=## )", TUTORIAL)[1:]


@dataclass
class AuditorFolder:
    """A folder in which an auditor follows the page.

    Attributes:
        variables: what the page has exported so far.
    """

    folder: Path
    variables: dict[str, str] = field(default_factory=dict)

    def follow(self, section: str) -> list[int]:
        """Write the files of a section and run its commands; the exit status of each."""
        statuses = []
        for block in blocks(section):
            if block.language == "console":
                statuses += [self.run(each) for each in commands(block.text)]
            elif block.language != "sh":  # how to install, which the test run itself has done
                (self.folder / block.file).write_text(block.text, encoding="utf-8")
        return statuses

    def run(self, command: Command) -> int:
        """One command, held to what the page says that it prints; 0 for one of the shell's own."""
        if self._is_of_the_shell(command.line):
            return 0
        kept = {name: each for name, each in os.environ.items() if not name.startswith("SINERGI_")}
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        done = subprocess.run(
            ["bash", "-c", command.line],  # noqa: S607 - whichever bash a person has
            cwd=self.folder,
            env=kept | {"PATH": path} | self.variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if command.output:
            wanted = ".*".join(re.escape(squeezed(each)) for each in command.output.split("…"))
            assert re.fullmatch(wanted, squeezed(done.stdout)), (command.line, done.stdout)
        return done.returncode

    def _is_of_the_shell(self, line: str) -> bool:
        """Whether a command changes the shell itself; then it is done."""
        word, _, rest = line.partition(" ")
        if word == "cd":
            self.folder = (self.folder / rest).resolve()
        elif word == "export":
            name, _, value = rest.partition("=")
            self.variables[name] = value
        elif word == "unset":
            del self.variables[rest]
        else:
            return False
        return True


def squeezed(text: str) -> str:
    """Text without what depends on widths: runs of spaces, line breaks and rules."""
    return re.sub(r"[\s─]+", "", text)


@pytest.fixture
def auditor(tmp_path: Path) -> Iterator[AuditorFolder]:
    """An empty folder; the services that the page starts in it are stopped at the end."""
    yield AuditorFolder(tmp_path)
    with suppress(LocalDown):
        Local(tmp_path / "demo/services").down()


def test_a_reader_of_the_page_proves_a_record_and_catches_every_enemy(
    auditor: AuditorFolder,
) -> None:
    numbers = [int(section.removeprefix("## ").partition(".")[0]) for section in SECTIONS]
    assert numbers == [*range(1, len(SECTIONS) + 1)]
    playing, state, record, life, since_when, known, enemy, caught, *last = SECTIONS
    by_hand, evidence, meaning, rows, table, interval, archive, journal = last
    services, settings, _ = re.split(r"(?ms)^```toml\n(.*?)^```$", playing)
    assert auditor.follow(services) == [0, 0, 0]
    an_outside_auditor_has_settings_like_those_of_the_page(auditor, settings)
    assert auditor.follow(state) == [1, 0]
    assert auditor.follow(record) == [0, 0, 0, 2, 0, 0, 0, 0]
    assert auditor.follow(life) == [0, 0]
    page = (auditor.folder / "0093.html").read_text(encoding="utf-8")
    assert "MUT/2026/0101" in page
    assert auditor.follow(since_when) == [0, 0, 0]
    assert auditor.follow(known) == [0, 0, 0, 0, 0, 0, 0, 1, 0, 0]
    assert auditor.follow(enemy) == [0] * 6
    assert auditor.follow(caught) == [0] + [1] * 4 + [0] * 4
    assert auditor.follow(by_hand) == [0, 0, 0]
    exported = (auditor.folder / "0093.ndjson").read_text(encoding="utf-8").splitlines()
    assert len([line for line in exported if line.startswith("{")]) == 2
    a_changed_note_does_not_hold(auditor, commands(blocks(by_hand)[-1].text)[0].line)
    assert auditor.follow(evidence) == [0, 0, 0, 0, 0, 1, 0, 0]
    assert auditor.follow(meaning) == []
    assert auditor.follow(rows) == [0, 0, 0, 1]
    assert auditor.follow(table) == [1, 0, 0, 0]
    assert auditor.follow(interval) == [0, 2]
    assert auditor.follow(archive) == [0] * 4
    assert auditor.follow(journal) == [0, 0, 0, 0]
    runs = json.loads((auditor.folder / "journal.json").read_text("utf-8"))["rows"]
    assert {each["command"] for each in runs} == JOURNALED


def a_changed_note_does_not_hold(auditor: AuditorFolder, checking: str) -> None:
    (note,) = auditor.folder.glob("notes/*.1.receipt.bnnk*")
    origin, size, *rest = note.read_text(encoding="utf-8").split("\n")
    note.write_text("\n".join([origin, f"{int(size) - 1}", *rest]), encoding="utf-8")
    assert auditor.run(Command(checking, "…InvalidSignature…")) == 1


def an_outside_auditor_has_settings_like_those_of_the_page(
    auditor: AuditorFolder, settings: str
) -> None:
    """Only the address differs; with it he proves a topic."""
    told = tomllib.loads(settings)["kafka"]
    folder = auditor.folder.parent / "ombudsman-rekaan"
    found = tomllib.loads((folder / "sinergi.toml").read_text("utf-8"))["kafka"]
    assert found | {"bootstrap": told["bootstrap"]} == told
    topic = "sinergi.lapas-banyuwangi.suspicious-visit"
    assert AuditorFolder(folder).run(Command(f"sinergi replay {topic} --json", "")) == 0


def test_the_page_is_narrow_and_its_links_lead_somewhere() -> None:
    assert max(map(len, TUTORIAL.splitlines())) <= MOST_COLUMNS
    for target in re.findall(r"\]\(([^)#]+)\)", TUTORIAL):
        assert (ROOT / "docs" / target).exists(), target


def test_what_the_page_makes_in_a_clone_is_ignored_by_git() -> None:
    ignored = (ROOT / ".gitignore").read_text(encoding="utf-8").split()
    (environment,) = re.findall(r"python3 -m venv (\S+) &&", TUTORIAL)
    (demo,) = re.findall(r"sinergi demo --keep (\S+)", TUTORIAL)
    assert {f"/{environment}/", f"/{demo}/"} <= set(ignored)
