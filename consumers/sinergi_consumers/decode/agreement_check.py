"""Whether the agreement that an event names allows it.

An event carries the hash of the agreement under which it was published. It becomes a row only if an
agreement of that hash is loaded here, was in force when the event was recorded, lets its agency
publish it and this agency read it, and names its purpose. Only that version of the agreement
counts, not a later one: an agency that became a reader by an addendum may read what was published
under the addendum.

The publisher states `recorded_at` itself. It can date an event back into an agreement that has
ended; the later dates of the leaves before it in the same topic show that.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import polars as pl

from sinergi_schemas.topics import Topic

if TYPE_CHECKING:
    from sinergi_schemas.agreements.collection import Agreement, Agreements

NOT_AGREED = "not-agreed"
UNKNOWN_AGREEMENT = "it names the hash "
"""How the detail begins of an event that names an agreement which is not loaded here."""

_NAMED = ("topic", "agreement")
_DATES = ("starts", "ends")
_HASH = re.compile("[0-9a-f]{64}")  # any other text of a publisher is not repeated
_MOST_NAMED = 3


class Violation(NamedTuple):
    """Why an event is not allowed.

    Attributes:
        why: without any value of the event.
        may_keep: whether the reader may keep the event's bytes. It may not if the agreement that
            the event names is here and does not let it read the event.
    """

    why: str
    may_keep: bool = True


@dataclass(frozen=True, slots=True)
class AgreementCheck:
    """Checks events against the agreements that they name.

    Attributes:
        agreements: the agreements that are loaded here.
        reader: the agency that reads; None for an audit, which may read what any agency reads.
    """

    agreements: Agreements
    reader: str | None

    def violations(self, events: pl.DataFrame) -> dict[int, Violation]:
        """The events that are not allowed, by their row in the frame.

        Args:
            events: decoded events of one event type, with the topics from which they came.
        """
        # A bus may have thousands of agreements; the events of a topic usually name one.
        named = events.select(*_NAMED).unique(maintain_order=True)
        dates = dict.fromkeys(_DATES, events.schema["recorded_at"])
        stated = pl.DataFrame(
            [self._stated(*each) for each in named.iter_rows()],
            {**named.schema, **dates, "purposes": pl.List(pl.String)},
            orient="row",
        )
        recorded_at, starts, ends = pl.col("recorded_at"), pl.col("starts"), pl.col("ends")
        # Dates are compared in polars: an event may have one that Python has no datetime for.
        in_force = (recorded_at >= starts) & (ends.is_null() | (recorded_at < ends))
        judged = (
            events.select(*_NAMED, "recorded_at", "purpose")
            .join(stated, on=_NAMED, how="left", maintain_order="left")
            .select(
                *_NAMED,
                row=pl.int_range(pl.len()),
                in_force=in_force.fill_null(value=False),
                allowed=pl.col("purpose").is_in(pl.col("purposes")).fill_null(value=False),
            )
        )
        return {
            row: self._why(Topic.parse(topic), digest, is_in_force=is_in_force)
            for topic, digest, row, is_in_force, _ in judged.filter(
                ~(pl.col("in_force") & pl.col("allowed"))
            ).iter_rows()
        }

    def violations_by_leaf(self, events: pl.DataFrame) -> dict[int, Violation]:
        """The same for events of one topic-partition, by leaf index."""
        leaves = events["leaf_index"]
        return {leaves[row]: each for row, each in self.violations(events).items()}

    def _stated(self, topic: str, digest: str) -> tuple[object, ...]:
        """What an agreement says of the events of a topic: from when to when, for which purposes.

        Without an agreement there is no start; without purposes no event is allowed.
        """
        agreement, stated = self.agreements.by_hash(digest), Topic.parse(topic)
        if agreement is None:
            return topic, digest, None, None, []
        allows = self._allows(agreement, stated)
        purposes = agreement.events[stated.event_type].purposes if allows else ()
        return topic, digest, agreement.starts, agreement.ends, [str(each) for each in purposes]

    def _allows(self, agreement: Agreement, topic: Topic) -> bool:
        """Whether an agreement lets the owner of a topic publish it, and the reader read it."""
        readers = agreement.readers(topic)
        return bool(readers) and self.reader in (None, *readers)

    def _why(self, topic: Topic, digest: str, *, is_in_force: bool) -> Violation:
        agreement = self.agreements.by_hash(digest)
        if agreement is None:
            is_hash = _HASH.fullmatch(digest)
            named = f"{UNKNOWN_AGREEMENT}{digest}" if is_hash else "it names what is no hash"
            return Violation(f"{named}, and no agreement here has it; loaded: {self._loaded()}")
        name = agreement.path.name
        if not agreement.covers(topic.agency, topic.event_type):
            what = f"does not let {topic.agency} publish {topic.event_type}"
            return Violation(f"{name}, which it names, {what}")
        if self.reader not in (None, *agreement.readers(topic)):
            what = f"{name}, which it names, does not let {self.reader} read it"
            return Violation(what, may_keep=False)
        if not is_in_force:
            return Violation(f"{name}, which it names, was not in force when it was recorded")
        return Violation(f"{name}, which it names, does not share it for its purpose")

    def _loaded(self) -> str:
        """The newest agreements, with as much of their hashes as tells them apart."""
        first = [f"{each.path.name} ({each.hash[:16]}…)" for each in self.agreements][:_MOST_NAMED]
        further = sum(1 for _ in self.agreements) - len(first)
        return ", ".join(first) + (f" and {further} older" if further else "")
