"""Messages that the brokers remove are missed, and the error says how to mend their settings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from confluent_kafka import TopicPartition as ClientPartition

from agency_pair import transfer
from foreign_messages import write
from forged_archives import forge, part_of
from sinergi.exit_status import ExitStatus
from sinergi_schemas.kafka.admin import open_admin
from sinergi_schemas.kafka.scan import open_scan
from sinergi_schemas.topics import TopicPartition, control_topic, receipts_topic
from test_archive import ArchivedPair, own_archived, pair
from test_forged_restore import messages_of, with_messages
from test_moved_topics import held
from test_relay import set_topic
from waiting import PATIENCE_SECONDS, until

if TYPE_CHECKING:
    from agency_pair import AgencyPair

__all__ = ["own_archived", "pair"]  # fixtures


REMEDY = (
    "operator must set cleanup.policy of this topic to delete, as `sinergi provision apply` does"
)


@pytest.mark.parametrize(
    ("missing", "leaf", "where"),
    [
        ({0}, 0, "offset 0"),
        ({1, 2}, 1, "the offsets 1 to 2"),
    ],
)
def test_offsets_without_a_message_where_a_leaf_is_missing_are_named(
    own_archived: ArchivedPair, missing: set[int], leaf: int, where: str
) -> None:
    tp = TopicPartition(own_archived.pair.topic.name, 0)
    left = [each for each in messages_of(own_archived.file, tp) if each.offset() not in missing]
    cut = with_messages(own_archived, tp, left)

    def with_all_offsets(document: Any) -> None:
        part_of(document, tp).update(first_offset=0, end_offset=left[-1].offset() + 1)

    forged = forge(cut, cut.with_name("gap.zip"), with_all_offsets)
    status, _, err = own_archived.run("replay", tp.topic, "--archive", str(forged))
    assert status == ExitStatus.NEGATIVE
    assert f"/0 lacks leaf {leaf}, though" in err
    assert f"there is no message at {where} any more, as after compaction" in err
    assert REMEDY in err


def compacted(pair: AgencyPair) -> None:
    """Have the brokers compact the topic, and wait until they have removed messages."""
    before = len(held(pair, pair.topic.name, 0))
    for name, value in (
        ("min.cleanable.dirty.ratio", "0.0001"),
        ("max.compaction.lag.ms", "1"),
        ("segment.ms", "1"),
        ("cleanup.policy", "compact"),
    ):
        set_topic(pair, name, value)

    def has_fewer() -> bool:
        write(pair)  # it ends a segment
        at_first = [each for each in held(pair, pair.topic.name, 0) if each.value()]
        return len(at_first) < before

    until(has_fewer, "compacted", look_seconds=1)


@pytest.mark.long
def test_a_topic_that_the_brokers_compact_lacks_leaves_and_is_filled_again(
    pair: AgencyPair, own_archived: ArchivedPair
) -> None:
    pair.publish(*(transfer(f"P/{number}", "CORRECTED") for number in range(30)))
    with pair.relaying(), pair.materialising():
        pair.until_rows("sinergi.transfer_history", 60)
    compacted(pair)
    for words in (("replay", pair.topic.name), ("reconcile",)):
        status, _, err = own_archived.run(*words)
        assert status == ExitStatus.NEGATIVE, words
        assert "as after compaction" in err, words
        assert REMEDY in err
    set_topic(pair, "cleanup.policy", "delete")
    with pair.relaying():
        pair.until(lambda: own_archived.run("replay", pair.topic.name)[0] == 0, "sent again")


def end(pair: AgencyPair, topic: str) -> int:
    """The end offset of a topic of statements."""
    with open_scan(pair.connection, TopicPartition(topic, 0)) as scan:
        return scan.bounds()[1]


def test_heads_and_receipts_that_the_brokers_have_deleted_are_named(
    own_archived: ArchivedPair,
) -> None:
    pair = own_archived.pair
    admin = open_admin(pair.connection)
    lost = control_topic(pair.publisher), receipts_topic(pair.reader)
    for each in lost:
        set_topic(pair, "cleanup.policy", "compact,delete", each)
        wanted = ClientPartition(each, 0, end(pair, each))
        for done in admin.delete_records([wanted]).values():
            done.result(PATIENCE_SECONDS)
    status, _, err = own_archived.run("replay", pair.topic.name)
    assert status == ExitStatus.SUCCESS
    for each in lost:
        assert f"{each} begins at offset" in err
    assert err.count("the brokers have deleted older messages; `sinergi provision apply`") == 2
    status, out, err = own_archived.run("verify", "--json")
    assert status == ExitStatus.NEGATIVE
    for each in lost:
        assert f"; {each} begins at offset" in out
