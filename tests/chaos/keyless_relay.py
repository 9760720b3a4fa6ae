"""A relay whose client loses the key of every seventh message while a file is there.

Kafka refuses such a message on a compacted topic: the only way to a record that is invalid, since
the relay itself never sends one. Arguments: that file, and the agency's settings.
"""

from __future__ import annotations

import sys
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sinergi.cli import main
from sinergi_producers.relay import sending
from sinergi_schemas.kafka.producer import open_producer

if TYPE_CHECKING:
    from confluent_kafka import Producer

    from sinergi_schemas.kafka import Connection

_EVERY = 7


class KeyDroppingProducer:
    """A producer in front of the real one."""

    def __init__(self, producer: Producer, losing: Path) -> None:
        self._producer = producer
        self._losing = losing
        self._numbers = count(1)

    def produce(self, topic: str, value: bytes, key: bytes, *rest: Any, **options: Any) -> None:
        """Hand a message on, some of them without their key."""
        is_lost = next(self._numbers) % _EVERY == 0 and self._losing.exists()
        self._producer.produce(topic, value, None if is_lost else key, *rest, **options)

    def __len__(self) -> int:
        return len(self._producer)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._producer, name)


def start(losing: Path, settings: str) -> None:
    """Run the relay's own command on such a producer."""

    def opened(connection: Connection, **options: Any) -> KeyDroppingProducer:
        return KeyDroppingProducer(open_producer(connection, **options), losing)

    vars(sending)["open_producer"] = opened
    sys.argv = ["sinergi", "--config", settings, "--log-json", "relay"]
    main()


if __name__ == "__main__":
    start(Path(sys.argv[1]), sys.argv[2])
