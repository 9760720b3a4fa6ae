"""Messages that the owner of a topic did not write decide nothing, whatever they hold."""

from __future__ import annotations

import secrets
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import raw_produce
from agency_pair import AgencyPair, transfer
from foreign_messages import (
    FINGERPRINTS,
    INDEXES,
    MALFORMED_INDEXES,
    NAMES,
    Headers,
    false_seal,
    leaf,
    strange_messages,
    write,
    write_all,
)
from sinergi_consumers.audit.event_filter import ReplayFilter
from sinergi_consumers.audit.replay import Replay
from sinergi_consumers.reading.partition import MOST_BYTES, Partition
from sinergi_consumers.testing.sinks import transfer as at_revision
from sinergi_consumers.testing.tape import Tape, TapeMessage
from sinergi_schemas import errors, message
from sinergi_schemas.seal.candidates import WINDOW
from sinergi_schemas.seal.key_ring import KeyRing, KeySpan
from sinergi_schemas.seal.keys import SigningKey
from sinergi_schemas.seal.merkle import Frontier
from sinergi_schemas.topics import Topic
from test_relay import until_sent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

BUS = "sinergi.test.example"
TOPIC = Topic("lapas-rekaan", "transfer")
FIVE_HUNDRED_MIB = 500 * 1024 * 1024

ANY_VALUE = st.one_of(
    st.none(),
    st.sampled_from((*INDEXES, *FINGERPRINTS, b"no note", b"\xe2\x80\x94 x\n\n")),
    st.binary(max_size=40),
)
HEADERS = st.lists(st.tuples(st.sampled_from(NAMES), ANY_VALUE), max_size=8)
LIKELY_HEADERS = st.builds(
    lambda index, fingerprint, more: [
        (message.LEAF, index),
        (message.SCHEMA, fingerprint),
        *more,
    ],
    st.sampled_from(INDEXES),
    st.sampled_from(FINGERPRINTS),
    HEADERS,
)
BODIES = st.one_of(st.none(), st.binary(max_size=12), st.just(message.frame(1, b"datum")))
STRANGE = st.tuples(BODIES, BODIES, st.one_of(HEADERS, LIKELY_HEADERS))


def tape_message(
    value: bytes | None, key: bytes | None, headers: Sequence[tuple[str, Any]]
) -> TapeMessage:
    return TapeMessage(TOPIC.name, 0, 0, key, value, tuple(headers))


def renumbered(messages: Iterable[TapeMessage]) -> list[TapeMessage]:
    return [replace(each, at=at) for at, each in enumerate(messages)]


def partition_of(tape: Tape) -> Partition:
    ring = KeyRing((KeySpan(tape.key.public),))
    return Partition(BUS, TOPIC, 0, ring, Frontier.empty())


def read(partition: Partition, messages: Sequence[TapeMessage]) -> list[message.Message]:
    """What a partition gives out to a reader who goes back where it is told to."""
    found: list[message.Message] = []
    at: int | None = 0
    while at is not None:
        batch = partition.receive(messages[at:])
        found += batch.messages if batch else ()
        partition.end()
        while partition.rewind is None and (batch := partition.next_batch()):
            found += batch.messages
        at, partition.rewind = partition.rewind, None
    return found


@settings(max_examples=400)
@given(STRANGE)
def test_a_strange_message_is_one_of_ours_or_malformed_and_nothing_else_is_raised(
    strange: tuple[bytes | None, bytes | None, Headers],
) -> None:
    with suppress(errors.MessageMalformed):
        parsed = message.parse(tape_message(*strange))
        found = dict(strange[2])
        assert found[message.LEAF] == b"%d" % parsed.leaf_index
        assert found[message.SCHEMA] == parsed.fingerprint.hex().encode()


@pytest.mark.parametrize("index", MALFORMED_INDEXES)
def test_an_index_has_one_form(index: bytes) -> None:
    headers = [(message.LEAF, index), (message.SCHEMA, b"ab" * 32)]
    with pytest.raises(errors.MessageMalformed, match=message.LEAF):
        message.parse(tape_message(message.frame(1, b""), b"key", headers))


@pytest.mark.parametrize("fingerprint", FINGERPRINTS[1:])
def test_a_fingerprint_has_one_form(fingerprint: bytes) -> None:
    headers = [(message.LEAF, b"0"), (message.SCHEMA, fingerprint)]
    with pytest.raises(errors.MessageMalformed, match=message.SCHEMA):
        message.parse(tape_message(message.frame(1, b""), b"key", headers))


@pytest.mark.parametrize("length", [0, 36, 64, 65, 900_000])
def test_an_id_in_a_header_is_a_hint_and_is_left_out_where_it_is_too_long(length: int) -> None:
    given = b"a" * length
    headers = [(message.LEAF, b"0"), (message.SCHEMA, b"ab" * 32), ("ce_id", given)]
    found = message.parse(tape_message(message.frame(1, b""), b"key", headers))
    assert found.event_id == (given if length <= 64 else None)


def test_what_a_message_takes_while_it_is_kept_includes_its_checkpoint() -> None:
    note, frontier = b"n" * 500, b"ab" * 32 * 3
    headers = [
        (message.LEAF, b"0"),
        (message.SCHEMA, b"ab" * 32),
        (message.CHECKPOINT, note),
        (message.FRONTIER, frontier),
    ]
    found = message.parse(tape_message(message.frame(1, b"datum"), b"key", headers))
    assert found.size == len(b"datum") + len(b"key") + 500 + 3 * 32


@settings(max_examples=150)
@given(
    st.lists(st.integers(min_value=1, max_value=4), min_size=1, max_size=4),
    st.lists(st.tuples(st.integers(min_value=0, max_value=20), STRANGE), max_size=12),
)
def test_strange_messages_anywhere_on_a_topic_change_nothing_of_what_is_read(
    batches: list[int], strange: list[tuple[int, tuple[bytes | None, bytes | None, Headers]]]
) -> None:
    tape = Tape(BUS, TOPIC)
    honest = [
        each
        for number, size in enumerate(batches)
        for each in tape.write([at_revision(f"P/{number}/{at}") for at in range(size)])
    ]
    messages = list(honest)
    for place, each in strange:
        messages.insert(place % (len(messages) + 1), tape_message(*each))
    found = read(partition_of(tape), renumbered(messages))
    assert [each.leaf_index for each in found] == list(range(len(honest)))
    assert [each.key for each in found] == [each.key_bytes for each in honest]


def test_leaves_that_were_not_kept_are_read_again_once_a_checkpoint_covers_them() -> None:
    tape = Tape(BUS, TOPIC)
    honest = tape.write([at_revision(f"P/{number}") for number in range(20)])
    size = MOST_BYTES // 8
    flood = [tape_message(*leaf(index, bytes(size))) for index in range(1, 12)]
    partition = partition_of(tape)
    found = read(partition, renumbered([*flood, *honest, *flood]))
    assert [each.key for each in found] == [each.key_bytes for each in honest]
    assert partition.skipped.count == 11


def test_a_checkpoint_costs_its_own_leaves_and_not_all_that_wait(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A member sends leaves and doubles ahead, and then a checkpoint for each leaf."""
    count, looks = 300, 0
    size: property = vars(message.Message)["size"]

    def counted(self: message.Message) -> int:
        nonlocal looks
        looks += 1
        return int(size.__get__(self))

    monkeypatch.setattr(message.Message, "size", property(counted))
    tape = Tape(BUS, TOPIC)
    true = [tape.write([at_revision(f"P/{number}", 1)])[0] for number in range(count)]
    bare = [replace(each, pairs=each.pairs[:-2]) for each in true]
    doubles = [replace(each, value_bytes=(each.value() or b"") + b"?") for each in bare]
    partition = partition_of(tape)
    batch = partition.receive(renumbered([*bare, *doubles, *true]))
    assert batch
    assert (batch.end, batch.next_offset) == (count, 3 * count)
    assert looks < 10 * count


@pytest.mark.long
def test_what_waits_for_a_checkpoint_is_bounded_in_bytes() -> None:
    tape = Tape(BUS, TOPIC)
    partition = partition_of(tape)
    datum = bytes(900_000)
    partition.add(replace(tape_message(*leaf(index, datum)), at=index) for index in range(WINDOW))
    assert sum(len(each.datum) for each in partition._stored.values()) <= MOST_BYTES
    assert partition.pending == WINDOW


def test_an_owner_who_seals_more_bytes_than_a_relay_does_is_refused() -> None:
    tape = Tape(BUS, TOPIC)
    datum = bytes(900_000)
    wide = tape.write_datums([(at_revision("P").event_id, f"P/{at}", datum) for at in range(20)])
    with pytest.raises(errors.BatchTooLarge, match=TOPIC.name):
        read(partition_of(tape), wide)


def test_a_contradiction_at_the_end_halts_though_the_end_arrives_together_with_a_batch() -> None:
    """Kafka's client tells the end of a partition once, and never again while nothing comes."""
    true = Tape(BUS, TOPIC)
    other = Tape(BUS, TOPIC, key=true.key)
    honest = true.write([at_revision("P/1"), at_revision("P/2")])
    contradiction = [
        *other.write([at_revision("P/3"), at_revision("P/4")]),
        *other.write([at_revision("P/5")]),
    ][-1:]
    partition = partition_of(true)
    partition.add(renumbered([*honest, *contradiction]))
    partition.end()
    batch = partition.next_batch()
    assert batch
    assert batch.end == 2
    with pytest.raises(errors.SealMismatch, match=TOPIC.name):
        partition.next_batch()


def test_a_contradiction_does_not_halt_while_a_message_that_answers_it_may_come() -> None:
    true = Tape(BUS, TOPIC)
    other = Tape(BUS, TOPIC, key=true.key)
    honest = true.write([at_revision("P/1")])
    forged = [replace(each, pairs=each.pairs[:-2]) for each in other.write([at_revision("P/2")])]
    bare = [replace(each, pairs=each.pairs[:-2]) for each in honest]
    partition = partition_of(true)
    messages = renumbered([*forged, *bare, *honest])
    partition.add(messages[:1])
    partition.end()
    assert partition.next_batch() is None
    partition.add(messages[1:])
    assert not partition.is_ended
    batch = partition.next_batch()
    assert batch
    assert [each.key for each in batch.messages] == [each.key_bytes for each in honest]


# On real brokers


@pytest.fixture
def pair(tmp_path: Path, kafka: str, agency_slug: str, databases: Callable[[], str]) -> AgencyPair:
    return AgencyPair(tmp_path, kafka, agency_slug, databases(), databases(), partitions=1)


def test_noise_between_true_events_stops_neither_relay_nor_reader_nor_replay(
    pair: AgencyPair,
) -> None:
    seed = secrets.randbelow(2**32)
    print(f"seed {seed}")  # noqa: T201 - shown where the test fails
    noise = strange_messages(seed, 120)
    value, key = message.frame(1, b"datum"), b"key"
    raw_produce.produce(
        pair.kafka, pair.topic.name, 0, value, key, [(b"\xff\xfe", b"a name that is not text")]
    )
    with pair.materialising():
        for turn in range(3):
            write_all(pair, 0, noise[turn * 40 : turn * 40 + 40])
            with pair.relaying():
                pair.publish(*(transfer(f"P/{turn}/{number}") for number in range(15)))
                until_sent(pair, 15 * (turn + 1))
            pair.until_rows("sinergi.transfer_history", 15 * (turn + 1))
        raw_produce.produce(pair.kafka, pair.topic.name, 0, value, key, [(b"\xff", b"")])
        pair.until(lambda: pair.count("sinergi_consumer.skipped") > 0, "skipped messages counted")
    assert pair.count("sinergi_consumer.halt") == pair.count("sinergi_consumer.quarantine") == 0
    run = Replay(pair.bus, pair.topic)
    assert sum(frame.height for frame in run.events(ReplayFilter())) == 45
    (tally,) = run.partition_counts
    assert min(each.first for each in tally.skipped.causes) == 0  # the name that is not text
    # Copies of leaves are told only where they are compared: 121 strange messages and more.
    assert tally.skipped.count >= 100


def test_a_forged_copy_of_the_next_leaf_before_the_true_one_does_not_hold_it_up(
    pair: AgencyPair,
) -> None:
    with pair.materialising(), pair.relaying():
        for turn in range(3):
            write_all(pair, 0, [leaf(index) for index in (turn, turn, turn + 1, turn + 2)])
            pair.publish(transfer(f"P/{turn}"))
            pair.until_rows("sinergi.transfer_history", turn + 1)
    assert pair.count("sinergi_consumer.halt") == 0


def test_a_checkpoint_of_a_stranger_over_all_leaves_decides_nothing(pair: AgencyPair) -> None:
    stranger = SigningKey.generate(pair.key.name)
    with pair.materialising(), pair.relaying():
        write_all(pair, 0, [leaf(9, sealed=false_seal(pair, 0, 10, stranger))])
        pair.publish(*(transfer(f"P/{number}") for number in range(5)))
        pair.until_rows("sinergi.transfer_history", 5)
    (told,) = pair.ask(
        "SELECT cause, messages, first_offset FROM sinergi_consumer.skipped"
        " WHERE cause LIKE 'a checkpoint%'"
    )
    assert told == ("a checkpoint that the owner did not sign (SignatureMissing)", 1, 0)


def test_a_null_value_is_skipped_and_its_neighbours_arrive(pair: AgencyPair) -> None:
    with pair.materialising(), pair.relaying():
        pair.publish(transfer("P/1"))
        until_sent(pair, 1)
        write(pair, value=None, key=b"P/1")
        write(pair, value=b"x", key=None)
        pair.publish(transfer("P/2"))
        pair.until_rows("sinergi.transfer_history", 2)
