"""The application needs one right to publish, and can do no harm with it."""

from __future__ import annotations

import secrets
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import version
from typing import TYPE_CHECKING, Any
from uuid import UUID

import psycopg
import pytest
import sqlalchemy as sa
from alembic import command
from psycopg import errors as refusals
from sqlalchemy.engine import make_url
from sqlalchemy.orm import Session

from agency_pair import transfer
from sinergi import migrate
from sinergi_producers.outbox.publishing import Outbox
from sinergi_schemas import codec, errors
from sinergi_schemas.agreements.collection import Agreements
from sinergi_schemas.catalog import Catalog
from sinergi_schemas.clock import new_event_id
from sinergi_schemas.message import leaf_data
from sinergi_schemas.seal.merkle import leaf_hash
from test_db import conninfo, empty
from test_outbox import AGENCY, EXAMPLE, ask

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["empty"]

PUT = (
    "SELECT status FROM sinergi_producer.put(%(event_id)s::uuid, %(type)s::text, %(record)s::text,"
    " %(action)s::text, %(at)s::timestamptz, %(fingerprint)s::bytea, %(head)s::bytea,"
    " %(tail)s::bytea, %(trace)s::text, %(backfill)s::boolean)"
)
GRANTS = (
    "GRANT USAGE ON SCHEMA sinergi_producer TO {role}",
    "GRANT EXECUTE ON FUNCTION sinergi_producer.put TO {role}",
)
OLD_GRANTS = (
    "GRANT USAGE ON SCHEMA sinergi_producer TO {role}",
    "GRANT SELECT, INSERT, UPDATE, DELETE ON sinergi_producer.head TO {role}",
    "GRANT SELECT, INSERT ON sinergi_producer.outbox TO {role}",
)
TABLES = ("head", "outbox", "tree", "checkpoint", "lease", "known_schema", "seen_receipt")


def given(**changes: Any) -> dict[str, Any]:
    """What `put` is called with for one good event."""
    event = transfer("P/1").issued(
        agency=AGENCY, agreement="0" * 64, recorded_at=datetime(2026, 3, 3, tzinfo=UTC)
    )
    schema = Catalog.shipped().newest("transfer")
    head, tail = codec.encode_around_revision(event, schema)
    return {
        "event_id": event.event_id,
        "type": "transfer",
        "record": "P/1",
        "action": "RECORDED",
        "at": event.recorded_at,
        "fingerprint": schema.fingerprint,
        "head": head,
        "tail": tail,
        "trace": None,
        "backfill": False,
        **changes,
    }


@contextmanager
def user(url: str, *grants: str) -> Iterator[str]:
    """The URL of the same database for a user of its own, with these rights."""
    role = f"app_{secrets.token_hex(5)}"
    with psycopg.connect(conninfo(url), autocommit=True) as owner:
        owner.execute(f"CREATE ROLE {role} LOGIN PASSWORD '{role}'".encode())
        try:
            for each in grants:
                owner.execute(each.format(role=role).encode())
            yield (
                make_url(url)
                .set(username=role, password=role)
                .render_as_string(hide_password=False)
            )
        finally:
            owner.execute(f"DROP OWNED BY {role} CASCADE; DROP ROLE {role}".encode())


@pytest.fixture
def application(postgresql: str) -> Iterator[str]:
    with user(postgresql, *GRANTS) as url:
        yield url


def outbox() -> Outbox:
    return Outbox(AGENCY, Agreements.load(EXAMPLE), Catalog.shipped())


def owner_of(url: str) -> sa.Engine:
    return sa.create_engine(url, poolclass=sa.NullPool)


# The right


def test_an_application_publishes_with_execute_and_no_other_right(
    postgresql: str, application: str
) -> None:
    with Session(owner_of(application)) as session, session.begin():
        first = outbox().publish(session, transfer("P/1"))
        outbox().publish(session, transfer("P/1", "CORRECTED"))
        outbox().publish_many(session, [transfer("P/2"), transfer("P/3")])
        assert outbox().publish(session, first.model_copy(update={"revision": 0})) == first
    assert ask(owner_of(postgresql), "SELECT count(*) FROM sinergi_producer.outbox") == [(4,)]


def test_an_application_can_do_nothing_with_the_tables(application: str) -> None:
    attacks = (
        "SELECT * FROM {}",
        "INSERT INTO {} DEFAULT VALUES",
        "DELETE FROM {}",
        "TRUNCATE {}",
        "LOCK TABLE {}",
        "ALTER TABLE {} ADD COLUMN mine text",
        "CREATE TRIGGER mine BEFORE DELETE ON {} EXECUTE FUNCTION tsvector_update_trigger()",
    )
    with psycopg.connect(conninfo(application)) as connection:
        for table in TABLES:
            for attack in attacks:
                with pytest.raises(refusals.InsufficientPrivilege):
                    connection.execute(attack.format(f"sinergi_producer.{table}").encode())
                connection.rollback()


def test_an_application_can_make_and_change_nothing_in_the_schema(application: str) -> None:
    with psycopg.connect(conninfo(application), autocommit=True) as connection:
        for attack in (
            "CREATE TABLE sinergi_producer.mine (x int)",
            "CREATE FUNCTION sinergi_producer.put(text) RETURNS text LANGUAGE sql AS 'SELECT $1'",
            "ALTER FUNCTION sinergi_producer.put RESET ALL",
            "SELECT nextval('sinergi_producer.outbox_id_seq')",
            "SELECT setval('sinergi_producer.outbox_id_seq', 1)",
        ):
            with pytest.raises(refusals.InsufficientPrivilege):
                connection.execute(attack.encode())


def test_who_was_granted_nothing_cannot_publish(postgresql: str) -> None:
    with (
        user(postgresql, GRANTS[0]) as url,
        Session(owner_of(url)) as session,
        pytest.raises(errors.DatabaseBroken, match="permission denied for function put"),
    ):
        outbox().publish(session, transfer("P/1"))


def test_what_an_application_had_by_the_former_documents_becomes_the_one_right(
    empty: Callable[[], str],
) -> None:
    url = empty()
    owner = owner_of(url)
    config = migrate._config(migrate.Role.PRODUCER)
    with owner.begin() as connection:
        connection.execute(sa.text("CREATE SCHEMA sinergi_producer"))
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
    with (
        user(url, *OLD_GRANTS) as application,
        user(url, *OLD_GRANTS, "GRANT UPDATE ON sinergi_producer.outbox TO {role}") as other,
    ):
        migrate.upgrade(url, migrate.Role.PRODUCER)
        for each in (application, other):
            with Session(owner_of(each)) as session, session.begin():
                outbox().publish(session, transfer(f"P/{make_url(each).username}"))
        reads = "SELECT count(*) FROM sinergi_producer.outbox"
        with (
            psycopg.connect(conninfo(application)) as connection,
            pytest.raises(refusals.InsufficientPrivilege),
        ):
            connection.execute(reads.encode())
        assert ask(owner_of(other), reads) == [(2,)]


def test_rows_that_were_given_a_leaf_of_their_own_making_lose_it_at_the_upgrade(
    empty: Callable[[], str],
) -> None:
    url = empty()
    config = migrate._config(migrate.Role.PRODUCER)
    with owner_of(url).begin() as connection:
        connection.execute(sa.text("CREATE SCHEMA sinergi_producer"))
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        connection.exec_driver_sql(
            "INSERT INTO sinergi_producer.tree (event_type, partition, size)"
            " VALUES ('transfer', 0, 2)"
        )
        connection.exec_driver_sql(
            "INSERT INTO sinergi_producer.outbox (event_id, event_type, record_id, revision,"
            " recorded_at, fingerprint, datum, partition, leaf_index)"
            " SELECT gen_random_uuid(), type, 'P/1', 1, now(), '', '', place, leaf FROM (VALUES"
            " ('transfer', 0, 0), ('transfer', 0, 1), ('transfer', 0, 2), ('transfer', 0, -1),"
            " ('transfer', 1, 0), ('other', 0, 0)) AS row (type, place, leaf)"
        )
    migrate.upgrade(url, migrate.Role.PRODUCER)
    left = "SELECT event_type, partition, leaf_index FROM sinergi_producer.outbox ORDER BY id"
    assert ask(owner_of(url), left) == [("transfer", 0, 0), ("transfer", 0, 1)] + [
        (name, None, None) for name in ("transfer", "transfer", "transfer", "other")
    ]
    with pytest.raises(sa.exc.IntegrityError, match="under the seal"), owner_of(url).begin() as c:
        c.exec_driver_sql("DELETE FROM sinergi_producer.outbox")


# What the function takes


UNFIT: list[dict[str, Any]] = [
    *(
        {name: None}
        for name in ("event_id", "type", "record", "action", "at", "fingerprint", "head", "tail")
    ),
    {"backfill": None},
    {"event_id": UUID(int=0)},
    {"event_id": UUID(int=2**128 - 1)},
    {"event_id": UUID("0198e9f0-0000-9000-8000-00000000000a")},
    {"event_id": UUID("0198e9f0-0000-7000-0000-00000000000a")},
    {"type": ""},
    {"type": "Transfer"},
    {"type": "transfer\nx"},
    {"type": "a" * 64},
    {"record": ""},
    {"record": "x" * 257},
    {"record": "\u00e9" * 129},
    {"record": "P/1\x1b[2J"},
    {"record": "P/1\x9b"},
    {"record": "P/1\n"},
    {"action": "UNKNOWN"},
    {"action": "recorded"},
    {"at": "infinity"},
    {"at": "-infinity"},
    {"at": "0044-03-15 BC"},
    {"at": "294276-01-01"},
    {"fingerprint": b""},
    {"fingerprint": bytes(33)},
    {"head": bytes(3_000_000)},
    {"head": bytes(200_000), "tail": bytes(62_140)},
    {"trace": "x"},
    {"trace": "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01"},
    {"trace": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\n"},
]


def test_put_refuses_what_could_not_be_an_event_and_changes_nothing(
    postgresql: str, application: str
) -> None:
    with psycopg.connect(conninfo(application)) as connection:
        for changes in UNFIT:
            (status,) = connection.execute(PUT.encode(), given(**changes)).fetchone() or ("",)
            assert status.startswith("refused: "), changes
        assert connection.execute(PUT.encode(), given()).fetchone() == ("put",)
    assert ask(owner_of(postgresql), "SELECT count(*) FROM sinergi_producer.head") == [(1,)]


def test_put_takes_the_largest_event_with_the_longest_revision(
    postgresql: str, application: str
) -> None:
    with psycopg.connect(conninfo(application)) as connection:
        changes = {"head": bytes(200_000), "tail": bytes(62_139)}
        assert connection.execute(PUT.encode(), given(**changes)).fetchone() == ("put",)
    with psycopg.connect(conninfo(postgresql)) as owner:
        owner.execute("UPDATE sinergi_producer.head SET revision = 2147483646")
    with psycopg.connect(conninfo(application)) as connection:
        again = given(**changes, action="CORRECTED", event_id=new_event_id())
        assert connection.execute(PUT.encode(), again).fetchone() == ("put",)
    longest = "SELECT max(length(datum)) FROM sinergi_producer.outbox"
    assert ask(owner_of(postgresql), longest) == [(256 * 1024,)]


def test_what_put_refuses_is_refused_by_publish_and_the_transaction_stays_usable(
    application: str,
) -> None:
    with Session(owner_of(application)) as session, session.begin():
        with pytest.raises(errors.EventRefused, match="version 1 to 8"):
            outbox().publish(session, transfer("P/1", event_id=UUID(int=0)))
        with pytest.raises(errors.EventsRefused, match="version 1 to 8"):
            outbox().publish_many(session, [transfer("P/1", event_id=UUID(int=5)), transfer("P/2")])
        assert outbox().publish(session, transfer("P/1")).revision == 1


# Whose names the function uses


HOSTILE = """
    CREATE SCHEMA evil;
    CREATE TABLE evil.caught (who text);
    GRANT ALL ON SCHEMA evil TO PUBLIC;
    GRANT ALL ON evil.caught TO PUBLIC;
    SET search_path = evil, public, pg_catalog;
    CREATE TYPE evil.uuid AS (x int);
    CREATE DOMAIN evil.text AS pg_catalog.text CHECK (false);
    CREATE DOMAIN evil.bytea AS pg_catalog.bytea CHECK (false);
    CREATE DOMAIN evil.int8 AS pg_catalog.int8 CHECK (false);
    CREATE FUNCTION evil.note(what pg_catalog.text) RETURNS void LANGUAGE plpgsql AS $$
        BEGIN INSERT INTO evil.caught VALUES (what || ' ' || current_user); END $$;
"""
# Every function of one argument or more that `put` calls, and every operator that it uses.
FUNCTIONS = {
    "set_byte": ("pg_catalog.bytea, pg_catalog.int4, pg_catalog.int4", "pg_catalog.bytea"),
    "get_byte": ("pg_catalog.bytea, pg_catalog.int4", "pg_catalog.int4"),
    "length": ("pg_catalog.bytea", "pg_catalog.int4"),
    "octet_length": ("pg_catalog.text", "pg_catalog.int4"),
    "uuid_send": ("pg_catalog.uuid", "pg_catalog.bytea"),
    "isfinite": ("pg_catalog.timestamptz", "pg_catalog.bool"),
    "timezone": ("pg_catalog.text, pg_catalog.timestamptz", "pg_catalog.timestamp"),
    "decode": ("pg_catalog.text, pg_catalog.text", "pg_catalog.bytea"),
    "unnest": ("pg_catalog.text[]", "SETOF pg_catalog.text"),
}
OPERATORS = {
    "=": ("pg_catalog.text", "pg_catalog.text", "pg_catalog.bool"),
    "<>": ("pg_catalog.text", "pg_catalog.text", "pg_catalog.bool"),
    "!~": ("pg_catalog.text", "pg_catalog.text", "pg_catalog.bool"),
    "~": ("pg_catalog.text", "pg_catalog.text", "pg_catalog.bool"),
    "||": ("pg_catalog.bytea", "pg_catalog.bytea", "pg_catalog.bytea"),
    ">": ("pg_catalog.int4", "pg_catalog.int4", "pg_catalog.bool"),
    "+": ("pg_catalog.int4", "pg_catalog.int4", "pg_catalog.int4"),
    "&": ("pg_catalog.int8", "pg_catalog.int8", "pg_catalog.int8"),
    ">>": ("pg_catalog.int8", "pg_catalog.int4", "pg_catalog.int8"),
    "<<": ("pg_catalog.int8", "pg_catalog.int4", "pg_catalog.int8"),
}


def planted() -> str:
    """SQL that makes all of these in the schema `evil`, each of which notes who ran it."""
    made = [HOSTILE]
    for name, (arguments, result) in FUNCTIONS.items():
        body = f"BEGIN PERFORM evil.note('{name}'); RETURN NULL; END"
        if result.startswith("SETOF"):
            body = f"BEGIN PERFORM evil.note('{name}'); RETURN; END"
        made.append(
            f"CREATE FUNCTION evil.{name}({arguments}) RETURNS {result}"
            f" LANGUAGE plpgsql AS $${body}$$;"
        )
    for number, (name, (left, right, result)) in enumerate(OPERATORS.items()):
        made.append(
            f"CREATE FUNCTION evil.op{number}({left}, {right}) RETURNS {result} LANGUAGE plpgsql"
            f" AS $$BEGIN PERFORM evil.note('operator'); RETURN NULL; END$$;"
            f"CREATE OPERATOR evil.{name} (LEFTARG = {left}, RIGHTARG = {right},"
            f" FUNCTION = evil.op{number});"
        )
    return "".join(made)


SETTINGS = """
    SET search_path = evil, pg_temp, public, pg_catalog;
    SET standard_conforming_strings = off;
    SET DateStyle = 'SQL, DMY'; SET bytea_output = 'escape'; SET TimeZone = 'Asia/Jakarta';
    SET transform_null_equals = on; SET array_nulls = off; SET IntervalStyle = 'sql_standard';
    CREATE TEMPORARY TABLE outbox (x pg_catalog.int4);
    CREATE TEMPORARY TABLE head (x pg_catalog.int4);
"""


@pytest.mark.parametrize("action", ["RECORDED", "CORRECTED", "RETRACTED"])
def test_put_tells_nobody_the_contents_that_another_has_published(
    postgresql: str, application: str, action: str
) -> None:
    """Though event_id and record are known to him, as from a log."""
    with Session(owner_of(postgresql)) as session, session.begin():
        event = outbox().publish(session, transfer("P/1", reason_as_written="rahasia"))
    ((stored,),) = ask(owner_of(postgresql), "SELECT datum FROM sinergi_producer.outbox")
    said = PUT.replace("status", "status, revision, fingerprint, datum", 1)
    with psycopg.connect(conninfo(application)) as other:
        rows = other.execute(said.encode(), given(event_id=event.event_id, action=action))
        ((status, revision, _, told),) = rows.fetchall()
    assert b"rahasia" in bytes(stored)
    fingerprint = Catalog.shipped().newest("transfer").fingerprint
    leaf = leaf_hash(leaf_data(fingerprint, b"P/1", bytes(stored)))
    assert (status, revision, bytes(told)[:32], len(told)) == ("pruned", 1, leaf, 40)


def test_an_event_is_published_once_also_where_the_database_is_not_upgraded_yet(
    empty: Callable[[], str],
) -> None:
    """Before migration 0005 `put` returns the datum that is stored."""
    url = empty()
    with owner_of(url).begin() as connection:
        connection.execute(sa.text("CREATE SCHEMA sinergi_producer"))
        config = migrate._config(migrate.Role.PRODUCER)
        config.attributes["connection"] = connection
        command.upgrade(config, "0004")
    event = transfer("P/1")
    with Session(owner_of(url)) as session, session.begin():
        first = outbox().publish(session, event)
        assert outbox().publish(session, event) == first
        with pytest.raises(errors.EventDiffers):
            outbox().publish(session, event.model_copy(update={"reason_as_written": "lain"}))
    migrate.upgrade(url, migrate.Role.PRODUCER)
    with Session(owner_of(url)) as session, session.begin():
        assert outbox().publish(session, event) == first
    assert ask(owner_of(url), "SELECT count(*) FROM sinergi_producer.outbox") == [(1,)]


def test_put_runs_nothing_that_a_caller_has_planted(postgresql: str, application: str) -> None:
    with psycopg.connect(conninfo(postgresql)) as owner:
        owner.execute(planted().encode())
    with Session(owner_of(application)) as session, session.begin():
        session.connection().exec_driver_sql(SETTINGS)
        outbox().publish(session, transfer("P/1"))
        outbox().publish(session, transfer("P/1", "CORRECTED"))
        done = outbox().publish_many(session, [transfer("P/2"), transfer("P/3")])
        assert [each.event.revision for each in done] == [1, 1]
    found = ask(owner_of(postgresql), "SELECT * FROM evil.caught")
    assert found == []
    schema = Catalog.shipped().newest("transfer")
    stored = "SELECT datum FROM sinergi_producer.outbox ORDER BY id"
    records = [
        codec.decode(bytes(datum), schema)["record_id"]
        for (datum,) in ask(owner_of(postgresql), stored)
    ]
    assert records == ["P/1", "P/1", "P/2", "P/3"]


def test_every_function_of_a_producer_has_its_search_path_pinned(postgresql: str) -> None:
    functions = (
        "SELECT proname, prosecdef, proconfig::text, has_function_privilege('public', oid,"
        " 'EXECUTE') FROM pg_proc WHERE pronamespace = 'sinergi_producer'::regnamespace"
    )
    found = {name: rest for name, *rest in ask(owner_of(postgresql), functions)}
    pinned = '{"search_path=pg_catalog, pg_temp"}'
    assert found.pop("put") == [True, pinned, False]
    assert found.pop("register_schema") == [True, pinned, False]
    assert set(map(tuple, found.values())) == {(False, pinned, False)}


def test_all_belongs_to_the_outboxs_owner_though_a_superuser_upgrades(
    empty: Callable[[], str],
) -> None:
    url = empty()
    name = make_url(url).database
    with user(url, f'GRANT CREATE ON DATABASE "{name}" TO {{role}}') as agency:
        with owner_of(agency).begin() as connection:
            connection.execute(sa.text("CREATE SCHEMA sinergi_producer"))
            config = migrate._config(migrate.Role.PRODUCER)
            config.attributes["connection"] = connection
            command.upgrade(config, "0001")
        migrate.upgrade(url, migrate.Role.PRODUCER)
        owners = (
            "SELECT pg_get_userbyid(relowner) FROM pg_class WHERE relkind = 'r'"
            " AND relnamespace = 'sinergi_producer'::regnamespace"
            " UNION SELECT pg_get_userbyid(proowner) FROM pg_proc"
            " WHERE pronamespace = 'sinergi_producer'::regnamespace"
        )
        assert ask(owner_of(url), owners) == [(make_url(agency).username,)]


# What is never lost


def test_truncate_is_refused_like_delete_wherever_something_is_under_the_seal(
    postgresql: str,
) -> None:
    owner = owner_of(postgresql)
    with Session(owner) as session, session.begin():
        outbox().publish(session, transfer("P/1"))
    with owner.begin() as connection:
        for each in (
            "INSERT INTO sinergi_producer.tree VALUES ('transfer', 0, 1)",
            "INSERT INTO sinergi_producer.checkpoint VALUES ('transfer', 0, 1, '', '', '')",
            "UPDATE sinergi_producer.outbox SET partition = 0, leaf_index = 0",
        ):
            connection.exec_driver_sql(each)
    for attack in (
        *(f"TRUNCATE sinergi_producer.{each}" for each in ("outbox", "head", "tree", "checkpoint")),
        "TRUNCATE sinergi_producer.lease, sinergi_producer.outbox CASCADE",
        *(f"DELETE FROM sinergi_producer.{each}" for each in ("outbox", "tree", "checkpoint")),
        "UPDATE sinergi_producer.checkpoint SET note = ''",
        "UPDATE sinergi_producer.outbox SET leaf_index = NULL, partition = NULL",
    ):
        with owner.connect() as connection, pytest.raises(sa.exc.IntegrityError, match="seal"):
            connection.exec_driver_sql(attack)


def test_a_row_cannot_be_born_with_a_leaf_that_no_tree_has(postgresql: str) -> None:
    insert = (
        "INSERT INTO sinergi_producer.outbox (event_id, event_type, record_id, revision,"
        " recorded_at, fingerprint, datum, partition, leaf_index)"
        " VALUES (gen_random_uuid(), 'transfer', 'P/1', 1, now(), '', '', 0, 0)"
    )
    owner = owner_of(postgresql)
    with owner.connect() as connection, pytest.raises(sa.exc.IntegrityError, match="no tree has"):
        connection.exec_driver_sql(insert)
    with owner.begin() as connection:
        connection.exec_driver_sql(
            "INSERT INTO sinergi_producer.tree (event_type, partition, size)"
            " VALUES ('transfer', 0, 1)"
        )
        connection.exec_driver_sql(insert)


def test_the_schemas_of_this_version_are_noted_by_the_upgrade(postgresql: str) -> None:
    noted = "SELECT text, event_type, version, id FROM sinergi_producer.known_schema"
    assert {(bytes(each[0]), *each[1:]) for each in ask(owner_of(postgresql), noted)} == {
        (each.text, each.event_type, each.version, each.id) for each in Catalog.shipped().all()
    }
    brought = "SELECT DISTINCT sinergi FROM sinergi_producer.known_schema"
    assert ask(owner_of(postgresql), brought) == [(version("sinergi"),)]
