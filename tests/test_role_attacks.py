"""What its rights do not allow is refused to each role, whatever its user tries."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
import pytest
from psycopg import errors as refusals

from database_roles import OwnedDatabase, owned_database

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import Services


@pytest.fixture(scope="module")
def owned(services: Services, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnedDatabase]:
    with owned_database(services.postgresql, tmp_path_factory.mktemp("attacked")) as found:
        found.upgrade()
        yield found


ROW = (
    "(event_id, event_type, record_id, revision, recorded_at, fingerprint, datum{more})"
    " VALUES (gen_random_uuid(), 'transfer', 'P/1', 1, now(), '', ''{values})"
)
EVERYWHERE = (
    "CREATE TABLE {schema}.mine (x integer)",
    "CREATE FUNCTION {schema}.mine() RETURNS integer LANGUAGE sql AS 'SELECT 1'",
    "ALTER SCHEMA {schema} RENAME TO mine",
    "DROP SCHEMA {schema} CASCADE",
    "GRANT ALL ON ALL TABLES IN SCHEMA {schema} TO PUBLIC",
)
SCHEMAS = ("sinergi_producer", "sinergi_consumer", "sinergi")
NOT_THE_OWNER = (
    "CREATE SCHEMA mine",
    "SET ROLE {owner}",
    "SET SESSION AUTHORIZATION {owner}",
    "CREATE ROLE mine",
    "GRANT {owner} TO {own}",
    "ALTER ROLE {own} SUPERUSER",
    "ALTER ROLE {owner} PASSWORD 'mine'",
    "DROP ROLE {owner}",
    "ALTER DATABASE {name} SET search_path = mine",
    "COPY (SELECT 1) TO PROGRAM 'id'",
    "SELECT pg_read_file('/etc/passwd')",
    "SET session_replication_role = replica",
    "SELECT lo_import('/etc/passwd')",
    "CREATE EVENT TRIGGER mine ON ddl_command_end EXECUTE FUNCTION tsvector_update_trigger()",
    "REASSIGN OWNED BY {owner} TO {own}",
)
PRODUCER = (
    "SELECT * FROM sinergi_producer.head",
    "SELECT * FROM sinergi_producer.version",
    f"INSERT INTO sinergi_producer.outbox {ROW.format(more='', values='')}",
    "INSERT INTO sinergi_producer.outbox "
    + ROW.format(more=", partition, leaf_index", values=", 0, 0"),
    "UPDATE sinergi_producer.outbox SET datum = ''",
    "UPDATE sinergi_producer.outbox SET record_id = 'P/2'",
    "DELETE FROM sinergi_producer.outbox",
    "TRUNCATE sinergi_producer.outbox CASCADE",
    "UPDATE sinergi_producer.head SET revision = 1",
    "DELETE FROM sinergi_producer.tree",
    "UPDATE sinergi_producer.tree SET event_type = 'mine'",
    "UPDATE sinergi_producer.checkpoint SET note = ''",
    "DELETE FROM sinergi_producer.checkpoint",
    "INSERT INTO sinergi_producer.lease (name) VALUES ('mine')",
    "DELETE FROM sinergi_producer.lease",
    "UPDATE sinergi_producer.known_schema SET version = 9",
    "INSERT INTO sinergi_producer.known_schema DEFAULT VALUES",
    "UPDATE sinergi_producer.seen_receipt SET note = ''",
    "DELETE FROM sinergi_producer.seen_receipt",
    "INSERT INTO sinergi_producer.seen_receipt VALUES ('transfer', 0, 'a/b', 1, '', now(), now())",
    "SELECT setval('sinergi_producer.outbox_id_seq', 1)",
    "SELECT nextval('sinergi_producer.outbox_id_seq')",
    "ALTER TABLE sinergi_producer.outbox DISABLE TRIGGER ALL",
    "DROP TRIGGER frozen ON sinergi_producer.outbox",
    "ALTER FUNCTION sinergi_producer.put RESET ALL",
    "ALTER FUNCTION sinergi_producer.put OWNER TO {own}",
    "CREATE OR REPLACE FUNCTION sinergi_producer.refuse_loss() RETURNS trigger AS ''LANGUAGE sql",
    "CREATE TRIGGER a AFTER DELETE ON sinergi_producer.tree EXECUTE FUNCTION unique_key_recheck()",
    "CREATE RULE mine AS ON INSERT TO sinergi_producer.outbox DO INSTEAD NOTHING",
    "LOCK TABLE sinergi_producer.head IN EXCLUSIVE MODE",
)
OF_RELAY = (
    "SELECT * FROM sinergi_producer.outbox",
    "SELECT datum FROM sinergi_producer.outbox",
    "SELECT * FROM sinergi_producer.tree",
    "SELECT * FROM sinergi_producer.checkpoint",
    "SELECT * FROM sinergi_producer.lease",
    "SELECT * FROM sinergi_producer.known_schema",
    "SELECT * FROM sinergi_producer.seen_receipt",
    "INSERT INTO sinergi_producer.seen_receipt VALUES ('transfer', 0, 'a/b', 1, '', now())",
    "SELECT last_value FROM sinergi_producer.outbox_id_seq",
    "UPDATE sinergi_producer.outbox SET leaf_index = 0, partition = 0",
    "UPDATE sinergi_producer.outbox SET held = 'mine'",
    "UPDATE sinergi_producer.tree SET size = 9",
    "INSERT INTO sinergi_producer.tree (event_type, partition) VALUES ('transfer', 9)",
    "INSERT INTO sinergi_producer.checkpoint VALUES ('transfer', 0, 9, '', '', '')",
    "UPDATE sinergi_producer.lease SET holder = 'mine'",
    "SELECT * FROM sinergi_producer.lease FOR KEY SHARE",
    "SELECT * FROM sinergi_producer.tree FOR KEY SHARE",
)
PUT = "SELECT sinergi_producer.put(NULL, '', '', '', NULL, '', '', '', '', NULL)"
CONSUMER = (
    "DELETE FROM sinergi_consumer.position",
    "UPDATE sinergi_consumer.checkpoint SET note = ''",
    "DELETE FROM sinergi_consumer.checkpoint",
    "UPDATE sinergi_consumer.receipt SET note = ''",
    "DELETE FROM sinergi_consumer.receipt",
    "UPDATE sinergi_consumer.quarantine SET leaf_hash = ''",
    "DELETE FROM sinergi_consumer.quarantine",
    "UPDATE sinergi_consumer.quarantined_datum SET datum = ''",
    "UPDATE sinergi_consumer.decision SET why = ''",
    "DELETE FROM sinergi_consumer.decision",
    "DELETE FROM sinergi_consumer.skipped",
    "DELETE FROM sinergi_consumer.quarantined_datum",
    "UPDATE sinergi_consumer.journal SET why = 'another'",
    "DELETE FROM sinergi_consumer.journal",
    "TRUNCATE sinergi_consumer.journal CASCADE",
    "INSERT INTO sinergi_consumer.journal (run, begun_at) VALUES (gen_random_uuid(), 'epoch')",
    "INSERT INTO sinergi_consumer.journal (run, database_user) VALUES (gen_random_uuid(), 'you')",
    "UPDATE sinergi_consumer.journal_end SET verdict = 'another'",
    "DELETE FROM sinergi_consumer.journal_end",
    "UPDATE sinergi_consumer.retention SET before = now()",
    "DELETE FROM sinergi_consumer.retention",
    "INSERT INTO sinergi_consumer.retention VALUES (DEFAULT, 'a', now(), 1)",
    "SELECT * FROM sinergi_consumer.release_lock FOR UPDATE",
    "INSERT INTO sinergi_consumer.release_lock VALUES ('a', 0)",
    "LOCK TABLE sinergi_consumer.release_lock IN SHARE MODE",
    "LOCK TABLE sinergi_consumer.quarantine IN SHARE MODE",
    "UPDATE sinergi.transfer_history SET reason = 'mine'",
    "DELETE FROM sinergi.transfer_history",
    "DELETE FROM sinergi.transfer",
    "TRUNCATE sinergi.transfer",
    "DELETE FROM sinergi.transfer_history_escort",
    "ALTER TABLE sinergi.transfer DROP COLUMN reason",
    "DROP TABLE sinergi.transfer",
    "CREATE VIEW sinergi.mine AS SELECT 1",
    "COMMENT ON TABLE sinergi.transfer IS 'mine'",
)
OF_MATERIALISER = (
    "SELECT * FROM sinergi_consumer.journal",
    "SELECT * FROM sinergi_consumer.position",
    "SELECT * FROM sinergi_consumer.quarantined_datum",
    "UPDATE sinergi_consumer.position SET tree_size = 0",
    "SELECT * FROM sinergi_consumer.position FOR KEY SHARE",
    "SELECT * FROM sinergi.transfer FOR KEY SHARE",
    "INSERT INTO sinergi_consumer.position (projection, topic, partition) VALUES ('a', 'b', 0)",
    "INSERT INTO sinergi_consumer.receipt VALUES ('a', 0, 1, '', now())",
    "DELETE FROM sinergi_consumer.halt",
    "UPDATE sinergi.transfer SET reason = 'mine'",
    "INSERT INTO sinergi.transfer DEFAULT VALUES",
    "CREATE TEMPORARY TABLE mine (x integer)",
)
OF_AUDITOR = (*OF_MATERIALISER[:2], OF_MATERIALISER[-1])
NOT_OF_AUDITOR = tuple(each for each in OF_MATERIALISER if each not in OF_AUDITOR)
OF_READER = ("SELECT * FROM sinergi.transfer", "SELECT * FROM sinergi.transfer_history_escort")
ATTACKS = {
    "application": (*PRODUCER, *OF_RELAY, *CONSUMER, *OF_MATERIALISER, *OF_READER),
    "relay": (*PRODUCER, PUT, *CONSUMER, *OF_MATERIALISER, *OF_READER),
    "materialiser": (*CONSUMER, *PRODUCER, *OF_RELAY, PUT),
    "reader": (*CONSUMER, *OF_MATERIALISER, *PRODUCER, *OF_RELAY, PUT),
    "auditor": (*CONSUMER, *NOT_OF_AUDITOR, *PRODUCER, *OF_RELAY, PUT),
}


@pytest.mark.parametrize("purpose", ATTACKS)
def test_all_else_is_refused(owned: OwnedDatabase, purpose: str) -> None:
    called = {"own": owned.role(purpose), "owner": owned.role("owner"), "name": owned.name}
    attacks = [
        *(each.format(schema=schema) for schema in SCHEMAS for each in EVERYWHERE),
        *(each.format(**called) for each in (*NOT_THE_OWNER, *ATTACKS[purpose])),
    ]
    before, permitted = owned.given, []
    with psycopg.connect(owned.url(purpose)) as connection:
        for attack in attacks:
            try:
                connection.execute(attack.encode())
            except refusals.InsufficientPrivilege:
                pass
            else:
                permitted.append(attack)
                connection.commit()
            connection.rollback()
    # Who has some rights on each table may say GRANT: it is a warning, and grants nothing.
    assert [each for each in permitted if not each.startswith("GRANT ALL")] == []
    assert owned.given == before


def test_whoever_may_execute_a_function_cannot_replace_what_it_calls(
    owned: OwnedDatabase,
) -> None:
    """The search_path of each function is fixed, and nobody else may write to a schema on it."""
    functions = (
        "SELECT p.oid::regprocedure::text, p.proconfig::text,"
        " has_function_privilege('public', p.oid, 'EXECUTE')"
        " FROM pg_proc AS p WHERE p.pronamespace::regnamespace::text LIKE 'sinergi%'"
    )
    found = owned.rows(functions)
    assert len(found) == 6
    for name, settings, public in found:
        assert (settings, public) == ('{"search_path=pg_catalog, pg_temp"}', False), name
    for purpose in ATTACKS:
        may_create = f"SELECT has_schema_privilege('{owned.role(purpose)}', nspname, 'CREATE')"
        path = f"{may_create} FROM pg_namespace WHERE nspname ~ '^(sinergi|pg_catalog)'"
        assert {may for (may,) in owned.rows(path)} == {False}


def test_no_function_takes_an_advisory_lock_which_needs_no_right(owned: OwnedDatabase) -> None:
    """Whoever can tell its key may hold it, and stop whoever waits for it."""
    ours = "pronamespace::regnamespace::text LIKE 'sinergi%' AND prosrc LIKE '%advisory%'"
    assert owned.rows(f"SELECT oid::regproc FROM pg_proc WHERE {ours}") == []
