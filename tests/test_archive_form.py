"""The form of an archive: what is written is read again, and no changed byte goes unnoticed."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

import archive_vectors
from archive_vectors import CONTROL, FOLDER, TP, StampedMessage
from sinergi.cli.root import run
from sinergi_consumers.archives import message_blocks
from sinergi_consumers.archives.archive_file import ArchiveFile
from sinergi_consumers.archives.archive_source import ArchiveSource
from sinergi_consumers.archives.message_blocks import ArchivedMessage, BlockInvalid, BlockWriter
from sinergi_schemas import errors

if TYPE_CHECKING:
    from pathlib import Path

    from confluent_kafka import Message

SMALL = FOLDER / "small.zip"


def contents(file: Path) -> list[tuple[Any, ...]]:
    """All that an archive returns of its messages."""
    opened = ArchiveFile(file)
    return [
        (each.offset(), each.key(), each.value(), headers(each), each.timestamp())
        for part in opened.partitions
        for _, block in opened.blocks(part.tp, part.first_offset, part.end_offset)
        for each in block
    ]


def headers(message: ArchivedMessage) -> list[tuple[str, bytes | None]] | None:
    found = message_blocks.headers_of(message)
    return None if found is None else [*found]


def test_the_vector_is_read_as_other_libraries_read_it() -> None:
    expected = json.loads((FOLDER / "small.json").read_text("utf-8"))
    assert archive_vectors.described(SMALL) == expected
    records = expected["messages"][f"topics/{TP.topic}/0.avro"]
    found = contents(SMALL)
    assert [each[0] for each in found] == [each["offset"] for each in records]
    assert [each[1] and each[1].hex() for each in found] == [each["key"] for each in records]
    assert [(each[2] and each[2].hex()) or each[2] for each in found] == [
        each["value"] or (b"" if each["value"] == "" else None) for each in records
    ]


def test_messages_come_out_as_they_went_in(tmp_path: Path) -> None:
    file = tmp_path / "archive.zip"
    written = archive_vectors.leaves()
    archive_vectors.write(file, written)
    kept = [
        (
            each.at,
            each.key_bytes,
            each.value_bytes,
            None if each.pairs is None else [*each.pairs],
            each.stamp,
        )
        for each in written
    ]
    assert contents(file) == kept


TEXT = st.none() | st.binary(max_size=20)


@given(
    st.lists(
        st.builds(
            StampedMessage,
            st.just(0),
            TEXT,
            TEXT,
            st.none() | st.lists(st.tuples(st.text(max_size=5), TEXT), max_size=3),
            st.tuples(st.sampled_from([1, 2]), st.integers(0, 2**53)),
        ),
        min_size=1,
        max_size=5,
    )
)
def test_any_messages_make_a_block_of_the_same_messages(messages: list[StampedMessage]) -> None:
    blocks = BlockWriter(TP)
    for each in cast("list[Message]", messages):
        assert blocks.add(each) is None
    block = blocks.end()
    assert block is not None
    found = message_blocks.messages_in(TP, block.data, len(messages))
    assert [(each.key(), each.value(), headers(each), each.timestamp()) for each in found] == [
        (each.key_bytes, each.value_bytes, each.pairs, each.stamp) for each in messages
    ]
    with pytest.raises(BlockInvalid):
        message_blocks.messages_in(CONTROL, block.data, len(messages))


def test_a_flipped_byte_anywhere_is_found_and_its_place_is_named(tmp_path: Path) -> None:
    data, file = SMALL.read_bytes(), tmp_path / "flipped.zip"
    for at in range(len(data)):
        file.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        with pytest.raises((errors.ArchiveDamaged, errors.ArchiveRefused)) as caught:
            contents(file)
        if at >= 4:
            assert isinstance(caught.value, errors.ArchiveDamaged), at
    begin = message_blocks.header(TP)
    at = data.index(begin) + len(begin) + 50
    file.write_bytes(data[:at] + b"\xff\xff" + data[at + 2 :])
    with pytest.raises(errors.ArchiveDamaged) as damaged:
        contents(file)
    assert f"topics/{TP.topic}/0.avro, byte {len(begin)}:" in str(damaged.value)


def test_a_truncated_archive_is_refused(tmp_path: Path) -> None:
    data, file = SMALL.read_bytes(), tmp_path / "truncated.zip"
    for end in range(0, len(data), 7):
        file.write_bytes(data[:end])
        with pytest.raises((errors.ArchiveDamaged, errors.ArchiveRefused)):
            contents(file)


@pytest.mark.parametrize("what", ["text", "evidence", "folder", "pipe", "nothing"])
def test_a_file_of_another_kind_is_refused_in_one_line(
    what: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "file"
    if what == "text":
        file.write_text("no archive", encoding="utf-8")
    elif what == "evidence":
        file.write_bytes((FOLDER.parent / "evidence/absence-signed.zip").read_bytes())
    elif what == "folder":
        file.mkdir()
    elif what == "pipe":
        os.mkfifo(file)
    assert run(["archive", "show", str(file)]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert str(file) in err
    assert ("`sinergi evidence verify` checks" in err) == (what == "evidence")


def test_show_lists_what_an_archive_has(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["archive", "show", str(SMALL), "--json"]) == 0
    out, err = capsys.readouterr()
    document = json.loads(out)
    assert [each["messages"] for each in document["partitions"]] == [0, 6]
    assert "lacks 1 batch" in err
    assert run(["archive", "show", str(SMALL)]) == 0
    assert "5 to 13" in capsys.readouterr().out


def test_a_reader_seeks_and_passes_over_what_could_not_be_read() -> None:
    source = ArchiveSource(ArchiveFile(SMALL))
    assert source.partition_counts([TP.topic, "absent"]) == {TP.topic: 1}
    with source.open_scan(TP) as scan:
        assert scan.bounds() == (5, 14)
        offsets = [each.offset() for chunk in scan.read(9, 12) for each in chunk]
        assert (offsets, scan.drain_unreadable()) == ([9, 10, 11], [])
        assert scan.find(3) <= 11
        assert [len(chunk) for chunk in scan.read(5, 14)] == [6]
        assert [each.offset for each in scan.drain_unreadable()] == [6]
        assert scan.drain_unreadable() == []
    with pytest.raises(errors.NotArchived):
        source.offsets([TP._replace(partition=1)])
