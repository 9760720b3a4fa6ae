"""The page for the operator of a bus works as it is printed, on three brokers on one machine.

The test runs its `console` blocks in order. Blocks for machines of one's own (`sh`) need root and
other machines; the broker's settings that they use are tried in `test_broker_settings.py`.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from agency_pair import transfer
from sinergi import open_outbox
from sinergi.local import Local
from test_tutorial_agency import MOST_COLUMNS, Command, Terminal, blocks
from test_tutorial_integrator import kill
from waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.long

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
SECTIONS = re.split(r"(?m)^(?=## )", PAGE)[1:]


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    """An empty folder; whatever the page has started in it is stopped at the end."""
    services = Local(tmp_path / ".sinergi/local")
    with Terminal(tmp_path, {}, {}) as made:
        try:
            made.run(Command("sinergi local up --brokers 3", ""))
            made.values["KAFKA"] = services.bootstrap
            yield made
        finally:
            for file in tmp_path.glob("*.pid"):
                kill(int(file.read_text()), tmp_path)
            services.down()


def test_the_page_brings_up_a_bus_and_keeps_it_running(terminal: Terminal) -> None:
    assert [section[3:5].strip(". ") for section in SECTIONS] == [str(n) for n in range(1, 11)]
    for number, section in enumerate(SECTIONS, 1):
        if number == 10:
            publish(terminal, "OPS/2")  # after every broker, relay and password was replaced
            until(lambda: arrived(terminal) == {"OPS/1", "OPS/2"}, "both have arrived")
        console = [each for each in blocks(section) if each.language == "console"]
        files = [each for each in blocks(section) if each.file]
        for block in files:
            if block.language != "console":
                (terminal.folder / block.file).write_text(block.text, encoding="utf-8")
        for block in console:
            terminal.follow(f"```console\n{block.text}```\n")
        if number == 3:
            publish(terminal, "OPS/1")


def publish(terminal: Terminal, record_id: str) -> None:
    """Publish a transfer as the prison's application does."""
    outbox = open_outbox(terminal.folder / "lapas/sinergi.toml")
    engine = sa.create_engine(Local(terminal.folder / ".sinergi/local").database("sdp"))
    with Session(engine) as session, session.begin():
        outbox.publish(session, transfer(record_id))
    engine.dispose()


def arrived(terminal: Terminal) -> set[str]:
    """The records that the narcotics agency has."""
    url = Local(terminal.folder / ".sinergi/local").database("register")
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    with engine.connect() as connection:
        return set(connection.execute(sa.text("SELECT record_id FROM sinergi.transfer")).scalars())


def test_the_page_is_narrow_and_its_links_lead_somewhere() -> None:
    lines = [each for each in PAGE.splitlines() if "local status --json" not in each]
    assert max(map(len, lines)) <= MOST_COLUMNS
    for target in re.findall(r"\]\(([^)#]+)", PAGE):
        assert (ROOT / "docs" / target).exists(), target
