"""Errors of the materialiser, projections, quarantine and replays."""

from __future__ import annotations

from sinergi_schemas.errors.policies import Refused, Superseded


class PositionLost(Superseded):
    """Another worker has claimed {topic}/{partition} of {projection}. This one drops its batch."""

    projection: str
    topic: str
    partition: int


class ProjectionRefused(Refused):
    """The projection {projection} cannot be used: {what}. Mend it where it is declared."""

    projection: str
    what: str


class ProjectionFailed(Refused):
    """The projection {projection} failed on an event: {what}. Only this event is quarantined; mend
    the projection, and run `sinergi quarantine retry` (docs/tutorial-integrator.md).
    """

    projection: str
    what: str


class ReplayRefused(Refused):
    """The command cannot do this: {what}."""

    what: str


class ReasonRefused(Refused):
    """Nothing was read: {what}. State the reason by --why, for example a case number; it goes into
    the journal.
    """

    what: str


class RecordRefused(Refused):
    """The record cannot be looked up: {what}."""

    what: str


class ReplayDatabaseRefused(Refused):
    """The replay cannot be written to that database: {what}. Name an empty database, or repeat the
    replay that has begun it.
    """

    what: str


class ReceiptsMissing(Refused):
    """What {reader} had {when} cannot be told by its receipts:{listing}"""

    reader: str
    when: str
    """`at` or `before` a time, with its offset."""
    listing: str


class ReceiptFalse(Refused):
    """The receipt for {size:leaves} of {topic}/{partition} in the reader's database is not what the
    database signed ({what}), so it does not tell what the database had. Restore it from a backup.
    """

    topic: str
    partition: int
    size: int
    what: str


class ReplayedDatabase(Refused):
    """`sinergi replay` has filled this database, so no materialiser may use it: it would sign
    receipts for what no materialiser has stored. Name the agency's own database
    (`consumer.database`).
    """


class VerificationRefused(Refused):
    """Nothing was verified: {what}."""

    what: str


class RebuildRefused(Refused):
    """The projection {projection} cannot be rebuilt: {what}. Nothing was changed."""

    projection: str
    what: str


class ReaderPruneRefused(Refused):
    """User {user} does not own the tables of the reader's database, and cannot prune them. Name the
    login of their owner in `consumer.owner_database`; nothing was changed.
    """

    user: str


class HistoryReferenced(Refused):
    """Older events of {table} are not removed, since {what}. Drop that as its owner, and run
    `sinergi db prune` again. What was removed before is recorded.
    """

    table: str
    what: str


class ReconciliationRefused(Refused):
    """Nothing was reconciled: {what}."""

    what: str


class LeafNotRead(Refused):
    """Quarantine does not keep the bytes of leaf {index} of {topic}/{partition}, and the topic does
    not show the leaf as it was verified. Let the broker's operator restore the topic from a copy,
    or run `sinergi quarantine discard`.
    """

    topic: str
    partition: int
    index: int


class QuarantineRefused(Refused):
    """Quarantine was not changed: {what}."""

    what: str


class QuarantineNotShown(Refused):
    """Nothing is shown: {what}."""

    what: str
