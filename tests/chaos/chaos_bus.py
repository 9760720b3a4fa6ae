"""One bus of the run: an agency with its register and relay, a reader with its materialisers, and
the judge's comparison of both. Every part of the run has a bus of its own on the same servers.
"""

from __future__ import annotations

import json
import secrets
import subprocess
import sys
import tomllib
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
import tomli_w
from sqlalchemy.engine import make_url

import sinergi_schemas
from agency_pair import AgencyPair
from chaos.judge import Case, Judge
from chaos.processes import Worker, Workers
from chaos.register import Load, Register
from chaos.timing import Overdue, until, until_grown
from sinergi import migrate
from sinergi_schemas.clock import SYSTEM

if TYPE_CHECKING:
    from collections.abc import Iterator

    from chaos.report import Report
    from chaos.services import BusServices

_SETTLE_SECONDS = 180.0
_READY_SECONDS = 180.0

WORKER = Path(__file__).with_name("worker.py")
_STILL_SECONDS = 6.0
_WRITERS = 20

_EPOCH = "SELECT CASE WHEN holder IS NULL THEN 0 ELSE epoch END FROM sinergi_producer.lease"
_LEAVES = "SELECT coalesce(sum(tree_size), 0) FROM sinergi_consumer.position"
_SENT = "SELECT coalesce(sum(sent_size), 0) FROM sinergi_producer.tree"


@dataclass(frozen=True)
class Scale:
    """How much a part does: little in the tests, much in the whole run."""

    events: int
    rounds: int


class ChaosBus:
    """One bus. Use `chaos_bus()` to have one."""

    def __init__(
        self, services: BusServices, folder: Path, workers: Workers, partitions: int
    ) -> None:
        name = secrets.token_hex(4)
        producer = services.agency_database(f"agency_{name}")
        consumer = services.reader_database(f"reader_{name}")
        migrate.upgrade(producer, migrate.Role.PRODUCER)
        self.pair = AgencyPair(
            folder, services.bootstrap, f"lapas-{name}", producer, consumer, partitions
        )
        self.pair.producer, self.pair.consumer = map(_pooled, (producer, consumer))
        self.services = services
        self.register = Register(self.pair.producer, self.pair.outbox)
        self.register.prepare()
        self.workers = workers
        self.agency_settings = self.pair.agency_settings
        self.reader_settings = self.pair.reader_settings
        self.case = Case(
            agency=_libpq(producer),
            reader=_libpq(consumer),
            bootstrap=services.bootstrap,
            topic=self.pair.topic.name,
            partitions=partitions,
            key=str(self.pair.key.public),
            schemas=Path(sinergi_schemas.__file__).parent / "avro" / "transfer",
        )

    def agree_anew(self) -> None:
        """Write the agreement again after a change, before any process has read it."""
        self.pair.agree(self.pair.agreement)
        for made_from_it in ("agreements", "outbox", "bus"):
            self.pair.__dict__.pop(made_from_it, None)
        self.register = Register(self.pair.producer, self.pair.outbox)

    def close(self) -> None:
        """Give the connections back."""
        for each in (self.pair.producer, self.pair.consumer):
            each.dispose()

    def load(self, seed: str, records: int = 1_000, writers: int = 2) -> Load:
        """Writers for the agency's register."""
        return Load(self.register, seed, records, writers)

    def relay(self) -> Worker:
        """Start a relay."""
        return self.workers.start("relay", self.agency_settings)

    def materialiser(self) -> Worker:
        """Start a materialiser."""
        return self.workers.start("materialise", self.reader_settings)

    def tapped(self, work: str, orders: Path, *names: str) -> Worker:
        """Start a relay or a materialiser with a tap in it; see `worker.py`."""
        settings = self.agency_settings if work == "relay" else self.reader_settings
        command = (sys.executable, str(WORKER), work, str(settings), str(orders), *names)
        return self.workers.run(work, command)

    @property
    def epoch(self) -> int:
        """The epoch of the relay that leads; 0 while none does."""
        return int(self.pair.ask(_EPOCH, self.pair.producer)[0][0])

    @property
    def sent(self) -> int:
        """How many events the broker has confirmed."""
        return int(self.pair.ask(_SENT, self.pair.producer)[0][0])

    @property
    def materialised(self) -> int:
        """How many events the reader's history has."""
        return self.pair.count("sinergi.transfer_history")

    def until_written(self, load: Load) -> None:
        """Wait until the writers have committed all that they may."""
        until_grown(lambda: -load.waiting, 0, _SETTLE_SECONDS, "everything is written")

    def until_sent(self) -> float:
        """Wait until the broker has confirmed all that is committed; how many seconds it took."""
        committed = self.register.committed()
        return until_grown(
            lambda: self.sent, committed, _SETTLE_SECONDS, f"{committed} events sent"
        )

    def until_leads(self, after: int = 0) -> float:
        """Wait for a relay to take the lease after an epoch; how many seconds it took."""
        return until(lambda: self.epoch > after, _READY_SECONDS, "a relay leads")

    def until_claimed(self, *workers: Worker) -> float:
        """Wait until each of these has claimed a share; how many seconds it took."""
        return until(
            lambda: all(each.says("topic-partition claimed") for each in workers),
            _READY_SECONDS,
            "every materialiser has a share",
        )

    def until_arrived(self, seconds: float = _SETTLE_SECONDS) -> float:
        """Wait until the reader has all that is committed; how many seconds it took."""
        committed = self.register.committed()
        return until_grown(
            lambda: self.materialised, committed, seconds, f"{committed} events arrive"
        )

    def until_still(self) -> None:
        """Wait until the reader has all that is committed, or nothing has moved for seconds."""
        committed = self.register.committed()
        seen, since = self._moved, SYSTEM.monotonic()

        def still() -> bool:
            nonlocal seen, since
            now = self._moved
            if now != seen:
                seen, since = now, SYSTEM.monotonic()
            return SYSTEM.monotonic() - since > _STILL_SECONDS

        until(lambda: self.materialised >= committed or still(), _SETTLE_SECONDS, "nothing moves")

    @property
    def _moved(self) -> tuple[int, ...]:
        leaves = self.pair.ask(_LEAVES)[0][0]
        return self.sent, int(leaves), self.materialised

    def status(self, settings: Path) -> dict[str, Any]:
        """What `sinergi status` says."""
        command = [sys.executable, "-m", "sinergi", "--config", str(settings), "status", "--json"]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
        if not done.stdout:
            raise Overdue(f"status says nothing: {done.stderr[-300:]}")
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    def settle(self, report: Report, *, tables: bool = True) -> None:
        """Wait until everything committed has arrived, then let the judge compare it."""
        committed = self.register.committed()

        def arrived() -> int:
            return self.materialised if tables else self.sent

        try:
            until_grown(arrived, committed, _SETTLE_SECONDS, f"{committed} events arrive")
        except Overdue as late:
            report.problems.append(f"{late}: {arrived()} have")
        report.take(Judge(self.case).compare(tables=tables))

    def behind_proxies(self) -> None:
        """From here on let processes reach Kafka and their databases by the proxies."""
        links = self.services.links
        for file, part, link in (
            (self.agency_settings, "producer", links.agency),
            (self.reader_settings, "consumer", links.reader),
        ):
            settings = tomllib.loads(file.read_text("utf-8"))
            url = make_url(settings[part]["database"]).set(port=link.port)
            settings[part]["database"] = url.render_as_string(hide_password=False)
            settings["kafka"]["bootstrap"] = self.services.proxied_bootstrap
            file.write_text(tomli_w.dumps(settings), encoding="utf-8")


@contextmanager
def chaos_bus(services: BusServices, folder: Path, partitions: int = 3) -> Iterator[ChaosBus]:
    """A bus of its own on these servers, its processes gone at the end."""
    folder.mkdir()
    with ExitStack() as stack:
        workers = stack.enter_context(Workers(services.starter, folder / "logs"))
        yield stack.enter_context(closing(ChaosBus(services, folder, workers, partitions)))


def stop_all(report: Report, *workers: Worker) -> None:
    """Stop workers in order; one that does not end well is a problem."""
    for each in workers:
        status = each.stop() if each.runs else "before it was asked"
        if status != 0:
            last = each.log.read_text("utf-8").strip().splitlines()[-1:]
            report.problems.append(f"{each.name} ended with {status}: {last}")


def _pooled(url: str) -> sa.Engine:
    """To be asked many times a second; a connection that broke meanwhile is replaced."""
    return sa.create_engine(url, pool_pre_ping=True, max_overflow=_WRITERS)


def _libpq(url: str) -> str:
    return make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
