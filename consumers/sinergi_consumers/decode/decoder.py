"""Verified messages to frames of events: the step between verifying and materialising.

A message that does not decode, that contradicts its topic or its key, or that its agreement does
not allow, is returned apart from the events, with the reason. The other messages of the batch are
not affected.
"""

from __future__ import annotations

from bisect import bisect_right
from itertools import accumulate
from typing import TYPE_CHECKING

import polars as pl

from sinergi_consumers.decode import frames
from sinergi_consumers.decode.agreement_check import NOT_AGREED
from sinergi_consumers.decode.batches import DecodedBatch, Origins
from sinergi_consumers.decode.layout import Layout
from sinergi_consumers.decode.published_schemas import missing
from sinergi_consumers.decode.resolution import resolve
from sinergi_schemas.avro_types import compatibility
from sinergi_schemas.limits import MOST_KEY_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from collections.abc import Set as AbstractSet

    from sinergi_consumers.decode.agreement_check import AgreementCheck
    from sinergi_consumers.decode.batches import RefusedEvent
    from sinergi_consumers.decode.published_schemas import PublishedSchemas
    from sinergi_consumers.reading.partition import Leaves
    from sinergi_schemas.catalog import Catalog, Schema
    from sinergi_schemas.message import Message

AWAITING_SCHEMA = "awaiting-schema"

_INDEX = "leaf_index"
_PLACE = "\0place"  # of a message among those that are decoded together; no table has such a column

# Limits of a part of a batch: the rows of all tables together, and the bytes of its frame.
_MOST_ROWS = 100_000
_MOST_BYTES = 32 * 1024 * 1024
_PORTION_BYTES = 2 * 1024 * 1024  # of datums that are decoded before the limits are checked
# A decoded batch is kept in memory up to so many times its datums, and some bytes more. An ordinary
# event takes some four times its datum, a list of empty items more than twenty times.
_KEPT_BYTES = 64 * 1024
_KEPT_FACTOR = 8


class Decoder:
    """Decodes batches of one event type to the columns of its newest schema in the catalogue.

    Args:
        agreement_check: checks each event against the agreement that it names; None for no check.
        published: finds schemas that the catalogue does not have; None for no others.
    """

    def __init__(
        self,
        catalog: Catalog,
        event_type: str,
        agreement_check: AgreementCheck | None = None,
        published: PublishedSchemas | None = None,
    ) -> None:
        self._agreement_check = agreement_check
        self._published = published
        self._newest = catalog.newest(event_type)
        self._versions = {each.fingerprint: each for each in catalog.versions(event_type)}
        self._incompatible = {
            fingerprint: why
            for fingerprint, each in self._versions.items()
            if (why := compatibility.why_incompatible(each, self._newest))
        }
        self._layout = Layout.of(self._newest)

    @property
    def readable(self) -> list[bytes]:
        """The fingerprints of the schemas whose events this decoder can decode."""
        installed = [each for each in self._versions if each not in self._incompatible]
        event_type = self._newest.event_type
        return [*installed, *(self._published.of(event_type) if self._published else ())]

    def find_schemas(self, *batches: Leaves) -> None:
        """Look for schemas of events that are not installed here. Call it before `parts`.

        Raises:
            Unavailable: the control topics cannot be read.
        """
        for each in batches:
            self.find_schemas_of(each.topic.agency, {m.fingerprint for m in each.messages})

    def find_schemas_of(self, agency: str, fingerprints: AbstractSet[bytes]) -> None:
        """As `find_schemas`, for some fingerprints in events of an agency."""
        unknown = fingerprints - self._versions.keys()
        if unknown and self._published is not None:
            self._published.find(agency, self._newest.event_type, unknown)

    def schema(self, fingerprint: bytes) -> Schema | str:
        """The schema of an event that can be decoded; or why it cannot."""
        event_type = self._newest.event_type
        if fingerprint in self._incompatible:
            return self._incompatible[fingerprint]
        if fingerprint in self._versions:
            return self._versions[fingerprint]
        if self._published is None:
            return missing(event_type, fingerprint)
        found = self._published.of(event_type).get(fingerprint)
        return found or self._published.why_not(event_type, fingerprint)

    def parts(self, *batches: Leaves) -> Iterator[DecodedBatch]:
        """The events of batches in parts of bounded size. A part is decoded when it is asked for.

        Ordinary batches are one part. A batch of events with long lists has several, of some
        100,000 rows each. No content of a message raises an error.

        Args:
            batches: of different topic-partitions.
        """
        pending: list[DecodedBatch] = []
        rows = size = 0
        for portion in _portions(Origins.of(batches)):
            for piece, more_rows in _slices(self._decode(portion)):
                more_bytes = int(piece.events.estimated_size())
                if pending and (rows + more_rows > _MOST_ROWS or size + more_bytes > _MOST_BYTES):
                    yield _joined(pending)
                    pending, rows, size = [], 0, 0
                pending.append(piece)
                rows, size = rows + more_rows, size + more_bytes
        yield _joined(pending) if pending else DecodedBatch(self.empty_frame(), [])

    def found_parts(self, *batches: Leaves) -> Iterator[DecodedBatch]:
        """As `parts`, after `find_schemas`.

        Raises:
            Unavailable: as `find_schemas`.
        """
        self.find_schemas(*batches)
        return self.parts(*batches)

    def _decode(self, portion: Origins) -> DecodedBatch:
        refused: list[RefusedEvent] = []
        decoded: list[pl.DataFrame] = []
        for fingerprint, places in _by_schema(portion.messages).items():
            schema, alike = self.schema(fingerprint), portion.at(places)
            if isinstance(schema, str):
                refused += (alike.refused(at, AWAITING_SCHEMA, schema) for at in range(len(places)))
            else:
                frame = self._frame(schema, alike, refused)
                place = pl.Series(_PLACE, places, pl.Int64).gather(frame[_PLACE])
                decoded.append(frame.with_columns(place))
        events = pl.concat(decoded) if decoded else self._nothing()
        if len(decoded) > 1:
            events = events.sort(_PLACE)
        return DecodedBatch(self._allowed(portion, events, refused), refused)

    def _allowed(
        self, portion: Origins, events: pl.DataFrame, refused: list[RefusedEvent]
    ) -> pl.DataFrame:
        """The events that their agreement allows. The others are added to `refused`."""
        places, events = events[_PLACE], events.drop(_PLACE)
        if self._agreement_check is None:
            return events
        violations = self._agreement_check.violations(events)
        if not violations:
            return events
        revisions = events["revision"]
        for row, (why, may_keep) in violations.items():
            refused.append(
                portion.refused(places[row], NOT_AGREED, why, revisions[row], may_keep=may_keep)
            )
        return events.filter(~pl.int_range(pl.len()).is_in([*violations]))

    def empty_frame(self) -> pl.DataFrame:
        """A frame without events that has all columns."""
        empty = frames.decode([], self._newest).frame
        return self._layout.flatten(empty).with_columns(
            pl.lit(None, pl.Int64).alias(_INDEX),
            pl.lit(None, pl.String).alias("topic"),
            pl.lit(None, pl.Int32).alias("partition"),
        )

    def _nothing(self) -> pl.DataFrame:
        return self.empty_frame().with_columns(pl.lit(None, pl.Int64).alias(_PLACE))

    def _frame(self, schema: Schema, origins: Origins, refused: list[RefusedEvent]) -> pl.DataFrame:
        """The events of messages of one schema, with their places among these. Those that are none
        are added to `refused`.
        """
        messages = origins.messages
        result = frames.decode([each.datum for each in messages], schema)
        refused += (
            origins.refused(each.index, "datum-invalid", each.reason) for each in result.refused
        )
        kept, frame = result.kept, result.frame
        if schema is not self._newest:
            frame = resolve(frame, schema, self._newest)
        events = self._layout.flatten(frame).with_columns(
            pl.Series(_INDEX, [messages[at].leaf_index for at in kept], pl.Int64),
            *origins.at(kept).columns,
            pl.Series(_PLACE, kept, pl.Int64),
        )
        return _consistent(events, origins, refused)


class DecodedParts:
    """The parts of batches, which can be iterated any number of times.

    Ordinary batches are decoded once and kept. A batch that would take many times the memory of its
    messages is decoded again for each iteration, one part at a time.
    """

    def __init__(self, decoder: Decoder, *batches: Leaves) -> None:
        self._decoder = decoder
        self._batches = batches
        self._kept = self._decoded_if_small()

    def __iter__(self) -> Iterator[DecodedBatch]:
        """The parts in the order of their leaves."""
        return iter(self._decoder.parts(*self._batches) if self._kept is None else self._kept)

    def of(self, batches: Sequence[Leaves]) -> Iterable[DecodedBatch]:
        """The parts of some of the batches."""
        return self if len(batches) == len(self._batches) else self._decoder.parts(*batches)

    def _decoded_if_small(self) -> list[DecodedBatch] | None:
        """All parts; None if they take too much memory to be kept."""
        datums = sum(len(each.datum) for batch in self._batches for each in batch.messages)
        room = _KEPT_BYTES + _KEPT_FACTOR * datums
        found: list[DecodedBatch] = []
        for each in self._decoder.parts(*self._batches):
            room -= int(each.events.estimated_size())
            if room < 0:
                return None
            found.append(each)
        return found


class Decoders:
    """A decoder for each event type, made when it is first asked for.

    Args:
        agreement_check, published: see `Decoder`.
    """

    def __init__(
        self,
        catalog: Catalog,
        agreement_check: AgreementCheck | None,
        published: PublishedSchemas | None = None,
    ) -> None:
        self._agreement_check = agreement_check
        self._published = published
        self._catalog = catalog
        self._made: dict[str, Decoder] = {}

    def of(self, event_type: str) -> Decoder:
        """The decoder of an event type."""
        if event_type not in self._made:
            self._made[event_type] = Decoder(
                self._catalog, event_type, self._agreement_check, self._published
            )
        return self._made[event_type]


def _portions(origins: Origins) -> Iterator[Origins]:
    """Messages in their order, divided by the bytes of their datums."""
    messages = origins.messages
    ends = [*accumulate(len(each.datum) for each in messages)]
    start = 0
    while start < len(messages):
        before = ends[start - 1] if start else 0
        end = max(bisect_right(ends, before + _PORTION_BYTES), start + 1)
        yield origins.between(start, end)
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


def _by_schema(messages: Sequence[Message]) -> dict[bytes, list[int]]:
    """The places of the messages of each schema."""
    found: dict[bytes, list[int]] = {}
    for place, each in enumerate(messages):
        found.setdefault(each.fingerprint, []).append(place)
    return found


def _consistent(
    events: pl.DataFrame, origins: Origins, refused: list[RefusedEvent]
) -> pl.DataFrame:
    """The events that agree with the topic and the key of their messages.

    The others are added to `refused`: else an agency could publish in another's name, and revisions
    of one record could lie in two partitions, which have no order between them.
    """
    places = events[_PLACE].to_list()
    kept = origins.at(places)
    keys = pl.Series([each.key for each in kept.messages], dtype=pl.Binary)
    owners = kept.owners
    rules = {
        "foreign-agency": (
            pl.col("agency") == pl.lit(owners),
            "agency is not {}, the owner of the topic",
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
    for row in sound.not_().arg_true():
        broken = next(reason for reason in rules if not verdicts[reason][row])
        refused.append(kept.refused(row, broken, rules[broken][1].format(owners[row])))
    return events.filter(sound)
