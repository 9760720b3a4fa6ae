"""`publish` joins the caller's transaction in any supported library, or says how it can."""

from __future__ import annotations

import asyncio
import sqlite3
import traceback
from contextlib import contextmanager, suppress
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import django
import psycopg
import pytest
import sqlalchemy as sa
from django.conf import settings
from django.db import DatabaseError, connections, transaction
from psycopg import errors as states
from psycopg.rows import dict_row
from sqlalchemy.ext.asyncio import (
    AsyncSession,
    async_scoped_session,
    async_sessionmaker,
    create_async_engine,
)
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    Session,
    mapped_column,
    scoped_session,
    sessionmaker,
)

from agency_pair import transfer
from sinergi_producers.outbox.publishing import Outbox
from sinergi_schemas import errors
from sinergi_schemas.agreements.collection import Agreements
from sinergi_schemas.catalog import Catalog
from sinergi_schemas.codes import PersonRole
from sinergi_schemas.events import Person
from test_db import conninfo
from test_outbox import AGENCY, EXAMPLE, ask
from test_personal_data import NAME, NIK, found_in

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sinergi_schemas.events import Event

ALIAS = "agency"


def outbox() -> Outbox:
    return Outbox(AGENCY, Agreements.load(EXAMPLE), Catalog.shipped())


@pytest.fixture
def engine(postgresql: str) -> Iterator[sa.Engine]:
    made = sa.create_engine(postgresql, poolclass=sa.NullPool)
    yield made
    made.dispose()


def stored(engine: sa.Engine) -> list[tuple[str, int]]:
    asked = "SELECT record_id, revision FROM sinergi_producer.outbox ORDER BY id"
    return [(record, revision) for record, revision in ask(engine, asked)]


@contextmanager
def django_of(url: str) -> Iterator[Any]:
    """Django's connection to a database, as `django.db.connections` gives it."""
    if not settings.configured:
        settings.configure(DATABASES={}, USE_TZ=True, TIME_ZONE="Asia/Jakarta")
        django.setup()
    at = sa.make_url(url)
    given = {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": at.database,
        "USER": at.username,
        "PASSWORD": at.password,
        "HOST": at.host,
        "PORT": at.port,
    }
    own = connections.configure_settings({"default": {}, ALIAS: given})[ALIAS]
    connections.databases[ALIAS] = own
    try:
        yield connections[ALIAS]
    finally:
        connections[ALIAS].close()
        del connections[ALIAS], connections.databases[ALIAS]


# Joined


def by_session(url: str, work: Callable[[Any], Any], *, ends_well: bool) -> Any:
    with Session(sa.create_engine(url, poolclass=sa.NullPool)) as session:
        found = work(session)
        (session.commit if ends_well else session.rollback)()
        return found


def by_scoped_session(url: str, work: Callable[[Any], Any], *, ends_well: bool) -> Any:
    sessions = scoped_session(sessionmaker(sa.create_engine(url, poolclass=sa.NullPool)))
    found = work(sessions)
    (sessions.commit if ends_well else sessions.rollback)()
    sessions.remove()
    return found


def by_connection(url: str, work: Callable[[Any], Any], *, ends_well: bool) -> Any:
    with sa.create_engine(url, poolclass=sa.NullPool).connect() as connection:
        found = work(connection)
        (connection.commit if ends_well else connection.rollback)()
        return found


def by_psycopg(url: str, work: Callable[[Any], Any], *, ends_well: bool) -> Any:
    with psycopg.connect(conninfo(url), row_factory=dict_row) as connection:
        found = work(connection)
        (connection.commit if ends_well else connection.rollback)()
        return found


def by_psycopg_in_a_block(url: str, work: Callable[[Any], Any], *, ends_well: bool) -> Any:
    kinds: dict[str, Any] = {"autocommit": True, "cursor_factory": psycopg.ClientCursor}
    with psycopg.connect(conninfo(url), **kinds) as connection:
        with connection.transaction() as block:
            found = work(connection)
            if not ends_well:
                raise psycopg.Rollback(block)
        return found


def by_django(url: str, work: Callable[[Any], Any], *, ends_well: bool) -> Any:
    with django_of(url) as connection, transaction.atomic(using=ALIAS):
        found = work(connection)
        transaction.set_rollback(not ends_well, using=ALIAS)
        return found


def by_async_session(url: str, work: Callable[[Any], Any], *, ends_well: bool) -> Any:
    async def run() -> Any:
        engine = create_async_engine(url, poolclass=sa.NullPool)
        async with AsyncSession(engine) as session:
            found = await session.run_sync(work)
            await (session.commit if ends_well else session.rollback)()
        return found

    return asyncio.run(run())


WAYS = [
    by_session,
    by_scoped_session,
    by_connection,
    by_psycopg,
    by_psycopg_in_a_block,
    by_django,
    by_async_session,
]


@pytest.mark.parametrize("way", WAYS)
def test_an_event_exists_exactly_if_the_callers_transaction_commits(
    engine: sa.Engine, postgresql: str, way: Callable[..., Any]
) -> None:
    def work(held: Any) -> list[Event]:
        first = outbox().publish(held, transfer("P/1"))
        with pytest.raises(errors.EventsRefused):
            outbox().publish_many(held, [transfer("P/2"), transfer("P/1")])
        done = outbox().publish_many(held, [transfer("P/3"), transfer("P/1", "CORRECTED")])
        assert outbox().publish(held, first.model_copy(update={"revision": 0})) == first
        return [first, *(each.event for each in done)]

    way(postgresql, work, ends_well=False)
    assert stored(engine) == []
    published = way(postgresql, work, ends_well=True)
    assert [each.revision for each in published] == [1, 1, 2]
    assert sorted(stored(engine)) == [("P/1", 1), ("P/1", 2), ("P/3", 1)]


# Refused


def refusal(given: Any, publish: str = "publish") -> str:
    """What is said to something that cannot be joined, having changed nothing."""
    event = transfer("P/1")
    with pytest.raises(errors.TransactionRefused) as caught:
        getattr(outbox(), publish)(given, event if publish == "publish" else [event])
    return str(caught.value)


@pytest.mark.parametrize("publish", ["publish", "publish_many"])
def test_an_event_that_would_stay_though_the_transaction_is_rolled_back_is_refused(
    engine: sa.Engine, postgresql: str, publish: str
) -> None:
    automatic = engine.execution_options(isolation_level="AUTOCOMMIT")
    with automatic.connect() as connection:
        assert "isolation_level='AUTOCOMMIT'" in refusal(connection, publish)
    with Session(automatic) as session:
        assert "isolation_level='AUTOCOMMIT'" in refusal(session, publish)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        assert "autocommit" in refusal(connection, publish)
    with psycopg.connect(conninfo(postgresql), autocommit=True) as driver:
        assert "with connection.transaction():" in refusal(driver, publish)
    with django_of(postgresql) as wrapper:
        assert "with transaction.atomic():" in refusal(wrapper, publish)

    async def run() -> None:
        made = create_async_engine(postgresql, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
        async with AsyncSession(made) as session:
            assert "AUTOCOMMIT" in await session.run_sync(lambda sync: refusal(sync, publish))

    asyncio.run(run())
    assert stored(engine) == []


def test_a_transaction_begun_by_hand_in_autocommit_is_joined(engine: sa.Engine) -> None:
    automatic = engine.execution_options(isolation_level="AUTOCOMMIT")
    with automatic.connect() as connection:
        connection.exec_driver_sql("BEGIN")
        outbox().publish(connection, transfer("P/1"))
        connection.exec_driver_sql("ROLLBACK")
    assert stored(engine) == []


def test_what_cannot_be_joined_is_refused_with_the_way_that_works(
    engine: sa.Engine, postgresql: str
) -> None:
    async def run() -> None:
        made = create_async_engine(postgresql, poolclass=sa.NullPool)
        asynchronous = await psycopg.AsyncConnection.connect(conninfo(postgresql))
        async with AsyncSession(made) as session, made.connect() as connection:
            scoped: Any = async_scoped_session(async_sessionmaker(made), scopefunc=lambda: None)
            for each in (session, connection, scoped, asynchronous):
                assert "await session.run_sync(lambda sync: outbox.publish(sync, event))" in (
                    refusal(each)
                )
        await asynchronous.close()

    asyncio.run(run())
    assert "engine.begin()" in refusal(engine)
    assert "sessions.begin()" in refusal(sessionmaker(engine))
    with psycopg.connect(conninfo(postgresql)) as driver:
        assert "the cursor's connection" in refusal(driver.cursor())
    lite = sqlite3.connect(":memory:")
    for nothing in (None, "postgresql://user:s3cr3t@host/db", 7, object(), lite):
        said = refusal(nothing)
        assert "give it an SQLAlchemy Session or Connection, a psycopg.Connection" in said
        assert "s3cr3t" not in said
    lite.close()
    with sa.create_engine("sqlite://").connect() as other:
        assert "sqlite+pysqlite" in refusal(other)
        assert "postgresql+psycopg://" in refusal(Session(other))


def test_another_driver_is_refused_and_the_right_one_named(engine: sa.Engine) -> None:
    engine.dialect.driver = "psycopg2"
    with engine.connect() as connection:
        said = refusal(connection)
    assert "postgresql+psycopg2" in said
    assert "postgresql+psycopg://" in said


def test_djangos_other_databases_are_refused() -> None:
    lite = SimpleNamespace(
        vendor="sqlite", connection=None, ensure_connection=None, wrap_database_errors=None
    )
    assert "Django's connection to sqlite" in refusal(lite)


def test_a_session_of_several_databases_is_told_how_to_name_one(engine: sa.Engine) -> None:
    class Base(DeclarativeBase):
        pass

    class Own(Base):
        __tablename__ = "own"
        number: Mapped[str] = mapped_column(primary_key=True)

    with Session(binds={Own: engine}) as session:
        assert "bind_arguments" in refusal(session)
        outbox().publish(session.connection(bind_arguments={"mapper": Own}), transfer("P/1"))
        session.commit()
    assert stored(engine) == [("P/1", 1)]


def test_what_is_no_event_is_refused_with_a_sentence(engine: sa.Engine) -> None:
    box: Any = outbox()
    with Session(engine) as session:
        for nothing in (None, {"record_id": "P/1"}, "P/1", type(transfer("P/1"))):
            with pytest.raises(errors.EventRefused, match="make one, such as"):
                box.publish(session, nothing)
            with pytest.raises(errors.EventsRefused, match="make one, such as"):
                box.publish_many(session, [transfer("P/2"), nothing])
        for single in (None, 7, transfer("P/1")):
            with pytest.raises(errors.EventRefused, match="give a list"):
                box.publish_many(session, single)
        for trace in (7, b"00", ["00"]):
            with pytest.raises(errors.EventRefused, match="traceparent"):
                box.publish(session, transfer("P/1"), traceparent=trace)
        session.commit()
    assert stored(engine) == []


# Errors let through


CODES = sorted(
    {
        each.sqlstate
        for each in vars(states).values()
        if isinstance(each, type) and issubclass(each, psycopg.Error) and each.sqlstate
    }
    - {"00000"}
)
SPEAKING = """
    CREATE FUNCTION speak() RETURNS trigger LANGUAGE plpgsql AS $$
    DECLARE
        state text := current_setting('test.state', true);
        all_of_it text := NEW.record_id || ' ' || encode(NEW.datum, 'escape') || ' ' || NEW::text;
    BEGIN
        IF state = 'end' THEN
            PERFORM pg_terminate_backend(pg_backend_pid());
        ELSIF state <> '' THEN
            RAISE EXCEPTION USING ERRCODE = state, MESSAGE = all_of_it, DETAIL = all_of_it,
                HINT = all_of_it, TABLE = 'outbox', COLUMN = 'datum';
        END IF;
        RETURN NEW;
    END $$;
    CREATE TRIGGER speak BEFORE INSERT ON sinergi_producer.outbox
        FOR EACH ROW EXECUTE FUNCTION speak();
"""


def of_somebody(record: str) -> Event:
    return transfer(record, inmate=Person(role=PersonRole.CONVICT, name=NAME, nik=NIK))


def caught_from(held: Any, state: str, execute: Callable[[str], Any]) -> BaseException:
    """What `publish` raises where the database raises that state, in a savepoint of its own."""
    execute("SAVEPOINT test")
    execute(f"SET LOCAL test.state = '{state}'")
    publish = outbox().publish if state < "4" else _one_of_many
    with pytest.raises(Exception) as caught:  # noqa: PT011 - of every class
        publish(held, of_somebody(f"{NAME}/{NIK}"))
    if state != "end":
        execute("ROLLBACK TO SAVEPOINT test")
    return caught.value


def _one_of_many(held: Any, event: Event) -> None:
    outbox().publish_many(held, [event, of_somebody("P/2")])


def check(why: BaseException, state: str, kind: type[BaseException]) -> None:
    """It says its state and nothing of the event, wherever somebody may print it."""
    whole = "".join(traceback.format_exception(why))
    assert found_in(whole + repr(why) + str(why.args) + str(vars(why))) == []
    if isinstance(why, errors.SinergiError):
        assert state in {"3F000", "42501", "42883", "42P01"}
        return
    assert isinstance(why, kind)
    driver = getattr(why, "orig", None) or why.__cause__ or why
    assert isinstance(driver, psycopg.Error)
    assert found_in(repr(driver) + str(driver.diag.message_primary)) == []
    assert state in {"end", driver.sqlstate}
    assert type(driver) is (type(driver) if state == "end" else states.lookup(state))


def speaking(url: str) -> None:
    with psycopg.connect(conninfo(url)) as owner:
        owner.execute(SPEAKING.encode())


def test_no_sqlstate_makes_sqlalchemy_quote_an_event(postgresql: str) -> None:
    speaking(postgresql)

    def work(held: Any) -> None:
        connection = held if isinstance(held, sa.Connection) else held.connection()
        for state in (*CODES, "end"):
            why = caught_from(held, state, connection.exec_driver_sql)
            check(why, state, sa.exc.DBAPIError)

    by_connection(postgresql, work, ends_well=False)
    by_async_session(postgresql, work, ends_well=False)


def test_no_sqlstate_makes_psycopg_quote_an_event(postgresql: str) -> None:
    speaking(postgresql)
    with psycopg.connect(conninfo(postgresql)) as connection:
        for state in (*CODES, "end"):
            why = caught_from(connection, state, lambda text: connection.execute(text.encode()))
            check(why, state, psycopg.Error)


def test_no_sqlstate_makes_django_quote_an_event(postgresql: str) -> None:
    speaking(postgresql)
    seen = []
    with django_of(postgresql) as wrapper:
        with suppress(django.db.Error), transaction.atomic(using=ALIAS):
            for state in (*CODES, "end"):
                why = caught_from(
                    wrapper, state, lambda text: wrapper.connection.execute(text.encode())
                )
                check(why, state, DatabaseError)
                wrapper.needs_rollback = False
                seen.append(state)
        assert seen == [*CODES, "end"]


def test_a_lock_that_is_not_to_be_had_quotes_no_event_and_may_be_retried(
    engine: sa.Engine,
) -> None:
    with Session(engine) as first, Session(engine) as second:
        outbox().publish(first, of_somebody(NAME))
        second.execute(sa.text("SET lock_timeout = '50ms'"))
        with pytest.raises(sa.exc.OperationalError) as caught:
            outbox().publish(second, of_somebody(NAME))
        check(caught.value, "55P03", sa.exc.OperationalError)
        second.rollback()
        first.commit()
        assert outbox().publish(second, of_somebody("P/2")).revision == 1
