"""Whatever is written to a control topic, events are read with sound schemas alone."""

from __future__ import annotations

import json
import tracemalloc
from contextlib import contextmanager
from copy import deepcopy
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sinergi_consumers.decode import published_schemas
from sinergi_consumers.decode.published_schemas import PublishedSchemas
from sinergi_schemas import errors
from sinergi_schemas.catalog import Catalog
from sinergi_schemas.topics import control_topic

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

AGENCY = "lapas-x"
CATALOG = Catalog.shipped()
INSTALLED = CATALOG.newest("transfer")
OPTIONAL = {"name": "added", "type": ["null", "string"], "default": None, "doc": "New."}


class StatedClock:
    """A monotonic clock that a test sets."""

    def __init__(self) -> None:
        self.seconds = 1_000.0

    def monotonic(self) -> float:
        return self.seconds


class WrittenMessage:
    def __init__(self, key: bytes | None, value: bytes | None) -> None:
        self._key, self._value = key, value

    def key(self) -> bytes | None:
        return self._key

    def value(self) -> bytes | None:
        return self._value


class WrittenTopic:
    """A control topic with some messages, as a `TopicSource`, which counts its scans."""

    def __init__(self, messages: Sequence[tuple[bytes | None, bytes | None]]) -> None:
        self.messages = [WrittenMessage(*each) for each in messages]
        self.scans = 0
        self.fault: errors.SinergiError | None = None

    def partition_counts(self, topics: Sequence[str]) -> dict[str, int]:
        if self.fault:
            raise self.fault
        return dict.fromkeys(topics, 1)

    @contextmanager
    def open_scan(self, tp: Any) -> Iterator[WrittenTopic]:
        assert tp == (control_topic(AGENCY), 0)
        self.scans += 1
        yield self

    def bounds(self) -> tuple[int, int]:
        return 0, len(self.messages)

    def read(self, start: int, end: int) -> Iterator[list[WrittenMessage]]:
        yield self.messages[start:end]


def published(source: WrittenTopic, clock: StatedClock | None = None) -> PublishedSchemas:
    given_clock: Any = clock or StatedClock()
    given_source: Any = source
    return PublishedSchemas(lambda: given_source, CATALOG, given_clock)


def key(text: bytes) -> bytes:
    return f"schema/{sha256(text).hexdigest()}".encode()


def changed(number: int = 0, **changes: Any) -> bytes:
    """The installed schema with a new optional field, and with other changes."""
    parsed = deepcopy(INSTALLED.parsed)
    parsed["fields"].append(OPTIONAL | {"name": f"added_{number}"})
    return json.dumps(parsed | changes).encode()


def found(source: WrittenTopic, *texts: bytes) -> list[bytes]:
    """Those of some schemas that can be read with."""
    schemas = published(source)
    fingerprints = [sha256(each).digest() for each in texts]
    schemas.find(AGENCY, "transfer", fingerprints)
    return [each for each in fingerprints if each in schemas.of("transfer")]


def test_a_compatible_schema_is_read_with_whatever_others_wrote_under_its_key() -> None:
    text = changed()
    junk = [(key(text), b"other bytes"), (b"schema/xx", text), (None, text), (b"heads", b"note")]
    source = WrittenTopic([*junk, (key(text), text), *junk, (key(text), None)])
    assert found(source, text) == [sha256(text).digest()]


def _nested(depth: int) -> dict[str, Any]:
    inner: Any = "string"
    for level in range(depth):
        fields = [{"name": "x", "type": ["null", inner], "default": None, "doc": "x"}]
        inner = {"type": "record", "name": f"Level{level}", "fields": fields}
    return {"name": "deep", "type": ["null", inner], "default": None, "doc": "x"}


_TYPES = st.sampled_from(
    ["string", "int", "bytes", "double", {"type": "map", "values": "int"}, "Transfer", "null"]
)
_FIELDS = st.fixed_dictionaries({"name": st.text(max_size=5) | st.just("reason"), "type": _TYPES})


@st.composite
def hostile(draw: st.DrawFn) -> bytes:
    """A schema that is recursive, deep, incompatible, of another event, or no schema."""
    parsed = deepcopy(INSTALLED.parsed)
    fields = parsed["fields"]
    match draw(st.integers(0, 8)):
        case 0:
            return draw(st.binary(max_size=200))
        case 1:
            fields.append(draw(_FIELDS))  # without a default, or without a sound name or type
        case 2:
            del fields[draw(st.integers(0, 3))]
        case 3:
            fields.append(_nested(draw(st.integers(9, 60))))
        case 4:
            fields.append({"name": "self", "type": ["null", "Transfer"], "default": None})
        case 5:
            parsed["name"] = draw(st.sampled_from(["Seizure", "Other", "transfer", ""]))
        case 6:
            at = draw(st.integers(0, len(fields) - 1))
            fields[at] = fields[at] | {"type": draw(_TYPES), "default": None}
        case 7:
            fields.append(draw(st.sampled_from(fields)))
        case 8:
            items = {"type": "array", "items": {"type": "fixed", "name": "F", "size": 0}}
            fields.append({"name": "zero", "type": items, "default": [], "doc": "x"})
    return json.dumps(parsed).encode()


@settings(max_examples=500)
@given(text=hostile())
def test_each_hostile_schema_is_refused_with_a_reason_and_the_sound_one_beside_it_is_found(
    text: bytes,
) -> None:
    sound = changed()
    source = WrittenTopic([(key(text), text), (key(sound), sound)])
    schemas = published(source)
    both = [sha256(each).digest() for each in (text, sound)]
    schemas.find(AGENCY, "transfer", both)
    assert [*schemas.of("transfer")] == both[1:]
    assert schemas.why_not("transfer", both[0])


def test_ten_thousand_schemas_take_bounded_memory_and_keep_no_other_agency_from_reading() -> None:
    texts = [changed(number) for number in range(10_000)]
    source = WrittenTopic([(key(each), each) for each in texts])
    schemas = published(source)
    tracemalloc.start()
    try:
        schemas.find(AGENCY, "transfer", [sha256(each).digest() for each in texts])
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    taken = schemas.of("transfer")
    assert 0 < len(taken) <= 64
    assert peak < 64 * 1024 * 1024
    last = sha256(texts[-1]).digest()
    assert schemas.why_not("transfer", last) == f"no schema of transfer is {last.hex()}"


def test_a_topic_without_the_schema_is_read_again_only_after_a_minute() -> None:
    text, clock = changed(), StatedClock()
    source = WrittenTopic([])
    schemas = published(source, clock)
    fingerprint = sha256(text).digest()
    for _ in range(5):
        assert not schemas.find(AGENCY, "transfer", [fingerprint])
    source.messages.append(WrittenMessage(key(text), text))
    assert not schemas.find(AGENCY, "transfer", [fingerprint])
    assert source.scans == 1
    clock.seconds += published_schemas.AGAIN_SECONDS
    assert schemas.find(AGENCY, "transfer", [fingerprint])
    assert source.scans == 2


TOPIC = control_topic(AGENCY)


@pytest.mark.parametrize(
    "fault",
    [
        errors.NotPermitted("User:reader", "Read", "topic", (TOPIC,), "TOPIC_AUTHORIZATION_FAILED"),
        errors.TopicMissing(TOPIC),
    ],
    ids=["no right", "no topic"],
)
def test_a_control_topic_that_may_not_be_read_leaves_the_event_waiting(
    fault: errors.SinergiError,
) -> None:
    source = WrittenTopic([])
    source.fault = fault
    schemas = published(source)
    assert not schemas.find(AGENCY, "transfer", [b"\1" * 32])


def test_a_broker_that_is_away_is_no_missing_schema() -> None:
    source = WrittenTopic([])
    source.fault = errors.BrokerAway("why")
    with pytest.raises(errors.BrokerAway):
        published(source).find(AGENCY, "transfer", [b"\1" * 32])
