"""Records who claims which partition, and measures how long work that was waiting was left alone.

Its own triggers keep every claim, with the name under which the claimant connected to the database.
A thread looks several times a second for waiting work and whether it advances. Like the judge, it
shares no code with the product.
"""

from __future__ import annotations

from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import psycopg
from sqlalchemy.engine import make_url

from agency_pair import running
from sinergi_schemas.clock import SYSTEM

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from chaos.judge import Case
    from chaos.processes import Worker

_LOOK_SECONDS = 0.1

# Who claims says so by a setting of the session: see `named`.
_SETTING = "monitor.worker"
_CLAIMS = f"""
    CREATE SCHEMA monitor;
    CREATE TABLE monitor.claim (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, projection text, partition integer,
        epoch bigint, worker text, UNIQUE (projection, partition, epoch));
    CREATE FUNCTION monitor.note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        INSERT INTO monitor.claim (projection, partition, epoch, worker) VALUES
        (NEW.projection, NEW.partition, NEW.epoch, current_setting('{_SETTING}', true));
        RETURN NULL; END $$;
    CREATE TRIGGER first AFTER INSERT ON sinergi_consumer.position
        FOR EACH ROW EXECUTE FUNCTION monitor.note();
    CREATE TRIGGER later AFTER UPDATE OF epoch ON sinergi_consumer.position
        FOR EACH ROW WHEN (OLD.epoch <> NEW.epoch) EXECUTE FUNCTION monitor.note();
"""
_TERMS = """
    CREATE SCHEMA monitor;
    CREATE TABLE monitor.term (epoch bigint PRIMARY KEY, holder text);
    CREATE FUNCTION monitor.note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        INSERT INTO monitor.term VALUES (NEW.epoch, NEW.holder); RETURN NULL; END $$;
    CREATE TRIGGER taken AFTER UPDATE OF epoch ON sinergi_producer.lease
        FOR EACH ROW WHEN (OLD.epoch <> NEW.epoch) EXECUTE FUNCTION monitor.note();
"""
_CLAIMED = """
    SELECT id, projection, partition, epoch, worker FROM monitor.claim WHERE id > %s ORDER BY id
"""
_WAITING = """
    SELECT count(*), (SELECT coalesce(sum(size + sent_size), 0) FROM sinergi_producer.tree),
        (SELECT coalesce(sum(size - sent_size), 0) FROM sinergi_producer.tree)
    FROM sinergi_producer.outbox WHERE leaf_index IS NULL AND held IS NULL
"""
_SENT = "SELECT partition, sent_size FROM sinergi_producer.tree"
_REACHED = "SELECT partition, min(tree_size) FROM sinergi_consumer.position GROUP BY partition"


class Claim(NamedTuple):
    """One claim of a partition for a projection."""

    id: int
    projection: str
    partition: int
    epoch: int
    worker: str | None


@dataclass
class IdleTimer:
    """Something that is worked on: how long it was left alone, although there was something to do.

    Attributes:
        longest: in seconds.
    """

    longest: float = 0.0
    _state: object = None
    _since: float | None = None

    def look(self, state: object, *, is_waiting: bool, now: float) -> None:
        """Take note of what it looks like at a moment; another state is a movement."""
        if not is_waiting:
            self._since = None
        elif self._since is None or state != self._state:
            self._since = now
        else:
            self.longest = max(self.longest, now - self._since)
        self._state = state


@dataclass
class ClaimMonitor:
    """One bus, from its beginning: it must be there before anybody claims anything.

    Attributes:
        outbox: the agency's outbox: rows to seal, leaves to send.
        partitions: those of the topic: leaves that the broker has and the tables lack.
    """

    case: Case
    outbox: IdleTimer = field(default_factory=IdleTimer)
    partitions: dict[int, IdleTimer] = field(default_factory=dict)

    def __post_init__(self) -> None:
        with psycopg.connect(self.case.reader) as connection:
            connection.execute(_CLAIMS)
        with psycopg.connect(self.case.agency) as connection:
            connection.execute(_TERMS)

    def claims(self, after: int = 0) -> list[Claim]:
        """All claims, in their order; or those after one."""
        with psycopg.connect(self.case.reader) as connection:
            return [Claim(*row) for row in connection.execute(_CLAIMED, (after,))]

    def terms(self) -> dict[int, str]:
        """Who has taken the lease of the outbox under which epoch."""
        with psycopg.connect(self.case.agency) as connection:
            return dict(connection.execute("SELECT epoch, holder FROM monitor.term").fetchall())

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Look whether everything moves, while the block lasts."""
        with running(self._watch):
            yield

    def _watch(self, stopping: threading.Event) -> None:
        with (
            psycopg.connect(self.case.agency, autocommit=True) as agency,
            psycopg.connect(self.case.reader, autocommit=True) as reader,
        ):
            while not stopping.wait(_LOOK_SECONDS):
                self._look(agency, reader)

    def _look(self, agency: psycopg.Connection[Any], reader: psycopg.Connection[Any]) -> None:
        unsealed, moved, unsent = agency.execute(_WAITING).fetchone() or (0, 0, 0)
        sent = agency.execute(_SENT).fetchall()
        reached = dict(reader.execute(_REACHED).fetchall())
        now = SYSTEM.monotonic()
        self.outbox.look(moved, is_waiting=unsealed + unsent > 0, now=now)
        for number, size in sent:
            at = reached.get(number, 0)
            patient = self.partitions.setdefault(number, IdleTimer())
            patient.look(at, is_waiting=size > at, now=now)


def named(url: str, worker: str) -> str:
    """The URL of a database for a worker whose claims shall bear its name."""
    options = {"options": f"-c{_SETTING}={worker}"}
    return make_url(url).update_query_dict(options).render_as_string(hide_password=False)


def owners(claims: Iterable[Claim]) -> dict[int, str | None]:
    """Who has claimed each partition last."""
    return {each.partition: each.worker for each in claims}


def rebalances(claims: Iterable[Claim]) -> int:
    """How often a worker has come to hold a share while it held none, or has lost its last one.

    Each needs another generation of the group, for a member has a share of its own as long as there
    are enough of them. What the first workers take at the beginning counts too.
    """
    found = 0
    held: dict[int, str | None] = {}
    holding: Counter[str | None] = Counter()
    for each in claims:
        before = held.get(each.partition)
        if each.worker == before:
            continue
        found += holding[each.worker] == 0
        holding[each.worker] += 1
        if before is not None:
            holding[before] -= 1
            found += holding[before] == 0
        held[each.partition] = each.worker
    return found


def fenced_by_themselves(
    claims: Iterable[Claim], terms: Mapping[int, str], workers: Mapping[str, Worker]
) -> list[str]:
    """Every share and lease that its worker says to have lost, though nobody else had claimed it.

    Epochs go up by one, so that the epoch behind a worker's own names who has taken it away.

    Args:
        workers: by the name under which they claim.
    """
    claimants = {(each.projection, each.partition, each.epoch): each.worker for each in claims}
    found = []
    for name, worker in workers.items():
        for each in worker.said:
            if each["event"] == "topic-partition lost":
                place = each["projection"], each["partition"]
                successor = claimants.get((*place, each["epoch"] + 1))
                if successor in (None, name):
                    found.append(f"{name} lost {place} of epoch {each['epoch']} to {successor}")
            elif each["event"] == "lease lost":
                holder = terms.get(each["epoch"] + 1)
                if holder is None or str(worker.process.pid) in holder.split():
                    found.append(f"{name} lost the lease of epoch {each['epoch']} to {holder}")
    return found


def robbed(claims: Sequence[Claim], awakened: Iterable[str]) -> list[str]:
    """What others had to claim while nothing happened but that some workers woke up and joined.

    A worker that joins is given shares of the others, and they get none: whoever claims one then
    had it taken away by somebody to whom the group had not given it.
    """
    joined = set(awakened)
    return [
        f"{each.worker} had to claim partition {each.partition} again when {sorted(joined)} woke up"
        for each in claims
        if each.worker not in joined
    ]
