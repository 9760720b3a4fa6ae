"""Verified messages to frames of events: step 3 of the materialiser and of a replay.

What does not decode, or says something else inside than the topic and key it came under, is told
apart here, message by message, and never holds up its neighbours.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING

import polars as pl

from sinergi_consumers.decode import frames
from sinergi_consumers.decode.agreement_check import NOT_AGREED
from sinergi_consumers.decode.layout import Layout
from sinergi_consumers.decode.resolution import resolve
from sinergi_schemas.avro_types import compatibility
from sinergi_schemas.limits import MOST_KEY_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sinergi_consumers.decode.agreement_check import AgreementCheck
    from sinergi_consumers.reading.partition import Leaves
    from sinergi_schemas.catalog import Catalog, Schema
    from sinergi_schemas.message import Message
    from sinergi_schemas.topics import Topic

AWAITING_SCHEMA = "awaiting-schema"

_INDEX = "leaf_index"

# A part of a batch: rows of all its tables, and bytes in memory.
_MOST_ROWS = 100_000
_MOST_BYTES = 32 * 1024 * 1024
_PORTION_BYTES = 2 * 1024 * 1024  # datums decoded before it is looked at what they have become
# Datums and what they become: an ordinary event takes some four times its bytes, a list of nothing
# more than twenty times.
_ORDINARY = 8
_SMALL_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Unfit:
    """A message that is under the seal and still cannot become rows.

    Attributes:
        reason: the class of what is wrong, as quarantine keeps it.
        detail: what and where, without any value out of the event.
        revision: the record's, where it can be read and believed.
    """

    message: Message
    reason: str
    detail: str
    revision: int | None = None


@dataclass(frozen=True, slots=True)
class DecodedBatch:
    """A batch after decoding.

    Attributes:
        events: the events in leaf order, with the columns of `Layout.flatten` and `PROVENANCE`.
        unfit: the messages that are no such event.
    """

    events: pl.DataFrame
    unfit: Sequence[Unfit]


class Decoder:
    """Decodes batches of one event type to the newest schema known here.

    Args:
        agreed: what events are held to; without it they are not held to the agreement they name.
    """

    def __init__(
        self, catalog: Catalog, event_type: str, agreed: AgreementCheck | None = None
    ) -> None:
        self._agreed = agreed
        self._newest = catalog.newest(event_type)
        self._versions = {each.fingerprint: each for each in catalog.versions(event_type)}
        self._obstacles = {
            fingerprint: obstacle
            for fingerprint, each in self._versions.items()
            if (obstacle := _obstacle(each, self._newest))
        }
        self._layout = Layout.of(self._newest)

    @property
    def readable(self) -> list[bytes]:
        """The fingerprints of the schemas whose events can be read here."""
        return [each for each in self._versions if each not in self._obstacles]

    def parts(self, batch: Leaves) -> Iterator[DecodedBatch]:
        """The events of a batch in parts of bounded size, decoded as they are asked for.

        An ordinary batch is one part. Where events have long lists there are more of them, of some
        100,000 rows each, however large the batch is. Nothing that a message holds raises.
        """
        held: list[DecodedBatch] = []
        rows = size = 0
        for portion in _portions(batch.messages):
            for each, count in _slices(self._decode(batch, portion)):
                weight = each.events.estimated_size()
                if held and (rows + count > _MOST_ROWS or size + weight > _MOST_BYTES):
                    yield _joined(held)
                    held, rows, size = [], 0, 0
                held.append(each)
                rows, size = rows + count, size + int(weight)
        yield _joined(held) if held else DecodedBatch(self.nothing(), [])

    def _decode(self, batch: Leaves, some: Sequence[Message]) -> DecodedBatch:
        unfit: list[Unfit] = []
        decoded: list[pl.DataFrame] = []
        for fingerprint, messages in _by_schema(some).items():
            schema = self._versions.get(fingerprint)
            if schema is None or fingerprint in self._obstacles:
                what = self._obstacles.get(
                    fingerprint, f"no schema of {self._newest.event_type} is {fingerprint.hex()}"
                )
                unfit.extend(Unfit(each, AWAITING_SCHEMA, what) for each in messages)
            else:
                decoded.append(self._frame(batch.topic, schema, messages, unfit))
        events = pl.concat(decoded) if decoded else self.nothing()
        if len(decoded) > 1:
            events = events.sort(_INDEX)
        events = self._hold(batch, events, unfit)
        return DecodedBatch(
            events.with_columns(
                pl.lit(batch.topic.name).alias("topic"),
                pl.lit(batch.partition, pl.Int32).alias("partition"),
            ),
            unfit,
        )

    def _hold(self, batch: Leaves, events: pl.DataFrame, unfit: list[Unfit]) -> pl.DataFrame:
        """The events that an agreement allows; the others become unfit."""
        broken = self._agreed.violations(batch.topic, events) if self._agreed else {}
        if not broken:
            return events
        is_broken = pl.col(_INDEX).is_in([*broken])
        for index, revision in events.filter(is_broken).select(_INDEX, "revision").iter_rows():
            unfit.append(Unfit(batch.message(index), NOT_AGREED, broken[index], revision))
        return events.filter(~is_broken)

    def nothing(self) -> pl.DataFrame:
        """A frame without events, for its columns."""
        empty = frames.decode([], self._newest).frame
        return self._layout.flatten(empty).with_columns(
            pl.lit(None, pl.Int64).alias(_INDEX),
            pl.lit(None, pl.String).alias("topic"),
            pl.lit(None, pl.Int32).alias("partition"),
        )

    def _frame(
        self, topic: Topic, schema: Schema, messages: Sequence[Message], unfit: list[Unfit]
    ) -> pl.DataFrame:
        result = frames.decode([each.datum for each in messages], schema)
        unfit.extend(
            Unfit(messages[each.index], "datum-invalid", each.reason) for each in result.refused
        )
        kept = [messages[at] for at in result.kept]
        frame = result.frame
        if schema is not self._newest:
            frame = resolve(frame, schema, self._newest)
        events = self._layout.flatten(frame).with_columns(
            pl.Series(_INDEX, [each.leaf_index for each in kept], pl.Int64)
        )
        return _consistent(events, topic, kept, unfit)


class DecodedParts:
    """The events of a batch, to be gone through any number of times.

    An ordinary batch is decoded once, when this is made. One that would take many times the room of
    its messages is decoded anew each time, a part after the other.
    """

    def __init__(self, decoder: Decoder, batch: Leaves) -> None:
        self._decoder = decoder
        self._batch = batch
        self._ready = self._small()

    def __iter__(self) -> Iterator[DecodedBatch]:
        """The parts in the order of their leaves."""
        return iter(self._decoder.parts(self._batch) if self._ready is None else self._ready)

    def _small(self) -> list[DecodedBatch] | None:
        most = _SMALL_BYTES + _ORDINARY * sum(len(each.datum) for each in self._batch.messages)
        found: list[DecodedBatch] = []
        for each in self._decoder.parts(self._batch):
            most -= int(each.events.estimated_size())
            if most < 0:
                return None
            found.append(each)
        return found


class Decoders:
    """A decoder for each event type, made when it is first wanted.

    Attributes:
        agreed: what events are held to; see `Decoder`.
    """

    def __init__(self, catalog: Catalog, agreed: AgreementCheck | None) -> None:
        self.agreed = agreed
        self._catalog = catalog
        self._made: dict[str, Decoder] = {}

    def of(self, event_type: str) -> Decoder:
        """The decoder of an event type."""
        if event_type not in self._made:
            self._made[event_type] = Decoder(self._catalog, event_type, self.agreed)
        return self._made[event_type]


def _obstacle(schema: Schema, newest: Schema) -> str:
    """What keeps events of a version from the columns of the newest one; empty where nothing."""
    return "; ".join(
        f"{each.path or schema.event_type}: {each.text}"
        for each in compatibility.findings(schema, newest)
    )


def _portions(messages: Sequence[Message]) -> Iterator[Sequence[Message]]:
    """Messages in their order, some at a time by the bytes of their datums."""
    ends = [*accumulate(len(each.datum) for each in messages)]
    start = 0
    while start < len(messages):
        before = ends[start - 1] if start else 0
        end = max(bisect_right(ends, before + _PORTION_BYTES), start + 1)
        yield messages[start:end]
        start = end


def _rows(events: pl.DataFrame) -> pl.Series:
    """How many rows events become, each with those of its lists."""
    lists = [pl.col(name).list.len() for name, kind in events.schema.items() if kind == pl.List]
    return events.select(rows=pl.sum_horizontal(pl.repeat(1, pl.len()), *lists)).to_series()


def _slices(decoded: DecodedBatch) -> Iterator[tuple[DecodedBatch, int]]:
    """The same in pieces of bounded rows, each with its rows, the first one with what is unfit."""
    events, unfit = decoded.events, decoded.unfit
    rows = _rows(events)
    place = rows.cum_sum() // _MOST_ROWS
    if not events.height or place[0] == place[-1]:
        yield decoded, int(rows.sum())
        return
    for start, length in zip(*_runs(place), strict=True):
        some = slice(start, start + length)
        yield DecodedBatch(events[some], unfit), int(rows[some].sum())
        unfit = []


def _runs(values: pl.Series) -> tuple[list[int], list[int]]:
    """Where runs of equal values begin, and how long they are."""
    lengths = values.rle().struct.field("len").to_list()
    return [*accumulate(lengths, initial=0)][:-1], lengths


def _joined(parts: Sequence[DecodedBatch]) -> DecodedBatch:
    if len(parts) == 1:
        return parts[0]
    events = pl.concat([each.events for each in parts])
    return DecodedBatch(events, [unfit for each in parts for unfit in each.unfit])


def _by_schema(messages: Sequence[Message]) -> dict[bytes, list[Message]]:
    found: dict[bytes, list[Message]] = {}
    for each in messages:
        found.setdefault(each.fingerprint, []).append(each)
    return found


def _consistent(
    events: pl.DataFrame, topic: Topic, messages: Sequence[Message], unfit: list[Unfit]
) -> pl.DataFrame:
    """The events that say inside what their topic and key say outside; the others become unfit.

    An agency could otherwise publish in another's name, and a foreign key would put revisions of
    one record into two partitions, where nothing orders them.
    """
    keys = pl.Series([each.key for each in messages], dtype=pl.Binary)
    rules = {
        "foreign-agency": (
            pl.col("agency") == topic.agency,
            f"agency is not {topic.agency}, the owner of the topic",
        ),
        "foreign-key": (
            pl.col("record_id").cast(pl.Binary) == pl.lit(keys),
            "record_id is not the key of the message",
        ),
        # Tables are keyed by it, and no index of a database takes in a key of any length.
        "key-too-long": (
            pl.col("record_id").str.len_bytes() <= MOST_KEY_BYTES,
            f"record_id is longer than {MOST_KEY_BYTES} bytes",
        ),
        "revision-invalid": (
            (pl.col("revision") >= 1)
            & ((pl.col("action") == "RECORDED") == (pl.col("revision") == 1)),
            "revision and action do not agree: RECORDED is revision 1 and no other is",
        ),
    }
    verdicts = events.select(**{reason: rule for reason, (rule, _) in rules.items()})
    sound = verdicts.select(pl.all_horizontal(pl.all())).to_series()
    if sound.all():
        return events
    for at in sound.not_().arg_true():
        broken = next(reason for reason in rules if not verdicts[reason][at])
        unfit.append(Unfit(messages[at], broken, rules[broken][1]))
    return events.filter(sound)
