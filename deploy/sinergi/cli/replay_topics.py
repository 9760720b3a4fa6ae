"""Which topics a command reads again."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from sinergi.cli import terminal
from sinergi_schemas import errors
from sinergi_schemas.catalog import Catalog
from sinergi_schemas.clock import SYSTEM
from sinergi_schemas.near_names import did_you_mean
from sinergi_schemas.topics import Topic, is_kafka_name

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from sinergi.cli.reading_place import ReadingPlace
    from sinergi_schemas.agreements.collection import Agreements

_TOPIC_WITHIN = re.compile(r"(?<![a-z0-9-])sinergi\.[a-z0-9-]+\.[a-z0-9-]+")


def parsed(words: Sequence[str], *, has_copies: bool) -> list[Topic]:
    """Topics by their names.

    Args:
        has_copies: whether copies of a topic are named, which go with a single topic.

    Raises:
        ReplayRefused: one is not the name of an event topic, or is there twice.
    """
    names = [_topic(each) for each in words]
    if has_copies and len(names) != 1:
        raise errors.ReplayRefused("--copy, --against and --against-archive go with a single TOPIC")
    if twice := [each.name for at, each in enumerate(names) if each in names[:at]]:
        raise errors.ReplayRefused(f"{twice[0]} is named twice")
    return names


def chosen(
    place: ReadingPlace,
    named: Sequence[Topic],
    agencies: Collection[str],
    event_types: Collection[str],
    reader: str | None = None,
) -> list[Topic]:
    """The topics to read: the named ones, or else all that may be read at a place.

    Args:
        place: where they are read.
        agencies, event_types: only topics of these; empty for all.
        reader: only topics that this agency may read too; None for all.

    Raises:
        EventTypeUnknown: neither this version nor an agreement has the event type of a named one.
        NotAgreed: no agreement covers a named one.
        ReplayRefused: no topic is left.
        NotArchived: the place is an archive without one of the named ones.
        SettingsRefused: the settings do not say where the brokers are.
    """
    check_agreed(place.agreements, named)
    place.check(named)
    if place.archive is None:
        note_rights(place, named)
    readable = list(named) or [
        each
        for each in place.readable()
        if reader is None or reader in place.agreements.readers(each)
    ]
    for option, values, known, agreed in (
        ("--agency", agencies, {each.agency for each in readable}, place.agreements.agencies),
        ("--type", event_types, {each.event_type for each in readable}, _types(place.agreements)),
    ):
        if unknown := [each for each in values if each not in known]:
            what = f"{option} {unknown[0]} leaves no topic to read"
            raise errors.ReplayRefused(f"{what}; {instead(unknown[0], known, agreed)}")
    found = [
        each
        for each in readable
        if (not agencies or each.agency in agencies)
        and (not event_types or each.event_type in event_types)
    ]
    if not found:
        what = "--agency and --type together leave no topic to read"
        raise errors.ReplayRefused(what if readable else "no agreement lets you read a topic")
    return found


def note_rights(place: ReadingPlace, named: Sequence[Topic]) -> None:
    """Say of each named topic that no agreement lets us read which line of which file would.

    Brokers without access control let us read it all the same.
    """
    settings, agreements = place.settings, place.agreements
    missing = set(named) - set(place.readable()) if named else set()
    for each in sorted(missing & set(agreements.topics_since(SYSTEM.now()))):
        own = settings.values.agency
        principal = settings.connection().principal.removeprefix("User:") if own is None else own
        line = f"readers under [events.{each.event_type}]"
        if own is None:
            line = f"reads under the table of [auditors] that has {principal}"
        file = Path(agreements.file_of(each)).name
        terminal.note(
            f"sinergi: no agreement lets {principal} read {each.name}; {line} in {file} would give"
            " the right: ask its parties"
        )


def check_agreed(agreements: Agreements, named: Sequence[Topic]) -> None:
    """Refuse topics that no agreement covers, and name the nearest event type or agency.

    An agreement may have event types that this version does not know.

    Raises:
        EventTypeUnknown, NotAgreed: as `chosen`.
    """
    agreed, known = agreements.topics(), _types(agreements)
    for each in named:
        if each.event_type not in known:
            raise errors.EventTypeUnknown(each.event_type, tuple(sorted(known)))
        if each not in agreed:
            raise errors.NotAgreed(each.name, _agreed_instead(each, agreed))


def instead(name: str, there: Collection[str], agreed: Collection[str]) -> str:
    """What to name in place of an agency or event type of which no topic is there.

    Args:
        there: those of which a topic is there.
        agreed: all of the agreements, none of which is misspelt.
    """
    if there and name in agreed:
        return f"there are topics of {', '.join(sorted(there))}"
    return did_you_mean(name, there)


def _types(agreements: Agreements) -> set[str]:
    """The event types of this version and of the agreements."""
    return {*Catalog.shipped().event_types, *(each.event_type for each in agreements.topics())}


def _agreed_instead(topic: Topic, agreed: Collection[Topic]) -> str:
    """Which event types an agency publishes, or which agency may have been meant."""
    types = [each.event_type for each in agreed if each.agency == topic.agency]
    if types:
        return f"{topic.agency} has topics of {', '.join(sorted(types))}"
    return f"no agency {topic.agency}; {did_you_mean(topic.agency, {t.agency for t in agreed})}"


def _topic(name: str) -> Topic:
    try:
        return Topic.parse(name)
    except ValueError as why:
        raise errors.ReplayRefused(f"{why}{_copy_hint(name)}") from None


def _copy_hint(name: str) -> str:
    """How to read a copy of a topic, if a name has that of a topic in it."""
    found = _TOPIC_WITHIN.search(name)
    if found is None or not is_kafka_name(name):
        return ""
    return f"; a copy of a topic is read by `sinergi replay {found.group()} --copy {name}`"
