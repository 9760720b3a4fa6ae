"""`sinergi archive`: topics in a file, read by every audit in place of the brokers."""

from __future__ import annotations

import json
import re
from collections import Counter
from typing import TYPE_CHECKING, Any, cast
from zipfile import ZipFile

import fastavro
import pytest
from confluent_kafka import Producer
from structlog.testing import capture_logs

from agency_pair import AgencyPair, transfer
from command_line import sinergi
from long_cases import long_after
from sinergi.cli.root import run
from sinergi.restoring import topic_restoring
from sinergi_consumers.archives.archive_file import ArchiveFile
from sinergi_schemas import errors, message
from sinergi_schemas.topics import control_topic
from test_moved_topics import deleted, held, made
from test_prune import prune, rows
from test_relay import set_topic
from waiting import PATIENCE_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from sinergi_consumers.archives.manifest import ArchivedPartition, BlockPlace


LEADER = "SELECT count(*) FROM sinergi_producer.lease WHERE expires_at > clock_timestamp()"


@pytest.fixture
def pair(tmp_path: Path, kafka: str, agency_slug: str, databases: Callable[[], str]) -> AgencyPair:
    return AgencyPair(tmp_path, kafka, agency_slug, databases(), databases())


class ArchivedPair:
    """A publisher and a reader whose topic is in an archive too."""

    def __init__(self, pair: AgencyPair, capsys: pytest.CaptureFixture[str]) -> None:
        self.pair = pair
        self._capsys = capsys
        self.file = pair.folder / "archive.zip"

    def run(self, *words: str, settings: Path | None = None) -> tuple[int, str, str]:
        self._capsys.readouterr()
        status = run(["--config", str(settings or self.pair.reader_settings), *words])
        return (status, *self._capsys.readouterr())

    def both(self, *words: str) -> tuple[Any, Any]:
        """What a command prints with `--json` when it reads the brokers, and the archive."""
        found = []
        for place in ((), ("--archive", str(self.file))):
            status, out, err = self.run(*words, "--json", *place)
            assert out, err
            found.append((status, json.loads(without_times(out))))
        return found[0], found[1]


def without_times(text: str) -> str:
    """A document without what depends on the moment at which it is made."""
    text = re.sub(r"signed at [^;]*; newer messages may be missing", "signed 0 s ago", text)
    ages = r'signed \d+ s ago|"(?:age_seconds|age)": [0-9.]+|"made_at": "[^"]*"'
    return re.sub(ages, lambda found: re.sub(r"[\d.]+", "0", found.group()), text)


def archive(pair: AgencyPair) -> AgencyPair:
    """Publish and materialise 30 events, and archive them."""
    pair.publish_and_materialise(30)
    words = ("archive", "create", pair.topic.name, "-o", str(pair.folder / "archive.zip"))
    status, _, err = sinergi("--config", str(pair.reader_settings), *words)
    assert status == 0, err
    return pair


@pytest.fixture(scope="module")
def archived_pair(pair_of_module: Callable[..., AgencyPair]) -> AgencyPair:
    return archive(pair_of_module())


@pytest.fixture
def archived(
    archived_pair: AgencyPair,
    tmp_path: Path,
    databases: Callable[..., str],
    capsys: pytest.CaptureFixture[str],
) -> ArchivedPair:
    """One with copies of databases and archive. All tests of a module share its topics, and none
    changes them.
    """
    return ArchivedPair(archived_pair.copied(tmp_path, databases), capsys)


@pytest.fixture
def own_archived(pair: AgencyPair, capsys: pytest.CaptureFixture[str]) -> ArchivedPair:
    """As `archived`, with topics of its own."""
    return ArchivedPair(archive(pair), capsys)


def test_a_replay_gives_the_same_verdict_from_the_archive_as_from_the_brokers(
    archived: ArchivedPair,
) -> None:
    broker, file = archived.both("replay", archived.pair.topic.name)
    assert broker == file
    assert broker[0] == 0


def test_every_audit_says_the_same_of_the_archive_as_of_the_brokers(
    archived: ArchivedPair,
) -> None:
    for words in (
        ("record", "transfer", "P/7"),
        ("received", "transfer", "P/7"),
        ("verify",),
        ("reconcile",),
    ):
        broker, file = archived.both(*words)
        assert broker == file, words
        assert broker[0] == 0, words


def test_filters_of_a_replay_choose_the_same_events_in_the_archive(archived: ArchivedPair) -> None:
    words = ("replay", archived.pair.topic.name, "--key", "P/7", "--output", "ndjson")
    _, of_broker, _ = archived.run(*words)
    status, of_file, _ = archived.run(*words, "--archive", str(archived.file))
    assert (status, of_file) == (0, of_broker)
    assert '"P/7"' in of_file


def test_an_archive_is_read_without_a_broker(archived: ArchivedPair) -> None:
    words = ("--set", "kafka.bootstrap=127.0.0.1:1", "replay", "--archive", str(archived.file))
    status, out, err = archived.run(*words, "--output", "ndjson")
    assert (status, out.count("\n")) == (0, 30), err


def test_other_programs_read_the_archive(archived: ArchivedPair) -> None:
    topic = archived.pair.topic.name
    with ZipFile(archived.file) as zipped:
        assert zipped.testzip() is None
        manifest = json.loads(zipped.read("manifest.json"))
        records = [
            record
            for number in range(archived.pair.partitions)
            for record in cast(
                "list[dict[str, Any]]",
                [*fastavro.reader(zipped.open(f"topics/{topic}/{number}.avro"))],
            )
        ]
    sealed = [each["tree"]["leaves"] for each in manifest["partitions"] if each["tree"]]
    assert (sum(sealed), len(records)) == (30, 30)
    assert {each["key"] for each in records} == {b"P/%d" % each for each in range(30)}
    assert {each["timestamp_type"] for each in records} <= {"CREATE_TIME", "LOG_APPEND_TIME"}


def lost(pair: AgencyPair, **config: str) -> None:
    """The topic is deleted, and provisioned again."""
    deleted(pair)
    made(pair, config=config)


def test_a_lost_topic_restored_from_an_archive_keeps_every_leaf_and_everybody_goes_on(
    own_archived: ArchivedPair,
) -> None:
    pair = own_archived.pair
    before = leaves(pair)
    lost(pair)
    words = ("archive", "restore", str(own_archived.file))
    status, _, err = own_archived.run(*words, settings=pair.agency_settings)
    assert status == 0, err
    assert leaves(pair) == before
    with capture_logs() as logged, pair.relaying(), pair.materialising():
        pair.publish(*(transfer(f"Q/{number}") for number in range(5)))
        pair.until_rows("sinergi.transfer_history", 35)
    assert [each for each in logged if "lost" in each["event"]] == []
    assert len(leaves(pair)) == 35
    status, _, err = own_archived.run("replay", pair.topic.name)
    assert status == 0, err


def test_a_restore_reads_each_block_once_to_check_it_and_once_to_write_it(
    own_archived: ArchivedPair, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: Counter[tuple[str, int]] = Counter()
    block = ArchiveFile._block

    def counted(opened: ArchiveFile, part: ArchivedPartition, place: BlockPlace) -> Any:
        read[part.member, place.at] += 1
        return block(opened, part, place)

    monkeypatch.setattr(ArchiveFile, "_block", counted)
    lost(own_archived.pair)
    words = ("archive", "restore", str(own_archived.file))
    status, _, err = own_archived.run(*words, settings=own_archived.pair.agency_settings)
    assert status == 0, err
    of_events = {member for member, _ in read if own_archived.pair.topic.name in member}
    for (member, _), times in read.items():
        assert times == (2 if member in of_events else 1), member


def test_a_damaged_topic_is_not_restored(own_archived: ArchivedPair) -> None:
    lost(own_archived.pair)
    member = damaged(own_archived.file, own_archived.pair.topic.name)
    for option in ((), ("--broken",)):
        words = ("archive", "restore", str(own_archived.file), *option)
        status, _, err = own_archived.run(*words, settings=own_archived.pair.agency_settings)
        assert status == 2
        assert f"is not as it was written: {member}, byte" in err
        assert "are whole" not in err
    assert leaves(own_archived.pair) == []


def damaged(file: Path, topic: str) -> str:
    """Change one byte of the first partition of a topic in an archive; the name of its member."""
    member = f"topics/{topic}/0.avro"
    data = bytearray(file.read_bytes())
    with ZipFile(file) as zipped:
        info = zipped.getinfo(member)
    data[info.header_offset + 30 + len(member) + info.compress_size - 40] ^= 1
    file.write_bytes(data)
    return member


def test_a_restore_from_an_archive_of_which_another_topic_is_damaged_says_so(
    own_archived: ArchivedPair,
) -> None:
    pair = own_archived.pair
    before = leaves(pair)
    lost(pair)
    member = damaged(own_archived.file, control_topic(pair.publisher))
    words = ("archive", "restore", str(own_archived.file))
    status, _, err = own_archived.run(*words, settings=pair.agency_settings)
    assert status == 0, err
    assert f"is not as it was written: {member}, byte" in err
    assert "The topics that are restored are whole." in err
    assert leaves(pair) == before
    status, _, err = own_archived.run(*words, member.split("/")[1], settings=pair.agency_settings)
    assert status == 2
    assert f"is not as it was written: {member}, byte" in err


def test_a_restore_that_was_broken_off_goes_on_and_a_whole_topic_stays_as_it_is(
    own_archived: ArchivedPair,
) -> None:
    pair = own_archived.pair
    before = {number: held(pair, pair.topic.name, number) for number in range(pair.partitions)}
    lost(pair)
    producer = Producer({"bootstrap.servers": pair.kafka})
    for number, messages in before.items():
        for each in messages[:3]:
            producer.produce(
                pair.topic.name, each.value(), each.key(), number, headers=each.headers()
            )
    assert producer.flush(PATIENCE_SECONDS) == 0
    words = ("archive", "restore", str(own_archived.file))
    status, _, err = own_archived.run(*words, settings=pair.agency_settings)
    assert status == 0, err
    assert "24 messages restored, 6 were there" in err
    status, _, err = own_archived.run(*words, settings=pair.agency_settings)
    assert status == 0, err
    assert "0 messages restored, 30 were there" in err
    assert len(leaves(pair)) == 30


def test_a_topic_is_restored_with_every_leaf_after_its_outbox_was_pruned(
    own_archived: ArchivedPair,
) -> None:
    pair = own_archived.pair
    before = leaves(pair)
    assert prune(pair, "--apply") == 0
    assert rows(pair, "datum = ''") == 30
    lost(pair)
    words = ("archive", "restore", str(own_archived.file))
    status, _, err = own_archived.run(*words, settings=pair.agency_settings)
    assert status == 0, err
    assert leaves(pair) == before
    with pair.relaying(), pair.materialising():
        pair.publish(*(transfer(f"Q/{number}") for number in range(5)))
        pair.until_rows("sinergi.transfer_history", 35)
    assert len(leaves(pair)) == 35
    assert own_archived.run("verify")[0] == 0


@pytest.mark.parametrize(
    ("kind", "is_kept"), [("CreateTime", True), ("LogAppendTime", False)], ids=str
)
def test_restored_messages_keep_their_timestamps_where_the_topic_takes_them(
    own_archived: ArchivedPair, kind: str, *, is_kept: bool
) -> None:
    pair = own_archived.pair
    before = times(pair)
    lost(pair, **{"message.timestamp.type": kind})
    words = ("archive", "restore", str(own_archived.file))
    status, _, err = own_archived.run(*words, settings=pair.agency_settings)
    assert status == 0, err
    assert (times(pair) == before) == is_kept
    assert ("its messages bear the times at which they arrived" in err) != is_kept


def times(pair: AgencyPair) -> list[int]:
    """The timestamps of all messages of the topic, in milliseconds."""
    numbers = range(pair.partitions)
    return [
        each.timestamp()[1] for number in numbers for each in held(pair, pair.topic.name, number)
    ]


@pytest.mark.parametrize(
    ("setting", "value"),
    long_after(
        1,
        [
            ("retention.ms", "604800000"),
            ("cleanup.policy", "compact"),
            ("cleanup.policy", "compact,delete"),
            ("retention.bytes", "1000000"),
        ],
    ),
    ids=str,
)
def test_nothing_is_restored_into_a_topic_that_would_lose_it_again(
    own_archived: ArchivedPair, setting: str, value: str
) -> None:
    pair = own_archived.pair
    lost(pair, **{setting: value})
    words = ("archive", "restore", str(own_archived.file))
    status, out, err = own_archived.run(*words, settings=pair.agency_settings)
    assert (status, out) == (2, "")
    assert f"{pair.topic.name} has {setting} {value}: the brokers would delete messages" in err
    assert err.count("sinergi: ") == 1
    assert leaves(pair) == []


def test_a_control_topic_may_be_compacted_and_not_expire(own_archived: ArchivedPair) -> None:
    pair = own_archived.pair
    name = control_topic(pair.publisher)
    words = ("archive", "restore", str(own_archived.file), name)
    status, _, err = own_archived.run(*words, settings=pair.agency_settings)
    assert (status, f"{name}: 0 messages restored" in err) == (0, True), err
    set_topic(pair, "cleanup.policy", "compact,delete", name)
    set_topic(pair, "retention.ms", "604800000", name)
    status, _, err = own_archived.run(*words, settings=pair.agency_settings)
    assert (status, f"{name} has retention.ms 604800000" in err) == (2, True), err


def test_a_login_that_may_not_see_the_settings_restores_and_is_told_who_may(
    own_archived: ArchivedPair, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: object, topics: list[str]) -> None:
        raise errors.NotPermitted("User:agency", "DescribeConfigs", "topic", tuple(topics), "")

    monkeypatch.setattr(topic_restoring, "topic_settings", refuse)
    lost(own_archived.pair)
    words = ("archive", "restore", str(own_archived.file))
    status, _, err = own_archived.run(*words, settings=own_archived.pair.agency_settings)
    assert (status, "30 messages restored" in err) == (0, True), err
    assert "its settings were not checked, for this login lacks the right DescribeConfigs" in err


def test_a_topic_with_other_messages_is_not_restored_into(own_archived: ArchivedPair) -> None:
    pair = own_archived.pair
    lost(pair)
    producer = Producer({"bootstrap.servers": pair.kafka})
    producer.produce(pair.topic.name, b"message", b"other", 0)
    assert producer.flush(PATIENCE_SECONDS) == 0
    words = ("archive", "restore", str(own_archived.file))
    status, out, err = own_archived.run(*words, settings=pair.agency_settings)
    assert (status, out) == (2, "")
    assert "another message than the archive" in err
    assert sum(len(held(pair, pair.topic.name, each)) for each in range(pair.partitions)) == 1


def test_nothing_is_restored_while_a_relay_leads_and_by_nobody_but_the_owner(
    own_archived: ArchivedPair,
) -> None:
    pair = own_archived.pair
    words = ("archive", "restore", str(own_archived.file))
    with pair.relaying():
        pair.until(lambda: pair.ask(LEADER, pair.producer) == [(1,)], "a relay leads")
        status, _, err = own_archived.run(*words, settings=pair.agency_settings)
    assert (status, "stop every relay" in err) == (2, True)
    status, _, err = own_archived.run(*words, pair.topic.name)
    assert (status, "its owner restores it" in err) == (2, True)


def leaves(pair: AgencyPair) -> list[tuple[int, int, bytes]]:
    """Partition, index and bytes of all leaves of the topic, with their checkpoints."""
    found = []
    for number in range(pair.partitions):
        for each in map(message.parse, held(pair, pair.topic.name, number)):
            note = each.sealed.note.encode() if each.sealed else b""
            found.append((number, each.leaf_index, each.leaf_data + note))
    return found
