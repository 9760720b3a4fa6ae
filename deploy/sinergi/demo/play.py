"""The demo from start to end, in the order in which it is shown.

1. Kafka and PostgreSQL on this machine; three agencies; their relays and materialisers; one of them
   asks for a topic outside the agreement
2. the five stories and the concurrent writers, with two processes killed meanwhile
3. wait until every reader has every event; stop the processes in order
4. change one byte in a copy of a topic, and find it
5. count every event in five places
"""

from __future__ import annotations

from contextlib import ExitStack, closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rich.text import Text

from sinergi.demo import stories
from sinergi.demo.agencies import POLRESTA, PROFILES, StoryClock, establish
from sinergi.demo.concurrent_writers import concurrent_writers
from sinergi.demo.fiction import at
from sinergi.demo.final_count import FinalCount, count_all, is_settled
from sinergi.demo.outside import read_outside_the_agreement
from sinergi.demo.scenario import Scenario
from sinergi.demo.tampering import Tampered, tamper
from sinergi.demo.workers import WorkerCommand, Workers
from sinergi.local import Local
from sinergi_schemas.clock import SYSTEM
from sinergi_schemas.topics import Topic

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from sinergi.demo.agencies import DemoBus
    from sinergi.demo.scenario import ExpectedEvents
    from sinergi.demo.screen import Screen

_SETTLING_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class DemoOutcome:
    """The result of the demo."""

    final_count: FinalCount
    tampered: Tampered

    def document(self) -> dict[str, Any]:
        """The result as JSON."""
        return {"agencies": self.final_count.document(), "tampered": self.tampered.document()}


def play(folder: Path, screen: Screen, check: Callable[[], None]) -> DemoOutcome:
    """Run the demo in an empty folder; nothing of it runs any more when this returns or raises.

    Args:
        check: called often; raises KeyboardInterrupt if the demo has to stop.

    Raises:
        DemoFailed: the product did not keep a promise.
        SinergiError: local services cannot be started; see `Local`.
    """
    began = SYSTEM.monotonic()
    with ExitStack() as stack:
        screen.chapter(
            "Three agencies, one agreement",
            "Each has its own database and its own keys. None trusts another agency or the broker.",
        )
        screen.say(
            'All persons in these stories are made up ("Rekaan" means fiction). It is March 2026.'
        )
        screen.say("Real Kafka and real PostgreSQL start on this machine, on free ports.")
        # No spinner here: a bar may have to show a download.
        local = stack.enter_context(Local(folder / "services", screen.progress))  # 1
        clock = StoryClock(at(3, 9))
        with screen.waiting("making keys, an agreement, tables and topics"):
            demo = stack.enter_context(closing(establish(folder, local, clock)))
        workers = stack.enter_context(Workers(folder / "logs", check))
        _start(demo, workers, screen)
        read_outside_the_agreement(demo, screen)
        expected = _play_stories(Scenario(demo, workers, clock, screen))  # 2, 3
        workers.stop()
        tampered = _tamper(demo, screen)  # 4
        check()
        final_count = _count_all(demo, expected, screen)  # 5
        check()
        with screen.waiting("stopping Kafka and PostgreSQL"):
            stack.close()
    seconds = SYSTEM.monotonic() - began
    if final_count.is_equal:
        screen.verdict(f"All counts are equal. Everything is stopped; {seconds:.0f} s.", good=True)
    else:
        screen.verdict(f"The counts differ; {seconds:.0f} s.", good=False)
    return DemoOutcome(final_count, tampered)


def _start(demo: DemoBus, workers: Workers, screen: Screen) -> None:
    rows = []
    for each in demo.agencies.values():
        pids = [
            str(workers.start(each, work))
            for work in (WorkerCommand.RELAY, WorkerCommand.MATERIALISE)
        ]
        published = demo.agreements.published_by(each.slug)
        names = ", ".join(topic.event_type for topic in published)
        rows.append((each.slug, each.profile.name, names, *pids))
    screen.table(("agency", "", "publishes", "relay", "materialiser"), rows)
    with screen.waiting("starting relays and materialisers"):
        workers.wait_until_ready(demo)


def _play_stories(scenario: Scenario) -> ExpectedEvents:
    stories.seizure_after_visit(scenario)
    stories.refuted_exhibit(scenario)
    stories.corrected_inmate(scenario)
    stories.retracted_transfer(scenario)
    stories.relay_offline(scenario)
    concurrent_writers(scenario)
    with scenario.screen.waiting("waiting until every reader has every event"):
        scenario.workers.wait_until(lambda: is_settled(scenario.demo), _SETTLING_SECONDS)
    stories.final_queries(scenario)
    return scenario.expected


def _tamper(demo: DemoBus, screen: Screen) -> Tampered:
    screen.chapter(
        "A changed byte",
        "The broker's operator can change messages. A change of a single byte is found.",
    )
    topic = Topic(POLRESTA.slug, "seizure")
    with screen.waiting(f"copying {topic.name}"):
        found = tamper(demo, topic)
    screen.say(
        f"The topic {topic.name} is copied message by message. One byte of one value is changed:"
        f" {found.before} g become {found.after} g. A replay refuses the copy (--copy):"
    )
    screen.quote(found.refusal)
    screen.say(
        f"A comparison with the original (--against {topic.name}) names the leaf:"
        f" [bold]leaf {found.leaf}[/] of partition {found.partition}."
    )
    return found


def _count_all(demo: DemoBus, expected: ExpectedEvents, screen: Screen) -> FinalCount:
    screen.chapter(
        "The final count",
        "Every event is counted in independent places. Under a reader's name stands the number of"
        " distinct events in its own history table.",
    )
    with screen.waiting("reading every topic again"):
        found = count_all(demo, expected)
    rows = []
    for topic, line in found.lines.items():
        read = [line.materialised.get(each.slug, "") for each in PROFILES]
        counts = (line.published, line.sealed, *read, line.verified, line.quarantined)
        style = "green" if line.is_equal else "bold red"
        cells = (Text(str(each), style) for each in counts)
        rows.append((demo.agencies[topic.agency].profile.short, topic.event_type, *cells))
    readers = [each.short for each in PROFILES]
    columns = ("published", "sealed", *readers, "verified", "quarantined")
    screen.table(("agency", "events", *columns), rows)
    for each in found.contradictions:
        screen.verdict(each, good=False)
    if not found.contradictions:
        screen.say(
            "The topics hold exactly the events whose transactions committed, and none of the"
            f" {len(expected.rolled_back)} that was rolled back."
        )
    return found
