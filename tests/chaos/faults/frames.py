"""Batches of damaged datums: no neighbour is harmed, nothing aborts, and a datum's verdict is the
same alone as in any company.

It runs in processes of its own, with little memory to spare: a decoder that aborts, or believes a
claim of gigabytes, ends one of them, and that is seen.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chaos.damage import Writer, record
from chaos.report import Report
from chaos.timing import drawn, until
from sinergi_consumers.decode.frames import decode
from sinergi_schemas.avro_types.datum import DatumReader, MalformedDatum
from sinergi_schemas.catalog import Catalog, Schema

if TYPE_CHECKING:
    from chaos.chaos_bus import Scale
    from chaos.services import Services

_POOL = 60
_BATCHES = 500
_MOST_IN_BATCH = 6
_MOST_SECONDS = 3_600.0
_AT_ONCE = 2
_SPARE_BYTES = 2**29
_SHIPPED = 20
"""Of so many pools one is of a shipped schema, which costs ten times as much."""


def run(services: Services, folder: Path, seed: str, scale: Scale) -> Report:
    """`scale.events` batches in `scale.rounds` processes, some of them at once."""
    del services
    folder.mkdir()
    report = Report("frames of damaged datums")

    def fuzz(number: int) -> Report:
        return _fuzz(folder / str(number), f"{seed}/{number}", scale.events // scale.rounds)

    with ThreadPoolExecutor(_AT_ONCE) as threads:
        for found in threads.map(fuzz, range(scale.rounds)):
            report.add(found)
    return report


def _fuzz(place: Path, seed: str, batches: int) -> Report:
    """So many batches in a process of their own."""
    report = Report("")
    command = [sys.executable, "-m", "chaos.faults.frames", seed, str(batches)]
    said, answer = place.with_suffix(".log"), place.with_suffix(".json")
    status = _run(command, said, answer)
    if status != 0:
        last = said.read_text("utf-8", errors="replace")[-500:]
        report.problems.append(f"process {place.name} ended with {status}: {last}")
        return report
    found = json.loads(answer.read_text("utf-8"))
    report.in_data["batch of damaged datums"] += found["batches"]
    report.events += found["datums"]
    report.problems += found["problems"]
    if not found["refused"] or not found["kept"]:
        report.problems.append("nothing was proved: all datums had the same verdict")
    return report


def _run(command: list[str], said: Path, answer: Path) -> int:
    """Run a command to its end, or to that of the whole run; its exit status."""
    with said.open("ab") as log, answer.open("wb") as out:
        running = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=log,
            cwd=Path(__file__).parents[2],
            env=os.environ | {"RUST_BACKTRACE": "0", "POLARS_MAX_THREADS": "1"},
            start_new_session=True,  # Ctrl-C is for us alone
        )
    try:
        until(lambda: running.poll() is not None, _MOST_SECONDS, f"{said.stem} has fuzzed")
    finally:
        running.kill()
        running.wait()
    return running.returncode


@dataclass(frozen=True)
class Known:
    """A datum with the verdict that it gets alone: its row, or why it is refused."""

    datum: bytes
    row: str | None
    reason: str | None


class Fuzz:
    """Pools of datums, and batches drawn from them."""

    def __init__(self, seed: str) -> None:
        self._rng = drawn(seed, "frames")
        self._shipped = [Catalog.shipped().newest(name) for name in Catalog.shipped().event_types]
        self.problems: list[str] = []
        self.counts = {"batches": 0, "datums": 0, "kept": 0, "refused": 0}

    def run(self, batches: int) -> None:
        """So many batches; it ends sooner where something is wrong."""
        pool = 0
        while self.counts["batches"] < batches and not self.problems:
            schema = self._schema(pool)
            count = min(_BATCHES, batches - self.counts["batches"])
            if pool % _SHIPPED == 0:
                count = min(count, _BATCHES // _SHIPPED)
            self._pool(schema, count)
            pool += 1
            os.ftruncate(sys.stderr.fileno(), 0)  # each panic says a line; the last ones suffice

    def _schema(self, pool: int) -> Schema:
        if pool % _SHIPPED == 0:
            return self._rng.choice(self._shipped)
        text = json.dumps(record(self._rng)).encode()
        return Schema.from_bytes("probe", 1, 1, text)

    def _pool(self, schema: Schema, batches: int) -> None:
        """Datums with the verdict of each alone, and batches of them."""
        writer = Writer(self._rng, schema.event)
        sound = [self._alone(writer.sound(), schema) for _ in range(_POOL // 3)]
        damaged = [self._alone(writer.damaged(), schema) for _ in range(_POOL)]
        for _ in range(batches):
            size = self._rng.randint(1, _MOST_IN_BATCH)
            drawn_ = [self._rng.choice(damaged), *self._rng.choices(sound + damaged, k=size - 1)]
            self._rng.shuffle(drawn_)
            self._batch(drawn_, schema)

    def _alone(self, datum: bytes, schema: Schema) -> Known:
        """What a datum is alone, held to the strict reader that decodes one datum at a time."""
        decoded = decode([datum], schema)
        known = Known(
            datum,
            _row(decoded.frame.rows()[0]) if decoded.kept else None,
            decoded.refused[0].reason if decoded.refused else None,
        )
        try:
            expected: str | None = _row(tuple(DatumReader(schema.event).read(datum)[0].values()))
        except MalformedDatum:
            expected = None
        if known.row != expected or (known.row is None) == (known.reason is None):
            self._say("alone and the strict reader differ", [known], schema)
        return known

    def _batch(self, batch: list[Known], schema: Schema) -> None:
        decoded = decode([each.datum for each in batch], schema)
        rows = dict(zip(decoded.kept, map(_row, decoded.frame.rows()), strict=True))
        reasons = {each.index: each.reason for each in decoded.refused}
        self.counts["batches"] += 1
        self.counts["datums"] += len(batch)
        self.counts["kept"] += len(rows)
        self.counts["refused"] += len(reasons)
        verdicts = [
            Known(each.datum, rows.get(at), reasons.get(at)) for at, each in enumerate(batch)
        ]
        if verdicts != batch or len(rows) + len(reasons) != len(batch):
            self._say("a verdict differs in company", batch, schema)

    def _say(self, what: str, batch: list[Known], schema: Schema) -> None:
        datums = ", ".join(each.datum.hex() for each in batch)
        self.problems.append(f"{what}: datums {datums} of {schema.text.decode()}")


def _row(row: tuple[Any, ...]) -> str:
    """A row in a form in which NaN equals NaN and a UUID its text."""
    return repr(_plain(list(row)))


def _plain(value: Any) -> Any:
    match value:
        case dict():
            return {name: _plain(each) for name, each in value.items()}
        case list() | tuple():
            return [_plain(each) for each in value]
        case _ if type(value).__name__ == "UUID":
            return str(value)
        case _ if hasattr(value, "astimezone"):
            return value.isoformat()
        case _:
            return value


def _limit_memory() -> None:
    """Leave so much memory from here on that a claim of gigabytes cannot be believed."""
    decode([], Catalog.shipped().newest("transfer"))
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + _SPARE_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (most, most))


def main(seed: str, batches: int) -> None:
    """Fuzz, and print what was found as JSON. Standard error must be a file."""
    os.nice(10)
    _limit_memory()
    fuzz = Fuzz(seed)
    fuzz.run(batches)
    print(json.dumps({**fuzz.counts, "problems": fuzz.problems}))  # noqa: T201 - the answer


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
