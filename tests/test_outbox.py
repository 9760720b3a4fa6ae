"""Publishing: an event exists exactly if the agency's own transaction commits."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from threading import Barrier
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from agency_pair import transfer
from sinergi_producers.outbox.publishing import Outbox
from sinergi_schemas import codec, errors
from sinergi_schemas.agreements.collection import Agreements
from sinergi_schemas.catalog import Catalog
from sinergi_schemas.clock import SYSTEM, new_event_id
from sinergi_schemas.limits import MOST_DATUM_BYTES
from waiting import PATIENCE_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sinergi_schemas.events import Event

AGENCY = "lapas-banyuwangi"
EXAMPLE = Path(__file__).parent.parent / "examples" / "agreement"
THREADS = 8


class FixedClock:
    """A clock that a test sets."""

    def __init__(self, now: datetime) -> None:
        self._now = now

    def now(self) -> datetime:
        return self._now

    def monotonic(self) -> float:
        return SYSTEM.monotonic()


def outbox(agency: str = AGENCY, at: datetime = datetime(2026, 3, 3, tzinfo=UTC)) -> Outbox:
    return Outbox(agency, Agreements.load(EXAMPLE), Catalog.shipped(), FixedClock(at))


@pytest.fixture
def engine(postgresql: str) -> Iterator[sa.Engine]:
    made = sa.create_engine(postgresql, poolclass=sa.NullPool)
    yield made
    made.dispose()


def ask(engine: sa.Engine, question: str) -> list[tuple[Any, ...]]:
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(sa.text(question))]


def heads(engine: sa.Engine) -> dict[str, tuple[int, str]]:
    rows = ask(engine, "SELECT record_id, revision, action FROM sinergi_producer.head")
    return {record: (revision, action) for record, revision, action in rows}


def revisions(engine: sa.Engine, record: str) -> list[int]:
    found = ask(engine, "SELECT record_id, revision FROM sinergi_producer.outbox ORDER BY id")
    return [revision for name, revision in found if name == record]


def publish(engine: sa.Engine, *events: Event) -> list[Event]:
    """Each in the same transaction, one by one."""
    with Session(engine) as session, session.begin():
        return [outbox().publish(session, event) for event in events]


def at_once(action: Callable[[int], Any]) -> list[Any]:
    """What several threads get or raise that begin at the same moment."""
    barrier = Barrier(THREADS)

    def run(number: int) -> Any:
        barrier.wait(timeout=PATIENCE_SECONDS)
        try:
            return action(number)
        except errors.SinergiError as why:
            return why

    with ThreadPoolExecutor(THREADS) as threads:
        return list(threads.map(run, range(THREADS)))


def test_an_event_exists_exactly_if_the_agencys_own_row_does(engine: sa.Engine) -> None:
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE own (number text)"))
    for number, ends_well in enumerate((True, False)):
        with Session(engine) as session:
            session.execute(sa.text("INSERT INTO own VALUES (:n)"), {"n": f"P/{number}"})
            outbox().publish(session, transfer(f"P/{number}"))
            (session.commit if ends_well else session.rollback)()
    assert ask(engine, "SELECT number FROM own") == [("P/0",)]
    assert ask(engine, "SELECT record_id FROM sinergi_producer.outbox") == [("P/0",)]
    assert heads(engine) == {"P/0": (1, "RECORDED")}


def test_what_is_stored_is_the_event_that_publish_returns(engine: sa.Engine) -> None:
    (event,) = publish(engine, transfer("P/1"))
    agreement = Agreements.load(EXAMPLE).covering(AGENCY, "transfer", outbox()._clock.now())
    assert agreement is not None
    assert (event.agency, event.revision, event.agreement, event.recorded_at) == (
        AGENCY,
        1,
        agreement.hash,
        datetime(2026, 3, 3, tzinfo=UTC),
    )
    ((datum, fingerprint, event_id),) = ask(
        engine, "SELECT datum, fingerprint, event_id FROM sinergi_producer.outbox"
    )
    schema = Catalog.shipped().newest("transfer")
    assert bytes(datum) == codec.encode(event, schema)
    assert (bytes(fingerprint), event_id) == (schema.fingerprint, event.event_id)


@pytest.mark.parametrize("revision", [2, 63, 64, 8191, 8192, 1_048_576, 2**31 - 1])
def test_a_revision_of_any_length_is_put_in_as_avro_writes_it(
    engine: sa.Engine, revision: int
) -> None:
    publish(engine, transfer("P/1"))
    with engine.begin() as connection:
        connection.execute(
            sa.text("UPDATE sinergi_producer.head SET revision = :r"), {"r": revision - 1}
        )
    (event,) = publish(engine, transfer("P/1", "CORRECTED"))
    ((datum,),) = ask(engine, "SELECT datum FROM sinergi_producer.outbox ORDER BY id DESC LIMIT 1")
    assert event.revision == revision
    assert bytes(datum) == codec.encode(event, Catalog.shipped().newest("transfer"))


def test_an_event_sent_again_is_the_one_stored(engine: sa.Engine) -> None:
    first, second = transfer("P/1"), transfer("P/1", "CORRECTED", risk="HIGH")
    stored = publish(engine, first, second, transfer("P/1", "CORRECTED"))
    later = outbox(at=datetime(2026, 4, 4, tzinfo=UTC))
    with Session(engine) as session, session.begin():
        assert later.publish(session, first) == stored[0]
        assert later.publish(session, second) == stored[1]
    assert revisions(engine, "P/1") == [1, 2, 3]
    assert heads(engine) == {"P/1": (3, "CORRECTED")}


@pytest.mark.parametrize("action", ["RECORDED", "CORRECTED", "RETRACTED"])
def test_an_event_id_with_other_contents_is_refused(engine: sa.Engine, action: str) -> None:
    event = transfer("P/1")
    publish(engine, event)
    other = transfer("P/1", action, event_id=event.event_id, reason_as_written="lain")
    with Session(engine) as session, session.begin():
        with pytest.raises(errors.EventDiffers, match=str(event.event_id)):
            outbox().publish(session, other)
        outbox().publish(session, transfer("P/2"))
    assert heads(engine) == {"P/1": (1, "RECORDED"), "P/2": (1, "RECORDED")}


def test_an_event_id_of_another_record_is_refused_and_leaves_no_head(engine: sa.Engine) -> None:
    event, known = transfer("P/1"), transfer("P/2")
    publish(engine, event, known)
    with Session(engine) as session, session.begin():
        for record, action in (("P/3", "RECORDED"), ("P/2", "CORRECTED")):
            stolen = transfer(record, action, event_id=event.event_id)
            with pytest.raises(errors.EventIdTaken, match=str(event.event_id)):
                outbox().publish(session, stolen)
        outbox().publish(session, transfer("P/2", "CORRECTED"))
    assert heads(engine) == {"P/1": (1, "RECORDED"), "P/2": (2, "CORRECTED")}
    assert revisions(engine, "P/2") == [1, 2]


def test_an_action_that_the_record_does_not_allow_is_refused_and_leaves_no_hole(
    engine: sa.Engine,
) -> None:
    with Session(engine) as session, session.begin():
        box = outbox()
        for action in ("CORRECTED", "RETRACTED"):
            with pytest.raises(errors.ActionRefused, match="never published"):
                box.publish(session, transfer("P/1", action))
        box.publish(session, transfer("P/1"))
        with pytest.raises(errors.ActionRefused, match="exists already"):
            box.publish(session, transfer("P/1"))
        box.publish(session, transfer("P/1", "CORRECTED"))
        assert box.publish(session, transfer("P/1", "RETRACTED")).revision == 3
        for action in ("RECORDED", "CORRECTED", "RETRACTED"):
            with pytest.raises(errors.ActionRefused, match=r"exists already|was retracted"):
                box.publish(session, transfer("P/1", action))
    assert heads(engine) == {"P/1": (3, "RETRACTED")}
    assert revisions(engine, "P/1") == [1, 2, 3]


@pytest.mark.parametrize(
    ("agency", "at"),
    [
        ("bnnk-banyuwangi", datetime(2026, 3, 3, tzinfo=UTC)),
        (AGENCY, datetime(2025, 10, 22, 16, 59, tzinfo=UTC)),
        (AGENCY, datetime(2030, 10, 22, 17, 0, tzinfo=UTC)),
    ],
    ids=["another publisher", "before its first day", "after its last day"],
)
def test_nothing_is_published_that_no_agreement_in_force_covers(
    engine: sa.Engine, agency: str, at: datetime
) -> None:
    with Session(engine) as session, session.begin(), pytest.raises(errors.NotAgreed):
        outbox(agency, at).publish(session, transfer("P/1"))
    assert ask(engine, "SELECT count(*) FROM sinergi_producer.head") == [(0,)]


def test_an_event_falls_under_the_agreement_that_was_in_force_when_it_was_recorded(
    engine: sa.Engine, tmp_path: Path
) -> None:
    """Readers hold it to that one; where none was in force they would set it apart."""
    text = (EXAMPLE / "banyuwangi.toml").read_text(encoding="utf-8")
    before = text.replace("2025-10-23", "2020-10-23").replace("2030-10-22", "2025-10-22")
    (tmp_path / "before.toml").write_text(before, encoding="utf-8")
    digest = sha256(before.encode()).hexdigest()
    (tmp_path / "now.toml").write_text(f'replaces = ["{digest}"]\n{text}', encoding="utf-8")
    agreements = Agreements.load(tmp_path)
    now = outbox()
    now._agreements = agreements
    at = datetime(2024, 1, 2, tzinfo=UTC)
    with Session(engine) as session, session.begin():
        found = now.publish(
            session, transfer("P/1", occurred_at=at, departed_at=at, recorded_at=at)
        )
        named = agreements.by_hash(found.agreement)
        assert named
        assert named.path.name == "before.toml"
        early = at.replace(year=2019)
        unagreed = transfer("P/2", occurred_at=early, departed_at=early, recorded_at=early)
        with pytest.raises(errors.EventRefused, match="recorded_at: no agreement on this event"):
            now.publish(session, unagreed)


def test_an_outbox_speaks_for_no_other_agency(engine: sa.Engine) -> None:
    with Session(engine) as session, pytest.raises(errors.EventRefused, match="agency"):
        outbox().publish(session, transfer("P/1", agency="bnnk-banyuwangi"))


def test_an_event_above_its_largest_size_is_refused(engine: sa.Engine) -> None:
    related = tuple(
        {
            "other_agency": "bnnk-banyuwangi",
            "other_event_type": "seizure",
            "other_record_id": f"{number:0256}",
            "relation": "LED_TO",
        }
        for number in range(1000)
    )
    with (
        Session(engine) as session,
        pytest.raises(errors.EventRefused, match=str(MOST_DATUM_BYTES)),
    ):
        outbox().publish(session, transfer("P/1", related=related))


def test_of_many_first_events_of_a_record_one_is_the_first(engine: sa.Engine) -> None:
    got = at_once(lambda _: publish(engine, transfer("P/1"))[0])
    assert [each.revision for each in got if not isinstance(each, errors.ActionRefused)] == [1]
    assert revisions(engine, "P/1") == [1]


def test_corrections_at_once_get_revisions_without_a_hole(engine: sa.Engine) -> None:
    publish(engine, transfer("P/1"))
    got = at_once(lambda _: publish(engine, transfer("P/1", "CORRECTED"))[0].revision)
    assert sorted(got) == list(range(2, 2 + THREADS))
    assert sorted(revisions(engine, "P/1")) == list(range(1, 2 + THREADS))


@pytest.mark.parametrize("action", ["RECORDED", "CORRECTED"])
def test_one_event_sent_by_many_at_once_is_stored_once(engine: sa.Engine, action: str) -> None:
    publish(engine, transfer("P/0"))
    event = transfer("P/1" if action == "RECORDED" else "P/0", action)
    got = at_once(lambda _: publish(engine, event)[0])
    assert len({(each.event_id, each.revision, each.recorded_at) for each in got}) == 1
    assert ask(engine, "SELECT count(*) FROM sinergi_producer.outbox") == [(2,)]


def test_a_first_event_rolled_back_leaves_the_record_to_the_one_who_waited(
    engine: sa.Engine,
) -> None:
    with ThreadPoolExecutor(1) as thread, Session(engine) as session:
        outbox().publish(session, transfer("P/1"))
        waiting = thread.submit(publish, engine, transfer("P/1"))
        _until_somebody_waits_for_a_lock(engine)
        session.rollback()
        assert waiting.result(timeout=PATIENCE_SECONDS)[0].revision == 1
    assert revisions(engine, "P/1") == [1]


def test_many_get_their_revisions_in_the_order_given(engine: sa.Engine) -> None:
    events = [transfer("P/2"), transfer("P/1"), transfer("P/2", "CORRECTED", risk="HIGH")]
    events += [transfer("P/2", "RETRACTED"), transfer("P/1", "CORRECTED")]
    with Session(engine) as session, session.begin():
        done = outbox().publish_many(session, [*events, events[0]])
    assert [each.event.event_id for each in done] == [
        each.event_id for each in [*events, events[0]]
    ]
    assert [each.event.revision for each in done] == [1, 1, 2, 3, 2, 1]
    assert [each.is_new for each in done] == [True] * 5 + [False]
    assert heads(engine) == {"P/1": (2, "CORRECTED"), "P/2": (3, "RETRACTED")}


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        (transfer("P/3", "CORRECTED"), "never published"),
        (transfer("P/3", agency="bnnk-banyuwangi"), "agency"),
    ],
    ids=["in the database", "before it"],
)
def test_many_are_published_all_or_none_and_the_guilty_is_named(
    engine: sa.Engine, bad: Event, why: str
) -> None:
    with Session(engine) as session, session.begin():
        outbox().publish(session, transfer("P/0"))
        with pytest.raises(errors.EventsRefused, match=why) as refused:
            outbox().publish_many(session, [transfer("P/9"), bad, transfer("P/1")])
        assert refused.value.place == 1
        outbox().publish(session, transfer("P/0", "CORRECTED"))
    assert heads(engine) == {"P/0": (2, "CORRECTED")}
    assert ask(engine, "SELECT count(*) FROM sinergi_producer.outbox") == [(2,)]


def test_publishers_of_the_same_records_never_lock_each_other_out(engine: sa.Engine) -> None:
    records = [f"P/{number}" for number in range(40)]
    publish(engine, *map(transfer, records))

    def correct(number: int) -> None:
        for turn in range(4):
            mixed = random.Random(f"{number}/{turn}")  # noqa: S311 - an order, no secret
            shuffled = mixed.sample(records, len(records))
            with Session(engine) as session, session.begin():
                outbox().publish_many(session, [transfer(each, "CORRECTED") for each in shuffled])

    assert at_once(correct) == [None] * THREADS
    assert set(heads(engine).values()) == {(1 + 4 * THREADS, "CORRECTED")}


def test_publishing_costs_one_round_trip_and_many_cost_few(engine: sa.Engine) -> None:
    trips: list[str] = []
    sa.event.listen(
        engine, "before_cursor_execute", lambda _c, _u, statement, *_: trips.append(statement)
    )
    with Session(engine) as session, session.begin():
        outbox().publish(session, transfer("P/1"))
        assert len(trips) == 1
        trips.clear()
        outbox().publish_many(session, [transfer(f"Q/{number}") for number in range(2_500)])
        assert len(trips) == 2 + 3


def test_a_database_that_was_not_prepared_is_told_how_to_be(services: Any) -> None:
    empty = sa.create_engine(services.postgresql, poolclass=sa.NullPool)
    with Session(empty) as session, pytest.raises(errors.TablesMissing, match="sinergi db upgrade"):
        outbox().publish(session, transfer("P/1"))


def test_a_trace_goes_along_and_a_malformed_one_is_refused(engine: sa.Engine) -> None:
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    with Session(engine) as session, session.begin():
        outbox().publish(session, transfer("P/1"), traceparent=trace)
        with pytest.raises(errors.EventRefused, match="traceparent"):
            outbox().publish(session, transfer("P/2"), traceparent=trace.upper())
    assert ask(engine, "SELECT record_id, traceparent FROM sinergi_producer.outbox") == [
        ("P/1", trace)
    ]


def test_what_is_under_the_seal_can_be_neither_changed_nor_deleted(engine: sa.Engine) -> None:
    publish(engine, transfer("P/1"))
    with engine.begin() as connection:
        connection.execute(
            sa.text("UPDATE sinergi_producer.outbox SET partition = 0, leaf_index = 0")
        )
    for attack in (
        "UPDATE sinergi_producer.outbox SET datum = ''",
        "DELETE FROM sinergi_producer.outbox",
    ):
        with engine.connect() as connection, pytest.raises(sa.exc.IntegrityError, match="seal"):
            connection.execute(sa.text(attack))


def test_stricter_isolation_gives_the_caller_a_failure_to_retry(engine: sa.Engine) -> None:
    publish(engine, transfer("P/1"))
    strict = engine.execution_options(isolation_level="REPEATABLE READ")
    with Session(strict) as session:
        session.execute(sa.text("SELECT count(*) FROM sinergi_producer.head"))
        publish(engine, transfer("P/1", "CORRECTED"))
        with pytest.raises(sa.exc.OperationalError) as failed:
            outbox().publish(session, transfer("P/1", "CORRECTED"))
        assert getattr(failed.value.orig, "sqlstate", None) == "40001"
        session.rollback()
        assert outbox().publish(session, transfer("P/1", "CORRECTED")).revision == 3


def test_an_event_of_a_stated_revision_is_refused(engine: sa.Engine) -> None:
    event = transfer("P/1", event_id=new_event_id()).model_copy(update={"revision": 1})
    with Session(engine) as session, pytest.raises(errors.EventRefused, match="revision"):
        outbox().publish(session, event)


def _until_somebody_waits_for_a_lock(engine: sa.Engine) -> None:
    end = SYSTEM.monotonic() + PATIENCE_SECONDS
    while not ask(engine, "SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock'"):
        assert SYSTEM.monotonic() < end, "nobody waits for a lock"
