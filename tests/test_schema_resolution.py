"""Events of every version of a schema fill the columns of the newest version."""

from __future__ import annotations

import io
import json
from contextlib import closing
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import fastavro
import sqlalchemy as sa
from hypothesis import assume, given, reject
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from avro_schemas import documents, enum_of, events, field, record_of, schema_of
from sinergi import migrate
from sinergi_consumers.decode import frames
from sinergi_consumers.decode.decoder import Decoder
from sinergi_consumers.decode.resolution import resolve
from sinergi_consumers.materialise.store import Stored
from sinergi_consumers.projections.projection import current
from sinergi_consumers.reading.partition import Partition
from sinergi_consumers.sinks.postgresql.sink import PostgresqlSink
from sinergi_consumers.testing.sinks import Worker
from sinergi_consumers.testing.tape import Tape
from sinergi_schemas import codec, errors
from sinergi_schemas.avro_types import compatibility
from sinergi_schemas.catalog import Catalog
from sinergi_schemas.seal.merkle import Frontier
from sinergi_schemas.topics import Topic

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from sinergi_consumers.decode.batches import DecodedBatch
    from sinergi_consumers.testing.tape import TapeMessage

BUS = "sinergi.test.example"
TOPIC = Topic("lapas-rekaan", "probe")
UUID = {"type": "string", "logicalType": "uuid"}


# Events as the bus needs them, in two versions that differ wherever two versions may


def event_of(*fields: dict[str, Any]) -> dict[str, Any]:
    """An event with the fields without which nothing can be materialised, and some more."""
    actions = enum_of("Action", "RECORDED", "CORRECTED", "RETRACTED")
    return record_of(
        field("event_id", UUID),
        field("agency", "string"),
        field("record_id", "string"),
        field("revision", "int"),
        field("action", actions),
        *fields,
    )


def record(name: str, *fields: dict[str, Any]) -> dict[str, Any]:
    return {"type": "record", "name": name, "fields": list(fields)}


PLACE_1 = record("Place", field("region", "string"), field("gone", "string", default="?"))
PLACE_2 = record(
    "Place",
    field("near", ["null", "string"]),
    field("count", "int", default=7),
    field("region", "string"),
)
ITEM_1 = record(
    "Item",
    field("label", "string"),
    field("kind", enum_of("Kind", "PILL")),
    field("at", ["null", "Place"]),
    field("gone", "int", default=0),
)
ITEM_2 = record(
    "Item",
    field("at", ["null", "Place"]),
    field("seal", "string", default="none"),
    field("label", "string"),
    field("kind", enum_of("Kind", "POWDER", "PILL")),
)
ONE = event_of(
    field("place", PLACE_1),
    field("other_place", ["null", "Place"]),
    field("items", {"type": "array", "items": ITEM_1}),
    field("gone", {"type": "array", "items": "string"}, default=[]),
    field("note", ["null", "string"]),
)
TWO = event_of(
    field("added", ["null", "string"]),
    field("grade", enum_of("Grade", "A", "B"), default="B"),
    field("ratio", "double", default=1),
    field("raw", "bytes", default="\u0001a"),
    field("names", {"type": "array", "items": "string"}) | {"default": ["x"]},
    field("place", PLACE_2),
    field("other_place", ["null", "Place"]),
    field("note", ["null", "string"]),
    field("items", {"type": "array", "items": ITEM_2}),
)
HEAD = {"agency": TOPIC.agency, "revision": 1, "action": "RECORDED"}


def write(folder: Path, *versions: dict[str, Any]) -> Catalog:
    """The catalogue of a folder with these versions of the event type `probe`."""
    (folder / "probe").mkdir()
    for at, parsed in enumerate(versions, 1):
        (folder / f"probe/{at}.avsc").write_text(json.dumps(parsed), "utf-8")
    ids = "".join(f'"probe/{at}" = {at}\n' for at in range(1, len(versions) + 1))
    (folder / "ids.toml").write_text(ids, "utf-8")
    return Catalog.load(folder)


def document_one(record_id: str) -> dict[str, Any]:
    place = {"region": "35.10", "gone": "old"}
    items = [
        {"label": "A", "kind": "PILL", "at": place, "gone": 1},
        {"label": "B", "kind": "UNKNOWN", "at": None, "gone": 2},
    ]
    more = {"place": place, "other_place": None, "items": items, "gone": ["x"], "note": "said"}
    return {"event_id": uuid4(), "record_id": record_id, **HEAD, **more}


def document_two(record_id: str) -> dict[str, Any]:
    place = {"near": "river", "count": 2, "region": "35.11"}
    items = [{"at": place, "seal": "S1", "label": "C", "kind": "POWDER"}]
    more = {"added": "new", "grade": "A", "ratio": 0.5, "raw": b"", "names": [], "note": None}
    more |= {"place": place, "other_place": place, "items": items}
    return {"event_id": uuid4(), "record_id": record_id, **HEAD, **more}


def decoded(
    catalog: Catalog, reader: Catalog, *written: tuple[int, dict[str, Any]]
) -> DecodedBatch:
    """What a reader makes of documents, each written with a version of the catalogue."""
    tape = Tape(BUS, TOPIC, catalog=catalog)
    received = messages(tape, *written)
    batch = Partition(BUS, TOPIC, 0, tape.keys, Frontier.empty()).receive(received)
    assert batch is not None
    (part,) = Decoder(reader, "probe").parts(batch)
    return part


def test_an_older_event_takes_the_defaults_of_fields_it_lacks(tmp_path: Path) -> None:
    catalog = write(tmp_path, ONE, TWO)
    assert compatibility.findings(*catalog.versions("probe")) == []
    (row,) = decoded(catalog, catalog, (1, document_one("P/1"))).events.to_dicts()
    assert row["added"] is None
    assert (row["grade"], row["ratio"], row["raw"], row["names"]) == ("B", 1.0, b"\x01a", ["x"])
    assert (row["place_near"], row["place_count"], row["place_region"]) == (None, 7, "35.10")
    assert (row["other_place_count"], row["other_place_region"]) == (None, None)
    place = {"near": None, "count": 7, "region": "35.10"}
    assert row["items"] == [
        {"at": place, "seal": "none", "label": "A", "kind": "PILL"},
        {"at": None, "seal": "none", "label": "B", "kind": "UNKNOWN"},
    ]
    assert row["note"] == "said"


def test_fields_that_the_reader_does_not_know_are_left_out(tmp_path: Path) -> None:
    """The same two versions the other way round: the writer is ahead of the reader."""
    catalog = write(tmp_path, TWO, ONE)
    result = decoded(catalog, catalog, (1, document_two("P/1")))
    # POWDER is no symbol of the reader's: the catalogue's own check would not let it go.
    assert result.events.is_empty()
    assert [each.reason for each in result.refused] == ["awaiting-schema"]
    assert "POWDER was removed" in result.refused[0].detail

    one, two = schema_of(ONE), schema_of(TWO, 2)
    frame = frames.decode([codec.encode_document(document_two("P/1"), two)], two).frame
    resolved = resolve(frame, two, one)
    assert resolved.schema == frames.decode([], one).frame.schema
    (row,) = resolved.to_dicts()
    place = {"region": "35.11", "gone": "?"}
    assert row["items"] == [{"label": "C", "kind": "UNKNOWN", "at": place, "gone": 0}]
    assert (row["place"], row["other_place"]) == (place, place)
    assert (row["gone"], row["note"]) == ([], None)


def test_one_batch_may_hold_events_of_all_versions_and_keeps_their_order(tmp_path: Path) -> None:
    catalog = write(tmp_path, ONE, TWO)
    written = [
        (1 + number % 2, (document_one, document_two)[number % 2](f"P/{number}"))
        for number in range(6)
    ]
    result = decoded(catalog, catalog, *written)
    assert result.refused == []
    assert result.events["record_id"].to_list() == [f"P/{number}" for number in range(6)]
    assert result.events["leaf_index"].to_list() == list(range(6))
    assert result.events["place_count"].to_list() == [7, 2] * 3


def test_events_of_a_version_that_is_not_known_here_wait_for_it(tmp_path: Path) -> None:
    for name in ("theirs", "ours"):
        (tmp_path / name).mkdir()
    theirs, ours = write(tmp_path / "theirs", ONE, TWO), write(tmp_path / "ours", ONE)
    result = decoded(theirs, ours, (1, document_one("P/1")), (2, document_two("P/2")))
    assert result.events["record_id"].to_list() == ["P/1"]
    assert [(each.message.leaf_index, each.reason) for each in result.refused] == [
        (1, "awaiting-schema")
    ]


def test_events_of_the_newest_version_are_not_resolved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalog = write(tmp_path, ONE, TWO)
    monkeypatch.setattr("sinergi_consumers.decode.decoder.resolve", None)
    assert decoded(catalog, catalog, (2, document_two("P/1"))).events.height == 1


def test_tables_grow_with_the_schema_and_keep_their_rows(tmp_path: Path, postgresql: str) -> None:
    catalog = write(tmp_path, ONE, TWO)
    one, two = catalog.versions("probe")
    tape = Tape(BUS, TOPIC, catalog=catalog)
    migrate.upgrade(postgresql, migrate.Role.CONSUMER, [current(one)])
    materialise(postgresql, Catalog([one]), tape, (1, document_one("P/1")))
    done = migrate.upgrade(postgresql, migrate.Role.CONSUMER, [current(two)]).tables
    assert [each for each in done if each.startswith("ALTER")] == [
        "ALTER TABLE sinergi.probe ADD added TEXT",
        "ALTER TABLE sinergi.probe ADD grade TEXT",
        "ALTER TABLE sinergi.probe ADD ratio DOUBLE PRECISION",
        "ALTER TABLE sinergi.probe ADD raw BYTEA",
        "ALTER TABLE sinergi.probe ADD place_near TEXT",
        "ALTER TABLE sinergi.probe ADD place_count INTEGER",
        "ALTER TABLE sinergi.probe ADD other_place_near TEXT",
        "ALTER TABLE sinergi.probe ADD other_place_count INTEGER",
        "ALTER TABLE sinergi.probe ALTER place_gone DROP NOT NULL",
        "ALTER TABLE sinergi.probe_items ADD at_near TEXT",
        "ALTER TABLE sinergi.probe_items ADD at_count INTEGER",
        "ALTER TABLE sinergi.probe_items ADD seal TEXT",
        "ALTER TABLE sinergi.probe_items ALTER gone DROP NOT NULL",
    ]
    assert migrate.upgrade(postgresql, migrate.Role.CONSUMER, [current(two)]).tables == []
    assert any(each.startswith("CREATE TABLE sinergi.probe_names") for each in done)
    written = (1, document_one("P/2")), (2, document_two("P/3"))
    materialise(postgresql, catalog, tape, *written)
    engine = sa.create_engine(postgresql, poolclass=sa.NullPool)
    with engine.connect() as connection:
        rows = connection.execute(
            sa.text("SELECT record_id, grade, raw, place_region FROM sinergi.probe ORDER BY 1")
        )
        assert [tuple(each) for each in rows] == [
            ("P/1", None, None, "35.10"),
            ("P/2", "B", b"\x01a", "35.10"),
            ("P/3", "A", b"", "35.11"),
        ]
        rows = connection.execute(
            sa.text("SELECT record_id, label, seal FROM sinergi.probe_items ORDER BY 1, 2")
        )
        assert [tuple(each) for each in rows] == [
            ("P/1", "A", None),
            ("P/1", "B", None),
            ("P/2", "A", "none"),
            ("P/2", "B", "none"),
            ("P/3", "C", "S1"),
        ]


@given(st.data())
def test_events_are_resolved_as_avro_says(data: st.DataObject) -> None:
    """Against fastavro, on any two compatible versions that differ in fields with defaults."""
    whole = data.draw(events())
    ours, theirs = (data.draw(thinned(whole)) for _ in range(2))
    try:
        writer, reader = schema_of(theirs), schema_of(ours, 2)
    except errors.SchemaRefused:
        reject()  # a type was left out where it is defined, and is used elsewhere
    assume(not compatibility.findings(writer, reader))
    document = data.draw(documents(writer))
    datum = codec.encode_document(document, writer)
    frame = resolve(frames.decode([datum], writer).frame, writer, reader)
    resolved: Any = fastavro.schemaless_reader(io.BytesIO(datum), writer.parsed, reader.parsed)
    expected = frames.decode([codec.encode_document(resolved, reader)], reader).frame
    assert_frame_equal(frame, expected)


@st.composite
def thinned(draw: st.DrawFn, parsed: Any) -> Any:
    """A schema without some of the fields that have a default."""
    match parsed:
        case list():
            return [draw(thinned(each)) for each in parsed]
        case {"fields": fields}:
            kept = [each for each in fields if "default" not in each or draw(st.booleans())]
            inner = [{**each, "type": draw(thinned(each["type"]))} for each in kept or fields]
            return {**parsed, "fields": draw(st.permutations(inner))}
        case {"items": items}:
            return {**parsed, "items": draw(thinned(items))}
        case _:
            return parsed


def materialise(url: str, catalog: Catalog, tape: Tape, *written: tuple[int, Any]) -> None:
    """Bring documents, each written with a version of the schema, into a database's tables."""
    projections = [current(catalog.newest("probe"))]
    with closing(PostgresqlSink(url, projections)) as sink:
        worker = Worker(sink, tape, projections, catalog)
        assert isinstance(worker.store(worker.received(messages(tape, *written))), Stored)


def messages(tape: Tape, *written: tuple[int, Any]) -> list[TapeMessage]:
    """Documents on a tape, each written with a version of the tape's schema."""
    found = []
    for version, document in written:
        tape.schema = tape.catalog.versions("probe")[version - 1]
        datum = codec.encode_document(document, tape.schema)
        found += tape.write_datums([(document["event_id"], document["record_id"], datum)])
    return found
