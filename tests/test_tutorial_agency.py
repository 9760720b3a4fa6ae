"""The tutorial for an agency's programmer works as it is printed.

The test writes its blocks and runs its commands in order, as a person would at a terminal, on real
services of its own. It replaces only what a reader also has to fill in: an address and names of
agencies. Installing Sinergi is what the test run itself has done.
"""

from __future__ import annotations

import os
import re
import secrets
import signal
import subprocess
import sys
import tomllib
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Self

import pytest
import sqlalchemy as sa

from sinergi.local import Local
from waiting import PATIENCE_SECONDS, until

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.long

ROOT = Path(__file__).parent.parent
TUTORIAL = (ROOT / "docs" / "tutorial-agency.md").read_text(encoding="utf-8")
MOST_COLUMNS = 100
RUN_FOR_EVER = ("relay", "materialise")
APP_USER, RELAY_USER = "sdp_app", "sdp_relay"


class Block(NamedTuple):
    """A block of the page: its language, the file that it is to be written to, its text."""

    language: str
    file: str
    text: str


class Command(NamedTuple):
    """A command, and what the page says that it prints; nothing where it says nothing."""

    line: str
    output: str


def blocks(page: str) -> list[Block]:
    """The page's blocks, in their order. A file is the last that was asked for by `Write`."""
    parts = re.split(r"(?ms)^```(\w+)\n(.*?)^```$", page)
    found = []
    for prose, language, text in zip(parts[::3], parts[1::3], parts[2::3], strict=False):
        asked = re.findall(r"[Ww]rite\s`([^`]+)`", prose)
        found.append(Block(language, asked[-1] if asked else "", text))
    return found


def commands(text: str) -> list[Command]:
    """The commands of a console block, continued lines with them."""
    pieces = re.split(r"(?m)^\$ ", text)
    assert pieces[0] == ""
    found = []
    for piece in pieces[1:]:
        lines = piece.splitlines()
        last = next(n for n, line in enumerate(lines) if not line.endswith("\\"))
        found.append(Command("\n".join(lines[: last + 1]), "\n".join(lines[last + 1 :])))
    return found


SECTIONS = re.split(r"(?m)^(?=## )", TUTORIAL)[1:]


@dataclass
class Terminal:
    """A folder in which a person follows the page."""

    folder: Path
    words: dict[str, str]
    values: dict[str, str]
    environment: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        kept = {k: v for k, v in os.environ.items() if not k.startswith("SINERGI_")}
        bin_ = str(Path(sys.executable).parent)
        path = f"{bin_}{os.pathsep}{os.environ['PATH']}"
        self.environment = {**kept, "PATH": path, "PYTHONPATH": "", "COLUMNS": "100"}
        self._running = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._running.close()

    def filled_in(self, text: str) -> str:
        """The text with this test's names of agencies."""
        for word, mine in self.words.items():
            text = text.replace(word, mine)
        return text

    def follow(self, section: str) -> list[str]:
        """Write the files of a section and run its commands; what each of those printed."""
        printed = []
        for block in blocks(section):
            if block.language == "console":
                printed += [self.run(each) for each in commands(block.text)]
            elif block.language in ("python", "toml"):
                assert block.file, f"no file is named for {block.text[:60]!r}"
                (self.folder / block.file).write_text(self.filled_in(block.text), encoding="utf-8")
        return printed

    def run(self, command: Command) -> str:
        """One command: a variable, a process that stays, or one that ends well."""
        if command.line.startswith("export "):
            name, _, value = command.line.removeprefix("export ").partition("=")
            if name in self.values:
                self.environment[name] = self.values[name]
            else:
                self.environment[name] = self._finished(f"echo {value}").strip()
            return ""
        if command.line.startswith("unset "):
            del self.environment[command.line.removeprefix("unset ")]
            return ""
        line = self.filled_in(command.line)
        if line.endswith(RUN_FOR_EVER):
            self._running.enter_context(self._staying(line))
            return ""
        if command.output:
            wanted = self.filled_in(command.output) + "\n"
            until(lambda: self._finished(line) == wanted, f"{line}:\n{wanted}")
        return self._finished(line)

    def _finished(self, line: str) -> str:
        done = subprocess.run(
            ["bash", "-ec", line],  # noqa: S607 - whichever bash a person has
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{line}: {done.stderr}"
        return done.stdout

    @contextmanager
    def _staying(self, line: str) -> Iterator[None]:
        """A process that Ctrl-C ends in order, after the page."""
        log = self.folder / f"{line.rpartition(' ')[2]}.log"
        with (
            log.open("w") as stderr,
            subprocess.Popen(
                ["bash", "-ec", f"exec {line}"],  # noqa: S607 - as above
                cwd=self.folder,
                env=self.environment,
                stderr=stderr,
            ) as process,
        ):
            try:
                yield
                process.send_signal(signal.SIGINT)
                assert process.wait(PATIENCE_SECONDS) == 0, log.read_text()
            finally:
                process.kill()


@contextmanager
def services_of(terminal: Terminal) -> Iterator[None]:
    """Section 1: the page's own services, which run in its folder while the block lasts."""
    services = Local(terminal.folder / ".sinergi/local")
    try:
        terminal.run(Command("sinergi local up", ""))
        terminal.values["KAFKA"] = services.bootstrap
        yield
    finally:
        services.down()


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    """An empty folder, and names of agencies."""
    suffix = secrets.token_hex(5)
    words = {name: f"{name}-{suffix}" for name in ("lapas-rekaan", "bnnk-rekaan")}
    with Terminal(tmp_path, words, {}) as made, services_of(made):
        yield made


def test_a_reader_of_the_page_sees_the_first_event_arrive(terminal: Terminal) -> None:
    assert [section[3:5].strip(". ") for section in SECTIONS] == [str(n) for n in range(1, 11)]
    installing, databases = SECTIONS[0].split("Put the address", 1)
    assert "$ sinergi local up" in installing
    terminal.follow(databases)
    for section in SECTIONS[1:5]:
        terminal.follow(section)
    *_, waiting = terminal.follow(SECTIONS[5].partition("Both wait there")[0])
    assert "MUT/2026/0088" in waiting
    assert "SITA/2026/0012" in waiting
    terminal.follow(SECTIONS[5].partition("Both wait there")[2])
    for section in SECTIONS[6:9]:
        terminal.follow(section)
    the_application_publishes_as_a_user_of_its_own(terminal)


def the_application_publishes_as_a_user_of_its_own(terminal: Terminal) -> None:
    """Section 10: with the rights that an upgrade gives to the role that it names."""
    (naming,) = [block for block in blocks(SECTIONS[9]) if block.language == "toml"]
    (upgrading,) = [block for block in blocks(SECTIONS[9]) if block.language == "console"]
    user = APP_USER
    password = secrets.token_hex(8)
    owner = sa.create_engine(terminal.environment["SDP"], poolclass=sa.NullPool)
    with owner.begin() as connection:
        connection.execute(sa.text(f"CREATE ROLE {user} LOGIN PASSWORD '{password}'"))
        connection.execute(sa.text(f"GRANT SELECT, UPDATE ON mutasi TO {user}"))
    url = owner.url.set(username=user, password=password)
    terminal.environment["SDP"] = url.render_as_string(hide_password=False)
    with pytest.raises(AssertionError, match=f"{user} lacks USAGE on schema sinergi_producer"):
        terminal.run(Command("python correct.py", ""))
    with (terminal.folder / "lapas/sinergi.toml").open("a", encoding="utf-8") as settings:
        settings.write(terminal.filled_in(naming.text))
    terminal.follow(f"```console\n{upgrading.text}```\n")
    terminal.run(Command("python correct.py", ""))
    with owner.begin() as connection:
        revision = "SELECT max(revision) FROM sinergi_producer.head"
        assert connection.execute(sa.text(revision)).scalar() == 3
        connection.execute(sa.text(f"DROP OWNED BY {user}"))


def test_the_page_installs_extras_that_there_are() -> None:
    (named,) = re.findall(r"sinergi\[([a-z,]+)\]", TUTORIAL)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert set(named.split(",")) <= {*project["optional-dependencies"]}


def test_the_page_is_narrow_and_its_links_lead_somewhere() -> None:
    assert max(map(len, TUTORIAL.splitlines())) <= MOST_COLUMNS
    for target in re.findall(r"\]\(([^)#]+)\)", TUTORIAL):
        assert (ROOT / "docs" / target).exists(), target
