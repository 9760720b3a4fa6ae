"""The runbooks about agencies, disks and brokers that are away for a while, step by step.

Each runs on servers that can be taken away, with the processes that users start. At the end the
judge of `make chaos` compares: every committed event is there once, and nothing else is.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import tomllib
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
from confluent_kafka.admin import AdminClient

from agency_pair import DATABASE, running, transfer
from chaos.chaos_bus import ChaosBus, chaos_bus, stop_all
from chaos.disk import fill, full
from chaos.report import Report
from chaos.services import Services
from chaos.timing import until
from sinergi_producers.outbox.publishing import Outbox
from sinergi_producers.relay.factory import build_relay
from sinergi_schemas import errors
from sinergi_schemas.catalog import Catalog
from sinergi_schemas.clock import SYSTEM
from test_outbox import FixedClock
from waiting import PATIENCE_SECONDS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from chaos.processes import Worker

pytestmark = pytest.mark.long

WEEK = timedelta(days=7)


@pytest.fixture(scope="module")
def servers() -> Iterator[Services]:
    with (
        tempfile.TemporaryDirectory(prefix="runbooks-") as name,
        Services(Path(name) / "services", has_authorizer=False) as found,
    ):
        yield found


@dataclass
class Scenario:
    """A bus, and what its agency commits."""

    bus: ChaosBus
    numbers: int = 0
    workers: list[Worker] = field(default_factory=list)

    def publish(self, events: int = 20) -> None:
        with self.bus.register.engine.begin() as connection:
            for _ in range(events):
                self.numbers += 1
                self.bus.register.move(connection, f"M/{self.numbers}", f"Lapas {self.numbers}")

    def relay(self) -> Worker:
        self.workers.append(self.bus.relay())
        return self.workers[-1]

    def materialiser(self) -> Worker:
        self.workers.append(self.bus.materialiser())
        return self.workers[-1]

    def stop(self, *workers: Worker) -> None:
        report = Report("")
        stop_all(report, *workers)
        assert report.problems == []
        self.workers = [each for each in self.workers if each not in workers]

    def lines(self, settings: Path, status: int) -> str:
        """What status says, and that it ends with this exit status."""
        said = self.bus.status(settings)
        assert said["exit_status"] == status, said["lines"]
        return "\n".join(said["lines"])

    def until_lines(self, settings: Path, words: str) -> None:
        """Wait until status says some words."""
        until(lambda: words in str(self.bus.status(settings)["lines"]), PATIENCE_SECONDS, words)

    def until_arrived(self) -> None:
        self.bus.until_arrived(PATIENCE_SECONDS)

    def end(self) -> None:
        """Everything agrees, on the topic and in the tables."""
        report = Report("")
        self.bus.settle(report)
        self.stop(*self.workers)
        assert report.problems == []
        assert report.events == self.numbers


@pytest.fixture
def scenario(servers: Services, tmp_path: Path) -> Iterator[Scenario]:
    tmp_path.chmod(0o711)
    with chaos_bus(servers, tmp_path / "bus") as bus:
        yield Scenario(bus)


def said(worker: Worker, words: str) -> None:
    """Wait until a process has logged some words."""
    until(
        lambda: any(words in str(each) for each in worker.said),
        PATIENCE_SECONDS,
        f"{worker.name} says: {words}",
    )


# An agency is away for a week


class WeekAgo:
    """A clock that stands a week behind."""

    def now(self) -> datetime:
        return SYSTEM.now() - WEEK

    def monotonic(self) -> float:
        return SYSTEM.monotonic()


def relayed_a_week_ago(bus: ChaosBus, events: int) -> None:
    """The last that was heard of the agency: it has sent all, and signed its heads."""
    pair = bus.pair
    with running(build_relay(replace(pair.relay_setup, clock=WeekAgo())).run):
        until(lambda: bus.sent == events, PATIENCE_SECONDS, "all is sent")


def test_a_producer_that_is_dead_is_told_from_one_to_whom_nothing_happened(
    scenario: Scenario,
) -> None:
    bus = scenario.bus
    scenario.publish()
    relayed_a_week_ago(bus, 20)
    scenario.materialiser()
    scenario.until_arrived()
    away = scenario.lines(bus.reader_settings, 0)
    assert "all is well" in away, "nothing that is on the topic is missing"
    assert f"{bus.pair.publisher} has signed no heads since" in away
    assert "its relay is not running" in away
    scenario.publish()
    waiting = scenario.lines(bus.agency_settings, 1)
    assert "20 rows of" in waiting
    assert "none leads" in waiting
    assert "start `sinergi relay`" in waiting
    scenario.relay()
    scenario.until_arrived()
    # The relay signs its heads once they are confirmed, which is after the events have arrived.
    until(
        lambda: "heads" not in scenario.lines(bus.reader_settings, 0),
        PATIENCE_SECONDS,
        "new heads are there",
    )
    scenario.end()


def test_a_reader_that_was_away_so_long_that_the_group_is_forgotten_misses_nothing(
    scenario: Scenario,
) -> None:
    bus = scenario.bus
    scenario.relay()
    reader = scenario.materialiser()
    scenario.publish()
    scenario.until_arrived()
    scenario.stop(reader)
    scenario.publish()
    bus.until_sent()
    group = f"{bus.pair.reader}.{DATABASE}"
    assert f"none is in the group {group}" in scenario.lines(bus.reader_settings, 1)
    # What a broker does with a group by itself after offsets.retention.minutes.
    admin = AdminClient({"bootstrap.servers": bus.services.bootstrap})
    for gone in admin.delete_consumer_groups([group]).values():
        gone.result()
    assert "20 events of" in scenario.lines(bus.reader_settings, 1)
    scenario.materialiser()
    scenario.until_arrived()
    scenario.end()


def agreed(
    bus: ChaosBus,
    file: str,
    number: str,
    since: datetime,
    end: datetime,
    *,
    replaces: Sequence[str] = (),
) -> None:
    """Write an agreement file that says the same for other days.

    Args:
        replaces: the files that it follows.
    """
    files = [(bus.pair.folder / each).read_bytes() for each in replaces]
    original = tomllib.loads((bus.pair.folder / "pks.toml").read_text("utf-8"))
    original["in_force"] = {"from": since, "until": end}
    original |= {"replaces": [sha256(each).hexdigest() for each in files]} if files else {}
    for each in original["numbers"]:
        each["number"] = f"{number}/{each['party']}"
    bus.pair.agree(original, file)


def test_rows_whose_agreement_ran_out_meanwhile_are_held_until_a_new_one_covers_them(
    scenario: Scenario,
) -> None:
    bus = scenario.bus
    scenario.materialiser()
    yesterday = SYSTEM.now().replace(microsecond=0) - timedelta(days=1)
    agreed(bus, "pks.toml", "PKS/1", datetime(2020, 1, 1, tzinfo=UTC), yesterday)
    bus.pair.__dict__.pop("agreements", None)
    bus.pair.__dict__.pop("outbox", None)
    before = FixedClock(yesterday - timedelta(days=1))
    outbox = Outbox(bus.pair.publisher, bus.pair.agreements, Catalog.shipped(), before)
    with bus.pair.producer.begin() as connection:
        for number in range(20):
            outbox.publish(connection, transfer(f"M/{number}"))
    scenario.numbers += 20
    relay = scenario.relay()
    scenario.until_lines(bus.agency_settings, "held: no agreement in force covers it")
    assert bus.sent == 0
    with bus.pair.producer.begin() as connection, pytest.raises(errors.NotAgreed):
        bus.pair.outbox.publish(connection, transfer("M/0"))
    later = datetime(2099, 1, 1, tzinfo=UTC)
    agreed(bus, "pks-2.toml", "PKS/2", yesterday, later, replaces=["pks.toml"])
    scenario.stop(relay)
    scenario.relay()
    until(lambda: bus.sent == scenario.numbers, PATIENCE_SECONDS, "all rows are sent")
    scenario.stop(*scenario.workers)


# A disk is full


def test_an_agencys_database_without_room_refuses_its_transactions_and_loses_nothing(
    scenario: Scenario,
) -> None:
    bus = scenario.bus
    scenario.materialiser()
    scenario.publish()
    with full(bus.pair.producer, "sinergi_producer.outbox", "sinergi_producer.checkpoint"):
        with pytest.raises(sa.exc.OperationalError) as caught:
            scenario.publish()
        scenario.numbers -= 1
        assert getattr(caught.value.orig, "sqlstate", None) == "53100"
        relay = scenario.relay()
        said(relay, "53100")
        assert "20 rows of" in waits(scenario, bus.agency_settings)
        assert bus.sent == 0
        assert relay.runs
    scenario.publish()
    scenario.until_arrived()
    said(relay, "going on")
    scenario.end()


def waits(scenario: Scenario, settings: Path) -> str:
    """What status says of rows that a relay has not sealed for a minute."""
    with scenario.bus.pair.producer.begin() as connection:
        connection.execute(
            sa.text(
                "UPDATE sinergi_producer.outbox"
                " SET recorded_at = recorded_at - interval '2 minutes'"
            )
        )
    return scenario.lines(settings, 1)


def test_a_readers_database_without_room_waits_and_sets_nothing_apart(scenario: Scenario) -> None:
    bus = scenario.bus
    scenario.relay()
    reader = scenario.materialiser()
    scenario.publish()
    scenario.until_arrived()
    with full(bus.pair.consumer, "sinergi_consumer.checkpoint", "sinergi.transfer_history"):
        scenario.publish()
        said(reader, "53100")
        assert reader.runs
        assert bus.pair.count("sinergi_consumer.quarantine") == 0
        assert bus.materialised == 20
    scenario.until_arrived()
    scenario.end()


def test_a_broker_without_room_ends_and_all_arrives_once_it_is_started_with_room(
    scenario: Scenario,
) -> None:
    bus, kafka = scenario.bus, scenario.bus.services.kafka
    relay = scenario.relay()
    reader = scenario.materialiser()
    scenario.publish()
    scenario.until_arrived()
    fill(kafka.running)
    scenario.publish()
    until(lambda: not kafka.runs, PATIENCE_SECONDS, "the broker has ended")
    for settings in (bus.agency_settings, bus.reader_settings):
        assert scenario.lines(settings, 2).startswith("broker ")
    scenario.publish()
    kafka.stop()
    kafka.start()
    scenario.until_arrived()
    assert relay.runs
    assert reader.runs
    scenario.end()


# A broker is lost


def sinergi(settings: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = (sys.executable, "-m", "sinergi", "--config", str(settings), *words)
    return subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=PATIENCE_SECONDS
    )


def test_the_only_broker_lost_with_its_disk_is_filled_again_from_the_outbox(
    scenario: Scenario,
) -> None:
    bus, kafka = scenario.bus, scenario.bus.services.kafka
    relay = scenario.relay()
    reader = scenario.materialiser()
    scenario.publish()
    scenario.until_arrived()
    scenario.stop(relay, reader)
    kafka.crash()
    shutil.rmtree(kafka.service.folder / "kafka")
    scenario.publish()
    kafka.start()
    scenario.until_lines(bus.agency_settings, "not on the broker: run `sinergi provision apply`")
    apply = ["--set", "provision.open_brokers=true", "provision", "apply"]
    done: Any = sinergi(bus.agency_settings, *apply)
    assert done.returncode == 0, done.stderr
    relay = scenario.relay()
    said(relay, "topic has lost what it had: sending again")
    bus.until_sent()
    scenario.materialiser()
    scenario.until_arrived()
    scenario.lines(bus.agency_settings, 0)
    assert "halted" not in scenario.lines(bus.reader_settings, 0)
    scenario.end()
