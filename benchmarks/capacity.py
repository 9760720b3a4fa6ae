"""The model of docs/capacity.md: what a bus of so many agencies takes, from measured terms.

`python benchmarks/capacity.py` prints its table from `results/latest.json`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING, Self

from results import LATEST, flat
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

# What is measured. The terms come from few and many agencies, and what is between checks them.
FEW, BETWEEN, MANY = 3, 50, 500
EVENTS, PER_CHECKPOINT = 6_000, 5
TRICKLING = 100
# What is sized.
BUSES = (3, 50, 1_500)
EVENTS_A_DAY = 333  # of an agency
PEAK = 10  # times the mean of a day
EVENT_TOPICS = 3  # of an agency, with a partition each
OTHER_TOPICS = 2  # control and receipts
# A broker's heap (measured apart, docs/capacity.md), in MiB.
HEAP, HEAP_OF_A_PARTITION = 86.0, 46 / 1024
_DAYS, _GIB = 365, 2**30
_DAY_SECONDS = 86_400
_MOST_CORES = 0.5  # of one worker at the peak, so that it catches up after a halt


@dataclass(frozen=True)
class Terms:
    """What one unit takes on the machine that was measured.

    Attributes:
        checkpoint_seconds: processor time of a reader for the events of a checkpoint.
        claim_seconds: of a reader, to claim a topic-partition.
        reader_idle: cores of a reader for each topic-partition, without events.
        broker_idle: cores of a broker for each topic-partition that a reader follows.
        lone_event_seconds: processor time of broker, database and reader for an event that comes
            alone.
        rate: events/s of a reader that has fallen behind, over many topics.
        topic_bytes: of an event in its topic, with a checkpoint.
        database_bytes: of an event in a reader's tables, with checkpoint, receipt and indexes.
    """

    checkpoint_seconds: float
    claim_seconds: float
    reader_idle: float
    broker_idle: float
    lone_event_seconds: Mapping[str, float]
    rate: float
    topic_bytes: float
    database_bytes: float

    @classmethod
    def of(cls, figures: Mapping[str, float]) -> Self:
        """From the figures of `make bench ONLY=scale`, without those of `BETWEEN` agencies."""

        def of_one_more(name: str) -> float:
            return (figures[f"{name}.{MANY}"] - figures[f"{name}.{FEW}"]) / (MANY - FEW)

        claim = of_one_more("scale.cpu_us_an_event") * EVENTS / 1e6
        few = figures[f"scale.cpu_us_an_event.{FEW}"] * EVENTS / 1e6
        return cls(
            (few - FEW * claim) * PER_CHECKPOINT / EVENTS,
            claim,
            of_one_more("scale.idle_reader_cores"),
            of_one_more("scale.idle_broker_cores"),
            {
                who: figures[f"scale.trickle_{who}_cores"] / TRICKLING
                for who in ("broker", "database", "reader")
            },
            figures[f"scale.rate.{MANY}"],
            figures["scale.topic_bytes"],
            figures["scale.database_bytes"],
        )

    def reader_seconds(self, checkpoints: float, partitions: int) -> float:
        """Processor time of a reader that starts and reads so many checkpoints."""
        return checkpoints * self.checkpoint_seconds + partitions * self.claim_seconds


@dataclass(frozen=True)
class Bus:
    """A bus with so many agencies, and a reader who reads all of their events."""

    agencies: int

    @property
    def read(self) -> int:
        """The topic-partitions that the reader of all reads."""
        return self.agencies * EVENT_TOPICS

    @property
    def partitions(self) -> int:
        """All topic-partitions of the bus, without their copies."""
        return self.agencies * (EVENT_TOPICS + OTHER_TOPICS)

    @property
    def a_day(self) -> int:
        """Events a day."""
        return self.agencies * EVENTS_A_DAY

    @property
    def peak(self) -> float:
        """Events a second at the busiest time."""
        return PEAK * self.a_day / _DAY_SECONDS


def needs(terms: Terms, bus: Bus) -> Iterator[tuple[str, str]]:
    """What a bus takes, by name: three brokers with three copies of all, and one reader of all."""
    lone, partitions = terms.lone_event_seconds, bus.read
    reader = bus.peak * lone["reader"] + partitions * terms.reader_idle
    broker = bus.peak * lone["broker"] + partitions * terms.broker_idle
    yield "topic-partitions", f"{bus.partitions:,}"
    yield "events a day", f"{bus.a_day:,}"
    yield "events/s at the peak", f"{bus.peak:,.2f}"
    yield "heap of each broker, MiB", f"{HEAP + HEAP_OF_A_PARTITION * bus.partitions:,.0f}"
    yield "cores of the brokers at the peak, for this reader", f"{broker:.3f}"
    a_year = bus.a_day * _DAYS / _GIB
    yield "disk of each broker, GiB a year", f"{a_year * terms.topic_bytes:,.2f}"
    yield "reader's tables, GiB a year", f"{a_year * terms.database_bytes:,.2f}"
    yield "cores of the reader at the peak", f"{reader:.3f}"
    yield "cores of its database at the peak", f"{bus.peak * lone['database']:.3f}"
    yield "workers, with one to take over", f"{1 + ceil(reader / _MOST_CORES)}"
    yield "to claim all at the first start, s", f"{partitions * terms.claim_seconds:,.1f}"
    yield "to read a missed day, min", f"{bus.a_day / terms.rate / 60:,.2f}"


def measured(terms: Terms) -> Iterator[tuple[str, str]]:
    """The terms for people."""
    for who, seconds in terms.lone_event_seconds.items():
        yield f"a lone event, {who}", f"{seconds * 1e3:.2f} ms"
    yield "a checkpoint among many, reader", f"{terms.checkpoint_seconds * 1e3:.2f} ms"
    yield "a claim, reader", f"{terms.claim_seconds * 1e3:.2f} ms"
    yield "an idle topic-partition, reader", f"{terms.reader_idle * 1e6:.0f} millionths of a core"
    yield "an idle topic-partition, broker", f"{terms.broker_idle * 1e6:.0f} millionths of a core"
    yield "a seizure in its topic", f"{terms.topic_bytes:,.0f} bytes"
    yield "a seizure in a reader's tables", f"{terms.database_bytes:,.0f} bytes"


def main() -> None:
    """Print the terms, and what the buses need."""
    terms = Terms.of(dict(flat(json.loads(LATEST.read_text("utf-8")))))
    _show(["measured"], [dict(measured(terms))])
    heads = [f"{each:,} agencies" for each in BUSES]
    _show(heads, [dict(needs(terms, Bus(each))) for each in BUSES])


def _show(heads: Sequence[str], columns: Sequence[Mapping[str, str]]) -> None:
    """Print columns that have the same names of rows."""
    table = Table("", *heads)
    for name in columns[0]:
        table.add_row(name, *(each[name] for each in columns))
    Console().print(table)


if __name__ == "__main__":
    main()
