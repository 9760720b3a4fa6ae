"""A record's life: all that is known of it, each thing with who vouches for it.

under the owner's seal     what an event says, its place, and the checkpoint that covers it
under a reader's signature since when a database has had it
vouched for by nobody      what the agency's own databases say beside: when its relay sealed,
                           and quarantine
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from sinergi_consumers.audit.records.changes import FieldChange, changes
from sinergi_consumers.audit.records.relations import RecordRelations, stated_by

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from sinergi_consumers.audit.records.possession import Possession, PossessionReport
    from sinergi_consumers.audit.records.reading import SealedRecord, SealedRevision
    from sinergi_schemas.agreements.collection import Agreements


class QuarantineEntry(NamedTuple):
    """That an event could not become a row in our own database.

    Attributes:
        detail: what is wrong, without any value of the event.
        quarantined_at: by the clock of the database.
    """

    leaf_index: int
    projection: str
    state: str
    reason: str
    detail: str
    quarantined_at: datetime


@dataclass(frozen=True, slots=True)
class OwnFacts:
    """What the agency's own databases say beside; nobody has signed it.

    Attributes:
        sealed_at: when our relay sealed, by the sizes of the checkpoints; None if the record is
            not ours, or no database is configured.
        quarantine: entries of our reading database; None if none is configured.
    """

    sealed_at: Mapping[int, datetime] | None = None
    quarantine: Sequence[QuarantineEntry] | None = None


@dataclass(frozen=True, slots=True)
class RevisionLife:
    """One revision of a record.

    Attributes:
        sealed: the event under its seal.
        possessions: since when each reader's database has had it.
        changes: what it says other than the revision before; of the first one all that it says.
        sealed_at: see `OwnFacts`.
        quarantine: of its leaf.
        repeats: an event with the same revision number stands before it, which holds instead.
    """

    sealed: SealedRevision
    possessions: list[Possession]
    changes: list[FieldChange]
    sealed_at: datetime | None
    quarantine: list[QuarantineEntry]
    repeats: bool

    @property
    def number(self) -> int | None:
        """The number of the revision; None if the event cannot be read."""
        return None if self.sealed.event is None else int(self.sealed.event["revision"])

    @property
    def action(self) -> str:
        """RECORDED, CORRECTED or RETRACTED; empty if the event cannot be read."""
        return "" if self.sealed.event is None else str(self.sealed.event["action"])

    def at(self, name: str) -> datetime | None:
        """A time of the event."""
        event = self.sealed.event
        return None if event is None else event[name]


@dataclass(frozen=True, slots=True)
class RecordLife:
    """A record's life.

    Attributes:
        record: as its topic has it.
        about: what a record of this type is, by the schema.
        revisions: in the order in which they were sealed.
        relations: in both directions, as far as they were searched.
        agreements: the files that the events name, by their hashes; None for one that is not here.
        remarks: what was found and does not count, a line each.
    """

    record: SealedRecord
    about: str
    revisions: list[RevisionLife]
    relations: RecordRelations
    agreements: dict[str, str | None]
    remarks: list[str] = field(default_factory=list)


def life(
    agreements: Agreements,
    record: SealedRecord,
    report: PossessionReport,
    own: OwnFacts,
    related: RecordRelations | None,
) -> RecordLife:
    """Put together what is known of a record.

    Args:
        report: since when whose databases have had it.
        own: what our databases say.
        related: its relations in both directions; None if only its own are known.
    """
    revisions: list[RevisionLife] = []
    before: SealedRevision | None = None
    numbers: set[int] = set()
    for each in record.revisions:
        number = None if each.event is None else int(each.event["revision"])
        repeats = number in numbers
        changed: list[FieldChange] = []
        if each.event is not None and each.schema is not None:
            earlier_event = None if before is None else before.event
            old = None if before is None else before.schema
            changed = changes(earlier_event, each.event, old, each.schema)
        quarantine = [one for one in own.quarantine or () if one.leaf_index == each.leaf_index]
        sealed_at = (own.sealed_at or {}).get(each.size)
        revisions.append(
            RevisionLife(each, report.of(each), changed, sealed_at, quarantine, repeats)
        )
        if number is not None and not repeats:
            numbers.add(number)
            before = each
    about = next((each.schema.event.doc for each in record.revisions if each.schema), "")
    named = {str(each.event["agreement"]) for each in record.revisions if each.event}
    files = {each: agreements.by_hash(each) for each in sorted(named)}
    return RecordLife(
        record,
        about,
        revisions,
        related or RecordRelations(stated_by(record)),
        {digest: None if one is None else one.path.name for digest, one in files.items()},
        report.remarks,
    )
