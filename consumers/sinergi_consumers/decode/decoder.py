"""Verified messages to frames of events: the step between verifying and materialising.

A message that does not decode, that contradicts its topic or its key, or that its agreement does
not allow, is returned apart from the events, with the reason. The other messages of the batch are
not affected.
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

# Limits of a part of a batch: the rows of all tables together, and the bytes of its frame.
_MOST_ROWS = 100_000
_MOST_BYTES = 32 * 1024 * 1024
_PORTION_BYTES = 2 * 1024 * 1024  # of datums that are decoded before the limits are checked
# A decoded batch is kept in memory up to so many times its datums, and some bytes more. An ordinary
# event takes some four times its datum, a list of empty items more than twenty times.
_KEPT_BYTES = 64 * 1024
_KEPT_FACTOR = 8


@dataclass(frozen=True, slots=True)
class RefusedEvent:
    """A message that is sealed by its owner and cannot become rows.

    Attributes:
        reason: the kind of fault, as quarantine keeps it.
        detail: what is wrong and where, without any value of the event.
        revision: the revision of the record; None if it cannot be read or trusted.
        may_keep: whether the reader may keep the event's bytes.
    """

    message: Message
    reason: str
    detail: str
    revision: int | None = None
    may_keep: bool = True


@dataclass(frozen=True, slots=True)
class DecodedBatch:
    """A batch, or a part of one, after decoding.

    Attributes:
        events: the events in the order of their leaves, with the columns of `Layout.flatten` and
            of `PROVENANCE`.
        refused: the messages that are not among the events.
    """

    events: pl.DataFrame
    refused: Sequence[RefusedEvent]

    def between(self, start: int, end: int) -> DecodedBatch:
        """What it has of the leaves `[start, end)`."""
        return DecodedBatch(
            self.events.filter(pl.col(_INDEX).is_between(start, end, closed="left")),
            [each for each in self.refused if start <= each.message.leaf_index < end],
        )


class Decoder:
    """Decodes batches of one event type to the columns of its newest schema in the catalogue.

    Args:
        agreement_check: checks each event against the agreement that it names; None for no check.
    """

    def __init__(
        self, catalog: Catalog, event_type: str, agreement_check: AgreementCheck | None = None
    ) -> None:
        self._agreement_check = agreement_check
        self._newest = catalog.newest(event_type)
        self._versions = {each.fingerprint: each for each in catalog.versions(event_type)}
        self._incompatible = {
            fingerprint: why
            for fingerprint, each in self._versions.items()
            if (why := _why_incompatible(each, self._newest))
        }
        self._layout = Layout.of(self._newest)

    @property
    def readable(self) -> list[bytes]:
        """The fingerprints of the schemas whose events this decoder can decode."""
        return [each for each in self._versions if each not in self._incompatible]

    def parts(self, batch: Leaves) -> Iterator[DecodedBatch]:
        """The events of a batch in parts of bounded size. A part is decoded when it is asked for.

        An ordinary batch is one part. A batch of events with long lists has several, of some
        100,000 rows each. No content of a message raises an error.
        """
        pending: list[DecodedBatch] = []
        rows = size = 0
        for portion in _portions(batch.messages):
            for piece, more_rows in _slices(self._decode(batch, portion)):
                more_bytes = int(piece.events.estimated_size())
                if pending and (rows + more_rows > _MOST_ROWS or size + more_bytes > _MOST_BYTES):
                    yield _joined(pending)
                    pending, rows, size = [], 0, 0
                pending.append(piece)
                rows, size = rows + more_rows, size + more_bytes
        yield _joined(pending) if pending else DecodedBatch(self.empty_frame(), [])

    def _decode(self, batch: Leaves, messages: Sequence[Message]) -> DecodedBatch:
        refused: list[RefusedEvent] = []
        decoded: list[pl.DataFrame] = []
        for fingerprint, alike in _by_schema(messages).items():
            schema = self._versions.get(fingerprint)
            if schema is None or fingerprint in self._incompatible:
                what = self._incompatible.get(
                    fingerprint, f"no schema of {self._newest.event_type} is {fingerprint.hex()}"
                )
                refused.extend(RefusedEvent(each, AWAITING_SCHEMA, what) for each in alike)
            else:
                decoded.append(self._frame(batch.topic, schema, alike, refused))
        events = pl.concat(decoded) if decoded else self.empty_frame()
        if len(decoded) > 1:
            events = events.sort(_INDEX)
        events = self._allowed(batch, events, refused)
        return DecodedBatch(
            events.with_columns(
                pl.lit(batch.topic.name).alias("topic"),
                pl.lit(batch.partition, pl.Int32).alias("partition"),
            ),
            refused,
        )

    def _allowed(
        self, batch: Leaves, events: pl.DataFrame, refused: list[RefusedEvent]
    ) -> pl.DataFrame:
        """The events that their agreement allows. The others are added to `refused`."""
        if self._agreement_check is None:
            return events
        violations = self._agreement_check.violations(batch.topic, events)
        if not violations:
            return events
        is_violation = pl.col(_INDEX).is_in([*violations])
        for index, revision in events.filter(is_violation).select(_INDEX, "revision").iter_rows():
            why, may_keep = violations[index]
            refused.append(RefusedEvent(batch.message(index), NOT_AGREED, why, revision, may_keep))
        return events.filter(~is_violation)

    def empty_frame(self) -> pl.DataFrame:
        """A frame without events that has all columns."""
        empty = frames.decode([], self._newest).frame
        return self._layout.flatten(empty).with_columns(
            pl.lit(None, pl.Int64).alias(_INDEX),
            pl.lit(None, pl.String).alias("topic"),
            pl.lit(None, pl.Int32).alias("partition"),
        )

    def _frame(
        self, topic: Topic, schema: Schema, messages: Sequence[Message], refused: list[RefusedEvent]
    ) -> pl.DataFrame:
        """The events of messages of one schema. Those that are none are added to `refused`."""
        result = frames.decode([each.datum for each in messages], schema)
        refused.extend(
            RefusedEvent(messages[each.index], "datum-invalid", each.reason)
            for each in result.refused
        )
        kept = [messages[at] for at in result.kept]
        frame = result.frame
        if schema is not self._newest:
            frame = resolve(frame, schema, self._newest)
        events = self._layout.flatten(frame).with_columns(
            pl.Series(_INDEX, [each.leaf_index for each in kept], pl.Int64)
        )
        return _consistent(events, topic, kept, refused)


class DecodedParts:
    """The parts of a batch, which can be iterated any number of times.

    An ordinary batch is decoded once and kept. A batch that would take many times the memory of its
    messages is decoded again for each iteration, one part at a time.
    """

    def __init__(self, decoder: Decoder, batch: Leaves) -> None:
        self._decoder = decoder
        self._batch = batch
        self._kept = self._decoded_if_small()

    def __iter__(self) -> Iterator[DecodedBatch]:
        """The parts in the order of their leaves."""
        return iter(self._decoder.parts(self._batch) if self._kept is None else self._kept)

    def _decoded_if_small(self) -> list[DecodedBatch] | None:
        """All parts; None if they take too much memory to be kept."""
        datums = sum(len(each.datum) for each in self._batch.messages)
        room = _KEPT_BYTES + _KEPT_FACTOR * datums
        found: list[DecodedBatch] = []
        for each in self._decoder.parts(self._batch):
            room -= int(each.events.estimated_size())
            if room < 0:
                return None
            found.append(each)
        return found


class Decoders:
    """A decoder for each event type, made when it is first asked for.

    Args:
        agreement_check: see `Decoder`.
    """

    def __init__(self, catalog: Catalog, agreement_check: AgreementCheck | None) -> None:
        self._agreement_check = agreement_check
        self._catalog = catalog
        self._made: dict[str, Decoder] = {}

    def of(self, event_type: str) -> Decoder:
        """The decoder of an event type."""
        if event_type not in self._made:
            self._made[event_type] = Decoder(self._catalog, event_type, self._agreement_check)
        return self._made[event_type]


def _why_incompatible(schema: Schema, newest: Schema) -> str:
    """Why events of a version cannot be given the columns of the newest one; empty if they can."""
    return "; ".join(
        f"{each.path or schema.event_type}: {each.text}"
        for each in compatibility.findings(schema, newest)
    )


def _portions(messages: Sequence[Message]) -> Iterator[Sequence[Message]]:
    """Messages in their order, divided by the bytes of their datums."""
    ends = [*accumulate(len(each.datum) for each in messages)]
    start = 0
    while start < len(messages):
        before = ends[start - 1] if start else 0
        end = max(bisect_right(ends, before + _PORTION_BYTES), start + 1)
        yield messages[start:end]
        start = end


def _rows(events: pl.DataFrame) -> pl.Series:
    """How many rows each event becomes: its own, and one for each item of its lists."""
    lists = [pl.col(name).list.len() for name, kind in events.schema.items() if kind == pl.List]
    return events.select(rows=pl.sum_horizontal(pl.repeat(1, pl.len()), *lists)).to_series()


def _slices(decoded: DecodedBatch) -> Iterator[tuple[DecodedBatch, int]]:
    """A decoded batch in pieces of a bounded number of rows, each piece with that number.

    All refused messages are in the first piece.
    """
    events, refused = decoded.events, decoded.refused
    rows = _rows(events)
    place = rows.cum_sum() // _MOST_ROWS
    if not events.height or place[0] == place[-1]:
        yield decoded, int(rows.sum())
        return
    for start, length in zip(*_runs(place), strict=True):
        some = slice(start, start + length)
        yield DecodedBatch(events[some], refused), int(rows[some].sum())
        refused = []


def _runs(values: pl.Series) -> tuple[list[int], list[int]]:
    """Where each run of equal values begins, and how long it is."""
    lengths = values.rle().struct.field("len").to_list()
    return [*accumulate(lengths, initial=0)][:-1], lengths


def _joined(parts: Sequence[DecodedBatch]) -> DecodedBatch:
    if len(parts) == 1:
        return parts[0]
    events = pl.concat([each.events for each in parts])
    return DecodedBatch(events, [refused for each in parts for refused in each.refused])


def _by_schema(messages: Sequence[Message]) -> dict[bytes, list[Message]]:
    found: dict[bytes, list[Message]] = {}
    for each in messages:
        found.setdefault(each.fingerprint, []).append(each)
    return found


def _consistent(
    events: pl.DataFrame, topic: Topic, messages: Sequence[Message], refused: list[RefusedEvent]
) -> pl.DataFrame:
    """The events that agree with the topic and the key of their messages.

    The others are added to `refused`: else an agency could publish in another's name, and revisions
    of one record could lie in two partitions, which have no order between them.
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
        # It is part of the keys of tables, and an index does not take a key of any length.
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
        refused.append(RefusedEvent(messages[at], broken, rules[broken][1]))
    return events.filter(sound)
