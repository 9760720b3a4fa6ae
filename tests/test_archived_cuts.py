"""`sinergi archive create` of a topic of which somebody has taken messages away."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from confluent_kafka import TopicPartition as ClientPartition

from sinergi.exit_status import ExitStatus
from sinergi_consumers.archives.archive_file import ArchiveFile
from sinergi_consumers.archives.writer import PartitionWriter
from sinergi_schemas.kafka.admin import open_admin
from test_archive import ArchivedPair, own_archived, pair
from waiting import PATIENCE_SECONDS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from confluent_kafka import Message

    from agency_pair import AgencyPair

__all__ = ["own_archived", "pair"]  # fixtures


def delete_before(pair: AgencyPair, partition: int, offset: int) -> None:
    """Delete the messages of a partition before an offset; -1 is its end."""
    admin = open_admin(pair.connection)
    wanted = ClientPartition(pair.topic.name, partition, offset)
    for done in admin.delete_records([wanted]).values():
        done.result(PATIENCE_SECONDS)


def create(archived: ArchivedPair) -> tuple[int, str]:
    words = ("archive", "create", archived.pair.topic.name, "-o", str(archived.file), "--force")
    status, _, err = archived.run(*words)
    return status, err


def broken(archived: ArchivedPair) -> list[str]:
    """What the archive says is wrong with each partition of the topic."""
    return [each.tree.broken for each in ArchiveFile(archived.file).partitions if each.tree]


def test_a_partition_without_any_message_is_not_archived_as_whole(
    own_archived: ArchivedPair,
) -> None:
    delete_before(own_archived.pair, 0, -1)
    status, err = create(own_archived)
    assert status == ExitStatus.NEGATIVE
    assert f"{own_archived.pair.topic.name}/0 was archived as it is" in err
    first, second = broken(own_archived)
    assert second == ""
    status, _, said = own_archived.run("replay", "--archive", str(own_archived.file))
    assert status == ExitStatus.NEGATIVE
    for each in (err, first, said):
        assert "/0 lacks leaf 0, though" in each
        assert "so the brokers have deleted the messages before" in each


@pytest.mark.parametrize("is_during", [False, True], ids=["before", "during"])
def test_messages_that_are_deleted_are_named_in_the_archive(
    own_archived: ArchivedPair, monkeypatch: pytest.MonkeyPatch, *, is_during: bool
) -> None:
    pair, whole = own_archived.pair, PartitionWriter.add
    added: list[int] = []

    def deleting(self: PartitionWriter, chunk: Iterable[Message]) -> None:
        whole(self, chunk)
        if not added:  # heads are written, and no leaf
            delete_before(pair, 1, 5)
        added.append(self.messages)

    if is_during:
        monkeypatch.setattr(PartitionWriter, "add", deleting)
    else:
        delete_before(pair, 1, 5)
    status, err = create(own_archived)
    assert (status, "lacks leaf 0" in err) == (ExitStatus.NEGATIVE, True)
    assert ["lacks leaf 0" in each for each in broken(own_archived)] == [False, True]
    assert "it begins at offset 5, so the brokers have deleted the messages before" in err
    assert [each.first_offset for each in ArchiveFile(own_archived.file).partitions][-2:] == [0, 5]
