"""Compares the tables of projections with the events, within one transaction of their database.

    1. Read the positions, and make temporary tables with the columns of the projections' tables.
    2. Merge the verified events below each position into the temporary tables.
    3. Compare each table with its temporary one. Records whose events the topic does not show any
       more cannot be compared, and are counted.

A materialiser may run meanwhile: positions and rows are those of one snapshot.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple

from psycopg import sql

from sinergi_consumers.audit.expected_rows import ExpectedRows
from sinergi_consumers.decode.agreement_check import NOT_AGREED, UNKNOWN_AGREEMENT
from sinergi_consumers.sinks.postgresql import expected_tables, registered_columns, retention
from sinergi_consumers.sinks.postgresql.expected_tables import (
    REFUSALS,
    SPLIT,
    ExpectedTransaction,
    expected,
    is_split,
)
from sinergi_consumers.sinks.postgresql.merge import real
from sinergi_consumers.sinks.postgresql.row_comparison import (
    HELD,
    UNCHECKED,
    RowDifferenceKind,
    TableComparison,
    safe_value,
)
from sinergi_schemas.topics import TopicPartition

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import datetime

    import psycopg

    from sinergi_consumers.decode.decoder import Decoders
    from sinergi_consumers.projections.projection import Projection
    from sinergi_consumers.reading.partition import VerifiedBatch
    from sinergi_consumers.sinks.postgresql.retention import Retention
    from sinergi_consumers.sinks.postgresql.row_comparison import DifferenceCount, RowDifference
    from sinergi_consumers.sinks.postgresql.table_structure import TableStructure
    from sinergi_consumers.sinks.protocol import PositionKey

_IS_IN_QUARANTINE = sql.SQL(
    "EXISTS (SELECT FROM sinergi_consumer.quarantine AS q"
    " WHERE q.projection = r.projection AND q.topic = r.topic AND q.partition = r.partition"
    " AND q.leaf_index = r.leaf_index)"
)
# The database may have had the agreement that such an event names. One that is in quarantine there
# was refused there, too.
_IS_UNKNOWN = sql.SQL("r.reason = {} AND starts_with(r.detail, {}) AND NOT {}").format(
    sql.Literal(NOT_AGREED), sql.Literal(UNKNOWN_AGREEMENT), _IS_IN_QUARANTINE
)
_UNKNOWN = sql.SQL(
    "SELECT topic, partition, leaf_index, detail, count(*) OVER () FROM {} AS r"
    " WHERE projection = %s AND {} ORDER BY topic, partition, leaf_index LIMIT 1"
).format(REFUSALS, _IS_UNKNOWN)
_UNQUARANTINED = sql.SQL(
    "SELECT topic, partition, leaf_index, reason, count(*) OVER () FROM {} AS r"
    " WHERE projection = %s AND NOT {} AND NOT {} AND NOT ({})"
    " ORDER BY topic, partition, leaf_index LIMIT 1"
).format(REFUSALS, _IS_IN_QUARANTINE, is_split("r"), _IS_UNKNOWN)
_QUARANTINED = (
    "SELECT state, count(*) FROM sinergi_consumer.quarantine WHERE projection = %s GROUP BY state"
)


_WITHIN_RANGES = sql.SQL(
    "SELECT {key} FROM {record} AS stored"
    " WHERE EXISTS (SELECT FROM unnest({topics}::text[], {numbers}::integer[], {starts}::bigint[],"
    " {ends}::bigint[]) AS gone (topic, partition, first, beyond)"
    " WHERE {topic} = gone.topic AND {partition} = gone.partition"
    " AND {leaf_index} >= gone.first AND {leaf_index} < gone.beyond)"
)
_OF_UNKNOWN = sql.SQL(
    "SELECT {key} FROM {record} AS stored JOIN {refusals} AS r"
    " ON {topic} = r.topic AND {partition} = r.partition AND {leaf_index} = r.leaf_index"
    " WHERE r.projection = {name} AND {is_unknown}"
)


class LeafRange(NamedTuple):
    """Leaves `[start, end)` of a topic-partition that cannot be compared.

    Attributes:
        why: in words.
    """

    tp: TopicPartition
    start: int
    end: int
    why: str


class MissingRefusal(NamedTuple):
    """The first event that should be no row and is not in quarantine, and how many there are."""

    topic: str
    partition: int
    leaf_index: int
    reason: str
    events: int


class RemovedEvents(NamedTuple):
    """The events that a history lacks, of those that were recorded before a removal.

    Attributes:
        missing: how many it lacks.
        retention: what was removed, as the database records it.
    """

    missing: int
    retention: Retention

    @property
    def is_explained(self) -> bool:
        """Whether no more events are missing than were removed."""
        return self.missing <= self.retention.rows


@dataclass(frozen=True, slots=True)
class TableResult:
    """How a table differs from the events.

    Attributes:
        comparison: of the table, for its differences one by one.
        rows: how many rows are expected.
        counts: of the differing rows, by kind.
        columns: in how many changed rows each column differs.
        first: the first difference.
        removed: how many expected rows are not there because they were removed as old enough.
        added_at: when the columns that differ were added; None if one is older than that.
    """

    comparison: TableComparison
    rows: int
    counts: Sequence[DifferenceCount]
    columns: Mapping[str, int]
    first: RowDifference | None
    removed: int = 0
    added_at: datetime | None = None

    @property
    def differing(self) -> int:
        """How many rows differ."""
        return sum(each.rows for each in self.counts if each.is_certain)

    @property
    def undecided(self) -> int:
        """How many rows a foreign key, a trigger or a rule of the table may have refused."""
        return sum(each.rows for each in self.counts if not each.is_certain)


@dataclass(frozen=True, slots=True)
class ProjectionResult:
    """How the tables of a projection differ from the events.

    Attributes:
        structures: of its tables, by name.
        tables: of its tables; empty if they could not be compared.
        unchecked: the leaves below its positions that the topics do not show, and the first one
            that names an agreement which is not here, though it is not in quarantine.
        unchecked_records: how many records come from these.
        quarantined: how many of its events are in quarantine, by state.
        missing_refusal: None if each event that can be no row is in quarantine.
        unknown_agreement: the events that name an agreement which is not here, and that are not in
            quarantine; None without any.
        removed: None if nothing was removed as old enough.
    """

    projection: Projection
    structures: Mapping[str, TableStructure]
    tables: Sequence[TableResult] = ()
    unchecked: Sequence[LeafRange] = ()
    unchecked_records: int = 0
    quarantined: Mapping[str, int] = field(default_factory=dict)
    missing_refusal: MissingRefusal | None = None
    unknown_agreement: MissingRefusal | None = None
    removed: RemovedEvents | None = None

    @property
    def may_refuse_more(self) -> bool:
        """Whether its tables may refuse rows for a reason that is not tried here."""
        return _may_refuse_more(self.structures)

    @property
    def missing(self) -> list[str]:
        """Its tables and columns that are not in the database."""
        return [name for each in self.structures.values() for name in each.missing]


def _may_refuse_more(structures: Mapping[str, TableStructure]) -> bool:
    return any(each.may_refuse_more for each in structures.values())


class ProjectionCheck:
    """The comparison of the tables of some projections.

    Args:
        connection: in a transaction. It is the caller's to end.
        projections: of the database.
        decoders: they check events against the agreements, for the reader whose tables these are.
        limits: how many leaves each projection has of each topic-partition.
        topics: compare rows of these topics only; None for all.

    Attributes:
        limits: may be raised after `finish`.
        structures: of the tables of each projection, by name.
    """

    def __init__(
        self,
        connection: psycopg.Connection,
        projections: Sequence[Projection],
        decoders: Decoders,
        limits: Mapping[PositionKey, int],
        topics: Sequence[str] | None = None,
    ) -> None:
        self._connection = connection
        self._topics = topics
        self._retention = retention.read(connection)
        self._projections = projections
        self.limits = limits
        self.structures = {
            each.name: expected_tables.create(connection, each) for each in projections
        }
        there = [each for each in projections if self._is_there(each)]
        self._transaction = ExpectedTransaction(connection, there)
        self._expected = ExpectedRows(self._transaction, there, decoders)

    def add(self, batch: VerifiedBatch) -> None:
        """Merge the verified events of a batch that are below the limits."""
        self._expected.add(batch, self.limits)

    def finish(self) -> None:
        """Merge what waits to be merged."""
        self._expected.finish(self.limits)

    def results(self, unchecked: Mapping[str, Sequence[LeafRange]]) -> Iterator[ProjectionResult]:
        """Compare all tables.

        Args:
            unchecked: the leaves below the positions that the topics do not show, by projection.
        """
        self.finish()
        self._transaction.analyse()
        for each in self._projections:
            if self._is_there(each):
                yield self._compared(each, unchecked.get(each.name, ()))
            else:
                yield ProjectionResult(each, self.structures[each.name])

    def _is_there(self, projection: Projection) -> bool:
        return not any(each.missing for each in self.structures[projection.name].values())

    def _compared(self, projection: Projection, unchecked: Sequence[LeafRange]) -> ProjectionResult:
        structures = self.structures[projection.name]
        records = self._mark_unchecked(projection, unchecked)
        first = self._connection.execute(_UNKNOWN, (projection.name,)).fetchone()
        unknown = None if first is None else MissingRefusal(*first)
        if unknown is not None:
            tp, leaf = TopicPartition(unknown.topic, unknown.partition), unknown.leaf_index
            why = f"leaf {leaf} {unknown.reason.removeprefix('it ')}"
            unchecked = [*unchecked, LeafRange(tp, leaf, leaf + 1, why)]
        self._mark_held(projection, may_refuse_more=_may_refuse_more(structures))
        comparisons = [
            TableComparison(projection, table, structures[table.name], bool(unchecked))
            for table in projection.tables
        ]
        for each in comparisons:
            each.run(self._connection, self._topics)
        removed = self._removed_events(comparisons[0])
        if removed is not None and removed.is_explained:
            comparisons = [replace(each, retention=removed.retention) for each in comparisons]
        tables = [self._of_table(each) for each in comparisons]
        missing = self._connection.execute(_UNQUARANTINED, (projection.name,)).fetchone()
        quarantined = self._connection.execute(_QUARANTINED, (projection.name,)).fetchall()
        return ProjectionResult(
            projection,
            structures,
            tables,
            unchecked,
            records,
            dict(quarantined),
            None if missing is None else MissingRefusal(*missing),
            unknown,
            removed,
        )

    def _of_table(self, comparison: TableComparison) -> TableResult:
        connection = self._connection
        removed = comparison.forget_removed(connection)
        counts, columns = comparison.counts(connection), comparison.column_counts(connection)
        table, kinds = comparison.table, {each.kind for each in counts}
        # An older version left the columns empty, and of a list that it lacks all rows.
        names = columns if kinds == {RowDifferenceKind.CHANGED} else [each.name for each in table.c]
        added_at = registered_columns.added_at(connection, comparison.projection, table, names)
        return TableResult(
            comparison,
            comparison.compared(connection),
            counts,
            columns,
            next(comparison.rows(connection, 1), None),
            removed,
            None if RowDifferenceKind.EXTRA in kinds else added_at,
        )

    def _removed_events(self, comparison: TableComparison) -> RemovedEvents | None:
        """What was removed from a projection; `comparison` is that of its record table."""
        found = retention.of_projection(self._retention, comparison.projection)
        if found is None:
            return None
        return RemovedEvents(comparison.count_removed(self._connection, found), found)

    def _mark_unchecked(self, projection: Projection, ranges: Sequence[LeafRange]) -> int:
        """Store the keys of the records whose events the topics do not show; how many there are."""
        columns = [
            [*column] for column in zip(*((*tp, *rest) for tp, *rest in ranges), strict=True)
        ]
        topics, numbers, starts, ends = map(sql.Literal, columns[:4] or [[]] * 4)
        structure = self.structures[projection.name][projection.record.name]

        def stored(name: str) -> sql.Composed:
            return safe_value(sql.Identifier("stored", name), name, structure)

        key = sql.SQL(", ").join(
            sql.SQL("{} AS {}").format(stored(name), sql.Identifier(name))
            for name in projection.kind.key
        )
        place = {name: stored(name) for name in ("topic", "partition", "leaf_index")}
        keys = [
            _WITHIN_RANGES.format(
                key=key,
                record=record,
                topics=topics,
                numbers=numbers,
                starts=starts,
                ends=ends,
                **place,
            )
            for record in (real(projection.record), expected(projection.record))
        ]
        keys.append(
            _OF_UNKNOWN.format(
                key=key,
                record=real(projection.record),
                refusals=REFUSALS,
                name=sql.Literal(projection.name),
                is_unknown=_IS_UNKNOWN,
                **place,
            )
        )
        self._connection.execute(
            sql.SQL(
                "DROP TABLE IF EXISTS {0}; CREATE TEMPORARY TABLE {0} ON COMMIT DROP AS {1}"
            ).format(UNCHECKED, sql.SQL(" UNION ").join(keys))
        )
        found = self._connection.execute(
            sql.SQL("SELECT count(*) FROM {}").format(UNCHECKED)
        ).fetchone()
        return int(found[0]) if found else 0

    def _mark_held(self, projection: Projection, *, may_refuse_more: bool) -> None:
        """Store the keys of records with an event in quarantine or in two partitions."""
        key = sql.SQL(", ").join(sql.Identifier("e", name) for name in projection.kind.key)
        self._connection.execute(
            sql.SQL(
                "DROP TABLE IF EXISTS {held};"
                "CREATE TEMPORARY TABLE {held} ON COMMIT DROP AS SELECT {key},"
                " CASE WHEN s.record_id IS NOT NULL OR q.reason = 'rows-refused' AND {more}"
                " THEN 'undecided' ELSE 'held' END AS hold FROM {record} AS e"
                " LEFT JOIN sinergi_consumer.quarantine AS q ON q.projection = {name}"
                " AND q.topic = e.topic AND q.partition = e.partition"
                " AND q.leaf_index = e.leaf_index AND q.state <> 'retried'"
                " LEFT JOIN (SELECT DISTINCT agency, record_id FROM {split}"
                " WHERE projection = {name}) AS s"
                " ON s.agency = e.agency AND s.record_id = e.record_id"
                " WHERE q.id IS NOT NULL OR s.record_id IS NOT NULL"
            ).format(
                held=HELD,
                key=key,
                more=sql.Literal(may_refuse_more),
                record=expected(projection.record),
                name=sql.Literal(projection.name),
                split=SPLIT,
            )
        )
