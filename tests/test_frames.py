"""The bulk decoder agrees with fastavro and with a slow reference, also on crafted bytes."""

from __future__ import annotations

import io
import json
import math
import os
import secrets
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

import fastavro
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from avro_schemas import (
    DATE,
    DECIMAL,
    TIMESTAMP,
    damage,
    documents,
    enum_of,
    events,
    field,
    record_of,
    schema_of,
)
from avro_schemas import (
    UUID as UUID_TYPE,
)
from sinergi_consumers.decode import frames
from sinergi_consumers.decode.frames import MALFORMED, Refusal, decode
from sinergi_consumers.decode.lowering import lower
from sinergi_schemas.avro_types.datum import DatumReader, MalformedDatum
from sinergi_schemas.avro_types.encoding import encode_long
from waiting import PATIENCE_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable

    from sinergi_schemas.catalog import Schema

VECTORS = sorted((Path(__file__).parent / "vectors" / "frames").glob("*.json"))
SECRET = "Slamet Riyadi 3510101708450001"  # a made-up person's


def encode(value: Any, schema: Schema) -> bytes:
    out = io.BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(schema.parsed), value)
    return out.getvalue()


def by_fastavro(datum: bytes, schema: Schema) -> Any:
    parsed = fastavro.parse_schema(schema.parsed)
    return fastavro.schemaless_reader(io.BytesIO(datum), parsed, None)


def alike(value: Any) -> Any:
    """A value in a form in which the decoders can be compared: UUIDs as text, NaN equal to NaN."""
    match value:
        case dict():
            return {name: alike(each) for name, each in value.items()}
        case list():
            return [alike(each) for each in value]
        case UUID():
            return str(value)
        case float() if math.isnan(value):
            return "NaN"
        case _:
            return value


@st.composite
def batches(draw: st.DrawFn) -> tuple[Schema, list[bytes]]:
    """A schema and datums of it."""
    schema = schema_of(draw(events()))
    values = documents(schema)
    return schema, [encode(draw(values), schema) for _ in range(draw(st.integers(0, 5)))]


@st.composite
def mutated_batches(draw: st.DrawFn) -> tuple[Schema, list[bytes]]:
    """A schema and datums of it, some of them damaged."""
    schema, datums = draw(batches())
    return schema, [draw(damage(datum)) if draw(st.booleans()) else datum for datum in datums]


# What is decoded


@given(batches())
def test_every_datum_that_fastavro_writes_is_decoded_to_what_fastavro_reads(
    batch: tuple[Schema, list[bytes]],
) -> None:
    schema, datums = batch
    decoded = decode(datums, schema)
    assert decoded.refused == []
    assert decoded.kept == list(range(len(datums)))
    expected = [alike(by_fastavro(datum, schema)) for datum in datums]
    assert alike(decoded.frame.to_dicts()) == expected


@given(mutated_batches())
def test_a_damaged_datum_is_refused_or_read_as_fastavro_reads_it(
    batch: tuple[Schema, list[bytes]],
) -> None:
    schema, datums = batch
    decoded = decode(datums, schema)
    rows = dict(zip(decoded.kept, alike(decoded.frame.to_dicts()), strict=True))
    for index, datum in enumerate(datums):
        try:
            expected, is_lenient = DatumReader(schema.event).read(datum)
        except MalformedDatum:
            assert index not in rows
            continue
        assert rows[index] == alike(expected)
        if not is_lenient:
            assert rows[index] == alike(by_fastavro(datum, schema))


@given(batches(), st.sampled_from([math.nan, math.inf, -math.inf, -math.nan]), st.data())
def test_both_decoders_refuse_what_is_no_finite_number(
    batch: tuple[Schema, list[bytes]], number: float, data: st.DataObject
) -> None:
    """Wherever it stands, and its neighbours come in."""
    schema, datums = batch
    kind = data.draw(st.sampled_from(["float", "double"]))
    wrap = data.draw(st.sampled_from([lambda each: each, lambda each: {"x": each}]))
    inner = kind if wrap(0) == 0 else {"type": "record", "name": "In", "fields": [field("x", kind)]}
    shape, values = data.draw(
        st.sampled_from(
            [
                (inner, [wrap(number), wrap(1.5)]),
                (["null", inner], [wrap(number), None]),
                ({"type": "array", "items": inner}, [[wrap(1.5), wrap(number)], []]),
            ]
        )
    )
    last = field("number", shape)
    whole = schema_of(record_of(*schema.parsed["fields"], last))
    tails = [encode({"number": each}, schema_of(record_of(last))) for each in values]
    mixed = [datum + tail for datum in datums for tail in tails]
    decoded = decode(mixed, whole)
    assert decoded.kept == list(range(1, len(mixed), 2))
    assert all("number" in each.reason and "finite" in each.reason for each in decoded.refused)
    for place, datum in enumerate(mixed):
        if place % 2:
            DatumReader(whole.event).read(datum)
        else:
            with pytest.raises(MalformedDatum, match="not a finite number"):
                DatumReader(whole.event).read(datum)


@given(mutated_batches())
def test_a_verdict_is_the_same_alone_as_in_any_company(
    batch: tuple[Schema, list[bytes]],
) -> None:
    schema, datums = batch
    together = decode(datums, schema)
    assert sorted([*together.kept, *(each.index for each in together.refused)]) == list(
        range(len(datums))
    )
    rows = dict(zip(together.kept, alike(together.frame.to_dicts()), strict=True))
    reasons = {each.index: each.reason for each in together.refused}
    for index, datum in enumerate(datums):
        alone = decode([datum], schema)
        assert alike(alone.frame.to_dicts()) == [rows[index]] if index in rows else alone.kept == []
        assert [each.reason for each in alone.refused] == [
            reasons[each] for each in reasons if each == index
        ]


def plain(value: Any) -> Any:
    """A value as a vector file writes it: dates in ISO 8601, decimals as text."""
    return json.loads(json.dumps(value, default=lambda it: getattr(it, "isoformat", it.__str__)()))


def schema_around(kind: Any) -> Schema:
    """A schema with one field `x`."""
    return schema_of(record_of(field("x", kind)))


@pytest.mark.parametrize("path", VECTORS, ids=lambda path: path.stem)
def test_extreme_bytes_get_the_verdict_that_their_vector_names(path: Path) -> None:
    vector = json.loads(path.read_text())
    datum, schema = bytes.fromhex(vector["datum"]), schema_around(vector["type"])
    decoded = decode([datum], schema)
    if "refused" in vector:
        assert decoded.refused == [Refusal(0, vector["refused"])]
        assert decoded.frame.is_empty()
        with pytest.raises(MalformedDatum):
            DatumReader(schema.event).read(datum)
    else:
        assert plain(decoded.frame["x"].to_list()) == [vector["value"]]
        assert plain(DatumReader(schema.event).read(datum)[0]) == {"x": vector["value"]}


@pytest.mark.parametrize("path", VECTORS, ids=lambda path: path.stem)
def test_the_verdict_is_the_same_beside_a_datum_that_cannot_be_read(path: Path) -> None:
    """What reads is taken out of several frames then, and put together."""
    vector = json.loads(path.read_text())
    datum, schema = bytes.fromhex(vector["datum"]), schema_around(vector["type"])
    decoded = decode([datum, b"", datum], schema)
    refused = {each.index: each.reason for each in decoded.refused}
    if "refused" in vector:
        assert refused == {0: vector["refused"], 1: MALFORMED, 2: vector["refused"]}
        assert decoded.frame.is_empty()
    else:
        assert refused == {1: MALFORMED}
        assert plain(decoded.frame["x"].to_list()) == [vector["value"]] * 2


def test_there_are_vectors() -> None:
    assert len(VECTORS) > 40


# Types


EVERY_TYPE: dict[str, tuple[Any, Any]] = {
    "boolean": ("boolean", pl.Boolean),
    "int": ("int", pl.Int32),
    "long": ("long", pl.Int64),
    "float": ("float", pl.Float32),
    "double": ("double", pl.Float64),
    "bytes": ("bytes", pl.Binary),
    "string": ("string", pl.String),
    "uuid": (UUID_TYPE, pl.String),
    "date": (DATE, pl.Date),
    "timestamp": (TIMESTAMP, pl.Datetime("us", "UTC")),
    "decimal": (DECIMAL, pl.Decimal(14, 4)),
    "enum": (enum_of("E"), pl.String),
    "enum_again": ("E", pl.String),
    "optional_enum": (["null", "E"], pl.String),
    "enums": ({"type": "array", "items": "E"}, pl.List(pl.String)),
}


def every_type() -> tuple[Schema, pl.Schema]:
    """Every type, at the top, in an optional record, and in an optional list of them."""
    fields = [field(name, avro) for name, (avro, _) in EVERY_TYPE.items()]
    inner = {"type": "record", "name": "Inner", "fields": fields}
    outer = [
        field("one", ["null", inner]),
        field("many", ["null", {"type": "array", "items": "Inner"}]),
    ]
    struct = pl.Struct({name: dtype for name, (_, dtype) in EVERY_TYPE.items()})
    schema = schema_of({**record_of(*outer), "namespace": "id.sinergi"})
    return schema, pl.Schema({"one": struct, "many": pl.List(struct)})


@pytest.mark.parametrize(
    "datums", [[], [b"\x00\x00"], [b"\x02"], [b"\x00\x00", b"\x00\x02\x00", b"\x02"]]
)
def test_the_frame_has_the_contracts_types_whatever_is_in_it(datums: list[bytes]) -> None:
    schema, expected = every_type()
    assert decode(datums, schema).frame.schema == expected


# Crafted batches


TEXT = schema_around("string")


def test_a_datum_that_swallows_its_neighbour_is_refused_and_the_neighbour_stands() -> None:
    honest = encode({"x": "honest"}, TEXT)
    border = 2 * len(encode_long(2**61))
    hungry = encode_long(5 + border + len(honest)) + b"mine "
    decoded = decode([hungry, honest, honest], TEXT)
    assert decoded.refused == [Refusal(0, MALFORMED)]
    assert decoded.frame["x"].to_list() == ["honest", "honest"]


def test_two_datums_that_only_fit_together_are_both_refused() -> None:
    whole = encode({"x": "one datum cut in two"}, TEXT)
    decoded = decode([whole[:7], whole[7:]], TEXT)
    assert [each.index for each in decoded.refused] == [0, 1]


def test_the_numbers_at_the_borders_are_drawn_anew_for_every_call() -> None:
    lowered = lower(TEXT)
    drawn = [frames._Container.draw(lowered) for _ in range(50)]
    assert len({number for each in drawn for number in (each.before, each.after)}) == 100
    assert max(each.before for each in drawn) >= 2**58


def test_known_border_numbers_let_two_datums_forge_what_lies_between(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The attack that fresh numbers are there for: with known ones it goes through."""
    honest = encode({"x": "honest"}, TEXT)
    first = encode_long(4 + len(honest))
    third = b"\x02\x02" + b"\x02x" + b"\x02\x02" + b"\x02y"
    decoded = decode([first, honest, third], TEXT)
    assert decoded.kept == [1]
    assert decoded.frame["x"].to_list() == ["honest"]
    monkeypatch.setattr(secrets, "randbits", lambda _: 1)
    forged = decode([first, honest, third], TEXT)
    assert forged.frame["x"].to_list() == ["\x02\x02\x0chonest\x02\x02", "x", "y"]


def test_a_batch_of_nothing_but_damage_is_refused_one_by_one() -> None:
    decoded = decode([b"\x7f"] * 33, TEXT)
    assert decoded.refused == [Refusal(index, MALFORMED) for index in range(33)]
    assert decoded.frame.is_empty()


def test_the_first_rule_that_a_row_breaks_is_named_and_its_neighbours_stand() -> None:
    schema = schema_of(record_of(field("a", "boolean"), field("b", "int")))
    wide = encode_long(2**40)
    datums = [b"\x01\x02", b"\x02" + wide, b"\x00" + wide, b"\x00\x04", b"\x01"]
    decoded = decode(datums, schema)
    assert decoded.kept == [0, 3]
    assert decoded.frame.rows() == [(True, 1), (False, 2)]
    assert decoded.refused == [
        Refusal(1, "a: neither true nor false"),
        Refusal(2, "b: beyond 32 bits"),
        Refusal(4, MALFORMED),
    ]


@pytest.mark.parametrize(
    "spoilt",
    [
        lambda rows: rows.head(-1),
        lambda rows: rows.with_columns(pl.col("before") + 1),
        lambda rows: rows.with_columns(pl.col("after") + 1),
    ],
    ids=["a row lost", "other numbers before", "other numbers after"],
)
def test_rows_are_not_believed_unless_all_borders_show(
    spoilt: Callable[[pl.DataFrame], pl.DataFrame], monkeypatch: pytest.MonkeyPatch
) -> None:
    read = pl.read_avro
    monkeypatch.setattr(pl, "read_avro", lambda source: spoilt(read(source)))
    decoded = decode([encode({"x": "honest"}, TEXT)], TEXT)
    assert decoded.refused == [Refusal(0, MALFORMED)]


@pytest.mark.parametrize("why", [KeyboardInterrupt, SystemExit, MemoryError])
def test_what_is_not_the_datums_fault_is_not_swallowed(
    why: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(_: object) -> None:
        raise why

    monkeypatch.setattr(pl, "read_avro", interrupted)
    with pytest.raises(why):
        decode([b"\x00"], TEXT)


# In a process of its own: what polars itself does when it panics


IN_A_LIMITED_PROCESS = """
import json, resource, sys
from sinergi_consumers.decode.frames import decode
from sinergi_schemas.catalog import Schema
text, datums = json.loads(sys.stdin.read())
schema = Schema.from_bytes("probe", 1, 1, text.encode())
decode([], schema)
mapped = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (mapped + 2**29, mapped + 2**29))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
decoded = decode([bytes.fromhex(each) for each in datums], schema)
grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
print(json.dumps([decoded.kept, len(decoded.refused), grown]))
"""


def in_a_limited_process(schema: Schema, datums: list[bytes]) -> tuple[list[Any], str]:
    """What a fresh process with half a GiB to spare keeps, refuses and says on standard error."""
    asked = json.dumps([schema.text.decode(), [datum.hex() for datum in datums]])
    done = subprocess.run(
        [sys.executable, "-c", IN_A_LIMITED_PROCESS],
        input=asked,
        capture_output=True,
        text=True,
        check=True,
        timeout=PATIENCE_SECONDS,
        # A backtrace that finds no memory waits for a lock of its own for ever.
        env=os.environ | {"RUST_BACKTRACE": "0"},
    )
    return json.loads(done.stdout), done.stderr


def test_a_claim_of_gigabytes_takes_no_memory() -> None:
    kinds = {"text": "string", "data": "bytes", "list": {"type": "array", "items": "long"}}
    schema = schema_of(record_of(*(field(name, kind) for name, kind in kinds.items())))
    huge = [encode_long(2**power) for power in (31, 33, 40, 62)]
    claims = [before + each for each in huge for before in (b"", b"\x00", b"\x00\x00")]
    (kept, refused, grown), _ = in_a_limited_process(schema, [bytes(3), *claims, bytes(3)])
    assert kept == [0, len(claims) + 1]
    assert refused == len(claims)
    assert grown < 64 * 1024  # KiB


def test_a_panic_of_polars_tells_no_content() -> None:
    personal = SECRET.encode()
    datums = [encode_long(2**40) + personal, encode_long(90) + personal, b"\x06\xff" + personal]
    (kept, refused, _), said = in_a_limited_process(TEXT, datums)
    assert (kept, refused) == ([], 3)
    assert "panicked" in said
    assert not any(word in said for word in SECRET.split())
