"""An audit reports every finding, also behind another one, and notices a missing tail."""

from __future__ import annotations

import json
import secrets
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import NewTopic

from agency_pair import BUS, DATABASE, AgencyPair
from foreign_messages import Headers, contradict, false_seal, leaf, write_all
from sinergi.cli import root
from sinergi_consumers.audit import statement_reading
from sinergi_consumers.audit.audit import Audit, Copies
from sinergi_consumers.audit.event_filter import ReplayFilter
from sinergi_consumers.audit.replay import Replay
from sinergi_consumers.audit.statements import SignedStatement, contradiction
from sinergi_schemas import errors, message, topics
from sinergi_schemas.clock import SYSTEM
from sinergi_schemas.kafka.admin import open_admin
from sinergi_schemas.kafka.scan import open_scan
from sinergi_schemas.seal import checkpoint, heads, history, reader, skipped
from sinergi_schemas.seal.checkpoint import Checkpoint, SignedCheckpoint
from sinergi_schemas.seal.heads import SignedHeads, TreeHead
from sinergi_schemas.seal.keys import SigningKey, VerifyingKey
from sinergi_schemas.seal.merkle import EMPTY_ROOT, Frontier
from sinergi_schemas.seal.note import Note, Signature, parse_note
from sinergi_schemas.seal.writer import TreeWriter
from sinergi_schemas.topics import TopicPartition
from test_replay import one_byte_changed
from waiting import PATIENCE_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from confluent_kafka import Message

    from foreign_messages import Wire
    from sinergi_consumers.audit.findings import AuditVerdict
    from test_replay import MessageWithOtherValue

    Change = Callable[[list[Message]], Sequence[Message | MessageWithOtherValue]]

COUNT = 30
SEAL = (message.CHECKPOINT, message.FRONTIER)


@pytest.fixture
def pair(tmp_path: Path, kafka: str, agency_slug: str, databases: Callable[[], str]) -> AgencyPair:
    """A topic of two partitions that a reader has materialised."""
    made = AgencyPair(tmp_path, kafka, agency_slug, databases(), databases())
    made.publish_and_materialise(COUNT)
    return made


@pytest.fixture(scope="module")
def shared(pair_of_module: Callable[..., AgencyPair]) -> AgencyPair:
    """As `pair`. All tests of a module share it; they make copies of its topic, and change none."""
    made = pair_of_module()
    made.publish_and_materialise(COUNT)
    return made


def copied(pair: AgencyPair, *changes: Change, stem: str = "copy") -> str:
    """A copy of the topic, each partition after its change."""
    name = f"{stem}-{secrets.token_hex(4)}.{pair.topic.name}"
    admin = open_admin(pair.connection)
    admin.create_topics([NewTopic(name, 2, 1)])[name].result(PATIENCE_SECONDS)
    producer = Producer({"bootstrap.servers": pair.kafka})
    for number, change in enumerate(changes):
        for each in change(messages(pair, number)):
            producer.produce(name, each.value(), each.key(), number, headers=each.headers())
    assert producer.flush(PATIENCE_SECONDS) == 0
    return name


def messages(pair: AgencyPair, number: int) -> list[Message]:
    with open_scan(pair.connection, TopicPartition(pair.topic.name, number)) as scan:
        return [each for chunk in scan.read(*scan.bounds()) for each in chunk]


def whole(all_: list[Message]) -> list[Message]:
    return all_


def wire(each: Message) -> Wire:
    return each.value(), each.key(), [*(each.headers() or ())]


def nothing(_: list[Message]) -> list[Message]:
    return []


def audited(pair: AgencyPair, copies: Copies) -> tuple[int, AuditVerdict]:
    audit = Audit(pair.bus, pair.topic, copies)
    shown = sum(frame.height for frame in audit.events(ReplayFilter()))
    return shown, audit.verdict


def test_whatever_holds_is_shown_and_one_finding_does_not_hide_the_next(shared: AgencyPair) -> None:
    name = shared.topic.name
    shown, verdict = audited(shared, Copies(against=name))
    assert (shown, verdict.findings, verdict.compared) == (COUNT, [], COUNT)
    assert verdict.statements.has_heads
    assert [each.kind for each in verdict.statements.of(0)] == ["heads", "receipt"]

    copy = copied(shared, one_byte_changed(0), one_byte_changed(1))
    _, verdict = audited(shared, Copies(copy, name))
    assert len(verdict.findings) == 2
    for number, finding in enumerate(verdict.findings):
        assert f"/{number} at leaves 0 to " in finding.why
        assert "are not those under its checkpoint" in finding.why
        assert finding.remarks[-1] == f"compared with {name}: leaf {number} differs"

    shown, verdict = audited(shared, Copies(against=copy))
    assert (shown, verdict.findings) == (COUNT, [])
    assert [str(each.difference) for each in verdict.other_findings] == [
        f"leaf {number} of partition {number} differs" for number in range(2)
    ]


def test_an_end_that_was_cut_off_is_known_by_heads_by_receipts_and_by_another_copy(
    shared: AgencyPair,
) -> None:
    size = len(messages(shared, 1))
    copy = copied(shared, whole, nothing)
    _, verdict = audited(shared, Copies(copy))
    (finding,) = verdict.findings
    stated = f"but according to the heads that {shared.bus.agreements.bus}"
    assert f"/1 ends at 0 leaves, {stated}" in finding.why
    assert f"it has {size}:" in finding.why
    _, remark = finding.remarks
    assert f"receipt that {shared.receipt_key.name} signed" in remark

    _, verdict = audited(shared, Copies(copy, shared.topic.name))
    _, second = verdict.findings
    assert f"according to {shared.topic.name} it has {size}:" in second.why
    assert verdict.compared == len(messages(shared, 0))


def put(pair: AgencyPair, topic: str, key: bytes, *values: bytes | None) -> None:
    producer = Producer({"bootstrap.servers": pair.kafka})
    for value in values:
        producer.produce(topic, value, key, 0)
    assert producer.flush(30) == 0


def heads_note(
    pair: AgencyPair, sizes: dict[int, tuple[int, bytes]], at: int = 2_000_000_000
) -> bytes:
    """Heads as the owner signs them, of trees of these sizes and roots."""
    stated = [TreeHead(pair.topic.name, number, *each) for number, each in sizes.items()]
    signed = heads.sign(SignedHeads(BUS, pair.publisher, at, tuple(stated)), [pair.key])
    return signed.encode()


def receipt_note(
    pair: AgencyPair, partition: int, size: int, root: bytes, *, owner: SigningKey, at: int = 1
) -> bytes:
    """A receipt of the reader's over a checkpoint that somebody signed."""
    origin = f"{BUS}/{pair.topic.name}/{partition}"
    note = checkpoint.sign(Checkpoint(origin, size, root), [owner])
    return checkpoint.cosign(note, pair.receipt_key, at).encode()


def test_heads_that_the_owner_did_not_sign_are_passed_over_and_the_true_ones_count(
    pair: AgencyPair,
) -> None:
    control = topics.control_topic(pair.publisher)
    put(pair, control, b"heads", b"nonsense", "a\n1\nx\n\n— b AAAAAAAA\n".encode(), None)
    shown, verdict = audited(pair, Copies())
    assert (shown, verdict.findings) == (COUNT, [])
    assert verdict.statements.has_heads
    assert verdict.statements.skipped[control].count == 2
    copy = copied(pair, whole, nothing)
    _, verdict = audited(pair, Copies(copy))
    assert "/1 ends at 0 leaves, but according to the heads" in verdict.findings[0].why


def test_heads_under_many_signatures_cost_a_replay_no_more_than_to_read_them(
    pair: AgencyPair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A member writes them into its own control topic; a hundred hashes of each took a second."""
    control = topics.control_topic(pair.publisher)
    text = f"{BUS}/{pair.publisher}/heads\n1\n{'x' * 400_000}\n"
    public = pair.key.public
    true = Signature(public.name, public.id, pair.key.sign(text.encode()))
    false = Signature(public.name, public.id, bytes(64))
    for signatures in ((true,) * 99 + (false,), (true,), (false,)):
        put(pair, control, b"heads", str(Note(text, signatures)).encode())
    long: list[int] = []
    verify = VerifyingKey.verify

    def counted(key: VerifyingKey, signature: bytes, signed: bytes) -> bool:
        if len(signed) == len(text):
            long.append(len(signed))
        return verify(key, signature, signed)

    monkeypatch.setattr(VerifyingKey, "verify", counted)
    shown, verdict = audited(pair, Copies())
    assert (shown, verdict.findings) == (COUNT, [])
    assert verdict.statements.has_heads
    assert verdict.statements.skipped[control].count == 3
    assert len(long) == 2, "one for each note that has one signature"


def test_old_heads_that_were_appended_again_do_not_hide_a_tail_that_was_cut_off(
    pair: AgencyPair,
) -> None:
    size = len(messages(pair, 1))
    put(
        pair,
        topics.control_topic(pair.publisher),
        b"heads",
        heads_note(pair, {1: (0, EMPTY_ROOT)}, at=1_000),
    )
    copy = copied(pair, whole, nothing)
    audit = Audit(pair.bus, pair.topic, Copies(copy))
    assert sum(frame.height for frame in audit.events(ReplayFilter())) == len(messages(pair, 0))
    assert f"it has {size}:" in audit.verdict.findings[0].why
    (decrease,) = audit.verdict.statements.decreases
    assert (decrease.size, decrease.larger.size) == (0, size)
    assert any("the larger one is used" in each for each in audit.remarks)


@pytest.mark.parametrize("kind", ["heads", "receipt"])
def test_a_witness_at_a_size_that_is_no_checkpoint_shows_another_history(
    pair: AgencyPair, kind: str
) -> None:
    copy = copied(pair, whole, whole)
    size = len(messages(pair, 0)) - 1
    if kind == "heads":
        note = heads_note(pair, {0: (size, b"x" * 32)})
        put(pair, topics.control_topic(pair.publisher), b"heads", note)
    else:
        note = receipt_note(pair, 0, size, b"x" * 32, owner=pair.key)
        receipts = topics.receipts_topic(pair.reader)
        # Of the same reader the largest counts; so it is the only one of this database.
        key = f"{DATABASE}/{pair.topic.name}/0".encode()
        put(pair, receipts, key, note)
    audit = Audit(pair.bus, pair.topic, Copies(copy))
    audit.verdict.statements = statement_reading.gather(pair.bus, pair.topic)
    stated = [
        replace(each, size=size, root=b"x" * 32)
        for each in audit.verdict.statements.of(0)
        if each.kind == kind
    ]
    tally = Replay(pair.bus, pair.topic).verify(0, {size})
    (error,) = [
        contradiction(each, f"{BUS}/{pair.topic.name}/0", tally.verified, tally.roots)
        for each in stated
    ]
    assert isinstance(error, errors.SealFork)
    assert error.size == size


def test_what_a_reader_alone_says_is_its_claim_and_does_not_disprove_an_honest_topic(
    pair: AgencyPair,
) -> None:
    stranger = SigningKey.generate(pair.key.name)
    key = f"{DATABASE}/{pair.topic.name}/0".encode()
    bare = receipt_note(pair, 0, 4_000, b"x" * 32, owner=stranger)
    put(pair, topics.receipts_topic(pair.reader), key, bare)
    shown, verdict = audited(pair, Copies())
    assert (shown, verdict.findings) == (COUNT, [])
    (claim,) = verdict.statements.claims
    assert (claim.reader, claim.size) == (pair.receipt_key.name, 4_000)
    assert "bears no owner's signature (anybody can remove it)" in str(claim)
    assert [each.kind for each in verdict.statements.of(0)] == ["heads", "receipt"]


def test_a_receipt_without_its_owners_signature_accuses_nobody_where_the_topic_bears_it_out(
    pair: AgencyPair,
) -> None:
    """Whoever may write to a receipts topic can take a line out of a true receipt."""
    heard = statement_reading.gather(pair.bus, pair.topic)
    (note,) = [parse_note(each.note) for each in heard.of(0) if each.kind == "receipt"]
    own = [each for each in note.signatures if each.claims(pair.receipt_key.public)]
    bare = str(Note(note.text, tuple(own))).encode()
    key = f"{DATABASE}/{pair.topic.name}/0".encode()
    put(pair, topics.receipts_topic(pair.reader), key, bare)
    shown, verdict = audited(pair, Copies())
    assert (shown, verdict.findings, verdict.statements.claims) == (COUNT, [], [])


@pytest.mark.parametrize("at", [10**17, 1_700_000_000_000, 0])
def test_a_signed_time_beyond_the_calendar_ends_no_replay(pair: AgencyPair, at: int) -> None:
    size = len(messages(pair, 0)) + 1
    put(
        pair,
        topics.control_topic(pair.publisher),
        b"heads",
        heads_note(pair, {0: (size, b"x" * 32)}, at=at),
    )
    receipt = receipt_note(pair, 0, size + 1, b"x" * 32, owner=pair.key, at=at)
    key = f"{DATABASE}/{pair.topic.name}/0".encode()
    put(pair, topics.receipts_topic(pair.reader), key, receipt)
    shown, verdict = audited(pair, Copies())
    assert shown == COUNT
    assert "a tail" not in verdict.findings[0].why
    assert f"it has {size + 1}" in verdict.findings[0].why
    assert ("an unknown time" in verdict.findings[0].why) == (at > 10**12)


def signed_copy(pair: AgencyPair, change: int) -> str:
    """A copy in which the owner itself has signed another leaf, and all behind it anew."""
    all_ = messages(pair, 0)
    writer = TreeWriter(f"{BUS}/{pair.topic.name}/0", [pair.key], Frontier.empty())
    forked = []
    for index, each in enumerate(all_):
        value = each.value() or b""
        if index == change:
            value = value[:-1] + bytes([value[-1] ^ 1])
        parsed = message.parse(each)
        headers: Headers = [
            (name, value) for name, value in dict(each.headers() or ()).items() if name not in SEAL
        ]
        data = message.leaf_data(parsed.fingerprint, parsed.key, value[message.FRAME_LENGTH :])
        writer.add(data)
        if parsed.sealed:
            headers += message.seal_headers(writer.checkpoint())
        forked.append((value, each.key(), headers))
    name = f"forked.{pair.topic.name}"
    admin = open_admin(pair.connection)
    admin.create_topics([NewTopic(name, 2, 1)])[name].result(30)
    producer = Producer({"bootstrap.servers": pair.kafka})
    for value, key, headers in forked:
        producer.produce(name, value, key, 0, headers=headers)
    for each in messages(pair, 1):
        producer.produce(name, each.value(), each.key(), 1, headers=each.headers())
    assert producer.flush(30) == 0
    return name


def test_two_histories_that_the_owner_signed_are_told_leaf_by_leaf_and_both_are_named(
    pair: AgencyPair,
) -> None:
    last = len(messages(pair, 0)) - 1
    fork = signed_copy(pair, last)
    _, verdict = audited(pair, Copies(against=fork))
    (finding,) = verdict.findings
    assert f"shows two histories of {last + 1} leaves" in finding.why
    assert f"leaf {last} is the first that differs" in finding.remarks[0]
    assert finding.remarks[1].startswith(f"{pair.topic.name}: {last + 1} leaves, root ")
    assert finding.remarks[2].startswith(f"{fork}: {last + 1} leaves, root ")


def test_a_second_history_of_the_owners_within_the_topic_is_told(pair: AgencyPair) -> None:
    """Its checkpoint is of a size at which the first history has none."""
    size = len(messages(pair, 0)) - 1
    contradict(pair, 0, size)
    _, verdict = audited(pair, Copies())
    (finding,) = verdict.findings
    assert f"shows two histories of {size} leaves" in finding.why


def true_seals(pair: AgencyPair, count: int) -> list[SignedCheckpoint]:
    """Checkpoints of the owner over the first leaves of partition 0, one for each size."""
    writer = TreeWriter(f"{BUS}/{pair.topic.name}/0", [pair.key], Frontier.empty())
    found = []
    for each in map(message.parse, messages(pair, 0)[:count]):
        writer.add(each.leaf_data)
        found.append(writer.checkpoint())
    return found


def test_copies_of_checkpoints_hide_no_second_history(
    pair: AgencyPair, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """However many are appended before it: here more than are kept to be compared."""
    monkeypatch.setattr(history, "MOST_UNMATCHED", 0)
    monkeypatch.setattr(reader, "MOST_KNOWN_ROOTS", 1)
    size = len(messages(pair, 0))
    write_all(pair, 0, [wire(each) for each in messages(pair, 0) * 2])
    command = ["--config", str(pair.reader_settings), "replay", pair.topic.name]
    assert root.run(command) == 0
    write_all(pair, 0, [wire(each) for each in messages(pair, 0)])
    contradict(pair, 0, size)
    assert root.run(command) == 1
    assert f"shows two histories of {size} leaves" in capfd.readouterr().err


def test_a_topic_with_more_checkpoints_than_can_be_compared_cannot_be_told_to_hold(
    pair: AgencyPair, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """The second history may be among those that are left."""
    monkeypatch.setattr(history, "MOST_UNMATCHED", 2)
    write_all(pair, 0, [leaf(0, sealed=sealed) for sealed in true_seals(pair, 2)])
    command = ["--config", str(pair.reader_settings), "replay", pair.topic.name]
    assert root.run(command) == 0
    contradict(pair, 0, 3)
    capfd.readouterr()
    assert root.run([*command, "--json"]) == 2
    out, err = capfd.readouterr()
    assert "1 signed checkpoint of smaller trees, after larger ones, could not be compared" in err
    (document,) = json.loads(out)
    assert (document["holds"], document["exit_status"]) == (None, 2)
    assert [each["checkpoints_not_compared"] for each in document["partitions"]] == [1, 0]
    monkeypatch.setattr(history, "MOST_UNMATCHED", 3)
    assert root.run(command) == 1


def test_everything_that_was_skipped_is_told_with_place_and_count(pair: AgencyPair) -> None:
    end = len(messages(pair, 0))
    write_all(pair, 0, [leaf(1), leaf(1), leaf(end), (b"x", b"y", []), leaf(10**6)])
    write_all(pair, 0, [leaf(0, sealed=false_seal(pair, 0, 9, SigningKey.generate("a/b")))])
    audit = Audit(pair.bus, pair.topic, Copies())
    assert sum(frame.height for frame in audit.events(ReplayFilter())) == COUNT
    assert audit.verdict.findings == []
    text = "\n".join(audit.remarks)
    altered = f"3 messages skipped, {skipped.ALTERED}: leaf 1 at offset {end}"
    assert altered in text
    assert f"1 message skipped, {skipped.OUTSIDE}: leaf 1000000 at offset {end + 4}" in text
    assert f"no key or no Confluent frame: offset {end + 3}" in text
    assert f"{skipped.FOREIGN_CHECKPOINT} (SignatureMissing): leaf 0 at offset {end + 5}" in text
    assert f"{pair.topic.name}/0: 1 leaf after the last checkpoint not shown" in text


def test_a_record_that_was_recorded_at_another_time_is_not_told_to_be_missing(
    pair: AgencyPair, capfd: pytest.CaptureFixture[str]
) -> None:
    """Whether it was known by then is what an auditor asks: no, is the answer, and when it was."""
    command = ["--config", str(pair.reader_settings), "replay", pair.topic.name]
    assert root.run([*command, "--key", "P/4", "--to", "2020-03-01T00:00+07:00", "--json"]) == 1
    out, err = capfd.readouterr()
    (document,) = json.loads(out)
    (recorded,) = document["record"]["recorded_at_other_times"]
    assert not document["record"]["found"]
    assert recorded.endswith("+07:00"), "as the table shows it, in the zone of the event"
    when = datetime.fromisoformat(recorded).isoformat(timespec="seconds")
    assert f"not within that time: 1 event of the record, recorded at {when}, outside of it" in err
    assert "no such record" not in err


def test_a_record_among_leaves_that_are_not_proved_is_not_called_absent_or_misspelt(
    pair: AgencyPair, capfd: pytest.CaptureFixture[str]
) -> None:
    (number,) = (n for n in range(2) if b"P/4" in {each.key() for each in messages(pair, n)})
    cut = copied(pair, *(nothing if n == number else whole for n in range(2)))
    command = ["--config", str(pair.reader_settings), "replay", pair.topic.name, "--copy", cut]
    assert root.run([*command, "--key", "P/4"]) == 1
    err = capfd.readouterr().err
    absent = f'record not found: no verified event in {cut} has the key "P/4"'
    assert f"{absent}; what could not be verified may have it" in err
    assert "did you mean" not in err
    assert "--key: nearest among those verified: P/" in err
    assert root.run([*command, "--case", "none"]) == 1
    assert f"no verified event of {cut} is what was asked for" in capfd.readouterr().err


def test_a_copy_that_holds_none_of_the_leaves_compares_with_nothing(
    pair: AgencyPair, capfd: pytest.CaptureFixture[str]
) -> None:
    empty = copied(pair, nothing, nothing)
    command = ["--config", str(pair.reader_settings), "replay", pair.topic.name]
    assert root.run([*command, "--against", empty, "--output", "ndjson"]) == 2
    err = capfd.readouterr().err
    assert f"{empty} contains none of its leaves, so nothing was compared" in err.splitlines()[-1]
    half = copied(pair, whole, nothing, stem="half")
    assert root.run([*command, "--against", half, "--output", "ndjson"]) == 0
    count = len(messages(pair, 1))
    assert f"{half}/1 lacks the last {count} leaves of {count}" in capfd.readouterr().err


def test_a_record_that_is_not_there_is_told_and_exits_with_1(
    pair: AgencyPair, capfd: pytest.CaptureFixture[str]
) -> None:
    command = ["--config", str(pair.reader_settings), "replay", pair.topic.name]
    assert root.run([*command, "--key", "P/404", "--json"]) == 1
    out, err = capfd.readouterr()
    assert f'no such record: no verified event in {pair.topic.name} has the key "P/404"' in err
    assert err.splitlines()[-1] == f"verdict: {pair.topic.name} is what {pair.publisher} sealed"
    (document,) = json.loads(out)
    assert (document["holds"], document["exit_status"]) == (True, 1)
    assert document["record"] == {
        "key": "P/404",
        "found": False,
        "recorded_at_other_times": [],
        "do_not_meet_other_conditions": 0,
    }
    assert root.run([*command, "--key", "P/4", "--json"]) == 0
    (document,) = json.loads(capfd.readouterr().out)
    assert document["record"]["found"]
    assert [each["leaves"] for each in document["partitions"]] == [
        len(messages(pair, number)) for number in range(2)
    ]
    assert document["partitions"][0]["signed_by"][0].startswith(pair.key.name)
    kinds = sorted((each["kind"], each["agrees"]) for each in document["witnesses"])
    assert kinds == [("heads", True), ("heads", True), ("receipt", True), ("receipt", True)]
    assert 0 <= document["heads"]["age_seconds"] < 600
    assert root.run([*command, "--to", "2001-01-01T00:00Z", "--json"]) == 0
    assert "no event of" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("size", "root", "kind"),
    [
        (7, b"a", None),
        (7, b"b", errors.SealFork),
        (8, b"a", errors.TailMissing),
        (6, b"b", None),  # nobody asked for that size
    ],
)
def test_a_witness_objects_to_a_longer_or_another_history(
    size: int, root: bytes, kind: type[errors.SealBroken] | None
) -> None:
    statement = SignedStatement("bus/a", "heads", 0, size, root, SYSTEM.now(), "")
    found = contradiction(statement, "bus/t/0", 7, {7: b"a"})
    assert (None if found is None else type(found)) is kind


@pytest.mark.parametrize(
    ("why", "offset", "size"),
    [
        (errors.SealGap("bus/t/0", 0, 9), 3, 9),
        (errors.TailMissing("bus/t/0", 0, 8, "the heads"), 3, 8),
        (errors.SealGap("bus/t/0", 0, 9), 0, None),  # it begins with the first offset
        (errors.SealGap("bus/t/0", 2, 9), 3, None),  # messages of others were deleted
        (errors.TailMissing("bus/t/0", 2, 8, "the heads"), 3, None),
    ],
)
def test_leaves_that_the_brokers_deleted_at_the_beginning_are_called_so(
    why: errors.SealBroken, offset: int, size: int | None
) -> None:
    found = errors.FirstLeavesDeleted.of(why, offset)
    if size is None:
        assert found is why
    else:
        assert str(found).startswith(
            f"bus/t/0 lacks leaf 0, though its owner or a reader has signed {size} leaves: it"
            f" begins at offset {offset}, so the brokers have deleted the messages before."
        )
