"""A reader's live database in which everything occurs that can, and its tables to compare with.

It has revisions, children, an integrator's projection with a table of its own, and events in
quarantine for each kind of reason. A second database is held equal to it table by table.
"""

from __future__ import annotations

import importlib
import sys
from contextlib import contextmanager
from copy import copy
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa

from agency_pair import AgencyPair, send
from command_line import sinergi
from sinergi import migrate
from sinergi_consumers.projections.projection import projections_of
from sinergi_consumers.testing.sinks import transfer
from sinergi_schemas import codec
from sinergi_schemas.catalog import Catalog
from test_projection import distribution

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from sinergi_consumers.projections.projection import Projection
    from sinergi_consumers.testing.tape import Tape, TapeMessage
    from sinergi_schemas.events import Transfer

# The table refuses 100 escorts, and the code fails on one name.
ESCORTS = """
    import polars as pl
    import sqlalchemy as sa
    from sinergi_consumers.projections.projection import projection

    @projection("{event_type}", table=sa.Table(
        "{table}", sa.MetaData(),
        sa.Column("escort_agency", sa.Text, nullable=False),
        sa.Column("{column}", sa.Integer, sa.CheckConstraint("{column} < 100"), nullable=False),
    ))
    def GUARDS(events):
        escorts = events.explode("escort").drop_nulls("escort").unnest("escort")
        if escorts.filter(pl.col("escort_agency") == "Meledak").height:
            raise ValueError("an error in an integrator's code")
        return escorts.select("event_id", "escort_agency", pl.col("count").alias("{column}"))
"""
# The columns of our own tables that no two databases have alike.
_OWN = {
    "position": "projection, topic, partition, tree_size, frontier",
    "checkpoint": "topic, partition, size, root, note",
    "quarantine": "projection, topic, partition, leaf_index, event_id, revision, state, reason,"
    " detail, fingerprint, key_hash, leaf_hash, size",
    "quarantined_datum": "topic, partition, leaf_index, key, datum, owner, size",
    "decision": "projection, topic, partition, leaf_index, action, outcome, decided_by, why",
}


class LiveReader:
    """A publisher whose topic is written leaf by leaf, and a reader that materialises it.

    Args:
        pair: both of them; with two partitions.
    """

    def __init__(self, pair: AgencyPair) -> None:
        self.pair = pair
        self.projections = projections_of(Catalog.shipped(), ["transfer"])
        migrate.upgrade(pair.consumer_url, migrate.Role.CONSUMER, self.projections)
        self.tapes = [pair.tape(number) for number in range(pair.partitions)]
        self.sizes = [0] * pair.partitions

    def write(self, partition: int, *batches: Sequence[Transfer]) -> None:
        """Seal batches of transfers onto a partition, a checkpoint each."""
        for each in batches:
            self.send(partition, self.tapes[partition].write(each))

    def write_unreadable(self, partition: int, record_id: str) -> None:
        """Seal an event whose datum is cut off."""
        tape = self.tapes[partition]
        self.send(partition, tape.write_datums([unreadable(tape, record_id)]))

    def send(self, partition: int, messages: Sequence[TapeMessage]) -> None:
        """Put sealed messages onto the topic."""
        send(self.pair, messages)
        self.sizes[partition] += len(messages)

    def write_everything(self, name: str) -> None:
        """Write events of each kind about records that begin with a name, to both partitions."""
        many = ({"escort_agency": "Brimob", "count": 100},)
        failing = ({"escort_agency": "Meledak", "count": 1},)
        two = ({"escort_agency": "TNI", "count": 2}, {"escort_agency": "Brimob", "count": 4})
        self.write(
            0,
            [transfer(f"{name}/{number}") for number in range(20)],
            [transfer(f"{name}/1", 2, escort=two), transfer(f"{name}/2", 2, escort=())],
            [transfer(f"{name}/bad", escort=many), transfer(f"{name}/fails", escort=failing)],
        )
        self.write_unreadable(0, f"{name}/cut")
        self.write(
            0,
            [transfer(f"{name}/1", 3, escort=two[:1]), transfer(f"{name}/bad", 2)],
            [transfer(f"{name}/3", 2, action="RETRACTED"), *(transfer(f"{name}/x") for _ in "12")],
        )
        self.write(1, [transfer(f"{name}/{number}") for number in range(100, 105)])

    def materialise(self) -> None:
        """Run a materialiser until it has all that was written."""
        sizes = [(number, size) for number, size in enumerate(self.sizes) if size]
        question = (
            "SELECT partition, min(tree_size) FROM sinergi_consumer.position"
            " WHERE tree_size > 0 GROUP BY 1 HAVING count(*) = 3 ORDER BY 1"
        )
        with self.pair.materialising(self.projections):
            self.pair.until(lambda: self.pair.ask(question) == sizes, "all materialised")
            self.pair.until(
                lambda: self.pair.count("sinergi_consumer.receipt WHERE published_at IS NULL") == 0,
                "receipts published",
            )

    def tables(self, url: str | None = None) -> dict[str, list[tuple[Any, ...]]]:
        """All rows of all tables of a database, by default those of the live one."""
        return rows_of(url or self.pair.consumer_url, self.projections)

    def sinergi(
        self, *words: str, settings: Path | None = None, database: str | None = None
    ) -> tuple[int, str, str]:
        """Exit status, standard output and standard error of a command of the reader.

        Args:
            settings: another's settings.
            database: in place of the reader's.
        """
        other = [] if database is None else ["--set", f"consumer.database={database}"]
        return sinergi("--config", str(settings or self.pair.reader_settings), *other, *words)

    def copied(self, folder: Path, databases: Callable[[str], str]) -> LiveReader:
        """The same reader with copies of the databases; see `AgencyPair.copied`."""
        found = copy(self)
        found.pair = self.pair.copied(folder, databases)
        return found


def rows_of(url: str, projections: Sequence[Projection]) -> dict[str, list[tuple[Any, ...]]]:
    """The rows of the tables of projections and of our own, each sorted."""
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    names = [table.name for each in projections for table in each.tables]
    questions = {f"sinergi.{each}": f"SELECT t::text FROM sinergi.{each} AS t" for each in names}
    questions |= {
        f"sinergi_consumer.{name}": f"SELECT {columns} FROM sinergi_consumer.{name}"
        for name, columns in _OWN.items()
    }
    # Which smaller ones there are depends on what arrived together.
    questions["sinergi_consumer.checkpoint"] += (
        " AS stored WHERE NOT EXISTS (SELECT FROM sinergi_consumer.checkpoint AS larger"
        " WHERE larger.topic = stored.topic AND larger.partition = stored.partition"
        " AND larger.size > stored.size)"
    )
    with engine.connect() as connection:
        return {
            name: sorted(map(tuple, connection.execute(sa.text(question))), key=str)
            for name, question in questions.items()
        }


@contextmanager
def integrator(packages: Path) -> Iterator[None]:
    """Install the integrator's projection into a folder, where Python finds it meanwhile."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(packages)
        distribution(packages, text=ESCORTS)
        yield
    for name in [each for each in sys.modules if each.startswith("integrator_")]:
        del sys.modules[name]
    importlib.invalidate_caches()


def unreadable(tape: Tape, record_id: str) -> Any:
    """An event that is cut off, as `Tape.write_datums` takes it."""
    event = tape.issued(transfer(record_id))
    return event.event_id, record_id, codec.encode(event, tape.schema)[:-1]
