"""Which of the verified events a replay returns.

A filter is a list of conditions, and an event must meet all of them. A condition finds its columns
by the record types of the contract: every `Person`, `Unit` and `Place` of a schema counts, in lists
too. So it holds for each event type, also for those that an agency adds.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC
from typing import TYPE_CHECKING, Protocol

import polars as pl

from sinergi_consumers.audit.near_keys import keep_nearest
from sinergi_schemas.avro_types.nodes import ArrayType, RecordType, value_type
from sinergi_schemas.zones import in_zone

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping
    from datetime import datetime

    from sinergi_consumers.audit.similar_names import SimilarName
    from sinergi_schemas.message import Message

_PERSON, _UNIT, _PLACE = "Person", "Unit", "Place"
_MOST_SEEN = 5_000
"""Values beyond these are not gathered for hints: each takes a pass over a column."""


class EventCondition(Protocol):
    """One condition that an event meets or does not meet."""

    def expression(self, events: pl.DataFrame, schema: RecordType) -> pl.Expr:
        """Whether each event meets it; null counts as no.

        Args:
            events: the events, with the columns of `Layout.flatten`.
            schema: their schema.
        """


@dataclass(frozen=True, slots=True)
class TimeCondition:
    """A time of the event lies in a half-open interval.

    Attributes:
        column: `recorded_at` or `occurred_at`.
        since, until: None means no limit.
    """

    column: str
    since: datetime | None = None
    until: datetime | None = None

    def expression(self, events: pl.DataFrame, schema: RecordType) -> pl.Expr:
        """As `EventCondition` says."""
        del events, schema
        at, is_within = pl.col(self.column), pl.lit(value=True)
        if self.since is not None:
            is_within &= at >= self.since.astimezone(UTC)
        if self.until is not None:
            is_within &= at < self.until.astimezone(UTC)
        return is_within


@dataclass(frozen=True, slots=True)
class RecordCondition:
    """The event is about one record, of whatever agency."""

    record_id: str

    def expression(self, events: pl.DataFrame, schema: RecordType) -> pl.Expr:
        """As `EventCondition` says."""
        del events, schema
        return pl.col("record_id") == self.record_id


@dataclass(frozen=True, slots=True)
class CaseCondition:
    """The event has this case number, except for upper and lower case and spaces.

    Courts and investigators write the same number with and without spaces around its slashes.

    Attributes:
        seen: some of the case numbers that were read, for a hint where none is this one.
    """

    case_number: str
    seen: set[str] = field(default_factory=set)

    def expression(self, events: pl.DataFrame, schema: RecordType) -> pl.Expr:
        """As `EventCondition` says."""
        del schema
        if len(self.seen) < _MOST_SEEN:
            self.seen.update(events["case_number"].drop_nulls().unique())
        written = pl.col("case_number").str.replace_all(r"\s+", "").str.to_lowercase()
        return written == "".join(self.case_number.split()).lower()


@dataclass(frozen=True, slots=True)
class PersonCondition:
    """A field of a person of the event has this value, except for case and spaces.

    Attributes:
        name: of the field, `nik` (nomor induk kependudukan) or `name`.
    """

    name: str
    value: str

    def expression(self, events: pl.DataFrame, schema: RecordType) -> pl.Expr:
        """As `EventCondition` says."""
        del events
        folded = " ".join(self.value.split()).lower()
        return _any_of(
            schema,
            _PERSON,
            self.name,
            lambda value: (value == self.value) | (_collapsed(value) == folded),
        )


@dataclass(frozen=True, slots=True)
class SimilarNameCondition:
    """A person of the event has a name that may be this one in another spelling.

    Attributes:
        wanted: the name.
        spellings: the names so far of the events that a filter returned.
    """

    wanted: SimilarName
    spellings: set[str] = field(default_factory=set)

    def expression(self, events: pl.DataFrame, schema: RecordType) -> pl.Expr:
        """As `EventCondition` says."""
        similar = sorted(self.similar(events, schema))
        return _any_of(schema, _PERSON, "name", lambda value: value.is_in(similar))

    def similar(self, events: pl.DataFrame, schema: RecordType) -> set[str]:
        """The names in some events that may be the one that is looked for."""
        return {
            name for name in _values(events, schema, _PERSON, "name") if self.wanted.matches(name)
        }


@dataclass(frozen=True, slots=True)
class UnitCondition:
    """The event names this correctional unit, by its code or by its name as on that day.

    Attributes:
        seen: some of the names and codes that were read, for a hint where none is this one.
    """

    unit: str
    seen: set[str] = field(default_factory=set)

    def expression(self, events: pl.DataFrame, schema: RecordType) -> pl.Expr:
        """As `EventCondition` says."""
        if len(self.seen) < _MOST_SEEN:
            for part in ("name", "code"):
                self.seen.update(_values(events, schema, _UNIT, part))
        name = " ".join(self.unit.split()).lower()
        return _any_of(schema, _UNIT, "code", lambda value: value == self.unit) | _any_of(
            schema, _UNIT, "name", lambda value: _collapsed(value) == name
        )


@dataclass(frozen=True, slots=True)
class RegionCondition:
    """A place of the event lies in this region, or in a region within it.

    Attributes:
        code: of the province, regency, district or village, as `35.10` (Kemendagri).
    """

    code: str

    def expression(self, events: pl.DataFrame, schema: RecordType) -> pl.Expr:
        """As `EventCondition` says."""
        del events
        within = f"{self.code}."
        return _any_of(
            schema,
            _PLACE,
            "region_code",
            lambda value: (value == self.code) | value.str.starts_with(within),
        )


@dataclass(frozen=True, slots=True)
class LeafCondition:
    """The event stands at one of these leaves of a partition.

    Attributes:
        partition: its number.
        first, last: the indexes of the leaves, both included.
    """

    partition: int
    first: int
    last: int

    def expression(self, events: pl.DataFrame, schema: RecordType) -> pl.Expr:
        """As `EventCondition` says."""
        del events, schema
        is_there = pl.col("partition") == self.partition
        return is_there & pl.col("leaf_index").is_between(self.first, self.last)


@dataclass(frozen=True, slots=True)
class RecordSetCondition:
    """The event is about one of these records.

    Attributes:
        records: their identities, by the name of their topic.
    """

    records: Mapping[str, Collection[str]]

    def expression(self, events: pl.DataFrame, schema: RecordType) -> pl.Expr:
        """As `EventCondition` says."""
        del schema
        topic = events.item(0, "topic")  # all events of a frame are of one topic
        return pl.col("record_id").is_in(sorted(self.records.get(topic, ())))


@dataclass(frozen=True, slots=True)
class ReplayFilter:
    """Which events of its topics a replay returns. It always verifies all of them.

    Attributes:
        since, until: the half-open interval of `recorded_at`; None means no limit.
        record_id: only events of this record; None means all records.
        conditions: further conditions; an event must meet all of them.
        reached: if given, all events of these records, which are related to those that meet the
            conditions, and no other events.
        near_keys: the keys nearest to `record_id` that were read, for a hint where none is it.
        met: which of `separate`, by number, some event meets, for a hint where none meets all.
    """

    since: datetime | None = None
    until: datetime | None = None
    record_id: str | None = None
    conditions: tuple[EventCondition, ...] = ()
    reached: RecordSetCondition | None = None
    near_keys: list[str] = field(default_factory=list)
    met: set[int] = field(default_factory=set)

    def choose(self, events: pl.DataFrame, schema: RecordType) -> pl.DataFrame:
        """The events that pass the filter.

        Args:
            events: the events, with the columns of `Layout.flatten`.
            schema: their schema.
        """
        chosen = _meeting(self._all(), events, schema)
        if self.reached is not None:
            return chosen
        separate = self.separate
        for number, each in enumerate(separate):
            if not chosen.is_empty():
                self.met.add(number)
                if isinstance(each, SimilarNameCondition):
                    each.spellings.update(each.similar(chosen, schema))
            elif number in self.met or len(separate) == 1:
                continue
            # To compare every name takes long: among other conditions it counts as met.
            elif isinstance(each, SimilarNameCondition) or _meeting((each,), events, schema).height:
                self.met.add(number)
        return chosen

    @property
    def separate(self) -> tuple[EventCondition, ...]:
        """What is asked for besides the record: the conditions, and the interval if any."""
        is_unlimited = self.since is None and self.until is None
        return self.conditions if is_unlimited else (*self.conditions, self._recorded)

    def of_record(self, events: pl.DataFrame, schema: RecordType) -> tuple[int, int]:
        """How many of the record's events lie in the interval, and how many of them meet the rest.

        The record is that of `record_id`.
        """
        if self.record_id is None:
            return 0, 0
        found = _meeting((RecordCondition(self.record_id), self._recorded), events, schema)
        return found.height, _meeting(self.conditions, found, schema).height

    def compare_keys(self, messages: Iterable[Message]) -> None:
        """Keep the keys that are nearest to the record's, if a record is asked for."""
        if self.record_id is not None:
            keep_nearest(self.near_keys, self.record_id, messages)

    def outside_interval(self, events: pl.DataFrame, schema: RecordType) -> list[datetime]:
        """`recorded_at` of the record's events outside the interval, each in its event's zone."""
        if self.record_id is None:
            return []
        of_record = events.filter(RecordCondition(self.record_id).expression(events, schema))
        found = of_record.filter(~self._recorded.expression(of_record, schema))
        return [in_zone(at, zone) for at, zone in found.select("recorded_at", "zone").iter_rows()]

    @property
    def _recorded(self) -> TimeCondition:
        return TimeCondition("recorded_at", self.since, self.until)

    def _all(self) -> Iterator[EventCondition]:
        if self.reached is not None:
            yield self.reached
            return
        if self.record_id is not None:
            yield RecordCondition(self.record_id)
        yield self._recorded
        yield from self.conditions


def _meeting(
    conditions: Iterable[EventCondition], events: pl.DataFrame, schema: RecordType
) -> pl.DataFrame:
    """The events that meet all of some conditions."""
    for each in conditions:
        if events.is_empty():
            break
        events = events.filter(each.expression(events, schema).fill_null(value=False))
    return events


class _ValueTest(Protocol):
    def __call__(self, value: pl.Expr, /) -> pl.Expr: ...


def _any_of(schema: RecordType, kind: str, name: str, test: _ValueTest) -> pl.Expr:
    """Whether a field of any record of a type passes a test.

    Args:
        schema: of the events.
        kind: the name of the record type.
        name: of its field.
        test: makes a condition of the field's value.
    """
    return pl.any_horizontal(
        pl.lit(value=False),
        *(test(value).fill_null(value=False) for value in _columns(schema, kind, name)),
        *(
            pl.col(column).list.eval(test(item).fill_null(value=False)).list.any()
            for column, item in _list_items(schema, kind, name)
        ),
    )


def _columns(schema: RecordType, kind: str, name: str) -> Iterator[pl.Expr]:
    """The columns of a field of a record type that stands outside of lists."""
    for path, record in _records(schema, ()):
        if record.name == kind:
            yield pl.col("_".join((*path, name)))


def _list_items(schema: RecordType, kind: str, name: str) -> Iterator[tuple[str, pl.Expr]]:
    """The columns that are lists, each with the field of an item that is, or holds, the record."""
    for each in schema.fields:
        if not isinstance(each.value_type, ArrayType):
            continue
        item = value_type(each.value_type.items)
        if not isinstance(item, RecordType):
            continue
        for path, record in ((), item), *_records(item, ()):
            if record.name == kind:
                value = pl.element()
                for step in (*path, name):
                    value = value.struct.field(step)
                yield each.name, value


def _records(
    record: RecordType, above: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], RecordType]]:
    """The records in a record at any depth, each with the names of the fields on the way to it."""
    for each in record.fields:
        if isinstance(each.value_type, RecordType):
            path = (*above, each.name)
            yield path, each.value_type
            yield from _records(each.value_type, path)


def _values(events: pl.DataFrame, schema: RecordType, kind: str, name: str) -> set[str]:
    """The values of a field of all records of a type, as the names of all persons."""
    found: set[str] = set()
    for value in _columns(schema, kind, name):
        found.update(events.select(value.alias(name).drop_nulls().unique()).to_series())
    for column, item in _list_items(schema, kind, name):
        values = pl.col(column).list.eval(item).explode().drop_nulls().unique()
        found.update(events.select(values.alias(name)).to_series())
    return found


def _collapsed(text: pl.Expr) -> pl.Expr:
    """Text in lower case, with one space between two words."""
    return text.str.strip_chars().str.replace_all(r"\s+", " ").str.to_lowercase()
