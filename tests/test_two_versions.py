"""Two versions of Sinergi work together, whatever an agency upgrades first.

The newer version is a copy of this tree with one more field in the transfer, made as the page
"How to change things" says, and installed under a number of its own. Each program is a process of
one of the two.
"""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import closing
from dataclasses import dataclass, field
from importlib.metadata import distribution
from itertools import permutations
from typing import TYPE_CHECKING

import pytest

from agency_pair import AgencyPair
from sinergi_schemas.catalog import Catalog
from test_db import conninfo
from test_how_to_change import (
    AVRO,
    EVENTS,
    NEXT_ID,
    SOURCES,
    Tree,
    appended,
    attribute_added,
    written,
)
from verified_database import until_receipted
from waiting import PATIENCE_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

pytestmark = pytest.mark.long

APPLICATION, RELAY, READER = "application", "relay", "reader"
NUMBER = "9.0.0"
FIELD = {
    "name": "vehicle",
    "doc": "Registration number of the vehicle (nomor polisi kendaraan).",
    "type": ["null", "string"],
    "default": None,
}
HELD = "SELECT count(*) FROM sinergi_producer.outbox WHERE held IS NOT NULL"

# Publishes each record with an action; only the newer version has a vehicle to name.
PUBLISH = """
import sys
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import sinergi

settings, database, vehicle, *words = sys.argv[1:]
now = datetime.now(UTC)
said = {"vehicle": vehicle} if "vehicle" in sinergi.Transfer.model_fields else {}
outbox = sinergi.open_outbox(Path(settings))
with psycopg.connect(database) as connection:
    for record_id, action in zip(words[::2], words[1::2], strict=True):
        transfer = sinergi.Transfer(
            record_id=record_id,
            action=action,
            occurred_at=now,
            zone="Asia/Jakarta",
            purpose="PRISON_SECURITY",
            handling="R",
            origin={"name": "Lapas Rekaan"},
            destination={"name": "Lapas Khusus Rekaan"},
            departed_at=now,
            reason="HEALTH",
            **said,
        )
        outbox.publish(connection, transfer)
print("vehicle" in said)
"""


@dataclass(frozen=True)
class InstalledVersion:
    """A version of Sinergi, by what its processes have in their environment."""

    environment: Mapping[str, str] = field(default_factory=dict)

    def run(self, *arguments: str, status: int = 0) -> str:
        """Run Python until it ends with an exit status; what it has said."""
        done = subprocess.run(
            [sys.executable, *arguments],
            check=False,
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
            env={**os.environ, **self.environment},
        )
        assert done.returncode == status, done.stdout + done.stderr
        return done.stdout + done.stderr

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        """A process of `sinergi`."""
        command = [sys.executable, "-m", "sinergi", *arguments]
        environment = {**os.environ, **self.environment}
        return subprocess.Popen(command, stderr=subprocess.DEVNULL, env=environment)


OLDER = InstalledVersion()


@pytest.fixture(scope="module")
def newer(tmp_path_factory: pytest.TempPathFactory) -> InstalledVersion:
    """A version whose transfer has one more field."""
    folder = tmp_path_factory.mktemp("newer")
    tree = Tree(folder / "sinergi")
    shipped = Catalog.shipped().newest("transfer").parsed
    schema = {**shipped, "fields": [*shipped["fields"], FIELD]}
    written(schema)(tree.folder / AVRO / "transfer/2.avsc")
    appended(f'"transfer/2" = {NEXT_ID}\n')(tree.folder / AVRO / "ids.toml")
    attribute_added("Transfer", "vehicle: Text | None = None")(tree.folder / EVENTS / "transfer.py")
    installed = distribution("sinergi")
    metadata = folder / f"sinergi-{NUMBER}.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Name: sinergi\nVersion: {NUMBER}\n", "utf-8")
    entry_points = installed.read_text("entry_points.txt") or ""
    (metadata / "entry_points.txt").write_text(entry_points, "utf-8")
    path = [folder, *(tree.folder / each for each in SOURCES)]
    made = InstalledVersion({"PYTHONPATH": os.pathsep.join(map(str, path))})
    said = made.run("-m", "sinergi", "--version")
    assert NUMBER in said
    return made


@pytest.fixture
def agencies(
    tmp_path: Path,
    kafka: str,
    agency_slug: str,
    databases: Callable[[], str],
    newer: InstalledVersion,
) -> Iterator[TwoAgencies]:
    pair = AgencyPair(tmp_path, kafka, agency_slug, databases(), databases(), partitions=1)
    with closing(TwoAgencies(pair, newer)) as found:
        yield found


class TwoAgencies:
    """A publisher and a reader whose programs are upgraded one after the other."""

    def __init__(self, pair: AgencyPair, newer: InstalledVersion) -> None:
        self.pair = pair
        self._newer = newer
        self._versions = dict.fromkeys((APPLICATION, RELAY, READER), OLDER)
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self.said: list[tuple[str, int, str | None]] = []
        self._begin(RELAY)
        self._begin(READER)

    def upgrade(self, program: str) -> None:
        """Install the newer version for one program: the old one is killed where it is."""
        self._end(program)
        self._versions[program] = self._newer
        if program != APPLICATION:
            role = "consumer" if program == READER else "producer"
            settings = self._settings(program)
            self._newer.run("-m", "sinergi", *settings, "db", "upgrade", "--role", role)
        self._begin(program)

    def take_back(self, program: str) -> None:
        """Let an instance of the older version go on, as one that was not upgraded yet."""
        self._end(program)
        self._versions[program] = OLDER
        self._begin(program)

    def publish(self, vehicle: str, *records: str) -> None:
        """Record what is not recorded yet, and correct the rest, with the application's version."""
        words = []
        is_newer = self._versions[APPLICATION] is self._newer
        for each in records:
            revision = 1 + sum(name == each for name, _, _ in self.said)
            words += [each, "RECORDED" if revision == 1 else "CORRECTED"]
            self.said.append((each, revision, vehicle if is_newer else None))
        settings, database = str(self.pair.agency_settings), conninfo(self.pair.producer_url)
        self._versions[APPLICATION].run("-c", PUBLISH, settings, database, vehicle, *words)

    def until_read(self) -> None:
        """Wait until the reader's tables have all events, and its receipts are on their topic."""
        self.pair.until_rows("sinergi.transfer_history", len(self.said))
        until_receipted(self.pair)

    def rows(self, table: str, columns: str) -> list[tuple[object, ...]]:
        """Rows of a table of the reader, in order."""
        return self.pair.ask(f"SELECT {columns} FROM sinergi.{table} ORDER BY 1, 2")

    def read(self, *command: str, status: int = 0) -> str:
        """Run a command of the reader with the newer version."""
        words = ("-m", "sinergi", *self._settings(READER), *command)
        return self._newer.run(*words, status=status)

    def close(self) -> None:
        for program in [*self._processes]:
            self._end(program)

    def _settings(self, program: str) -> tuple[str, str]:
        found = self.pair.reader_settings if program == READER else self.pair.agency_settings
        return "--config", str(found)

    def _begin(self, program: str) -> None:
        if program != APPLICATION:
            command = "materialise" if program == READER else "relay"
            started = self._versions[program].start(*self._settings(program), command)
            self._processes[program] = started

    def _end(self, program: str) -> None:
        """Kill a process, which must not have ended by itself."""
        if process := self._processes.pop(program, None):
            ended = process.poll()
            process.kill()
            process.wait()
            assert ended is None, f"the {program} has ended with {ended}"


ORDERS = [", then ".join(each) for each in permutations((APPLICATION, READER, RELAY))]


@pytest.mark.parametrize("order", ORDERS)
def test_all_tables_are_right_whatever_is_upgraded_first(agencies: TwoAgencies, order: str) -> None:
    agencies.publish("none", "R/0")
    agencies.until_read()
    for step, program in enumerate(order.split(", then "), 1):
        agencies.upgrade(program)
        agencies.publish(f"P {step} X", *(f"R/{each}" for each in range(step + 1)))
        agencies.until_read()
    assert agencies.pair.count("sinergi_consumer.quarantine") == 0
    assert agencies.pair.ask(HELD, agencies.pair.producer) == [(0,)]
    expected = [(name, revision) for name, revision, _ in sorted(agencies.said)]
    assert agencies.rows("transfer_history", "record_id, revision") == expected
    newest = {name: (name, revision) for name, revision in expected}
    assert agencies.rows("transfer", "record_id, revision") == [*newest.values()]
    if order.endswith(READER):  # it has read events of the newer version before its upgrade
        found = " ".join(agencies.read("verify", status=1).split())
        assert "or a materialiser of a version from before" in found
    for projection in ("transfer", "transfer_history"):
        agencies.read("rebuild", projection, "--apply")
    whole = "record_id, revision, vehicle"
    assert agencies.rows("transfer_history", whole) == sorted(agencies.said)
    current = {name: (name, revision, vehicle) for name, revision, vehicle in sorted(agencies.said)}
    assert agencies.rows("transfer", whole) == [*current.values()]
    agencies.read("verify")


def test_an_older_reader_that_takes_over_leaves_no_value_of_a_revision_before(
    agencies: TwoAgencies,
) -> None:
    """Two instances read, and one of them is upgraded before the other."""
    agencies.upgrade(APPLICATION)
    agencies.upgrade(READER)
    agencies.publish("P 1 X", "R/0", "R/1")
    agencies.until_read()
    agencies.take_back(READER)
    agencies.publish("P 2 X", "R/0")
    agencies.until_read()
    whole = "record_id, revision, vehicle"
    assert agencies.rows("transfer", whole) == [("R/0", 2, None), ("R/1", 1, "P 1 X")]
