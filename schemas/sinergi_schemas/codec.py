"""One event to its Avro datum and back. A datum is bare: it has no frame and no container.

Consumers decode thousands of datums at once, in another way (`sinergi_consumers.decode.frames`).
Both give the same verdict on every datum; a property test compares them.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from functools import lru_cache
from io import BytesIO
from typing import TYPE_CHECKING, Any

import fastavro

from sinergi_schemas import errors
from sinergi_schemas.avro_types.datum import DatumReader, MalformedDatum
from sinergi_schemas.avro_types.nodes import PrimitiveType

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sinergi_schemas.catalog import Schema
    from sinergi_schemas.events import Event

_REVISION = "revision"
_SCHEMAS = 256


def encode(event: Event, schema: Schema) -> bytes:
    """The datum of an issued event.

    Raises:
        EventRefused: it is not issued yet, is not of this schema's event type, or holds a value
            that no consumer could read.
    """
    return _encode(_document(event, schema, event.ISSUED), schema)


def encode_around_revision(event: Event, schema: Schema) -> tuple[bytes, bytes]:
    """The datum of an event without its revision: the bytes before it, and those after it.

    The next revision of a record is known only while the record is locked. So the database puts it
    in, as an Avro int, and the agency's transaction needs one round trip instead of two.

    Raises:
        EventRefused: a field other than the revision is not issued yet, it is not of this schema's
            event type, or it holds a value that no consumer could read.
        SchemaRefused: the schema has no `revision` of type int.
    """
    before = _before_revision(schema)
    document = {**_document(event, schema, event.ISSUED - {_REVISION}), _REVISION: 0}
    datum = _encode(document, schema)
    place, _ = before.length(datum)
    return datum[:place], datum[place + 1 :]


def encode_document(document: Mapping[str, Any], schema: Schema) -> bytes:
    """The datum of a document.

    Args:
        document: values by field: datetimes with a zone, dates, decimals, symbols as text, UUIDs.

    Raises:
        EventRefused: a value is missing, does not fit its field, or is a time without a zone.
    """
    if _has_naive(document):
        raise errors.EventRefused(schema.event_type, ("a time has no zone",))
    return _encode(document, schema)


def decode(datum: bytes, schema: Schema) -> dict[str, Any]:
    """The document in a datum: datetimes in UTC, dates, decimals, symbols as text, UUIDs.

    Raises:
        DatumInvalid: it is not one datum of the schema, or breaks a rule of the contract.
    """
    try:
        document, _ = _reader(schema).read(datum)
    except MalformedDatum as why:
        raise errors.DatumInvalid(schema.name, str(why)) from None
    return dict(document)


def _document(event: Event, schema: Schema, issued: frozenset[str]) -> dict[str, Any]:
    """The event's document.

    Args:
        issued: the fields that `publish` must have filled in.

    Raises:
        EventRefused: one of them is empty, or the event is not of the schema's event type.
    """
    problems = [f"{name}: is for publish to fill in" for name in issued if not getattr(event, name)]
    if event.event_type != schema.event_type:
        problems.append(f"was to be encoded as {schema.event_type}")
    if problems:
        raise errors.EventRefused(event.event_type, tuple(sorted(problems)))
    # pydantic warns of a value of another type, and quotes it. The schema refuses such a value.
    return event.model_dump(warnings=False)


def _has_naive(value: Any) -> bool:
    """Whether a value holds a time without a zone; fastavro would take this machine's zone."""
    match value:
        case datetime():
            return value.utcoffset() is None
        case dict():
            return any(map(_has_naive, value.values()))
        case list() | tuple():
            return any(map(_has_naive, value))
        case _:
            return False


def _encode(document: Mapping[str, Any], schema: Schema) -> bytes:
    """The datum of a document, read again to check it.

    fastavro writes values that no consumer accepts: an int beyond 32 bits, a time before the year
    1, a decimal with too many digits.

    Raises:
        EventRefused: a value is missing or does not fit its field.
    """
    buffer = BytesIO()
    try:
        fastavro.schemaless_writer(
            buffer, _for_fastavro(schema), document, strict=True, disable_tuple_notation=True
        )
    except (ValueError, TypeError, KeyError, AttributeError, ArithmeticError) as why:
        # The message of fastavro quotes the value; only the class of its error is safe.
        what = f"a value is missing or does not fit ({type(why).__name__})"
        raise errors.EventRefused(schema.event_type, (what,)) from None
    datum = buffer.getvalue()
    try:
        _reader(schema).read(datum)
    except MalformedDatum as why:
        raise errors.EventRefused(schema.event_type, (f"a value does not fit: {why}",)) from None
    return datum


@lru_cache(_SCHEMAS)
def _for_fastavro(schema: Schema) -> Any:
    return fastavro.parse_schema(schema.parsed)


@lru_cache(_SCHEMAS)
def _reader(schema: Schema) -> DatumReader:
    return DatumReader(schema.event)


@lru_cache(_SCHEMAS)
def _before_revision(schema: Schema) -> DatumReader:
    """Reads the fields that stand before the revision."""
    fields = schema.event.fields
    place = next((at for at, each in enumerate(fields) if each.name == _REVISION), None)
    if place is None or fields[place].type != PrimitiveType("int"):
        raise errors.SchemaRefused(schema.name, f"{_REVISION} is not a plain int of the event")
    return DatumReader(replace(schema.event, fields=fields[:place]))
