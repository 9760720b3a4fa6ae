"""Bad events of every class among good ones: exactly the good ones become rows, and exactly the bad
ones are set apart, each under its class, superseded where a later revision has gone through.

A plan, drawn by the seed, says of every leaf what it is. It stands in the reader's database beside
the tables, and SQL of the harness's own holds it to them.
"""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import dataclass
from itertools import groupby, islice
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from uuid import UUID

import psycopg

from chaos.chaos_bus import chaos_bus, stop_all
from chaos.report import Report
from chaos.timing import Overdue, drawn, until
from sinergi_consumers.testing.sinks import transfer
from sinergi_schemas import codec
from sinergi_schemas.catalog import Catalog, Schema
from sinergi_schemas.clock import SYSTEM
from sinergi_schemas.kafka.producer import open_producer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from confluent_kafka import KafkaError

    from chaos.chaos_bus import ChaosBus, Scale
    from chaos.processes import Worker
    from chaos.services import Services
    from sinergi_consumers.testing.tape import Tape

_BATCH = 2_000
_SECONDS = 900.0
_MOST_MIB = 768
_NEAR_AND_FAR = (1, 50, 5_000, 100_000)
_SHOWN = 3

# A record, an event and a movement in the datum that all others are made from, by their bytes.
_RECORD, _MOVEMENT = "R00000000", "M00000000"
_EVENT = "01900000-0000-7aaa-8aaa-000000000000"
_NOT_HERE = "REFUSED00"


class Kind(NamedTuple):
    """A class of bad events.

    Attributes:
        reason: under which quarantine must keep it.
        by_key: whether a later revision finds it, which looks by the message's key.
        in_current: whether the table of current records sets it apart too.
    """

    reason: str
    by_key: bool = True
    in_current: bool = True


KINDS = {
    "cut off": Kind("datum-invalid"),
    "bytes left over": Kind("datum-invalid"),
    "a spelling against the contract": Kind("datum-invalid"),
    "another's agency": Kind("foreign-agency"),
    "another's key": Kind("foreign-key", by_key=False),
    "revision against action": Kind("revision-invalid"),
    "a revision that another event holds": Kind("revision-conflict", in_current=False),
    "a text that PostgreSQL cannot store": Kind("rows-refused"),  # SQLSTATE 22021
    "a check of the table": Kind("rows-refused"),  # SQLSTATE 23514
    "an unknown schema": Kind("awaiting-schema"),
}


class Planned(NamedTuple):
    """What is to stand at a leaf. `corrected`: a good later revision of its record comes behind."""

    leaf: int
    record: str
    revision: int
    kind: str | None = None
    corrected: bool = False

    @property
    def event_id(self) -> str:
        """Its own, a UUID."""
        return f"{_EVENT[:-12]}{self.leaf:012x}"

    @property
    def row(self) -> tuple[object, ...]:
        """The same as the judge reads it."""
        kind = KINDS.get(self.kind or "")
        state = "superseded" if self.corrected and kind and kind.by_key else "open"
        judged = (kind.reason, state, kind.in_current) if kind else (None, None, None)
        return (self.leaf, self.record, self.revision, self.event_id, *judged)


def plan(seed: str, events: int, bad: int) -> Iterator[Planned]:
    """So many leaves, of which so many are bad; half of these are corrected, soon or late."""
    rng = drawn(seed, "poison")
    kinds = dict(zip(sorted(rng.sample(range(1, events), bad)), _forever(), strict=False))
    later: dict[int, str] = {}
    first = Planned(0, "", 0)
    for leaf in range(events):
        kind = kinds.get(leaf)
        if kind is None:
            record = later.pop(leaf, None)
            one = Planned(leaf, record or f"R{leaf:08d}", 2 if record else 1)
            first = first if record else one
            yield one
            continue
        record = first.record if KINDS[kind].reason == "revision-conflict" else f"R{leaf:08d}"
        at = leaf + rng.choice(_NEAR_AND_FAR)
        while at in kinds or at in later:
            at += 1
        corrected = rng.random() < 0.5 and at < events
        if corrected:
            later[at] = record
        yield Planned(leaf, record, 1, kind, corrected)


def _forever() -> Iterator[str]:
    while True:
        yield from KINDS


def run(services: Services, folder: Path, seed: str, scale: Scale) -> Report:
    """`scale.events` events, of which `scale.rounds` are bad."""
    report = Report("poison of every class")
    with chaos_bus(services, folder, partitions=1) as bus, closing(_reader(bus)) as reader:
        _fill(bus, reader, plan(seed, scale.events, scale.rounds))
        begun = SYSTEM.monotonic()
        materialiser = bus.materialiser()
        try:
            until(
                lambda: not materialiser.runs or _reached(reader) >= scale.events,
                _SECONDS,
                "everything is taken in",
            )
        except Overdue as late:
            report.problems.append(str(late))
        seconds = SYSTEM.monotonic() - begun
        peak = _peak_mib(materialiser) if materialiser.runs else 0
        stop_all(report, materialiser)
        PoisonJudge(reader, report).compare(scale)
    report.in_data["bad event"] = scale.rounds
    report.notes.append(
        f"{scale.events / seconds:,.0f} events/s from the start of the process on, peak {peak} MiB"
    )
    if peak > _MOST_MIB:
        report.problems.append(f"the materialiser took {peak} MiB")
    return report


def _reader(bus: ChaosBus) -> psycopg.Connection:
    """The reader's database, with a place for the plan, and with tables that refuse a movement."""
    connection = psycopg.connect(bus.case.reader, autocommit=True)
    connection.execute(
        "CREATE SCHEMA plan; CREATE TABLE plan.leaf (leaf bigint, record text, revision integer,"
        " event_id uuid, reason text, state text, in_current boolean)"
    )
    for table in ("transfer", "transfer_history"):
        connection.execute(
            f"ALTER TABLE sinergi.{table} ADD CHECK (movement_id <> '{_NOT_HERE}')".encode()
        )
    return connection


def _reached(reader: psycopg.Connection) -> int:
    question = "SELECT coalesce(min(tree_size), 0) FROM sinergi_consumer.position"
    found = reader.execute(question).fetchone()
    return found[0] if found else 0


def _peak_mib(worker: Worker) -> int:
    status = Path(f"/proc/{worker.process.pid}/status").read_text("utf-8")
    (line,) = (each for each in status.splitlines() if each.startswith("VmHWM:"))
    return int(line.split()[1]) // 1024


# What is published


@dataclass(frozen=True)
class Forms:
    """The datums that all are made from: what a model would not write is put in by its bytes."""

    agency: bytes
    first: bytes
    second: bytes
    contradictory: bytes

    @classmethod
    def of(cls, tape: Tape) -> Forms:
        """Those of a topic."""
        event = tape.issued(transfer(_RECORD, movement_id=_MOVEMENT))
        document = event.model_dump() | {"event_id": UUID(_EVENT)}
        later = {"revision": 2, "action": "CORRECTED"}
        first, second, contradictory = (
            codec.encode_document(document | changes, tape.schema)
            for changes in ({}, later, {"revision": 2})
        )
        return cls(tape.topic.agency.encode(), first, second, contradictory)

    def datum(self, planned: Planned) -> bytes:
        """The datum of a leaf."""
        form = self.first if planned.revision == 1 else self.second
        if planned.kind == "revision against action":
            form = self.contradictory
        event = planned.event_id.encode()
        whole = form.replace(_RECORD.encode(), planned.record.encode())
        whole = whole.replace(_EVENT.encode(), event)
        match planned.kind:
            case "cut off":
                return whole[:-1]
            case "bytes left over":
                return whole + b"\0"
            case "a spelling against the contract":
                return whole.replace(event, event.upper())
            case "another's agency":
                return whole.replace(self.agency, self.agency[::-1])
            case "a text that PostgreSQL cannot store":
                return whole.replace(_MOVEMENT.encode(), b"M0000\x00000")
            case "a check of the table":
                return whole.replace(_MOVEMENT.encode(), _NOT_HERE.encode())
        return whole


def _fill(bus: ChaosBus, reader: psycopg.Connection, planned: Iterator[Planned]) -> None:
    """Seal and send what is planned, and note it."""
    tape = bus.pair.tape()
    known, unknown = tape.schema, _grown(tape.schema)
    forms = Forms.of(tape)
    producer = open_producer(bus.pair.connection, gapless=False)
    undelivered: list[KafkaError] = []

    def told(why: KafkaError | None, _: object) -> None:
        if why:
            undelivered.append(why)

    with reader.cursor().copy("COPY plan.leaf FROM STDIN") as noted:
        while some := list(islice(planned, _BATCH)):
            for each in some:
                noted.write_row(each.row)
            for is_unknown, those in groupby(some, lambda each: each.kind == "an unknown schema"):
                tape.schema = unknown if is_unknown else known
                for message in tape.write_datums([_published(each, forms) for each in those]):
                    producer.produce(
                        message.topic(),
                        message.value(),
                        message.key(),
                        message.partition(),
                        headers=[*message.headers()],
                        on_delivery=told,
                    )
            producer.flush()
    if undelivered:
        raise AssertionError(f"not published: {undelivered[0]}")


def _published(planned: Planned, forms: Forms) -> tuple[UUID, str, bytes]:
    key = f"K{planned.leaf:08d}" if planned.kind == "another's key" else planned.record
    return UUID(planned.event_id), key, forms.datum(planned)


def _grown(schema: Schema) -> Schema:
    """A later version of a schema, which no reader of this run knows."""
    document = json.loads(schema.text) | {"doc": "Of a later version."}
    version = max(each.version for each in Catalog.shipped().versions(schema.event_type)) + 1
    return Schema.from_bytes(schema.event_type, version, 99, json.dumps(document).encode())


# What has come of it

_GOOD = "SELECT record, revision, event_id, leaf FROM plan.leaf WHERE reason IS NULL"
_ROWS = "SELECT record_id, revision, event_id, leaf_index FROM sinergi."
_EXPECTED = {
    "transfer_history": _GOOD,
    "transfer": _GOOD.replace("SELECT", "SELECT DISTINCT ON (record)")
    + " ORDER BY record, revision DESC",
}
_APART = (
    "SELECT 'transfer_history', leaf, reason, state FROM plan.leaf WHERE reason IS NOT NULL"
    " UNION ALL SELECT 'transfer', leaf, reason, state FROM plan.leaf WHERE in_current"
)
_HELD = "SELECT projection, leaf_index, reason, state FROM sinergi_consumer.quarantine"


@dataclass(frozen=True)
class PoisonJudge:
    """Holds the plan to the reader's tables."""

    reader: psycopg.Connection
    report: Report

    def compare(self, scale: Scale) -> None:
        """Compare everything, and say what differs."""
        self.report.events = scale.events
        for table, expected in _EXPECTED.items():
            for rows in (table, f"{table}_escort"):
                self._hold(rows, expected, _ROWS + rows)
        self._hold("quarantine", _APART, _HELD)
        ends = self._ask("SELECT DISTINCT tree_size FROM sinergi_consumer.position")
        bad = self._ask("SELECT count(*) FROM plan.leaf WHERE reason IS NOT NULL")
        if (ends, bad) != ([(scale.events,)], [(scale.rounds,)]):
            self.report.problems.append(f"positions {ends}; bad ones planned {bad}")

    def _hold(self, place: str, expected: str, found: str) -> None:
        lacks = self._ask(f"({expected}) EXCEPT ALL ({found})")
        has = self._ask(f"({found}) EXCEPT ALL ({expected})")
        known = {*self._ask(expected)} if has else set()
        doubled = [row for row in has if row in known]
        self.report.lost += len(lacks)
        self.report.doubled += len(doubled)
        self.report.forged += len(has) - len(doubled)
        for what, rows in (("lacks", lacks), ("has besides", has)):
            if rows:
                self.report.problems.append(f"{place} {what} {len(rows)}: {rows[:_SHOWN]}")

    def _ask(self, question: str) -> list[tuple[object, ...]]:
        return self.reader.execute(question.encode()).fetchall()
