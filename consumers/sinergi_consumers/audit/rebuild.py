"""Rebuilds the tables of a projection from the topics: finds each differing row, puts it right.

1. Merge the verified events below the positions into temporary tables, while others work on.
2. To apply them, lock the positions and the tables against writers, and merge what was added
   meanwhile. Readers are not blocked; a materialiser waits.
3. Compare. Apply the differences, if that is asked for, and settle quarantine.
4. Compare again: a trigger may have changed what was written.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sinergi_consumers.audit.projection_check import ProjectionCheck
from sinergi_consumers.audit.replay import Replay
from sinergi_consumers.audit.verification import tree_sizes
from sinergi_consumers.sinks.postgresql import row_application, stored_statements
from sinergi_consumers.sinks.postgresql.row_application import AppliedRows
from sinergi_schemas import errors
from sinergi_schemas.seal.merkle import Frontier

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import psycopg

    from sinergi_consumers.audit.projection_check import ProjectionResult
    from sinergi_consumers.audit.series import AuditSeries
    from sinergi_consumers.bus import Bus
    from sinergi_consumers.projections.projection import Projection
    from sinergi_consumers.sinks.postgresql.table_structure import TableStructure
    from sinergi_consumers.sinks.protocol import Decision, PositionKey
    from sinergi_schemas.topics import TopicPartition


@dataclass(slots=True)
class Rebuild:
    """The rebuild of one projection.

    Attributes:
        bus: the source, the agreements, and the agency that reads.
        series: the audits of the topics of its event type.
        projection: the projection.
        results: the differences, when they are found.
        applied: the rows that were written.
        retried: how many events of quarantine have become rows.
    """

    bus: Bus
    series: AuditSeries
    projection: Projection
    results: list[ProjectionResult] = field(default_factory=list)
    applied: AppliedRows = field(default_factory=AppliedRows)
    retried: int = 0

    def find(
        self, connection: psycopg.Connection, progressed: Callable[[], None], *, is_locking: bool
    ) -> None:
        """Find the differences: steps 1 and 2, and the comparison of step 3.

        Args:
            connection: in a transaction.
            progressed: called after each batch of messages.
            is_locking: lock positions and tables, for `apply` in the same transaction.

        Raises:
            RebuildRefused: the topics do not prove what the rows should be, or the tables are not
                as they are declared.
            SinergiError: the database or the topics cannot be read.
        """
        decoders = self.bus.decoders(self.bus.agreement_check)
        positions = self._positions(connection, is_locking=False)
        check = ProjectionCheck(connection, [self.projection], decoders, _sizes(positions))
        self._check_tables(check)
        if not any(_sizes(positions).values()):
            raise self._refused("it has no position: nothing of it was materialised")
        for audited in self.series.batches(tree_sizes(positions, {})):
            check.add(audited.batch)
            progressed()
        self._check_topics(positions)
        if is_locking:
            check.finish()
            locked = self._positions(connection, is_locking=True)
            row_application.lock(connection, self.projection)
            check.limits = _sizes(locked)
            self._catch_up(check, positions, locked)
        self.results = list(check.results({}))
        if unknown := self.results[0].unknown_agreement:
            where = f"leaf {unknown.leaf_index} of {unknown.topic}/{unknown.partition}"
            what = f"whether {where} is a row cannot be told: {unknown.reason}"
            raise self._refused(f"{what}; put that agreement into the folder of agreements")

    def apply(self, connection: psycopg.Connection, decision: Decision) -> None:
        """Apply the differences and settle quarantine: the rest of step 3, and step 4.

        Raises:
            RebuildRefused: the rows differ again after they were written.
            RowsRefused, DatabaseBroken: the database refuses a row or a statement.
        """
        (result,) = self.results
        comparisons = [table.comparison for table in result.tables]
        self.applied = row_application.apply(connection, comparisons)
        self.retried = row_application.settle_quarantine(
            connection, self.projection, decision, may_refuse_more=result.may_refuse_more
        )
        for each in comparisons:
            each.run(connection, None)
            each.forget_removed(connection)
            if left := [count for count in each.counts(connection) if count.is_certain]:
                rows = sum(count.rows for count in left)
                what = f"{rows} of the rows that were written to {each.name} are not as written"
                raise self._refused(f"{what}: look for a trigger that changes them")

    def _positions(
        self, connection: psycopg.Connection, *, is_locking: bool
    ) -> dict[PositionKey, Frontier]:
        return stored_statements.positions(connection, self.projection.name, is_locking=is_locking)

    def _check_tables(self, check: ProjectionCheck) -> None:
        """Refuse tables into which rows cannot be merged as they are declared."""
        for each in check.structures[self.projection.name].values():
            if not each.is_as_declared:
                raise self._refused(_why_not_declared(each))

    def _check_topics(self, positions: Mapping[PositionKey, Frontier]) -> None:
        """Refuse to go on unless the topics show every leaf below the positions."""
        audits = {each.topic.name: each for each in self.series.audits}
        for key, frontier in positions.items():
            audit = audits.get(key.tp.topic)
            if audit is None or audit.verdict.not_read:
                why = audit.verdict.not_read if audit else "no agreement lets this agency read it"
                raise self._refused(f"{key.tp.topic} was not read: {why}")
            if audit.is_proved is not True:
                findings = audit.verdict.findings
                why = findings[0].why if findings else audit.why_undecided
                raise self._refused(f"{key.tp.topic} is not proved: {why}")
            number = key.tp.partition
            counts = (each for each in audit.partition_counts if each.partition == number)
            shown = sum(each.verified for each in counts)
            self._check_position(key.tp, frontier, shown, audit.root(number, frontier.size))

    def _catch_up(
        self,
        check: ProjectionCheck,
        before: Mapping[PositionKey, Frontier],
        locked: Mapping[PositionKey, Frontier],
    ) -> None:
        """Merge the leaves by which the positions have moved since they were read first.

        Raises:
            RebuildRefused: the topics do not show these leaves, or a position was edited.
        """
        for key, frontier in locked.items():
            known = before.get(key)
            if known == frontier:
                continue
            replay = Replay(self.bus, key.tp.event_topic)
            counts = replay.new_counts(key.tp.partition)
            since = known or Frontier.empty()
            for batch in replay.batches_since(since, counts, {frontier.size}):
                check.add(batch)
            shown = max(since.size, counts.verified)
            self._check_position(key.tp, frontier, shown, counts.roots.get(frontier.size))

    def _check_position(
        self, tp: TopicPartition, position: Frontier, shown: int, root: bytes | None
    ) -> None:
        """Refuse to go on if a topic-partition does not show the leaves below a position.

        Args:
            shown: how many sealed leaves it shows.
            root: that of its tree of the position's size; None if it is smaller.
        """
        if shown < position.size:
            what = f"{tp} shows {shown:,} of the {position.size:,} leaves that were materialised"
            raise self._refused(f"{what}; read it where it has all of them, as in a newer archive")
        if root != position.root():
            raise self._refused(f"its position in {tp} is not of that topic")

    def _refused(self, what: str) -> errors.RebuildRefused:
        return errors.RebuildRefused(self.projection.name, what)


def _why_not_declared(table: TableStructure) -> str:
    """How a table is not as it is declared, and how that is mended."""
    makes = "`sinergi db upgrade --role consumer` makes the table, and a rebuild its rows"
    if table.kind:
        return f"{table.name} is {table.kind} in place of a table; drop that, then {makes}"
    if table.name in table.missing:
        return f"{table.name} is not in the database; {makes}"
    what = (*(f"{each} is missing" for each in table.missing), *table.differing)[0]
    mend = f"rename or drop it, then {makes}"
    return f"{table.name} is not as it is declared ({what}); put that back, or {mend}"


def _sizes(positions: Mapping[PositionKey, Frontier]) -> dict[PositionKey, int]:
    return {key: frontier.size for key, frontier in positions.items()}
