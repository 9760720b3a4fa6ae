"""The tutorial for an integrator works as it is printed.

The test writes its blocks and runs its commands in order, as a person would at a terminal, on real
services of its own. It replaces only what a reader also has to fill in: an address and names of
agencies. Installing Sinergi is what the test run itself has done; the page's own package is
installed into a folder of the test's.
"""

from __future__ import annotations

import re
import secrets
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest
import sqlalchemy as sa

from test_tutorial_agency import MOST_COLUMNS, Command, Terminal, blocks, services_of
from waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.long

ROOT = Path(__file__).parent.parent
TUTORIAL = (ROOT / "docs" / "tutorial-integrator.md").read_text(encoding="utf-8")
README = (ROOT / "README.md").read_text(encoding="utf-8")
SECTIONS = re.split(r"(?m)^(?=## )", TUTORIAL)[1:]


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    """An empty folder, and names of agencies."""
    suffix = secrets.token_hex(5)
    words = {name: f"{name}-{suffix}" for name in ("polresta-rekaan", "bnnk-rekaan")}
    with Terminal(tmp_path, words, {}) as made:
        packages = str(tmp_path / "packages")
        # Built by the hatchling that is installed, so that nothing is fetched.
        mine = {"PYTHONPATH": packages, "PIP_TARGET": packages, "PIP_NO_BUILD_ISOLATION": "false"}
        made.environment |= mine | {"PIP_DISABLE_PIP_VERSION_CHECK": "1"}
        with services_of(made):
            yield made
            for file in tmp_path.glob("*.pid"):
                kill(int(file.read_text()), tmp_path)


def kill(pid: int, folder: Path) -> None:
    """End what a failed test has left; a process of that number that is not ours stays."""
    with suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        if process.cwd() == str(folder):
            process.kill()


def test_the_table_is_filled_once_through_corrections_and_kill_9_and_rebuilt_equal(
    terminal: Terminal,
) -> None:
    assert [section[3:5].strip(". ") for section in SECTIONS] == [str(n) for n in range(1, 10)]
    installing, databases = SECTIONS[0].split("Put the address", 1)
    assert "$ sinergi local up" in installing
    terminal.follow(databases)
    for section in SECTIONS[1:7]:
        terminal.follow(section)
    the_table_is_filled_anew(terminal)
    terminal.follow(SECTIONS[8])
    until(lambda: not alive(terminal, "three", "relay"), "both have ended")


def the_table_is_filled_anew(terminal: Terminal) -> None:
    """Section 8, in the first database; the rebuilt one stays as it is, to compare with."""
    (filling,) = [each.text for each in blocks(SECTIONS[7]) if each.language == "sql"]
    (listing,) = [each.text for each in blocks(SECTIONS[7]) if each.language == "console"]
    register = sa.create_engine(terminal.environment["REGISTER"], poolclass=sa.NullPool)
    terminal.run(Command("kill $(cat three.pid)", ""))
    until(lambda: not alive(terminal, "two", "three"), "the workers have ended")
    terminal.follow(f"```console\n{listing}```\n")
    with register.connect() as connection:
        connection.exec_driver_sql(filling)
        emptied = sa.text("SELECT count(*) FROM sinergi.grams_by_region")
        assert connection.execute(emptied).scalar() == 0
    (starting,) = re.findall(r"(?m)^\$ (sinergi .* > two.log .*)$", TUTORIAL)
    terminal.run(Command(starting.replace("two", "three"), ""))
    (said,) = re.findall(r"(?m)^equal, .*$", TUTORIAL)
    terminal.run(Command("python compare.py", said))


def alive(terminal: Terminal, *names: str) -> list[str]:
    """Those of the processes started under these names that still run."""
    pids = {name: int((terminal.folder / f"{name}.pid").read_text()) for name in names}
    return [name for name, pid in pids.items() if psutil.pid_exists(pid)]


def test_the_projection_of_the_page_is_that_of_the_readme() -> None:
    (of_readme,) = re.findall(r"(?ms)^```python\n(import polars.*?)^```$", README)
    assert of_readme in [each.text for each in blocks(TUTORIAL)]


def test_the_page_is_narrow_and_its_links_lead_somewhere() -> None:
    assert max(map(len, TUTORIAL.splitlines())) <= MOST_COLUMNS
    for target in re.findall(r"\]\(([^)#]+)\)", TUTORIAL):
        assert (ROOT / "docs" / target).exists(), target
