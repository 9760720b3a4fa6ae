"""The local Kafka is large enough for what `sinergi provision` makes on it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import NewTopic

from sinergi.local import Local
from sinergi.settings.settings import load
from sinergi_schemas.kafka.admin import cluster_id, open_admin
from waiting import PATIENCE_SECONDS

if TYPE_CHECKING:
    from pathlib import Path

# 7,500 are those of 1,500 agencies with three event topics each, and their control and receipts
# topics; beyond them there must be room.
PARTITIONS = 12_000
IN_ONE_TOPIC = 100


@pytest.mark.long
def test_a_local_kafka_holds_the_partitions_of_a_bus_of_1500_agencies(tmp_path: Path) -> None:
    with Local(tmp_path / "services", is_secured=True) as local:
        connection = load(local.operator_settings).connection()
        admin = open_admin(connection)
        names = [f"topic-{number:02}" for number in range(PARTITIONS // IN_ONE_TOPIC)]
        for name in names:
            (made,) = admin.create_topics([NewTopic(name, IN_ONE_TOPIC, 1)]).values()
            made.result(PATIENCE_SECONDS)
        producer = Producer(connection.settings())
        for name in names:
            for partition in range(IN_ONE_TOPIC):
                producer.produce(name, b"x" * 500, partition=partition)
        assert producer.flush(PATIENCE_SECONDS) == 0
        assert cluster_id(open_admin(connection))  # it has not ended
