"""The judge of `make chaos` reports every change that somebody makes to a topic or to tables."""

from __future__ import annotations

import secrets
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import make_url

import sinergi_schemas
from agency_pair import AgencyPair
from chaos.claim_monitor import Claim, IdleTimer, fenced_by_themselves, rebalances, robbed
from chaos.judge import Case, Judge, read
from chaos.register import Register
from sinergi_schemas import message
from sinergi_schemas.kafka.producer import open_producer
from waiting import PATIENCE_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.long

EVENTS = 30
TABLES = [
    ("DELETE FROM sinergi.transfer_history WHERE record_id = 'M/3'", "the history lacks 2"),
    ("DELETE FROM sinergi.transfer WHERE record_id = 'M/3'", "the current table lacks 1"),
    (
        "UPDATE sinergi.transfer_history SET origin_name = 'elsewhere' WHERE record_id = 'M/3'",
        "the history forges 2",
    ),
    (
        (
            "UPDATE sinergi.transfer_history SET event_id ="
            " (SELECT event_id FROM sinergi.transfer WHERE record_id = 'M/4')"
            " WHERE record_id = 'M/3' AND revision = 2"
        ),
        "the history doubles 1",
    ),
    (
        (
            "UPDATE sinergi.transfer AS t SET event_id = h.event_id, revision = 1,"
            " origin_name = h.origin_name FROM sinergi.transfer_history AS h"
            " WHERE h.record_id = 'M/3' AND h.revision = 1 AND t.record_id = 'M/3'"
        ),
        "the current table forges 1",
    ),
    ("DELETE FROM sinergi.transfer_escort WHERE record_id = 'M/3'", "transfer_escort has 14"),
    ("UPDATE sinergi_consumer.position SET tree_size = 29", "is at 29 of 30"),
    (
        (
            "INSERT INTO sinergi_consumer.halt"
            " SELECT topic, 0, 'seal-gap', 'x' FROM sinergi_consumer.position LIMIT 1"
        ),
        "in halt: seal-gap",
    ),
]
REGISTER = [
    ("INSERT INTO register.movement VALUES (gen_random_uuid(), 'M/99', 1, 'unheard', 1)", (3, 0)),
    ("DELETE FROM register.movement WHERE record_id = 'M/3'", (0, 5)),
]
TOPIC = [
    (8, "leaf 8 came again with other contents"),
    (EVENTS, "its last checkpoint is not that of its leaves"),
    (EVENTS + 2, f"leaf {EVENTS + 1} is missing before {EVENTS + 2}"),
]


@pytest.fixture
def pair(tmp_path: Path, kafka: str, agency_slug: str, databases: Callable[[], str]) -> AgencyPair:
    return AgencyPair(tmp_path, kafka, agency_slug, databases(), databases(), partitions=1)


@pytest.fixture
def case(pair: AgencyPair) -> Case:
    """A bus on which everything agrees."""
    register = Register(pair.producer, pair.outbox)
    register.prepare()
    with pair.relaying(), pair.materialising():
        for number in range(EVENTS):
            with pair.producer.begin() as connection:
                register.move(connection, f"M/{number // 2}", f"Lapas {number}")
        pair.until_rows("sinergi.transfer_history", EVENTS)
    return Case(
        agency=_libpq(pair.producer_url),
        reader=_libpq(pair.consumer_url),
        bootstrap=pair.kafka,
        topic=pair.topic.name,
        partitions=1,
        key=str(pair.key.public),
        schemas=Path(sinergi_schemas.__file__).parent / "avro" / "transfer",
    )


@contextmanager
def done(what: str, engine: sa.Engine) -> Iterator[str]:
    """The name of a copy of a database in which something was done."""
    name = f"copy_{secrets.token_hex(6)}"
    server = sa.create_engine(
        engine.url.set(database="postgres"), isolation_level="AUTOCOMMIT", poolclass=sa.NullPool
    )
    copy = sa.create_engine(engine.url.set(database=name), poolclass=sa.NullPool)
    with server.connect() as connection:
        connection.execute(sa.text(f"CREATE DATABASE {name} TEMPLATE {engine.url.database}"))
        with copy.begin() as changing:
            assert changing.execute(sa.text(what)).rowcount
        yield _libpq(copy.url)
        connection.execute(sa.text(f"DROP DATABASE {name} WITH (FORCE)"))


def test_it_sees_what_is_done_to_tables_and_nothing_where_nothing_is(
    pair: AgencyPair, case: Case
) -> None:
    verdict = Judge(case).compare()
    assert (verdict.events, verdict.problems) == (EVENTS, [])
    for what, found in TABLES:
        with done(what, pair.consumer) as reader:
            problems = Judge(replace(case, reader=reader)).compare().problems
            assert any(found in each for each in problems), what
    for what, counts in REGISTER:
        with done(what, pair.producer) as agency:
            verdict = Judge(replace(case, agency=agency)).compare()
            assert (verdict.lost, verdict.forged) == counts, what


def test_it_sees_each_message_that_the_owner_never_sent(pair: AgencyPair, case: Case) -> None:
    producer = open_producer(pair.connection)
    sent = read(pair.kafka, pair.topic.name, 0)[7]
    said: Any = sent.headers()
    for index, found in TOPIC:
        headers = [
            (name, str(index).encode() if name == message.LEAF else value) for name, value in said
        ]
        producer.produce(pair.topic.name, sent.value(), sent.key(), 0, headers=headers)
        assert producer.flush(PATIENCE_SECONDS) == 0
        assert any(found in each for each in Judge(case).compare().problems)


def _libpq(url: str | sa.URL) -> str:
    return make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)


# The monitor of `make chaos ONLY=rebalance`


@dataclass
class LoggedWorker:
    """A worker's log."""

    said: list[dict[str, Any]]
    pid: int = 0

    @property
    def process(self) -> LoggedWorker:
        return self


def claims(*workers: str) -> list[Claim]:
    """Claims of one partition, one after another."""
    return [Claim(at, "transfer", 0, at, each) for at, each in enumerate(workers, 1)]


def lost(epoch: int) -> dict[str, Any]:
    return {
        "event": "topic-partition lost",
        "projection": "transfer",
        "partition": 0,
        "epoch": epoch,
    }


@pytest.mark.parametrize(
    ("made", "epoch", "problems"),
    [
        pytest.param(claims("a", "b"), 1, 0, id="to another"),
        pytest.param(claims("a", "a", "b"), 1, 1, id="to itself"),
        pytest.param(claims("a"), 1, 1, id="to nobody"),
    ],
)
def test_a_share_that_its_worker_lost_to_itself_is_seen(
    made: list[Claim], epoch: int, problems: int
) -> None:
    workers: Any = {"a": LoggedWorker([lost(epoch)])}
    assert len(fenced_by_themselves(made, {}, workers)) == problems


@pytest.mark.parametrize(("holder", "problems"), [("host 7 x", 0), ("host 8 y", 1), (None, 1)])
def test_a_lease_that_its_relay_lost_to_itself_is_seen(holder: str | None, problems: int) -> None:
    workers: Any = {"relay-1": LoggedWorker([{"event": "lease lost", "epoch": 4}], pid=8)}
    terms = {5: holder} if holder else {}
    assert len(fenced_by_themselves([], terms, workers)) == problems


def test_a_rebalance_is_counted_where_a_worker_came_to_hold_something_or_lost_all() -> None:
    assert rebalances(claims("a", "a")) == 1
    assert rebalances(claims("a", "b", "b", "a")) == 5


def test_whoever_had_to_claim_again_when_another_woke_up_was_robbed() -> None:
    assert robbed(claims("b"), ["b"]) == []
    assert len(robbed(claims("b", "a"), ["b"])) == 1


def test_what_was_left_alone_is_measured_from_when_there_was_something_to_do() -> None:
    patient = IdleTimer()
    for now, state, is_waiting in [
        (0, 1, False), (9, 1, True), (12, 1, True), (13, 2, True), (15, 2, True), (90, 2, False),
    ]:  # fmt: skip
        patient.look(state, is_waiting=is_waiting, now=now)
    assert patient.longest == 3
