"""What was known at a given time, from the sealed topic and from a reader's own table."""

from __future__ import annotations

from datetime import UTC
from typing import TYPE_CHECKING, NamedTuple

import sqlalchemy as sa

from sinergi.demo.errors import DemoFailed
from sinergi_consumers.audit.event_filter import ReplayFilter
from sinergi_consumers.audit.replay import Replay

if TYPE_CHECKING:
    from datetime import datetime

    from sinergi.demo.agencies import Agency, DemoBus
    from sinergi_schemas.topics import Topic


class Knowledge(NamedTuple):
    """The newest revision of a seizure at a given time, and each of its lab results."""

    revision: int
    laboratory: str


class ProvedKnowledge(NamedTuple):
    """A `Knowledge` with the leaf that proves it."""

    known: Knowledge
    partition: int
    leaf: int


def proved(demo: DemoBus, topic: Topic, record_id: str, until: datetime) -> ProvedKnowledge:
    """What the owner of a topic had published by a given time, replayed and verified.

    Raises:
        DemoFailed: nothing was published by then.
        SealBroken: the topic is not what its owner sealed.
    """
    wanted = ReplayFilter(until=until.astimezone(UTC), record_id=record_id)
    frames = Replay(demo.bus, topic).events(wanted)
    rows = [row for frame in frames for row in frame.iter_rows(named=True)]
    if not rows:
        raise DemoFailed(f"nothing was published about {record_id} by then", topic.name)
    newest = max(rows, key=lambda row: row["revision"])
    results = ", ".join(each["lab_result"] for each in newest["exhibits"])
    known = Knowledge(newest["revision"], results)
    return ProvedKnowledge(known, newest["partition"], newest["leaf_index"])


def held(reader: Agency, owner: Agency, record_id: str, until: datetime) -> Knowledge | None:
    """The same from a reader's own table; None if it has nothing."""
    query = sa.text(
        "SELECT revision, string_agg(e.lab_result, ', ' ORDER BY e.position)"
        " FROM sinergi.seizure_history AS s"
        " JOIN sinergi.seizure_history_exhibits AS e USING (agency, record_id, revision)"
        " WHERE agency = :owner AND record_id = :record_id AND s.recorded_at < :until"
        " GROUP BY revision ORDER BY revision DESC LIMIT 1"
    ).bindparams(owner=owner.slug, record_id=record_id, until=until)
    rows = reader.rows(query)
    if not rows:
        return None
    revision, laboratory = rows[0]
    return Knowledge(revision, laboratory)
