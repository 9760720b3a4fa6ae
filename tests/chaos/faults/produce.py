"""What Kafka refuses for good in the middle of a batch: no gap, and on it goes once mended."""

from __future__ import annotations

import re
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewTopic,
    ResourcePatternType,
    ResourceType,
)

from chaos.chaos_bus import chaos_bus, stop_all
from chaos.report import Report
from chaos.timing import Overdue, drawn, pause, until
from sinergi_schemas.kafka.admin import open_admin

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager
    from random import Random

    from chaos.chaos_bus import ChaosBus, Scale
    from chaos.processes import Worker
    from chaos.services import Services

KEYLESS = Path(__file__).parents[1] / "keyless_relay.py"
_SAYS_SECONDS = 90.0
_LARGE = 800


@dataclass(frozen=True)
class Refusal:
    """A reason for which Kafka refuses a message for good.

    Attributes:
        word: a pattern of what the relay's log must say.
        given: takes the cause in hand; while the block lasts, the broker refuses.
    """

    name: str
    word: str
    given: Callable[[ChaosBus], AbstractContextManager[None]]


def run(
    services: Services,
    folder: Path,
    seed: str,
    scale: Scale,
    refusals: Sequence[Refusal] | None = None,
) -> Report:
    """Every reason `scale.rounds` times, each beside the others on a bus of its own.

    Args:
        refusals: the reasons; all that there are if not given.
    """
    report = Report("Kafka refuses for good in the middle of a batch")
    folder.mkdir()
    chosen = [each for each in refusals or REFUSALS for _ in range(scale.rounds)]
    batch = scale.events // len(chosen)

    def refuse(number: int) -> Report:
        found = Report("")
        with chaos_bus(services, folder / str(number), partitions=1) as bus:
            _refuse(bus, drawn(seed, "produce", number), found, chosen[number], batch)
        return found

    with ThreadPoolExecutor(len(chosen)) as threads:
        for found in threads.map(refuse, range(len(chosen))):
            report.add(found)
    return report


def _refuse(bus: ChaosBus, rng: Random, report: Report, refusal: Refusal, batch: int) -> None:
    relay = bus.workers.run("relay", _command(bus))
    bus.until_leads()
    _publish(bus, rng, batch)
    bus.until_sent()
    before = len(relay.said)
    with refusal.given(bus):
        _publish(bus, rng, batch, large=True)
        _until_waits(report, relay, before, refusal)
    try:
        report.fault(bus.until_sent(), f"Kafka refuses: {refusal.name}")
    except Overdue as late:
        report.problems.append(f"{refusal.name}, though it is mended: {late}")
    materialiser = bus.materialiser()
    bus.settle(report)
    stop_all(report, relay, materialiser)


def _until_waits(report: Report, relay: Worker, before: int, refusal: Refusal) -> None:
    """The relay must neither end nor be silent."""

    def waits() -> bool:
        return not relay.runs or any(
            each["event"] == "waiting" and re.search(refusal.word, str(each))
            for each in relay.said[before:]
        )

    try:
        until(waits, _SAYS_SECONDS, f"the relay says {refusal.word}")
    except Overdue as late:
        report.problems.append(f"{late}; it said {relay.said[before:]}")
    if not relay.runs:
        report.problems.append(f"{refusal.name} ended the relay: {relay.said[-1:]}")


def _publish(bus: ChaosBus, rng: Random, count: int, *, large: bool = False) -> None:
    """A batch in one transaction; if asked for, one event in its middle is a large one."""
    with bus.register.engine.begin() as connection:
        for number in range(count):
            related = _much(rng, bus) if large and number == count // 2 else ()
            said = f"Lapas {rng.randrange(10**9)}"
            bus.register.move(connection, f"M/{rng.randrange(10**6)}", said, related=related)


def _much(rng: Random, bus: ChaosBus) -> tuple[dict[str, str], ...]:
    """Some 200 KB that compress to half of it."""
    return tuple(
        {
            "other_agency": bus.pair.reader,
            "other_event_type": "seizure",
            "other_record_id": rng.randbytes(120).hex(),
            "relation": "LED_TO",
        }
        for _ in range(_LARGE)
    )


def _command(bus: ChaosBus) -> tuple[str, ...]:
    return (sys.executable, str(KEYLESS), str(_losing(bus)), str(bus.agency_settings))


def _losing(bus: ChaosBus) -> Path:
    """While this file is there, the relay's client loses the key of a message."""
    return bus.pair.folder / "losing-keys"


@contextmanager
def _too_large(bus: ChaosBus) -> Iterator[None]:
    """One message is larger than the topic takes, also compressed."""
    with _topic_set(bus, "max.message.bytes", "70000", "1048588"):
        yield


@contextmanager
def _record_invalid(bus: ChaosBus) -> Iterator[None]:
    """A message without a key on a compacted topic."""
    with _topic_set(bus, "cleanup.policy", "compact", "delete"):
        _losing(bus).touch()
        yield
        _losing(bus).unlink()


@contextmanager
def _timestamp_invalid(bus: ChaosBus) -> Iterator[None]:
    """The topic takes the client's time, and only one that is at most 1 ms old."""
    with (
        _topic_set(bus, "message.timestamp.before.max.ms", "1", str(2**63 - 1)),
        _topic_set(bus, "message.timestamp.type", "CreateTime", "LogAppendTime"),
    ):
        yield


@contextmanager
def _not_permitted(bus: ChaosBus) -> Iterator[None]:
    """The right to write is taken away; others may still read."""
    admin = open_admin(bus.pair.connection)
    topic = bus.pair.topic.name

    def rule(operation: AclOperation, permission: AclPermissionType) -> AclBinding:
        return AclBinding(
            ResourceType.TOPIC, topic, ResourcePatternType.LITERAL, "User:ANONYMOUS", "*",
            operation, permission,
        )  # fmt: skip

    rules = [
        rule(AclOperation.ALL, AclPermissionType.ALLOW),
        rule(AclOperation.WRITE, AclPermissionType.DENY),
    ]
    for done in admin.create_acls(rules).values():
        done.result(timeout=30)
    yield
    everything = AclBindingFilter(
        ResourceType.TOPIC, topic, ResourcePatternType.LITERAL, "User:ANONYMOUS", "*",
        AclOperation.ANY, AclPermissionType.ANY,
    )  # fmt: skip
    for gone in admin.delete_acls([everything]).values():
        gone.result(timeout=30)


@contextmanager
def _topic_gone(bus: ChaosBus) -> Iterator[None]:
    """The topic is deleted, and made anew without anything in it."""
    admin = open_admin(bus.pair.connection)
    topic = bus.pair.topic.name
    for gone in admin.delete_topics([topic]).values():
        gone.result(timeout=30)
    yield
    for made in admin.create_topics([NewTopic(topic, bus.pair.partitions, 1)]).values():
        made.result(timeout=30)


@contextmanager
def _topic_set(bus: ChaosBus, name: str, value: str, usual: str) -> Iterator[None]:
    """A setting of the topic, while the block lasts."""
    _set(bus, name, value)
    yield
    _set(bus, name, usual)


def _set(bus: ChaosBus, name: str, value: str) -> None:
    """Change a setting; it has reached the broker's log some moments later."""
    admin = open_admin(bus.pair.connection)
    entry = ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(
        ConfigResource.Type.TOPIC, bus.pair.topic.name, incremental_configs=[entry]
    )
    for done in admin.incremental_alter_configs([resource]).values():
        done.result(timeout=30)
    pause(0.5)


TOO_LARGE = Refusal("a message too large", "Message size too large", _too_large)
NOT_PERMITTED = Refusal("a right taken away", "authorization failed", _not_permitted)
REFUSALS = (
    TOO_LARGE,
    NOT_PERMITTED,
    Refusal("a record invalid", "failed to validate record", _record_invalid),
    # Kafka's client says of several refused messages of one batch only that each is invalid.
    Refusal(
        "a timestamp invalid", "Invalid timestamp|failed to validate record", _timestamp_invalid
    ),
    Refusal("a topic gone", "is not on these brokers", _topic_gone),
)
