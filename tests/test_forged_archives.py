"""Archives that anybody may have forged: one clear line, and bounded memory."""

from __future__ import annotations

import tracemalloc
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from archive_vectors import CONTROL, FOLDER, TP, leaves, write
from forged_archives import block_of, forge, part_of
from sinergi.cli.root import run
from sinergi_consumers.archives import manifest, message_blocks
from sinergi_consumers.archives.archive_file import ArchiveFile
from sinergi_consumers.archives.archive_source import ArchiveSource
from sinergi_consumers.archives.message_blocks import BLOCK_BYTES, BlockInvalid
from sinergi_consumers.archives.writer import PartitionWriter
from sinergi_consumers.archives.zip_form import ZipStream
from sinergi_schemas import errors
from sinergi_schemas.avro_types.encoding import encode_long
from sinergi_schemas.files.output_file import OutputFile
from sinergi_schemas.kafka.unreadable import Unreadable
from test_archive import ArchivedPair, archived, archived_pair
from test_archive_output import COMMANDS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from sinergi_schemas.topics import TopicPartition

__all__ = ["archived", "archived_pair"]  # fixtures

SMALL = FOLDER / "small.zip"
MIB = 1024 * 1024
TREE = {"leaves": 0, "root": "00" * 32, "unsealed": 0, "broken": ""}


def _part(document: Any, tp: TopicPartition, **values: Any) -> None:
    part_of(document, tp).update(values)


CHANGES: dict[str, tuple[Callable[[Any], Any], str]] = {
    "a tree of a control topic": (
        lambda found: _part(found, CONTROL, tree=TREE),
        "partitions.0: its tree is missing, or it is no topic of events and has one",
    ),
    "an event topic without a tree": (
        lambda found: _part(found, TP, tree=None),
        "partitions.1: its tree is missing, or it is no topic of events and has one",
    ),
    "a topic without a partition": (
        lambda found: found["topics"].append({"name": "foreign", "partitions": 1}),
        "its topics and its partitions do not belong together",
    ),
    "a partition that its topic did not have": (
        lambda found: _part(found, TP, partition=1),
        "a topic has more partitions than it says",
    ),
    "a text without an end": (
        lambda found: found.update(made_by="\x1b[31m\n" * MIB),
        "made_by: String should have at most 10000 characters",
    ),
    "a key without an end": (lambda found: found.update({"\x1b[31m\n" * MIB: 1}), "\\u001b[31m"),
    "a number beyond all numbers": (
        lambda found: _part(found, TP, messages=10**30),
        "partitions.1.messages: Input should be less than",
    ),
}


@pytest.mark.parametrize(("change", "what"), CHANGES.values(), ids=CHANGES)
def test_a_forged_manifest_is_refused_in_one_short_line(
    change: Callable[[Any], Any],
    what: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file = forge(SMALL, tmp_path / "forged.zip", change)
    assert run(["archive", "show", str(file)]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert f"{file} cannot be used as an archive: its manifest.json is not" in err
    assert what in err
    assert len(err) < 2_000


def test_no_archive_is_written_whose_manifest_nobody_would_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(manifest, "MOST_BYTES", 200)
    with pytest.raises(errors.ArchiveRefused, match=r"manifest\.json is too large"):
        ArchiveFile(SMALL)
    with pytest.raises(errors.OutputRefused, match="archive fewer topics in one file"):
        write(tmp_path / "new.zip", leaves())
    assert [*tmp_path.iterdir()] == []


def tiny(count: int) -> bytes:
    """The bytes of so many messages that have an offset and nothing else."""
    return b"".join(encode_long(number) + bytes(5) for number in range(count))


def with_headers(*counts: int) -> bytes:
    """The bytes of one message with empty headers, in blocks of an array of so many each."""
    pairs = b"".join(encode_long(count) + bytes(2 * abs(count)) for count in counts)
    return bytes(3) + encode_long(1) + pairs + bytes(3)


@pytest.mark.parametrize(
    ("messages", "count", "what"),
    [
        pytest.param(
            partial(tiny, MIB),
            MIB,
            "it goes on after the message that filled it",
            marks=pytest.mark.long,
        ),
        (partial(with_headers, MIB), 1, "more than 1,000 headers"),
        (partial(with_headers, *[1_000] * 400), 1, "more than 1,000 headers"),
    ],
    ids=["messages", "headers", "headers in blocks"],
)
def test_a_block_of_few_bytes_does_not_fill_the_memory(
    messages: Callable[[], bytes], count: int, what: str
) -> None:
    block = block_of(TP, messages(), count)
    tracemalloc.start()
    try:
        with pytest.raises(BlockInvalid, match=what):
            message_blocks.messages_in(TP, block.data, count)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 100 * MIB


def test_a_large_last_message_is_read_with_all_headers_that_an_archive_keeps() -> None:
    value = b"\x02" + encode_long(BLOCK_BYTES) + bytes(BLOCK_BYTES)
    headers = encode_long(1_000) + bytes(2_000) + bytes(1)
    block = block_of(TP, bytes(3) + b"\x02" + headers + b"\x00" + value, 1)
    (found,) = message_blocks.messages_in(TP, block.data, 1)
    assert (len(found.headers()), len(found.value() or b"")) == (1_000, BLOCK_BYTES)


def test_batches_that_could_not_be_read_cost_as_much_as_there_are(tmp_path: Path) -> None:
    count = 30_000
    cause = "a batch whose checksum is wrong"
    found = [Unreadable(CONTROL, number, cause) for number in range(count)]
    with OutputFile.open(tmp_path / "part") as target:
        stream = ZipStream(target)
        stream.begin("part")
        member = PartitionWriter(stream, CONTROL)
        for each in found:  # as a scan names them, and once more where it reads again
            member.add_unreadable([each])
        member.add_unreadable(found)
        member.offsets = range(count)
        assert len(member.end().unreadable) == count


def test_each_batch_that_could_not_be_read_is_passed_once_in_whatever_order_it_is_listed(
    tmp_path: Path,
) -> None:
    def unordered(document: Any) -> None:
        batches = [{"offset": offset, "cause": "it is damaged"} for offset in (13, 5, 9, 6, 9)]
        _part(document, TP, unreadable=batches)

    source = ArchiveSource(ArchiveFile(forge(SMALL, tmp_path / "forged.zip", unordered)))
    with source.open_scan(TP) as scan:
        passed = [each.offset for _ in scan.read(5, 14, most=1) for each in scan.drain_unreadable()]
        assert passed == [5, 6, 9]
        assert [each.offset for each in scan.drain_unreadable()] == [13]


def test_an_archive_without_a_topic_of_the_agreements_is_refused_as_such(
    archived: ArchivedPair,
) -> None:
    def without_events(document: Any) -> None:
        document["partitions"] = [each for each in document["partitions"] if not each["tree"]]
        names = {each["topic"] for each in document["partitions"]}
        document["topics"] = [each for each in document["topics"] if each["name"] in names]

    file = forge(archived.file, archived.pair.folder / "forged.zip", without_events)
    assert archived.run("archive", "show", str(file))[0] == 0
    for words in COMMANDS.values():
        status, out, err = archived.run(*words, "--archive", str(file))
        assert (status, out) == (2, ""), words
        assert f"{file} cannot be used as an archive: no event topic in it is one of" in err
