"""The file of `sinergi archive create`: all of it is there, or nothing."""

from __future__ import annotations

import json
import signal
from typing import TYPE_CHECKING, Any

import pytest

from agency_pair import AgencyPair, agreement, transfer
from archive_vectors import BUS as OTHER_BUS
from archive_vectors import FOLDER
from signed_agreement import write_signed
from sinergi.exit_status import ExitStatus
from sinergi_consumers.archives.archive_file import ArchiveFile
from sinergi_consumers.archives.writer import PartitionWriter
from sinergi_schemas.topics import control_topic, receipts_topic
from test_archive import ArchivedPair, archived, archived_pair, own_archived, pair
from test_replay_several_topics import TYPES, Register, make_register, own
from test_unwritable_output import SINERGI, shell

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from confluent_kafka import Message

__all__ = ["archived", "archived_pair", "make_register", "own", "own_archived", "pair"]  # fixtures


def files(archived: ArchivedPair) -> dict[str, bytes]:
    """The files beside the archive, and the archive."""
    return {
        each.name: each.read_bytes() for each in archived.pair.folder.iterdir() if each.is_file()
    }


def create(archived: ArchivedPair, *options: str) -> tuple[int, str, str]:
    return archived.run("archive", "create", archived.pair.topic.name, *options)


def test_an_existing_file_is_replaced_with_force_only(own_archived: ArchivedPair) -> None:
    before = files(own_archived)
    status, out, err = create(own_archived, "-o", str(own_archived.file))
    assert (status, out) == (ExitStatus.ERROR, "")
    assert err.startswith(f"sinergi: {own_archived.file} already exists")
    assert files(own_archived) == before
    own_archived.pair.publish(transfer("Q/1"))
    with own_archived.pair.relaying():
        own_archived.pair.until(lambda: all_sent(own_archived.pair, 31), "sent")
    status, _, err = create(own_archived, "-o", str(own_archived.file), "--force")
    assert status == 0, err
    assert leaves(own_archived.file) == 31
    assert files(own_archived).keys() == before.keys()


def test_the_offsets_of_an_archive_are_shown_with_the_last_one(archived: ArchivedPair) -> None:
    topic, _, rest = archived.run("archive", "show", str(archived.file))[1].partition(
        archived.pair.topic.name
    )
    shown = [each.split()[1:5] for each in rest.splitlines()[2:]]
    found = ArchiveFile(archived.file).partitions
    ends = [each.end_offset for each in found if each.topic == archived.pair.topic.name]
    assert [each[:3] for each in shown[: len(ends)]] == [["0", "to", f"{end - 1}"] for end in ends]
    assert topic


def all_sent(pair: AgencyPair, count: int) -> bool:
    sent = "SELECT sum(sent_size) FROM sinergi_producer.tree"
    return pair.ask(sent, pair.producer) == [(count,)]


def leaves(file: Path) -> int:
    return sum(each.tree.leaves for each in ArchiveFile(file).partitions if each.tree)


def test_a_full_disk_leaves_no_part_of_an_archive_and_an_earlier_one_as_it_is(
    archived: ArchivedPair,
) -> None:
    folder, before = archived.pair.folder, files(archived)
    settings, topic = archived.pair.reader_settings, archived.pair.topic.name
    command = f"{SINERGI} --config '{settings}' archive create {topic}"
    for out in ("new.zip", f"'{archived.file}' --force"):
        done = shell(folder, f"ulimit -f 1; {command} -o {out}")
        assert (done.returncode, done.stdout) == (ExitStatus.ERROR, b"")
        assert b"cannot be written (File too large)" in done.stderr
        assert files(archived) == before
    done = shell(folder, f"{command} -o /dev/full")
    assert (done.returncode, done.stdout) == (ExitStatus.ERROR, b"")
    assert b"/dev/full cannot be written (No space left on device)" in done.stderr


@pytest.mark.parametrize("force", [False, True])
def test_an_interrupt_leaves_no_part_of_an_archive_and_an_earlier_one_as_it_is(
    archived: ArchivedPair, monkeypatch: pytest.MonkeyPatch, *, force: bool
) -> None:
    folder, before = archived.pair.folder, files(archived)
    unfinished: list[list[str]] = []
    whole = PartitionWriter.add

    def interrupted(self: PartitionWriter, chunk: Iterable[Message]) -> None:
        whole(self, chunk)
        unfinished.append([each.name for each in folder.glob(".*.unfinished")])
        if len(unfinished) == 3:  # heads and receipts were written
            signal.raise_signal(signal.SIGINT)

    with monkeypatch.context() as patch:
        patch.setattr(PartitionWriter, "add", interrupted)
        options = ("--force",) if force else ()
        out = archived.file if force else folder / "new.zip"
        status, shown, _ = create(archived, "-o", str(out), *options)
    assert (status, shown) == (ExitStatus.STOPPED, "")
    assert [len(each) for each in unfinished] == [1, 1, 1]
    assert files(archived) == before
    _, rows, _ = archived.run("journal", "--json", "--limit", "1")
    (entry,) = json.loads(rows)["rows"]
    assert (entry["command"], entry["outcome"]) == ("archive create", "stopped")


def test_several_topics_are_in_one_archive_and_every_audit_of_them_is_that_of_the_brokers(
    own: Register, capsys: pytest.CaptureFixture[str]
) -> None:
    made, pair = ArchivedPair(own.pair, capsys), own.pair
    topics = sorted(map(own.topic, TYPES))
    status, _, err = made.run("archive", *topics, "-o", str(made.file))
    assert status == 0, err
    status, shown, _ = made.run("archive", "show", str(made.file), "--json")
    document = json.loads(shown)
    statements = [control_topic(pair.publisher), receipts_topic(pair.reader)]
    assert [each["name"] for each in document["topics"]] == sorted([*topics, *statements])
    # Each once, although each topic has them, and before the topics.
    archived_first = [each["topic"] for each in document["partitions"]][: len(statements)]
    assert sorted(archived_first) == sorted(statements)
    broker, file = made.both("replay")
    assert (broker, broker[0], len(broker[1])) == (file, 0, len(topics))
    related = ("replay", "--case", "LKN/12/III/2026", "--related", "--output", "ndjson")
    status, of_broker, err = made.run(*related)
    assert status == 0, err
    assert made.run(*related, "--archive", str(made.file))[:2] == (0, of_broker)
    assert {json.loads(each)["record_id"] for each in of_broker.splitlines()} == {
        "S/1",
        "T/1",
        "V/1",
    }
    broker, file = made.both("replay", "--type", "seizure")
    assert (broker, [each["topic"] for each in file[1]]) == (file, [own.topic("seizure")])


def test_without_a_topic_all_that_a_replay_without_one_reads_is_in_the_archive(
    own: Register, capsys: pytest.CaptureFixture[str]
) -> None:
    made = ArchivedPair(own.pair, capsys)
    status, _, err = made.run("archive", "create", "-o", str(made.file))
    assert status == 0, err
    broker, file = made.both("replay")
    assert broker == file
    assert [each["topic"] for each in file[1]] == sorted(map(own.topic, TYPES))
    _, rows, _ = made.run("journal", "--json", "--limit", "3")
    runs = {each["command"]: each for each in json.loads(rows)["rows"]}
    assert runs["archive create"]["topics"] == runs["replay"]["topics"]


def test_a_topic_that_the_archive_does_not_have_is_named(
    own: Register, capsys: pytest.CaptureFixture[str]
) -> None:
    made, topic = ArchivedPair(own.pair, capsys), own.pair.topic.name
    assert made.run("archive", own.topic("seizure"), "-o", str(made.file))[0] == 0
    place = ("--archive", str(made.file))
    bundle = ("--why", "a test", "-o", str(own.pair.folder / "case.zip"))
    for words in (
        ("replay", topic, *place),
        ("replay", topic, "--against-archive", str(made.file)),
        ("verify", topic, *place),
        ("reconcile", topic, *place),
        ("rebuild", "transfer", *place),
        ("evidence", "create", topic, "--key", "T/1", *bundle, *place),
    ):
        status, out, err = made.run(*words)
        assert (status, out) == (ExitStatus.ERROR, ""), words
        assert f"{made.file} has no {topic}" in err, words
    for command in ("record", "received"):
        status, out, err = made.run(command, "transfer", "T/1", *place)
        assert (status, out) == (ExitStatus.ERROR, ""), command
        assert f"no topic of the event type 'transfer' is in {made.file}" in err
    restore = ("archive", "restore", str(made.file), topic)
    status, _, err = made.run(*restore, settings=own.pair.agency_settings)
    assert (status, f"{made.file} has no {topic}" in err) == (ExitStatus.ERROR, True)


COMMANDS: dict[str, tuple[str, ...]] = {
    "replay": ("replay",),
    "record": ("record", "transfer", "P/7"),
    "received": ("received", "transfer", "P/7"),
    "verify": ("verify",),
    "reconcile": ("reconcile",),
    "rebuild": ("rebuild", "transfer"),
    "withheld": ("withheld", "--from", "2026-01-01T00:00Z", "--to", "2026-02-01T00:00Z"),
}


def test_an_archive_of_another_bus_or_of_other_agreements_is_refused(
    own_archived: ArchivedPair, tmp_path: Path
) -> None:
    pair = own_archived.pair
    folder = tmp_path / "others"
    folder.mkdir()
    other: dict[str, Any] = agreement(pair.key.public, pair.receipt_key.public, pair.partitions)
    write_signed(folder / "pks.toml", other | {"title": "Kerja sama lain"}, pair.party_keys)
    cases = (
        ((), FOLDER / "small.zip", f"it is of the bus {OTHER_BUS}, and the agreements here are"),
        (("--set", f"agreements={folder}"), own_archived.file, "none of its agreements is in"),
    )
    for options, file, why in cases:
        for words in COMMANDS.values():
            status, out, err = own_archived.run(*options, *words, "--archive", str(file))
            assert (status, out) == (ExitStatus.ERROR, ""), words
            assert f"{file} cannot be used as an archive: {why}" in err, words
        words = ("replay", pair.topic.name, "--against-archive", str(file))
        status, out, err = own_archived.run(*options, *words)
        assert (status, out, why in err) == (ExitStatus.ERROR, "", True)
        restore = (*options, "archive", "restore", str(file))
        status, _, err = own_archived.run(*restore, settings=pair.agency_settings)
        assert (status, why in err) == (ExitStatus.ERROR, True)
