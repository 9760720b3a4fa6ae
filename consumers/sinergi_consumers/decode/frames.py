"""Many datums at once: the decoder of the materialiser, of replay and of rebuild.

An Avro container is built in memory out of the raw datums of one writer schema, lowered, and read
by polars; the rows are then held to the contract's rules and raised to its types.

Inside a container the datums' borders vanish, and a crafted datum could swallow its neighbour. So
one fresh random number stands before each datum and another behind it, as fields of their own.
If every row shows both and the number of rows is right, then every row was cut exactly at its
borders: each row begins at one of the n places where the first number stands, there are n rows,
so row i begins at place i, and it ends where the second number stands, just before place i + 1.
Nobody can write a number that was drawn after the datum was sealed.

A byte can be an item of a list, which takes many times the room in memory: the caller bounds the
bytes of a call. A datum beyond the contract's size is refused without being read.

A batch whose borders do not hold is halved; a small one is gone through by the strict reader, datum
by datum, and what it takes is read again together, what it does not take each alone. It only sorts:
every verdict is this decoder's, and the one that the datum gets alone. It never depends on its
neighbours.
"""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING, NamedTuple

import polars as pl

from sinergi_consumers.decode.lowering import SIZE, lower
from sinergi_schemas.avro_types.datum import DatumReader, NotOne
from sinergi_schemas.limits import MOST_DATUM_BYTES, TOO_LARGE

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sinergi_consumers.decode.lowering import LoweredSchema
    from sinergi_schemas.catalog import Schema

MALFORMED = "not one datum of its schema"

_NONCE_BITS = 62
_MAGIC = b"Obj\x01"
_SYNC_LENGTH = 16
_MOST_SUSPECT = 2_500  # the strict reader costs ten times as much a datum, and reads each once
_UNREADABLE = (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError)


@dataclass(frozen=True, slots=True)
class Refusal:
    """A datum that is not one of its schema's: which of the batch, and the rule that it breaks.

    The reason names a field and a rule and never a value.
    """

    index: int
    reason: str


@dataclass(frozen=True, slots=True)
class DecodedFrame:
    """A decoded batch. `kept[i]` is the index in the batch of the datum in row i of the frame."""

    frame: pl.DataFrame
    kept: list[int]
    refused: list[Refusal]


def decode(datums: Sequence[bytes], schema: Schema) -> DecodedFrame:
    """Decode bare datums, all written with `schema`; what breaks the contract is refused alone.

    The frame has the contract's columns and types (see `lowering`), also when no row is left.

    Raises:
        SchemaNotLowered: the schema itself is beyond the safe shape.
    """
    lowered = lower(schema.text)
    container = _Container.draw(lowered)
    frames: list[pl.DataFrame] = []
    read: list[int] = []
    refused: list[Refusal] = []
    refused += (Refusal(at, TOO_LARGE) for at, each in enumerate(datums) if _is_too_large(each))
    readable = [at for at, each in enumerate(datums) if not _is_too_large(each)]
    for places, rows in _cut(container, datums, readable, schema):
        if rows is None:
            refused += (Refusal(place, MALFORMED) for place in places)
            continue
        # Before they are put together: polars panics at a decimal beyond its digits in a frame
        # that is copied.
        broken = _broken(rows, [len(datums[place]) for place in places], lowered)
        refused += (Refusal(places[row], reason) for row, reason in broken.items())
        fine = [row for row in range(rows.height) if row not in broken]
        read += [places[row] for row in fine]
        frames.append(rows[fine] if broken else rows)
    rows = pl.concat(frames) if frames else container.rows([]).select("datum")
    if len(frames) > 1:
        order = pl.Series(read).arg_sort()
        read, rows = sorted(read), rows[order]
    refused.sort(key=lambda each: each.index)
    return DecodedFrame(_raised(rows, lowered), read, refused)


class _Container(NamedTuple):
    """An Avro object container file (Avro 1.12, "Object Container Files") for one call."""

    head: bytes
    sync: bytes
    before: int
    behind: int

    @classmethod
    def draw(cls, lowered: LoweredSchema) -> _Container:
        """A container for a lowered schema, with fresh numbers."""
        fields = [
            {"name": "before", "type": "long"},
            {"name": "datum", "type": lowered.avro},
            {"name": "behind", "type": "long"},
        ]
        schema = json.dumps({"type": "record", "name": "bordered", "fields": fields}).encode()
        sync = secrets.token_bytes(_SYNC_LENGTH)
        metadata = (b"avro.schema", schema, b"avro.codec", b"null")
        head = b"".join((_MAGIC, _long(2), *map(_bytes, metadata), _long(0), sync))
        return cls(head, sync, secrets.randbits(_NONCE_BITS), secrets.randbits(_NONCE_BITS))

    def read(self, datums: Sequence[bytes]) -> pl.DataFrame | None:
        """The rows of these datums, or None unless each was cut exactly at its borders."""
        try:
            rows = self.rows(datums)
        except _UNREADABLE:
            return None
        bordered = (rows["before"] == self.before) & (rows["behind"] == self.behind)
        return rows.select("datum") if rows.height == len(datums) and bordered.all() else None

    def rows(self, datums: Sequence[bytes]) -> pl.DataFrame:
        """What polars makes of these datums between their numbers."""
        before, behind = _long(self.before), _long(self.behind)
        block = before + (behind + before).join(datums) + behind if datums else b""
        parts = (self.head, _long(len(datums)), _long(len(block)), block, self.sync)
        return pl.read_avro(BytesIO(b"".join(parts)))


def _is_too_large(datum: bytes) -> bool:
    return len(datum) > MOST_DATUM_BYTES


def _cut(
    container: _Container, datums: Sequence[bytes], places: Sequence[int], schema: Schema
) -> Iterator[tuple[Sequence[int], pl.DataFrame | None]]:
    """Places of datums that read, with their rows; and single ones, with None, that do not."""
    if not places:
        return
    rows = container.read([datums[place] for place in places])
    if rows is not None or len(places) == 1:
        yield places, rows
        return
    for part in _parts(datums, places, schema):
        yield from _cut(container, datums, part, schema)


def _parts(
    datums: Sequence[bytes], places: Sequence[int], schema: Schema
) -> Sequence[Sequence[int]]:
    """Smaller parts of places that do not read together: who is not suspect, and each who is."""
    if len(places) <= _MOST_SUSPECT:
        reader = DatumReader(json.loads(schema.text))
        sound = [place for place in places if _takes(reader, datums[place])]
        if len(sound) < len(places):
            suspect = sorted({*places} - {*sound})
            return [sound, *([place] for place in suspect)]
    middle = len(places) // 2
    return places[:middle], places[middle:]


def _takes(reader: DatumReader, datum: bytes) -> bool:
    try:
        reader.read(datum)
    except NotOne:
        return False
    return True


def _broken(rows: pl.DataFrame, sizes: Sequence[int], lowered: LoweredSchema) -> dict[int, str]:
    """The rows that break a rule, each with the first rule that it breaks.

    Args:
        sizes: of their datums, in bytes.
    """
    sized = rows.with_columns(pl.Series(SIZE, sizes, pl.Int64))
    kept = sized.select(rule.kept.alias(str(at)) for at, rule in enumerate(lowered.rules))
    broken: dict[int, str] = {}
    for rule, column in zip(lowered.rules, kept, strict=True):
        if not column.all():
            for row in (~column).arg_true():
                broken.setdefault(row, f"{rule.path}: {rule.text}".removeprefix(": "))
    return dict(sorted(broken.items()))


def _raised(rows: pl.DataFrame, lowered: LoweredSchema) -> pl.DataFrame:
    return (rows if lowered.raised is None else rows.select(lowered.raised)).unnest("datum")


def _long(number: int) -> bytes:
    """A number from 0 upwards as an Avro long: zigzag, then seven bits a byte, lowest first."""
    rest = number << 1
    encoded = bytearray()
    while rest > 0x7F:
        encoded.append(rest & 0x7F | 0x80)
        rest >>= 7
    encoded.append(rest)
    return bytes(encoded)


def _bytes(data: bytes) -> bytes:
    return _long(len(data)) + data
