"""One event to its Avro bytes and back. A datum is bare: no frame around it, no container.

Consumers decode thousands at once in another way; both give the same verdict on every datum, and a
property test holds them to it.
"""

from __future__ import annotations

from datetime import datetime
from functools import lru_cache
from io import BytesIO
from typing import TYPE_CHECKING, Any

import fastavro

from sinergi_schemas import errors
from sinergi_schemas.avro_types.datum import DatumReader, NotOne

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
    """The datum of an event without its revision: what stands before it and what stands behind.

    A record's next revision is known only under its lock. So the database puts it in, as a zigzag
    variable-length integer, and the agency's transaction pays for one round trip, not for two.

    Raises:
        EventRefused: it is not issued but for its revision, is not of this schema's event type, or
            holds a value that no consumer could read.
        SchemaRefused: the schema has no `revision` that is a plain int.
    """
    before = _before_revision(schema)
    document = {**_document(event, schema, event.ISSUED - {_REVISION}), _REVISION: 0}
    datum = _encode(document, schema)
    place, _ = before.length(datum)
    return datum[:place], datum[place + 1 :]


def encode_document(document: Mapping[str, Any], schema: Schema) -> bytes:
    """The datum of a document of a schema: aware datetimes, dates, decimals, symbols and UUIDs.

    Raises:
        EventRefused: a value is missing, does not fit its field, or is a time without a zone.
    """
    if _has_naive(document):
        raise errors.EventRefused(schema.event_type, ("a time has no zone",))
    return _encode(document, schema)


def decode(datum: bytes, schema: Schema) -> dict[str, Any]:
    """The document in a datum: aware datetimes in UTC, dates, decimals, symbols as text, UUIDs.

    Raises:
        DatumInvalid: it is not one datum of the schema, or breaks a rule of the contract.
    """
    try:
        document, _ = _reader(schema).read(datum)
    except NotOne as why:
        raise errors.DatumInvalid(schema.name, str(why)) from None
    return dict(document)


def _document(event: Event, schema: Schema, issued: frozenset[str]) -> dict[str, Any]:
    """The event's document, if it is one of the schema's and its fields `issued` are filled in."""
    problems = [f"{name}: is for publish to fill in" for name in issued if not getattr(event, name)]
    if event.event_type != schema.event_type:
        problems.append(f"was to be encoded as {schema.event_type}")
    if problems:
        raise errors.EventRefused(event.event_type, tuple(sorted(problems)))
    return event.model_dump()


def _has_naive(value: Any) -> bool:
    """Whether a time without a zone is in there: fastavro would read it in the machine's zone."""
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
    """The datum, which is read again: fastavro writes things that no consumer would take.

    Such as an int beyond 32 bits, a moment before the year 1, a decimal with too many digits.
    """
    buffer = BytesIO()
    try:
        fastavro.schemaless_writer(
            buffer, _parsed(schema), document, strict=True, disable_tuple_notation=True
        )
    except (ValueError, TypeError, KeyError, AttributeError, ArithmeticError) as why:
        # fastavro's message quotes the value: only its kind may go on.
        what = f"a value is missing or does not fit ({type(why).__name__})"
        raise errors.EventRefused(schema.event_type, (what,)) from None
    datum = buffer.getvalue()
    try:
        _reader(schema).read(datum)
    except NotOne as why:
        raise errors.EventRefused(schema.event_type, (f"a value does not fit: {why}",)) from None
    return datum


@lru_cache(_SCHEMAS)
def _parsed(schema: Schema) -> Any:
    return fastavro.parse_schema(schema.parsed)


@lru_cache(_SCHEMAS)
def _reader(schema: Schema) -> DatumReader:
    return DatumReader(schema.parsed)


@lru_cache(_SCHEMAS)
def _before_revision(schema: Schema) -> DatumReader:
    fields = schema.parsed["fields"]
    revision = next((at for at, each in enumerate(fields) if each["name"] == _REVISION), None)
    if revision is None or fields[revision]["type"] != "int":
        raise errors.SchemaRefused(schema.name, f"{_REVISION} is not a plain int of the event")
    return DatumReader({**schema.parsed, "fields": fields[:revision]})
