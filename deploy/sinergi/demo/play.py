"""The demo from start to end, as it is shown.

1. Kafka and PostgreSQL on this machine; three agencies; their relays and materialisers
2. the five stories and an ordinary day, with two processes killed on the way
3. wait until everybody has everything; stop the processes in order
4. one byte of a copied topic is changed, and found
5. count everything in five places
"""

from __future__ import annotations

from contextlib import ExitStack, closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rich.text import Text

from sinergi.demo import stories
from sinergi.demo.agencies import POLRESTA, PROFILES, StoryClock, establish
from sinergi.demo.fiction import at
from sinergi.demo.ordinary_day import ordinary_day
from sinergi.demo.reckoning import Reckoning, is_settled, reckon
from sinergi.demo.tampering import Tampered, tamper
from sinergi.demo.teller import Storyline
from sinergi.demo.workers import WorkerCommand, Workers
from sinergi.local import Local
from sinergi_schemas.clock import SYSTEM
from sinergi_schemas.topics import Topic

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from sinergi.demo.agencies import DemoBus
    from sinergi.demo.screen import Screen
    from sinergi.demo.teller import CommittedEvents

_SETTLING_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class DemoOutcome:
    """How the demo ended."""

    reckoning: Reckoning
    tampered: Tampered

    def document(self) -> dict[str, Any]:
        """All of it as JSON has it."""
        return {"agencies": self.reckoning.document(), "tampered": self.tampered.document()}


def play(folder: Path, screen: Screen, check: Callable[[], None]) -> DemoOutcome:
    """Play the demo in an empty folder; when it ends, however it ends, nothing of it runs.

    Args:
        check: raises KeyboardInterrupt if the demo was told to stop; called time and again.

    Raises:
        DemoFailed: something did not go as the product promises.
        SinergiError: local services cannot be had; see `Local`.
    """
    began = SYSTEM.monotonic()
    with ExitStack() as stack:
        screen.chapter(
            "Three agencies, one agreement",
            "Each keeps its own database and its own keys; none trusts another, nor the broker.",
        )
        screen.say('Everybody in these stories is made up: "Rekaan" is fiction. It is March 2026.')
        screen.say("Real Kafka and real PostgreSQL start on this machine, on ports that are free.")
        # No spinner here: a bar may have to show a download.
        local = stack.enter_context(Local(folder / "services", screen.progress))  # 1
        clock = StoryClock(at(3, 9))
        with screen.waiting("keys, an agreement, tables and topics are made"):
            bench = stack.enter_context(closing(establish(folder, local, clock)))
        workers = stack.enter_context(Workers(folder / "logs", check))
        _start(bench, workers, screen)
        told = _tell(Storyline(bench, workers, clock, screen))  # 2, 3
        workers.stop()
        tampered = _tamper(bench, screen)  # 4
        check()
        reckoning = _reckon(bench, told, screen)  # 5
        check()
        with screen.waiting("stopping Kafka and PostgreSQL"):
            stack.close()
    seconds = SYSTEM.monotonic() - began
    if reckoning.is_equal:
        screen.verdict(f"All equal. Nothing of this runs any more; {seconds:.0f} s.", good=True)
    else:
        screen.verdict(f"It does not agree; {seconds:.0f} s.", good=False)
    return DemoOutcome(reckoning, tampered)


def _start(bench: DemoBus, workers: Workers, screen: Screen) -> None:
    rows = []
    for each in bench.agencies.values():
        pids = [
            str(workers.start(each, work))
            for work in (WorkerCommand.RELAY, WorkerCommand.MATERIALISE)
        ]
        published = bench.agreements.published_by(each.slug)
        names = ", ".join(topic.event_type for topic in published)
        rows.append((each.slug, each.profile.name, names, *pids))
    screen.table(("agency", "", "publishes", "relay", "materialiser"), rows)
    with screen.waiting("their relays and materialisers start"):
        workers.wait_until_ready(bench)


def _tell(teller: Storyline) -> CommittedEvents:
    stories.parcel(teller)
    stories.salt(teller)
    stories.wrong_man(teller)
    stories.retraction(teller)
    stories.drone(teller)
    ordinary_day(teller)
    with teller.screen.waiting("everybody catches up"):
        teller.workers.wait_until(lambda: is_settled(teller.bench), _SETTLING_SECONDS)
    stories.reunion(teller)
    return teller.told


def _tamper(bench: DemoBus, screen: Screen) -> Tampered:
    screen.chapter(
        "The broker as an enemy",
        "Who runs the broker can change what lies there. One byte is enough to be found out.",
    )
    topic = Topic(POLRESTA.slug, "seizure")
    with screen.waiting(f"copying {topic.name}"):
        found = tamper(bench, topic)
    screen.say(
        f"The topic {topic.name} is copied message by message; in one value one byte is changed,"
        f" and {found.before} g become {found.after} g. A replay refuses the copy (--copy):"
    )
    screen.quote(found.refusal)
    screen.say(
        f"Compared with the original (--against {topic.name}), the leaf is named:"
        f" [bold]leaf {found.leaf}[/] of partition {found.partition}."
    )
    return found


def _reckon(bench: DemoBus, told: CommittedEvents, screen: Screen) -> Reckoning:
    screen.chapter(
        "The reckoning",
        "Every event is counted in places that do not ask each other. Under a reader's name stand"
        " the distinct events in its own history table.",
    )
    with screen.waiting("reading every topic again"):
        found = reckon(bench, told)
    rows = []
    for topic, line in found.lines.items():
        read = [line.materialised.get(each.slug, "") for each in PROFILES]
        counts = (line.published, line.sealed, *read, line.verified, line.quarantined)
        style = "green" if line.is_equal else "bold red"
        cells = (Text(str(each), style) for each in counts)
        rows.append((bench.agencies[topic.agency].profile.short, topic.event_type, *cells))
    readers = [each.short for each in PROFILES]
    columns = ("published", "sealed", *readers, "verified", "quarantined")
    screen.table(("agency", "events", *columns), rows)
    for each in found.contradictions:
        screen.verdict(each, good=False)
    if not found.contradictions:
        screen.say(
            "The topics hold exactly the events whose transaction was committed, and no trace of"
            f" the {len(told.taken_back)} that was rolled back."
        )
    return found
