"""The tutorial for the auditor works as it is printed.

The test writes its blocks and runs its commands in order, on real services. The prison's transfers
with their receipts, under names of the test's own, replace what the demo of section 1 leaves.
`…` in printed output stands for anything.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import pytest
import tomli_w

from agency_pair import BUS, DATABASE, AgencyPair, transfer
from sinergi.demo import fiction
from test_tutorial_agency import MOST_COLUMNS, Command, blocks, commands

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sinergi_schemas.events import Transfer

pytestmark = pytest.mark.long

ROOT = Path(__file__).parent.parent
TUTORIAL = (ROOT / "docs" / "tutorial-auditor.md").read_text(encoding="utf-8")
SECTIONS = re.split(r"(?m)^(?=## )", TUTORIAL)[1:]
LEAVES = 39


def told(record_id: str, day: int, hour: int, minute: int, action: str = "RECORDED") -> Transfer:
    """An event of March 2026, as the demo's clock has it."""
    moment = datetime(2026, 3, day, hour, minute, tzinfo=ZoneInfo("Asia/Jakarta"))
    return transfer(record_id, action, occurred_at=moment, departed_at=moment, recorded_at=moment)


def story() -> list[Transfer]:
    """As many as the demo's, in its order."""
    first = [
        told("MUT/2026/0088", 9, 8, 10),
        told("MUT/2026/0088", 9, 15, 30, "CORRECTED"),
        told("MUT/2026/0093", 17, 6, 5),
        told("MUT/2026/0093", 17, 9, 0, "RETRACTED"),
    ]
    later = [told(f"MUT/2026/{number}", 20, 6, 15) for number in range(101, 101 + LEAVES - 4)]
    return first + later


@dataclass
class AuditorFolder:
    """A folder in which an auditor follows the page.

    Attributes:
        words: what the page says, and what it is called in this test.
    """

    folder: Path
    words: Mapping[str, str]
    kafka: str

    def follow(self, section: str) -> list[int]:
        """Write the files of a section and run its commands; the exit status of each."""
        statuses = []
        for block in blocks(section):
            if block.language == "console":
                statuses += [self.run(each) for each in commands(block.text)]
            else:
                (self.folder / block.file).write_text(block.text, encoding="utf-8")
        return statuses

    def run(self, command: Command) -> int:
        """One command, held to what the page says that it prints."""
        kept = {name: each for name, each in os.environ.items() if not name.startswith("SINERGI_")}
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        done = subprocess.run(
            ["bash", "-c", self.named(command.line)],  # noqa: S607 - whichever bash a person has
            cwd=self.folder,
            env=kept | {"PATH": path, "KAFKA": self.kafka},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        pattern = ".*".join(re.escape(squeezed(each)) for each in command.output.split("…"))
        wanted = self.named(pattern.replace("\\-", "-"))
        assert re.fullmatch(wanted, squeezed(done.stdout)), (command.line, done.stdout)
        return done.returncode

    def named(self, text: str) -> str:
        for word, mine in self.words.items():
            text = text.replace(word, mine).replace(re.escape(word), re.escape(mine))
        return text


def squeezed(text: str) -> str:
    """Text without what depends on widths: runs of spaces, line breaks and rules."""
    return re.sub(r"[\s─]+", "", text)


@pytest.fixture
def auditor(
    tmp_path: Path, kafka: str, agency_slug: str, databases: Callable[[], str]
) -> AuditorFolder:
    """The auditor of the agency that reads, after the story."""
    (tmp_path / "agreements").mkdir()
    pair = AgencyPair(tmp_path / "agreements", kafka, agency_slug, databases(), databases())
    pair.publish(*story())
    settings = {
        "agency": pair.reader,
        "kafka": {"bootstrap": kafka},
        "consumer": {"name": DATABASE, "database": pair.consumer_url},
    }
    (tmp_path / "sinergi.toml").touch(0o600)
    (tmp_path / "sinergi.toml").write_text(tomli_w.dumps(settings), encoding="utf-8")
    (tmp_path / "sinergi.toml").chmod(0o600)  # it holds a password
    with pair.relaying(), pair.materialising():
        pair.until_rows("sinergi.transfer_history", LEAVES)
        pair.until(
            lambda: pair.count("sinergi_consumer.receipt WHERE published_at IS NULL") == 0,
            "receipts published",
        )
    words = {
        "lapas-banyuwangi": pair.publisher,
        "bnnk-banyuwangi/register": f"{pair.reader}/{DATABASE}",
        "bnnk-banyuwangi.register": f"{pair.reader}.{DATABASE}",
        "bnnk-banyuwangi": pair.reader,
        "sinergi.banyuwangi.example": BUS,
    }
    return AuditorFolder(tmp_path, words, kafka)


def test_a_reader_of_the_page_proves_a_record_and_catches_every_enemy(
    auditor: AuditorFolder,
) -> None:
    assert [section[3] for section in SECTIONS] == [str(number) for number in range(1, 8)]
    _, state, record, enemy, caught, by_hand, _ = SECTIONS
    assert auditor.follow(state) == [1]
    assert auditor.follow(record) == [0, 0, 0, 2]
    assert auditor.follow(enemy) == [0] * 6
    assert auditor.follow(caught) == [1] * 4 + [0] * 3
    assert auditor.follow(by_hand) == [0, 0, 0]
    exported = (auditor.folder / "0093.ndjson").read_text(encoding="utf-8").splitlines()
    assert len([line for line in exported if line.startswith("{")]) == 2
    a_changed_note_does_not_hold(auditor, commands(blocks(by_hand)[-1].text)[0].line)


def a_changed_note_does_not_hold(auditor: AuditorFolder, checking: str) -> None:
    (note,) = auditor.folder.glob("notes/*.1.receipt.*")
    origin, size, *rest = note.read_text(encoding="utf-8").split("\n")
    note.write_text("\n".join([origin, f"{int(size) - 1}", *rest]), encoding="utf-8")
    assert auditor.run(Command(checking, "…InvalidSignature…")) == 1


def test_the_demo_tells_the_story_of_the_page() -> None:
    stories = Path(fiction.__file__).with_name("stories.py").read_text(encoding="utf-8")
    assert '"MUT/2026/0093", at(17, 6)' in stories
    assert "at(17, 9)" in stories


def test_an_outside_auditors_settings_are_settings(tmp_path: Path) -> None:
    from sinergi.settings.settings import load

    (block,) = [each for each in blocks(SECTIONS[0]) if each.language == "toml"]
    assert tomllib.loads(block.text)
    (tmp_path / "sinergi.toml").write_text(block.text, encoding="utf-8")
    assert load(tmp_path / "sinergi.toml", environment={}).connection().bootstrap


def test_the_page_is_narrow_and_its_links_lead_somewhere() -> None:
    assert max(map(len, TUTORIAL.splitlines())) <= MOST_COLUMNS
    for target in re.findall(r"\]\(([^)#]+)\)", TUTORIAL):
        assert (ROOT / "docs" / target).exists(), target
