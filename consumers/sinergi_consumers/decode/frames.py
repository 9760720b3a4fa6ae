"""The bulk decoder: many datums at once to one frame, for materialiser and replay.

The datums of one writer schema are put into an Avro container in memory, which polars reads with
the lowered schema (see `lowering`); the rows are then checked by the rules of the contract and
restored to its types.

A container does not mark where a datum ends, and a crafted datum could take in its neighbour. So
a fresh random number (a nonce) stands before each datum and another after it, as fields of their
own. If every row shows both nonces and the number of rows is right, every row is exactly one datum.
The first nonce occurs at n positions, and each row starts at one of them. There are n rows, so row
i starts at position i. It ends at the second nonce, directly before position i + 1. The nonces are
drawn after the datums were sealed, so nobody can write them into one.

A list item can be one byte in Avro and many bytes in a frame, so the caller limits the bytes of one
call. A datum that is larger than the contract allows is refused without being read.

If the check with the nonces fails for a batch, the batch is divided. A large batch is halved. In a
small one, the strict reader checks each datum. Those that it accepts are decoded again together;
each of the others is decoded alone. The verdict is always that of this decoder on the datum alone;
it never depends on the other datums of the batch.
"""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING, NamedTuple

import polars as pl

from sinergi_consumers.decode.lowering import SIZE, lower
from sinergi_schemas.avro_types.datum import DatumReader, MalformedDatum
from sinergi_schemas.avro_types.encoding import encode_bytes, encode_long
from sinergi_schemas.limits import MOST_DATUM_BYTES, TOO_LARGE

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sinergi_consumers.decode.lowering import LoweredSchema
    from sinergi_schemas.catalog import Schema

MALFORMED = "not one datum of its schema"

_NONCE_BITS = 62
_MAGIC = b"Obj\x01"
_SYNC_LENGTH = 16
_MOST_SORTED = 2_500  # the strict reader takes ten times as long a datum, but reads each only once
_UNREADABLE = (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError)


@dataclass(frozen=True, slots=True)
class Refusal:
    """A datum of a batch that is refused.

    Attributes:
        index: its index in the batch.
        reason: the field and the rule that it breaks, without any value.
    """

    index: int
    reason: str


@dataclass(frozen=True, slots=True)
class DecodedFrame:
    """A decoded batch.

    Attributes:
        frame: one row for each datum that was decoded.
        kept: the index in the batch of the datum in each row.
        refused: the datums that have no row, in their order in the batch.
    """

    frame: pl.DataFrame
    kept: list[int]
    refused: list[Refusal]


def decode(datums: Sequence[bytes], schema: Schema) -> DecodedFrame:
    """Decode bare datums of one schema.

    Args:
        datums: any bytes; what is not a datum of the schema is refused alone.
        schema: the schema that all of them were written with.

    Returns:
        A frame with the contract's columns and types (see `lowering`), even if it has no row.
    """
    lowered = lower(schema)
    container = _Container.draw(lowered)
    frames: list[pl.DataFrame] = []
    read: list[int] = []
    refused: list[Refusal] = []
    refused += (Refusal(at, TOO_LARGE) for at, each in enumerate(datums) if _is_too_large(each))
    readable = [at for at, each in enumerate(datums) if not _is_too_large(each)]
    for places, rows in _read(container, datums, readable, schema):
        if rows is None:
            refused += (Refusal(place, MALFORMED) for place in places)
            continue
        # Before the frames are put together: polars panics when it copies a frame that holds a
        # decimal with more digits than its type has.
        broken = _broken(rows, [len(datums[place]) for place in places], lowered)
        refused += (Refusal(places[row], reason) for row, reason in broken.items())
        sound = [row for row in range(rows.height) if row not in broken]
        read += [places[row] for row in sound]
        frames.append(rows[sound] if broken else rows)
    rows = pl.concat(frames) if frames else container.rows([]).select("datum")
    if len(frames) > 1:
        order = pl.Series(read).arg_sort()
        read, rows = sorted(read), rows[order]
    refused.sort(key=lambda each: each.index)
    return DecodedFrame(_restored(rows, lowered), read, refused)


class _Container(NamedTuple):
    """An Avro object container file (Avro 1.12, "Object Container Files") for one call.

    Attributes:
        head: everything that stands before the block of datums.
        sync: the marker after the block.
        before: the nonce before each datum.
        after: the nonce after each datum.
    """

    head: bytes
    sync: bytes
    before: int
    after: int

    @classmethod
    def draw(cls, lowered: LoweredSchema) -> _Container:
        """A container for a lowered schema, with fresh nonces."""
        fields = [
            {"name": "before", "type": "long"},
            {"name": "datum", "type": lowered.avro},
            {"name": "after", "type": "long"},
        ]
        schema = json.dumps({"type": "record", "name": "bordered", "fields": fields}).encode()
        sync = secrets.token_bytes(_SYNC_LENGTH)
        metadata = (b"avro.schema", schema, b"avro.codec", b"null")
        pairs = (encode_long(2), *map(encode_bytes, metadata), encode_long(0))
        head = b"".join((_MAGIC, *pairs, sync))
        return cls(head, sync, secrets.randbits(_NONCE_BITS), secrets.randbits(_NONCE_BITS))

    def read(self, datums: Sequence[bytes]) -> pl.DataFrame | None:
        """The rows of these datums, or None unless each row is exactly one datum."""
        try:
            rows = self.rows(datums)
        except _UNREADABLE:
            return None
        bordered = (rows["before"] == self.before) & (rows["after"] == self.after)
        return rows.select("datum") if rows.height == len(datums) and bordered.all() else None

    def rows(self, datums: Sequence[bytes]) -> pl.DataFrame:
        """What polars reads of these datums, with their nonces.

        Raises:
            PolarsError, PanicException, OSError: the bytes do not read with the schema.
        """
        before, after = encode_long(self.before), encode_long(self.after)
        block = before + (after + before).join(datums) + after if datums else b""
        parts = (self.head, encode_long(len(datums)), encode_long(len(block)), block, self.sync)
        return pl.read_avro(BytesIO(b"".join(parts)))


def _is_too_large(datum: bytes) -> bool:
    return len(datum) > MOST_DATUM_BYTES


def _read(
    container: _Container, datums: Sequence[bytes], places: Sequence[int], schema: Schema
) -> Iterator[tuple[Sequence[int], pl.DataFrame | None]]:
    """Places of datums that read together, with their rows; and each that does not, with None."""
    if not places:
        return
    rows = container.read([datums[place] for place in places])
    if rows is not None or len(places) == 1:
        yield places, rows
        return
    for part in _divided(datums, places, schema):
        yield from _read(container, datums, part, schema)


def _divided(
    datums: Sequence[bytes], places: Sequence[int], schema: Schema
) -> Sequence[Sequence[int]]:
    """Places that do not read together, in smaller parts."""
    if len(places) <= _MOST_SORTED:
        reader = DatumReader(schema.event)
        sound = [place for place in places if _is_sound(reader, datums[place])]
        if len(sound) < len(places):
            suspect = sorted({*places} - {*sound})
            return [sound, *([place] for place in suspect)]
    middle = len(places) // 2
    return places[:middle], places[middle:]


def _is_sound(reader: DatumReader, datum: bytes) -> bool:
    try:
        reader.read(datum)
    except MalformedDatum:
        return False
    return True


def _broken(rows: pl.DataFrame, sizes: Sequence[int], lowered: LoweredSchema) -> dict[int, str]:
    """The rows that break a rule, each with the first rule that it breaks.

    Args:
        rows: the rows as polars has read them.
        sizes: the sizes of their datums, in bytes.
    """
    sized = rows.with_columns(pl.Series(SIZE, sizes, pl.Int64))
    holds = sized.select(rule.holds.alias(str(at)) for at, rule in enumerate(lowered.rules))
    broken: dict[int, str] = {}
    for rule, column in zip(lowered.rules, holds, strict=True):
        if not column.all():
            for row in (~column).arg_true():
                broken.setdefault(row, f"{rule.path}: {rule.text}".removeprefix(": "))
    return dict(sorted(broken.items()))


def _restored(rows: pl.DataFrame, lowered: LoweredSchema) -> pl.DataFrame:
    return (rows if lowered.restored is None else rows.select(lowered.restored)).unnest("datum")
