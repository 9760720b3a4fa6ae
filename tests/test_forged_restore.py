"""`sinergi archive restore` from an archive that somebody has forged, and twice at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from archive_vectors import StampedMessage
from forged_archives import forge, part_of
from long_cases import long_after
from sinergi.restoring.topic_restoring import TopicRestoring
from sinergi_consumers.archives.archive_file import ArchiveFile
from sinergi_consumers.archives.message_blocks import BlockWriter
from sinergi_schemas import errors
from sinergi_schemas.topics import TopicPartition
from test_archive import ArchivedPair, lost, own_archived, pair
from test_moved_topics import held

if TYPE_CHECKING:
    from pathlib import Path

    from agency_pair import AgencyPair

__all__ = ["own_archived", "pair"]  # fixtures


def messages_of(file: Path, tp: TopicPartition) -> list[Any]:
    """The messages of a topic-partition in an archive."""
    opened = ArchiveFile(file)
    blocks = opened.all_blocks(opened.partition(tp))
    return [
        StampedMessage(each.offset(), each.key(), each.value(), each.headers(), each.timestamp())
        for _, messages in blocks
        for each in messages
    ]


def with_messages(archived: ArchivedPair, tp: TopicPartition, messages: list[Any]) -> Path:
    """The archive with other messages of a topic-partition."""
    blocks = BlockWriter(tp)
    found = [blocks.add(each) for each in messages]
    whole = [each for each in (*found, blocks.end()) if each is not None]
    return forge(archived.file, archived.pair.folder / "forged.zip", blocks={tp: whole})


def restore(archived: ArchivedPair, file: Path, *options: str) -> tuple[int, str, str]:
    words = ("archive", "restore", str(file), *options)
    return archived.run(*words, settings=archived.pair.agency_settings)


def count(pair: AgencyPair) -> int:
    """How many messages the topic has."""
    return sum(len(held(pair, pair.topic.name, each)) for each in range(pair.partitions))


def test_an_archive_in_which_a_leaf_was_changed_is_not_restored_unasked(
    own_archived: ArchivedPair,
) -> None:
    pair, tp = own_archived.pair, TopicPartition(own_archived.pair.topic.name, 0)
    messages = messages_of(own_archived.file, tp)
    messages[1], messages[2] = (
        StampedMessage(at.offset(), of.key(), of.value(), at.headers(), at.timestamp())
        for at, of in ((messages[1], messages[2]), (messages[2], messages[1]))
    )
    forged = with_messages(own_archived, tp, messages)
    lost(pair)
    status, out, err = restore(own_archived, forged)
    assert (status, out) == (2, "")
    assert "are not those under its checkpoint" in err
    assert "Take another archive, or restore it as it is by --broken" in err
    assert count(pair) == 0
    status, _, err = restore(own_archived, forged, "--broken")
    assert (status, "30 messages restored" in err) == (0, True)


def test_an_archive_that_lacks_a_partition_is_not_restored(own_archived: ArchivedPair) -> None:
    pair = own_archived.pair
    tp = TopicPartition(pair.topic.name, 1)

    def without(document: Any) -> None:
        document["partitions"].remove(part_of(document, tp))

    forged = forge(own_archived.file, pair.folder / "forged.zip", without)
    lost(pair)
    status, _, err = restore(own_archived, forged)
    assert (status, f"{forged} has no {tp}" in err) == (2, True)
    assert count(pair) == 0


def test_a_partition_that_the_topic_does_not_have_is_named(own_archived: ArchivedPair) -> None:
    pair = own_archived.pair
    name = pair.topic.name
    last = TopicPartition(name, 7)

    def renumbered(document: Any) -> None:
        part_of(document, TopicPartition(name, 1)).update(partition=7)
        (topic,) = (each for each in document["topics"] if each["name"] == name)
        topic["partitions"] = 8

    blocks = BlockWriter(last)
    for each in messages_of(own_archived.file, TopicPartition(name, 1)):
        assert blocks.add(each) is None
    block = blocks.end()
    assert block is not None
    forged = forge(own_archived.file, pair.folder / "forged.zip", renumbered, {last: [block]})
    lost(pair)
    status, _, err = restore(own_archived, forged, "--broken")
    assert status == 2
    assert f"{name} has 2 partitions, the archive 8" in err
    assert count(pair) == 0


@pytest.mark.parametrize(
    "headers", long_after(1, [[("a\0b", b"x"), ("", None)], None]), ids=["NUL", "none"]
)
def test_a_restore_goes_on_after_messages_whose_headers_no_client_writes(
    own_archived: ArchivedPair, headers: Any
) -> None:
    pair, tp = own_archived.pair, TopicPartition(own_archived.pair.topic.name, 0)
    messages = messages_of(own_archived.file, tp)
    foreign = StampedMessage(messages[-1].offset() + 1, b"key", b"value", headers)
    forged = with_messages(own_archived, tp, [*messages, foreign])
    lost(pair)
    for expected in ("31 messages restored", "0 messages restored, 31 were there"):
        status, _, err = restore(own_archived, forged)
        assert (status, expected in err) == (0, True), err


def test_two_restores_at_once_are_detected(own_archived: ArchivedPair) -> None:
    pair = own_archived.pair
    lost(pair)
    opened = ArchiveFile(own_archived.file)
    first, second = (
        TopicRestoring(pair.connection, opened, pair.topic.name, lambda _: None) for _ in range(2)
    )
    first.check()
    second.check()
    assert first.write().written == 30
    with pytest.raises(errors.RestoreRefused, match="another process has written to"):
        second.write()


def test_verify_suspects_also_those_who_had_the_archive_that_it_reads(
    own_archived: ArchivedPair,
) -> None:
    tp = TopicPartition(own_archived.pair.topic.name, 1)
    forged = with_messages(own_archived, tp, messages_of(own_archived.file, tp)[:3])
    status, _, err = own_archived.run("verify", "--archive", str(forged))
    assert status == 1
    assert "possible for whoever has made the archive or had it in hand, the brokers' oper" in err
