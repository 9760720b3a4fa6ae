"""The bulk decoder against fastavro, a slow reference, and people who craft bytes."""

from __future__ import annotations

import io
import json
import math
import os
import secrets
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC
from decimal import Context, Decimal
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
from uuid import UUID

import fastavro
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sinergi_consumers.decode import frames
from sinergi_consumers.decode.frames import MALFORMED, Refusal, decode
from sinergi_consumers.decode.lowering import lower
from sinergi_schemas import errors
from sinergi_schemas.avro_types.datum import DatumReader, NotOne
from sinergi_schemas.avro_types.shape import MOST_COLUMNS
from waiting import PATIENCE_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable

    from sinergi_schemas.catalog import Schema

EXACT = Context(prec=60)
VECTORS = sorted((Path(__file__).parent / "vectors" / "frames").glob("*.json"))
SECRET = "Slamet Riyadi 3510101708450001"  # a made-up person's


# The schemas that are tried: every type of the safe shape, at every depth


UUID_TYPE = {"type": "string", "logicalType": "uuid"}
DATE_TYPE = {"type": "int", "logicalType": "date"}
TIMESTAMP_TYPE = {"type": "long", "logicalType": "timestamp-micros"}


def decimal_type(precision: int, scale: int) -> dict[str, Any]:
    return {"type": "bytes", "logicalType": "decimal", "precision": precision, "scale": scale}


def schema_of(parsed: dict[str, Any]) -> Schema:
    """A schema as the catalogue would give it."""
    return cast("Schema", _Schema(json.dumps(parsed).encode()))


@dataclass(frozen=True)
class _Schema:
    text: bytes


@st.composite
def record_types(draw: st.DrawFn) -> dict[str, Any]:
    """A record with fields of any type of the safe shape, named types used more than once."""
    named: list[str] = []
    numbers = count()

    def name(prefix: str) -> str:
        return f"{prefix}{next(numbers)}"

    def any_type(depth: int) -> Any:
        kinds = ["plain", "plain", "enum", "optional", "named"]
        kinds += ["array", "record"] if depth else []
        match draw(st.sampled_from(kinds)):
            case "enum":
                symbols = [f"S{at}" for at in range(draw(st.integers(1, 4)))]
                named.append(name("E"))
                return {"type": "enum", "name": named[-1], "symbols": symbols}
            case "named" if named:
                return draw(st.sampled_from(named))
            case "array":
                return {"type": "array", "items": any_type(depth - 1)}
            case "record":
                new = record(depth - 1)
                named.append(str(new["name"]))
                return new
            case "optional":
                inner = any_type(depth)
                return inner if isinstance(inner, list) else ["null", inner]
            case _:
                return draw(plain_types)

    def record(depth: int) -> dict[str, Any]:
        fields = [
            {"name": f"f{at}", "type": any_type(depth)} for at in range(draw(st.integers(1, 4)))
        ]
        return {"type": "record", "name": name("R"), "fields": fields}

    return record(3)


plain_types = st.sampled_from(
    [
        "boolean",
        "int",
        "long",
        "float",
        "double",
        "bytes",
        "string",
        UUID_TYPE,
        DATE_TYPE,
        TIMESTAMP_TYPE,
        decimal_type(4, 2),
        decimal_type(38, 38),
        decimal_type(1, 0),
    ]
)


def values_of(parsed: Any, named: dict[str, Any]) -> st.SearchStrategy[Any]:
    """The values that a type can hold, as fastavro takes them."""
    if isinstance(parsed, list):
        return st.none() | values_of(parsed[1], named)
    if isinstance(parsed, str):
        return PLAIN_VALUES[parsed] if parsed in PLAIN_VALUES else values_of(named[parsed], named)
    if "name" in parsed:
        named[parsed["name"]] = parsed
    match parsed.get("logicalType", parsed["type"]):
        case "record":
            fields = {each["name"]: values_of(each["type"], named) for each in parsed["fields"]}
            return st.fixed_dictionaries(fields)
        case "array":
            return st.lists(values_of(parsed["items"], named), max_size=3)
        case "enum":
            return st.sampled_from(parsed["symbols"])
        case "decimal":
            largest = 10 ** parsed["precision"] - 1
            whole = st.integers(-largest, largest) | st.sampled_from([-largest, 0, largest])
            return whole.map(lambda number: Decimal(number).scaleb(-parsed["scale"], EXACT))
        case logical:
            return LOGICAL_VALUES[logical]


PLAIN_VALUES: dict[str, st.SearchStrategy[Any]] = {
    "boolean": st.booleans(),
    "int": st.integers(-(2**31), 2**31 - 1),
    "long": st.integers(-(2**63), 2**63 - 1),
    "float": st.floats(width=32, allow_nan=False, allow_infinity=False),
    "double": st.floats(allow_nan=False, allow_infinity=False),
    "bytes": st.binary(max_size=20),
    "string": st.text(max_size=20),
}
LOGICAL_VALUES: dict[str, st.SearchStrategy[Any]] = {
    "uuid": st.uuids().map(str),
    "date": st.dates(),
    "timestamp-micros": st.datetimes(timezones=st.just(UTC)),
}


def encode(value: Any, parsed: dict[str, Any]) -> bytes:
    out = io.BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(parsed), value)
    return out.getvalue()


def by_fastavro(datum: bytes, parsed: dict[str, Any]) -> Any:
    return fastavro.schemaless_reader(io.BytesIO(datum), fastavro.parse_schema(parsed), None)


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
def batches(draw: st.DrawFn) -> tuple[dict[str, Any], list[bytes]]:
    """A schema and datums of it."""
    parsed = draw(record_types())
    values = values_of(parsed, {})
    return parsed, [encode(draw(values), parsed) for _ in range(draw(st.integers(0, 5)))]


@st.composite
def mutated_batches(draw: st.DrawFn) -> tuple[dict[str, Any], list[bytes]]:
    """A schema and datums of it, some of them damaged."""
    parsed, datums = draw(batches())
    return parsed, [draw(mutations(datum)) if draw(st.booleans()) else datum for datum in datums]


@st.composite
def mutations(draw: st.DrawFn, datum: bytes) -> bytes:
    """The datum with a few bytes changed, put in, taken out or cut off at the end."""
    found = bytearray(datum)
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(found)))
        length = draw(st.integers(0, 3))
        found[at : at + length] = draw(
            st.binary(max_size=3) | st.sampled_from([b"\x80", b"\xff" * 9 + b"\x01", b"\x03\x00"])
        )
    return bytes(found)


# What is decoded


@given(batches())
def test_every_datum_that_fastavro_writes_is_decoded_to_what_fastavro_reads(
    batch: tuple[dict[str, Any], list[bytes]],
) -> None:
    parsed, datums = batch
    decoded = decode(datums, schema_of(parsed))
    assert decoded.refused == []
    assert decoded.kept == list(range(len(datums)))
    expected = [alike(by_fastavro(datum, parsed)) for datum in datums]
    assert alike(decoded.frame.to_dicts()) == expected


@given(mutated_batches())
def test_a_damaged_datum_is_refused_or_read_as_fastavro_reads_it(
    batch: tuple[dict[str, Any], list[bytes]],
) -> None:
    parsed, datums = batch
    decoded = decode(datums, schema_of(parsed))
    rows = dict(zip(decoded.kept, alike(decoded.frame.to_dicts()), strict=True))
    for index, datum in enumerate(datums):
        try:
            expected, liberties = DatumReader(parsed).read(datum)
        except NotOne:
            assert index not in rows
            continue
        assert rows[index] == alike(expected)
        if not liberties:
            assert rows[index] == alike(by_fastavro(datum, parsed))


@given(batches(), st.sampled_from([math.nan, math.inf, -math.inf, -math.nan]), st.data())
def test_both_decoders_refuse_what_is_no_finite_number(
    batch: tuple[dict[str, Any], list[bytes]], number: float, data: st.DataObject
) -> None:
    """Wherever it stands, and its neighbours come in."""
    parsed, datums = batch
    kind = data.draw(st.sampled_from(["float", "double"]))
    wrap = data.draw(st.sampled_from([lambda each: each, lambda each: {"x": each}]))
    inner = (
        kind
        if wrap(0) == 0
        else {"type": "record", "name": "In", "fields": [{"name": "x", "type": kind}]}
    )
    shape, values = data.draw(
        st.sampled_from(
            [
                (inner, [wrap(number), wrap(1.5)]),
                (["null", inner], [wrap(number), None]),
                ({"type": "array", "items": inner}, [[wrap(1.5), wrap(number)], []]),
            ]
        )
    )
    whole = {**parsed, "fields": [*parsed["fields"], {"name": "number", "type": shape}]}
    last = {"type": "record", "name": "Last", "fields": whole["fields"][-1:]}
    tails = [encode({"number": each}, last) for each in values]
    mixed = [datum + tail for datum in datums for tail in tails]
    decoded = decode(mixed, schema_of(whole))
    assert decoded.kept == list(range(1, len(mixed), 2))
    assert all("number" in each.reason and "finite" in each.reason for each in decoded.refused)
    for place, datum in enumerate(mixed):
        if place % 2:
            DatumReader(whole).read(datum)
        else:
            with pytest.raises(NotOne, match="not a finite number"):
                DatumReader(whole).read(datum)


@given(mutated_batches())
def test_a_verdict_is_the_same_alone_as_in_any_company(
    batch: tuple[dict[str, Any], list[bytes]],
) -> None:
    parsed, datums = batch
    together = decode(datums, schema_of(parsed))
    assert sorted([*together.kept, *(each.index for each in together.refused)]) == list(
        range(len(datums))
    )
    rows = dict(zip(together.kept, alike(together.frame.to_dicts()), strict=True))
    reasons = {each.index: each.reason for each in together.refused}
    for index, datum in enumerate(datums):
        alone = decode([datum], schema_of(parsed))
        assert alike(alone.frame.to_dicts()) == [rows[index]] if index in rows else alone.kept == []
        assert [each.reason for each in alone.refused] == [
            reasons[each] for each in reasons if each == index
        ]


def plain(value: Any) -> Any:
    """A value as a vector file writes it: dates in ISO 8601, decimals as text."""
    return json.loads(json.dumps(value, default=lambda it: getattr(it, "isoformat", it.__str__)()))


def record_of(field_type: Any) -> dict[str, Any]:
    return {"type": "record", "name": "R", "fields": [{"name": "x", "type": field_type}]}


@pytest.mark.parametrize("path", VECTORS, ids=lambda path: path.stem)
def test_extreme_bytes_get_the_verdict_that_their_vector_names(path: Path) -> None:
    vector = json.loads(path.read_text())
    datum, parsed = bytes.fromhex(vector["datum"]), record_of(vector["type"])
    decoded = decode([datum], schema_of(parsed))
    if "refused" in vector:
        assert decoded.refused == [Refusal(0, vector["refused"])]
        assert decoded.frame.is_empty()
        with pytest.raises(NotOne):
            DatumReader(parsed).read(datum)
    else:
        assert plain(decoded.frame["x"].to_list()) == [vector["value"]]
        assert plain(DatumReader(parsed).read(datum)[0]) == {"x": vector["value"]}


@pytest.mark.parametrize("path", VECTORS, ids=lambda path: path.stem)
def test_the_verdict_is_the_same_beside_a_datum_that_cannot_be_read(path: Path) -> None:
    """What reads is taken out of several frames then, and put together."""
    vector = json.loads(path.read_text())
    datum, parsed = bytes.fromhex(vector["datum"]), record_of(vector["type"])
    decoded = decode([datum, b"", datum], schema_of(parsed))
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
    "date": (DATE_TYPE, pl.Date),
    "timestamp": (TIMESTAMP_TYPE, pl.Datetime("us", "UTC")),
    "decimal": (decimal_type(14, 4), pl.Decimal(14, 4)),
    "enum": ({"type": "enum", "name": "E", "symbols": ["UNKNOWN"]}, pl.String),
    "enum_again": ("E", pl.String),
    "optional_enum": (["null", "E"], pl.String),
    "enums": ({"type": "array", "items": "E"}, pl.List(pl.String)),
}


def every_type() -> tuple[dict[str, Any], pl.Schema]:
    """Every type, at the top, in an optional record, and in an optional list of them."""
    fields = [{"name": name, "type": avro} for name, (avro, _) in EVERY_TYPE.items()]
    inner = {"type": "record", "name": "Inner", "fields": fields}
    outer = [{"name": "one", "type": ["null", inner]}]
    outer += [{"name": "many", "type": ["null", {"type": "array", "items": "Inner"}]}]
    struct = pl.Struct({name: dtype for name, (_, dtype) in EVERY_TYPE.items()})
    parsed = {"type": "record", "name": "Outer", "namespace": "id.sinergi", "fields": outer}
    return parsed, pl.Schema({"one": struct, "many": pl.List(struct)})


@pytest.mark.parametrize(
    "datums", [[], [b"\x00\x00"], [b"\x02"], [b"\x00\x00", b"\x00\x02\x00", b"\x02"]]
)
def test_the_frame_has_the_contracts_types_whatever_is_in_it(datums: list[bytes]) -> None:
    parsed, expected = every_type()
    assert decode(datums, schema_of(parsed)).frame.schema == expected


def test_a_name_is_found_in_the_namespace_that_it_stands_in() -> None:
    inner = {"type": "enum", "name": "E", "symbols": ["INNER"]}
    outer = {"type": "enum", "name": "id.other.E", "symbols": ["OUTER"]}
    parsed = {
        "type": "record",
        "name": "id.sinergi.R",
        "fields": [
            {"name": "outer", "type": outer},
            {"name": "inner", "type": inner},
            {"name": "near", "type": "E"},
            {"name": "far", "type": "id.other.E"},
        ],
    }
    row = {"outer": "OUTER", "inner": "INNER", "near": "INNER", "far": "OUTER"}
    assert decode([bytes(4)], schema_of(parsed)).frame.to_dicts() == [row]


@pytest.mark.parametrize(
    "field_type",
    [
        {"type": "map", "values": "long"},
        {"type": "fixed", "name": "F", "size": 4},
        "null",
        "R",
        ["null", "long", "string"],
        ["long"],
        {"type": "array", "items": "null"},
        {"type": "array", "items": {"type": "record", "name": "Empty", "fields": []}},
        {"type": "long", "logicalType": "time-micros"},
        decimal_type(39, 0),
        {
            "type": "array",
            "items": [
                "null",
                {
                    "type": "record",
                    "name": "Wide",
                    "fields": [{"name": f"f{at}", "type": "long"} for at in range(50)],
                },
            ],
        },
    ],
    ids=str,
)
def test_a_schema_beyond_the_safe_shape_is_refused_whole(field_type: Any) -> None:
    with pytest.raises(errors.SchemaNotLowered):
        decode([b"\x00"], schema_of(record_of(field_type)))


def test_a_schema_that_unfolds_without_end_is_refused() -> None:
    inner: Any = "long"
    for level in range(8):
        fields = [{"name": f"f{at}", "type": f"R{level - 1}" if at else inner} for at in range(10)]
        fields = fields if level else [{"name": "f", "type": "long"}]
        inner = {"type": "record", "name": f"R{level}", "fields": fields}
    with pytest.raises(errors.SchemaNotLowered, match=str(MOST_COLUMNS)):
        lower(json.dumps(inner).encode())


# Crafted batches


TEXT = record_of("string")


def test_a_datum_that_swallows_its_neighbour_is_refused_and_the_neighbour_stands() -> None:
    honest = encode({"x": "honest"}, TEXT)
    border = 2 * len(frames._long(2**61))
    hungry = frames._long(5 + border + len(honest)) + b"mine "
    decoded = decode([hungry, honest, honest], schema_of(TEXT))
    assert decoded.refused == [Refusal(0, MALFORMED)]
    assert decoded.frame["x"].to_list() == ["honest", "honest"]


def test_two_datums_that_only_fit_together_are_both_refused() -> None:
    whole = encode({"x": "one datum cut in two"}, TEXT)
    decoded = decode([whole[:7], whole[7:]], schema_of(TEXT))
    assert [each.index for each in decoded.refused] == [0, 1]


def test_the_numbers_at_the_borders_are_drawn_anew_for_every_call() -> None:
    lowered = lower(json.dumps(TEXT).encode())
    drawn = [frames._Container.draw(lowered) for _ in range(50)]
    assert len({number for each in drawn for number in (each.before, each.behind)}) == 100
    assert max(each.before for each in drawn) >= 2**58


def test_known_border_numbers_let_two_datums_forge_what_lies_between(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The attack that fresh numbers are there for: with known ones it goes through."""
    honest = encode({"x": "honest"}, TEXT)
    first = frames._long(4 + len(honest))
    third = b"\x02\x02" + b"\x02x" + b"\x02\x02" + b"\x02y"
    decoded = decode([first, honest, third], schema_of(TEXT))
    assert decoded.kept == [1]
    assert decoded.frame["x"].to_list() == ["honest"]
    monkeypatch.setattr(secrets, "randbits", lambda _: 1)
    forged = decode([first, honest, third], schema_of(TEXT))
    assert forged.frame["x"].to_list() == ["\x02\x02\x0chonest\x02\x02", "x", "y"]


def test_a_batch_of_nothing_but_damage_is_refused_one_by_one() -> None:
    decoded = decode([b"\x7f"] * 33, schema_of(TEXT))
    assert decoded.refused == [Refusal(index, MALFORMED) for index in range(33)]
    assert decoded.frame.is_empty()


def test_the_first_rule_that_a_row_breaks_is_named_and_its_neighbours_stand() -> None:
    fields = [{"name": "a", "type": "boolean"}, {"name": "b", "type": "int"}]
    parsed = {"type": "record", "name": "R", "fields": fields}
    wide = frames._long(2**40)
    datums = [b"\x01\x02", b"\x02" + wide, b"\x00" + wide, b"\x00\x04", b"\x01"]
    decoded = decode(datums, schema_of(parsed))
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
        lambda rows: rows.with_columns(pl.col("behind") + 1),
    ],
    ids=["a row lost", "other numbers before", "other numbers behind"],
)
def test_rows_are_not_believed_unless_all_borders_show(
    spoilt: Callable[[pl.DataFrame], pl.DataFrame], monkeypatch: pytest.MonkeyPatch
) -> None:
    read = pl.read_avro
    monkeypatch.setattr(pl, "read_avro", lambda source: spoilt(read(source)))
    decoded = decode([encode({"x": "honest"}, TEXT)], schema_of(TEXT))
    assert decoded.refused == [Refusal(0, MALFORMED)]


@pytest.mark.parametrize("why", [KeyboardInterrupt, SystemExit, MemoryError])
def test_what_is_not_the_datums_fault_is_not_swallowed(
    why: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(_: object) -> None:
        raise why

    monkeypatch.setattr(pl, "read_avro", interrupted)
    with pytest.raises(why):
        decode([b"\x00"], schema_of(TEXT))


# In a process of its own: what polars itself does when it panics


IN_A_LIMITED_PROCESS = """
import json, resource, sys
from types import SimpleNamespace
from sinergi_consumers.decode.frames import decode
parsed, datums = json.loads(sys.stdin.read())
schema = SimpleNamespace(text=json.dumps(parsed).encode())
decode([], schema)
mapped = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (mapped + 2**29, mapped + 2**29))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
decoded = decode([bytes.fromhex(each) for each in datums], schema)
grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
print(json.dumps([decoded.kept, len(decoded.refused), grown]))
"""


def in_a_limited_process(parsed: dict[str, Any], datums: list[bytes]) -> tuple[list[Any], str]:
    """What a fresh process with half a GiB to spare keeps, refuses and says on standard error."""
    asked = json.dumps([parsed, [datum.hex() for datum in datums]])
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
    fields = [
        {"name": "text", "type": "string"},
        {"name": "data", "type": "bytes"},
        {"name": "list", "type": {"type": "array", "items": "long"}},
    ]
    parsed = {"type": "record", "name": "R", "fields": fields}
    huge = [frames._long(2**power) for power in (31, 33, 40, 62)]
    claims = [before + each for each in huge for before in (b"", b"\x00", b"\x00\x00")]
    (kept, refused, grown), _ = in_a_limited_process(parsed, [bytes(3), *claims, bytes(3)])
    assert kept == [0, len(claims) + 1]
    assert refused == len(claims)
    assert grown < 64 * 1024  # KiB


def test_a_panic_of_polars_tells_no_content() -> None:
    personal = SECRET.encode()
    datums = [frames._long(2**40) + personal, frames._long(90) + personal, b"\x06\xff" + personal]
    (kept, refused, _), said = in_a_limited_process(TEXT, datums)
    assert (kept, refused) == ([], 3)
    assert "panicked" in said
    assert not any(word in said for word in SECRET.split())
