"""An agency asks the broker for a topic that no agreement lets it read."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from sinergi.demo.agencies import LAPAS, POLRESTA
from sinergi.demo.errors import DemoFailed
from sinergi.settings.model import BusRole
from sinergi_consumers.audit.event_filter import ReplayFilter
from sinergi_consumers.audit.replay import Replay
from sinergi_consumers.reading.source import KafkaSource
from sinergi_schemas import errors
from sinergi_schemas.topics import Topic

if TYPE_CHECKING:
    from sinergi.demo.agencies import DemoBus
    from sinergi.demo.screen import Screen

_VISITS = Topic(LAPAS.slug, "suspicious-visit")


def read_outside_the_agreement(demo: DemoBus, screen: Screen) -> None:
    """Let the police read the prison's visits, which the agreement gives to BNNK alone.

    Raises:
        DemoFailed: the broker let them.
    """
    screen.chapter(
        "Outside the agreement",
        "The signed agreement is the broker's access list: an agency may do what it names.",
    )
    screen.say(
        f"The agreement gives the prison's visits to BNNK alone. The police ask for {_VISITS.name}"
        " with their own password, and the broker refuses:"
    )
    police = demo.agencies[POLRESTA.slug].settings
    bus = replace(demo.bus, source=KafkaSource(police.connection(BusRole.CONSUMER)))
    try:
        shown = sum(map(len, Replay(bus, _VISITS).events(ReplayFilter())))
    except errors.NotPermitted as why:
        screen.quote(str(why))
        return
    raise DemoFailed("the broker let the police read outside the agreement", f"{shown} events")
