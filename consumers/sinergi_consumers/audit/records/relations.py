"""The records that a record names as related, and those that name it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import polars as pl

from sinergi_consumers.audit.event_filter import ReplayFilter
from sinergi_consumers.audit.related_records import RecordReference
from sinergi_consumers.audit.replay import Replay
from sinergi_schemas import errors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from sinergi_consumers.audit.records.reading import SealedRecord
    from sinergi_consumers.bus import Bus
    from sinergi_schemas.topics import Topic

# Anybody who publishes may name a record in any number of others.
MOST_NAMING = 1_000

# What is wrong with one topic does not keep the others from being searched.
_OF_ONE_TOPIC = (
    errors.TopicMissing,
    errors.NotPermitted,
    errors.PartitionsDiffer,
    errors.EventTypeUnknown,
    errors.SealBroken,
)


class StatedRelation(NamedTuple):
    """A relation that a sealed event states.

    Attributes:
        other: the other record: the named one, or the one that names ours.
        relation: a symbol of `RecordRelation`: what the named record is to the one that names it.
        names_us: whether the other record states it; otherwise ours does.
        revision: of the record that states it.
    """

    other: RecordReference
    relation: str
    names_us: bool
    revision: int


@dataclass(slots=True)
class RecordRelations:
    """All relations of a record.

    Attributes:
        stated: each once, with the lowest revision that states it; of those that others state at
            most `MOST_NAMING` from each topic.
        unsearched: why a topic was not searched to its end, by its name.
        not_listed: how many more relations to ours there are than are listed.
    """

    stated: list[StatedRelation] = field(default_factory=list)
    unsearched: dict[str, str] = field(default_factory=dict)
    not_listed: int = 0


def stated_by(record: SealedRecord) -> list[StatedRelation]:
    """The relations that the revisions of a record state."""
    found: dict[tuple[RecordReference, str], StatedRelation] = {}
    for each in record.revisions:
        event = each.event or {}
        for named in event.get("related") or ():
            other = RecordReference(
                named["other_agency"], named["other_event_type"], named["other_record_id"]
            )
            relation = StatedRelation(other, named["relation"], False, event["revision"])  # noqa: FBT003 - its name stands in the class
            found.setdefault((other, relation.relation), relation)
    return list(found.values())


def relations(
    record: SealedRecord,
    buses: Iterable[tuple[Bus, Topic]],
    while_reading: Callable[[Replay], None] = lambda _: None,
) -> RecordRelations:
    """The relations of a record in both directions.

    Args:
        buses: the topics in which records are searched that name ours; all of each is verified.
        while_reading: called after each batch.

    Raises:
        Unavailable: the broker does not answer.
    """
    found = RecordRelations(stated_by(record))
    for bus, topic in buses:
        replay = Replay(bus, topic)
        seen: set[tuple[RecordReference, str]] = set()
        try:
            for frame in replay.events(ReplayFilter()):
                for each in _naming(frame, topic, record):
                    if (each.other, each.relation) in seen:
                        continue
                    if len(seen) >= MOST_NAMING:
                        found.not_listed += 1
                    else:
                        seen.add((each.other, each.relation))
                        found.stated.append(each)
                while_reading(replay)
        except _OF_ONE_TOPIC as why:
            found.unsearched[topic.name] = str(why)
    return found


def _naming(events: pl.DataFrame, topic: Topic, record: SealedRecord) -> Iterator[StatedRelation]:
    """The relations to a record that some events state."""
    if events.is_empty():
        return
    named = events.filter(pl.col("related").list.len() > 0).select(
        "record_id", "revision", "related"
    )
    columns = ("record_id", "relation", "revision")
    ours = (
        named.explode("related")
        .unnest("related")
        .filter(
            (pl.col("other_agency") == record.topic.agency)
            & (pl.col("other_event_type") == record.topic.event_type)
            & (pl.col("other_record_id") == record.record_id)
        )
    )
    for record_id, relation, revision in ours.select(columns).iter_rows():
        other = RecordReference(topic.agency, topic.event_type, record_id)
        yield StatedRelation(other, relation, True, revision)  # noqa: FBT003 - as above
