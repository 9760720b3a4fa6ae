"""`sinergi reconcile` accuses no side where it has read a topic in part, or not at all."""

from __future__ import annotations

import json
from copy import deepcopy
from typing import TYPE_CHECKING, Any

import pytest
from confluent_kafka.admin import NewTopic

from sinergi import migrate
from sinergi_consumers.audit.replay import Replay
from sinergi_consumers.projections.projection import projections_of
from sinergi_schemas import errors
from sinergi_schemas.catalog import Catalog
from sinergi_schemas.events import parse
from sinergi_schemas.kafka.admin import open_admin
from test_events import seizure
from test_reconcile import COUNT, Desk, own_desk
from waiting import PATIENCE_SECONDS, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sinergi_consumers.reading.partition import VerifiedBatch

__all__ = ["own_desk"]  # fixture


@pytest.fixture
def wide(own_desk: Desk) -> Desk:
    """Of two topics: transfers in two partitions, and one seizure."""
    pair = own_desk.pair
    document = deepcopy(pair.agreement)
    terms = document["events"]["transfer"] | {"purposes": ["INVESTIGATION"]}
    document["events"] |= {"transfer": terms, "seizure": terms}
    pair.agree(document)
    name = f"sinergi.{pair.publisher}.seizure"
    admin = open_admin(pair.connection)
    admin.create_topics([NewTopic(name, 2, -1)])[name].result(PATIENCE_SECONDS)
    tables = projections_of(Catalog.shipped(), ["seizure", "transfer"])
    migrate.upgrade(pair.consumer_url, migrate.Role.CONSUMER, tables)
    del pair.agreements, pair.outbox  # they were read before
    pair.publish(parse("seizure", seizure(record_id="S/1")))
    sent = "SELECT sum(sent_size) FROM sinergi_producer.tree"
    with pair.relaying():
        until(lambda: pair.ask(sent, pair.producer) == [(COUNT + 1,)], "all is sent")
    return own_desk


def test_a_topic_that_changes_while_it_is_read_makes_no_difference(
    wide: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    changed, batches = wide.pair.topic, Replay.batches

    def changing(self: Replay, counts: Any, sizes: Any) -> Iterator[VerifiedBatch]:
        if self.topic == changed and counts.partition == 1:
            raise errors.TopicChanged(changed.name, "it was deleted and created again")
        yield from batches(self, counts, sizes)

    monkeypatch.setattr(Replay, "batches", changing)
    status, found = wide.document()
    assert (found["difference_count"], found["topics_disproved"]) == (0, {})
    assert (status, found["equal"]) == (2, None)
    assert [*found["topics_undecided"]] == [changed.name]
    assert {each["event_type"] for each in found["counts"]} == {"seizure"}


def test_signed_counts_of_one_topic_accuse_nobody_of_the_others(wide: Desk, tmp_path: Path) -> None:
    file = tmp_path / "counts.note"
    status = wide.write_counts(file, f"sinergi.{wide.pair.publisher}.seizure")
    assert status == 0, wide.capsys.readouterr().err
    status, out, err = wide.compare_counts(file, options=["--json"])
    found = json.loads(out)
    assert (status, found["differences"]) == (0, []), err
