"""An operator who writes noise, and a member with valid keys who attacks, from a seed.

An honest agency publishes during all of it. In each round both write their share while it publishes
a batch, and the batch has to stand in every table within the promised time. Messages and sealed
events are counted as trials.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import sqlalchemy as sa

from agency_pair import DATABASE
from chaos.chaos_bus import chaos_bus, stop_all
from chaos.foreign_writer import ForeignWriter, OwnersMessages
from chaos.hostile_member import CONTRADICTED, Member
from chaos.judge import Judge
from chaos.operator_noise import View, noise
from chaos.report import Report
from chaos.timing import Overdue, drawn, pause, until
from sinergi_schemas import topics
from sinergi_schemas.clock import SYSTEM

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from random import Random

    from chaos.chaos_bus import ChaosBus, Scale
    from chaos.foreign_writer import ForeignMessage
    from chaos.processes import Worker
    from chaos.register import Load
    from chaos.services import Services

PROMISED_SECONDS = 10.0
_GIVEN_UP_SECONDS = 300.0
_IN_ROUND = 300
_CONTRADICTIONS = 2
_STATEMENTS = 8
_MOST_MIB = 500
_SHOWN = 3
_SAID = 600
_TABLES = ("transfer", "transfer_history", "transfer_escort", "transfer_history_escort")

_IN_EVERY_TABLE = """
    SELECT coalesce(min(leaves), 0) FROM (
        SELECT sum(tree_size) AS leaves FROM sinergi_consumer.position
        WHERE topic = :topic GROUP BY projection) AS each
"""
_SIZES = "SELECT partition, size FROM sinergi_producer.tree"


def run(
    services: Services,
    folder: Path,
    seed: str,
    scale: Scale,
    *,
    promised_seconds: float = PROMISED_SECONDS,
) -> Report:
    """`scale.rounds` trials, while `scale.events` honest events are published.

    Args:
        promised_seconds: after how long a batch of them must stand in every table, on free cores.
    """
    report = Report("foreign messages and a hostile member")
    with chaos_bus(services, folder, partitions=2) as bus:
        member = Member(bus.pair)
        writer = ForeignWriter(services.bootstrap)
        view = _view(bus, member, writer)
        with closing(view.owners_messages), bus.load(f"{seed}/foreign", records=300) as load:
            attack = Attack(bus, member, writer, view, report, promised_seconds)
            attack.run(load, seed, scale)
        _settle(bus, writer, member, report)
        attack.end()
    return report


def _view(bus: ChaosBus, member: Member, writer: ForeignWriter) -> View:
    pair = bus.pair
    event_places = [(pair.topic.name, number) for number in range(pair.partitions)]
    receipts = [f"{DATABASE}/{name}/{number}".encode() for name, number in event_places]
    statements = {
        topics.control_topic(pair.publisher): [b"heads"],
        topics.receipts_topic(pair.reader): receipts,
        member.receipts: receipts,
    }
    owners_messages = OwnersMessages(writer, [*event_places, *((name, 0) for name in statements)])
    return View(pair.topic.name, statements, pair.key.name, member.key, owners_messages)


@dataclass
class Attack:
    """Rounds of attacks, and the processes that have to live through them."""

    bus: ChaosBus
    member: Member
    writer: ForeignWriter
    view: View
    report: Report
    promised_seconds: float
    workers: list[Worker] = field(default_factory=list)
    latencies: list[float] = field(default_factory=list)
    late: list[str] = field(default_factory=list)
    peak: int = 0

    def run(self, load: Load, seed: str, scale: Scale) -> None:
        """All rounds, the processes started anew in the middle of them."""
        rounds = max(2, scale.rounds // _IN_ROUND)
        share, trials = scale.events // rounds, -(-scale.rounds // rounds)
        self.workers = [self.bus.relay(), self.bus.materialiser()]
        self.bus.until_leads()
        self.bus.until_claimed(self.workers[1])
        self._batch(load, share)  # something to copy
        self.latencies.clear()
        for number in range(rounds):
            self._round(load, drawn(seed, "foreign", number), share, trials)
            if number == rounds // 2:
                self._again()
            if not all(each.runs for each in self.workers):
                break
        self._say_latency()

    def _round(self, load: Load, dice: Random, share: int, trials: int) -> None:
        self.view.owners_messages.listen()
        self.view.sizes = dict.fromkeys(range(self.bus.pair.partitions), 0) | dict(
            self.bus.pair.ask(_SIZES, self.bus.pair.producer)
        )
        sealed = trials // 2
        others = trials - sealed - _CONTRADICTIONS - _STATEMENTS
        of_operator, of_member = (drawn(str(dice.random())) for _ in range(2))
        with ThreadPoolExecutor(2) as threads:
            writing = [
                threads.submit(self._write, noise(self.view, of_operator, others)),
                threads.submit(self._write, self._of_member(of_member, sealed)),
            ]
            pause(dice.uniform(0, 0.3))
            self._batch(load, share)
            for each in writing:
                each.result()

    def _of_member(self, dice: Random, sealed: int) -> Iterator[tuple[str, ForeignMessage]]:
        yield from self.member.sealed(dice, sealed)
        yield from self.member.contradictions(dice, _CONTRADICTIONS)
        yield from self.member.statements(dice, self.view.owners_messages, _STATEMENTS)

    def _write(self, messages: Iterable[tuple[str, ForeignMessage]]) -> None:
        def counted() -> Iterator[ForeignMessage]:
            for kind, message in messages:
                self.report.in_data[kind] += 1
                yield message

        self.writer.write(counted())

    def _batch(self, load: Load, share: int) -> None:
        """Let the honest agency publish, and see how long it takes until every table has it."""
        pair = self.bus.pair
        load.allow(share)
        self.bus.until_written(load)
        begun, before = SYSTEM.monotonic(), os.getloadavg()[0]
        committed = self.bus.register.committed()
        asked = sa.text(_IN_EVERY_TABLE)

        def everywhere() -> bool:
            with pair.consumer.connect() as connection:
                leaves = connection.execute(asked, {"topic": pair.topic.name}).scalar_one()
            return int(leaves) >= committed or not all(each.runs for each in self.workers)

        until(everywhere, _GIVEN_UP_SECONDS, f"{committed} honest events in every table")
        took = SYSTEM.monotonic() - begun
        self.latencies.append(took)
        # The promise is for a machine whose cores are free; here others may want them.
        waiting = max(1.0, max(before, os.getloadavg()[0]) / (os.cpu_count() or 1))
        if took > self.promised_seconds * waiting:
            self.late.append(f"{took:.1f} s with {waiting:.1f} processes a core")

    def _again(self) -> None:
        """Stop both in order and start them anew: whatever lies there is read at a start too."""
        self._measure()
        self._hold(self.workers)
        stop_all(self.report, *self.workers)
        self.workers = [self.bus.relay(), self.bus.materialiser()]
        self.bus.until_claimed(self.workers[1])

    def end(self) -> None:
        """Stop both, and hold what they have logged to what they may."""
        self._measure()
        self._hold(self.workers)
        stop_all(self.report, *self.workers)
        self.report.notes.append(f"peak of relay and materialiser {self.peak} MiB")
        if self.peak > _MOST_MIB:
            self.report.problems.append(f"a process took {self.peak} MiB")

    def _measure(self) -> None:
        self.peak = max(self.peak, *(_peak_mib(each) for each in self.workers if each.runs))

    def _hold(self, workers: Iterable[Worker]) -> None:
        for each in workers:
            if not each.runs:
                self.report.problems.append(f"{each.name} has ended: {_last(each)}")
            raw = [line for line in each.log.read_text("utf-8").splitlines() if not _is_json(line)]
            if raw:
                what = f"{each.name} wrote {len(raw)} lines that are no JSON"
                self.report.problems.append(f"{what}: {raw[:_SHOWN]}")
            traced = [one for one in each.said if "exception" in one or "Traceback" in str(one)]
            if traced:
                self.report.problems.append(f"{each.name} logged a traceback: {traced[:1]}")

    def _say_latency(self) -> None:
        times = self.latencies
        load = os.getloadavg()[0] / (os.cpu_count() or 1)
        self.report.notes.append(
            f"honest events in every table after {median(times):.1f} s (median) and at most"
            f" {max(times):.1f} s in {len(times)} batches; {load:.1f} processes a core"
        )
        if self.late:
            self.report.problems.append(
                f"{len(self.late)} batches came late: {', '.join(self.late[:_SHOWN])}"
            )


def _settle(bus: ChaosBus, writer: ForeignWriter, member: Member, report: Report) -> None:
    """Let the judge compare, and hold the tables and commands to what the attackers wrote."""
    topic = bus.pair.topic.name
    report.take(Judge(replace(bus.case, foreign=writer.written(topic))).compare())
    try:
        until(
            lambda: _read(bus, member) == member.sizes, _GIVEN_UP_SECONDS, "all of it is taken in"
        )
    except Overdue as late:
        report.problems.append(f"{late}: {_read(bus, member)} of {member.sizes}")
    forged = _forged(bus, member)
    report.forged += forged.total()
    report.problems += [f"{rows} rows that may not be: {kind}" for kind, rows in forged.items()]
    halted = bus.pair.ask("SELECT topic, partition, reason FROM sinergi_consumer.halt")
    if [each[:2] for each in halted] != [(member.topic.name, CONTRADICTED)]:
        report.problems.append(f"halted: {halted}")
    for settings in (bus.agency_settings, bus.reader_settings):
        try:
            bus.status(settings)
        except Overdue as late:
            report.problems.append(str(late))
    _replay(bus, member, report)


def _read(bus: ChaosBus, member: Member) -> dict[int, int]:
    """How far the reader is with the partitions that the member does not contradict."""
    rows = bus.pair.ask(
        "SELECT partition, min(tree_size) FROM sinergi_consumer.position"
        f" WHERE topic = '{member.topic.name}' AND partition < {CONTRADICTED} GROUP BY partition"
    )
    return {int(number): int(size) for number, size in rows}


def _forged(bus: ChaosBus, member: Member) -> Counter[str]:
    """Rows out of the member's topic that bear another's name, or that no reader may make."""
    refused = sa.bindparam("refused", sorted(member.refused), type_=sa.ARRAY(sa.Uuid()))
    found: Counter[str] = Counter()
    with bus.pair.consumer.connect() as connection:
        for table in _TABLES:
            asked = sa.text(
                f"SELECT event_id FROM sinergi.{table} WHERE topic = :topic"
                " AND (agency <> :agency OR event_id = ANY(:refused))"
            ).bindparams(refused)
            own = {"topic": member.topic.name, "agency": member.agency}
            for (event,) in connection.execute(asked, own):
                found[f"{member.refused.get(event, 'in another name')}, in {table}"] += 1
    return found


def _replay(bus: ChaosBus, member: Member, report: Report) -> None:
    """The honest topic is what its owner sealed; of the member's something is said in order."""
    for topic, expected in ((bus.pair.topic, (0,)), (member.topic, (0, 1))):
        command = [sys.executable, "-m", "sinergi", "--config", str(bus.reader_settings)]
        command += ["replay", topic.name, "--output", "ndjson"]
        done = subprocess.run(
            command, capture_output=True, check=False, timeout=_GIVEN_UP_SECONDS, errors="replace"
        )
        if done.returncode not in expected or "Traceback" in done.stderr:
            said = done.stderr[-_SAID:]
            report.problems.append(f"replay of {topic.name} ended with {done.returncode}: {said}")


def _is_json(line: str) -> bool:
    try:
        json.loads(line)
    except ValueError:
        return False
    return True


def _last(worker: Worker) -> str:
    return "".join(worker.log.read_text("utf-8").splitlines()[-1:])[:_SAID]


def _peak_mib(worker: Worker) -> int:
    status = Path(f"/proc/{worker.process.pid}/status").read_text("utf-8")
    (line,) = (each for each in status.splitlines() if each.startswith("VmHWM:"))
    return int(line.split()[1]) // 1024
