"""`sinergi db upgrade` gives each process a role with the rights that it needs, and no others."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest
import sqlalchemy as sa

from database_roles import PURPOSES, OwnedDatabase, owned_database
from sinergi import migrate
from sinergi.cli.root import run
from sinergi.database_roles import DatabaseRole
from sinergi_consumers.projections.projection import projections_of
from sinergi_consumers.sinks.postgresql import rights as of_consumer
from sinergi_consumers.testing.sinks import FEW_ESCORTS
from sinergi_producers.outbox.rights import APPLICATION
from sinergi_producers.relay.rights import RELAY
from sinergi_schemas.catalog import Catalog
from sinergi_schemas.postgresql import rights
from sinergi_schemas.postgresql.rights import CONNECT, DatabaseRight

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from conftest import Services

Given = set[tuple[str, str, str, str | None]]

PROJECTIONS = projections_of(Catalog.shipped(), Catalog.shipped().event_types)
RIGHTS = {
    "application": APPLICATION.rights,
    "relay": RELAY.rights,
    "materialiser": of_consumer.materialiser(PROJECTIONS).rights,
    "reader": of_consumer.reader(PROJECTIONS).rights,
    "auditor": of_consumer.verifier(PROJECTIONS).rights,
}


@pytest.fixture
def owned(services: Services, tmp_path: Path) -> Iterator[OwnedDatabase]:
    with owned_database(services.postgresql, tmp_path) as found:
        yield found


@pytest.fixture(scope="module")
def ready(services: Services, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnedDatabase]:
    """A database with all tables and roles."""
    with owned_database(services.postgresql, tmp_path_factory.mktemp("ready")) as found:
        found.upgrade()
        yield found


def as_stored(who: str, needed: Iterable[DatabaseRight]) -> Given:
    """Rights as PostgreSQL stores them."""
    return {
        (who, each.privilege, _name(each), column)
        for each in (CONNECT, *needed)
        for column in each.columns or (None,)
    }


def _name(right: DatabaseRight) -> str:
    on = right.on
    return ".".join(each for each in (on.schema, on.name) if each) or "database"


def upgrade(owned: OwnedDatabase, *options: str, config: Path | None = None) -> int:
    settings = str(config or owned.settings())
    return run(["--config", settings, "db", "upgrade", *options])


# Who gets what


def test_each_role_gets_exactly_the_rights_that_it_needs(ready: OwnedDatabase) -> None:
    wanted = {right for who, needed in RIGHTS.items() for right in as_stored(who, needed)}
    assert ready.given ^ wanted == set()


def test_a_new_role_may_log_in_has_no_password_and_may_do_nothing_else(
    owned: OwnedDatabase,
) -> None:
    assert upgrade(owned, "--role", "producer") == 0
    found = owned.rows(
        "SELECT rolname, rolcanlogin, rolpassword, rolsuper OR rolcreatedb OR rolcreaterole OR"
        f" rolreplication OR rolbypassrls FROM pg_authid WHERE rolname LIKE '%{owned.name}'"
        " AND rolname NOT LIKE 'owner%' ORDER BY 1"
    )
    assert found == [(owned.role(each), True, None, False) for each in PURPOSES["producer"]]


def test_a_second_upgrade_does_nothing_and_says_so(
    ready: OwnedDatabase, capsys: pytest.CaptureFixture[str]
) -> None:
    before = ready.given
    for of in PURPOSES:
        assert upgrade(ready, "--role", of) == 0
    lines = capsys.readouterr().err.splitlines()
    assert lines == [f"sinergi: the tables of a {of} are up to date" for of in PURPOSES]
    assert ready.given == before


def test_what_is_missing_is_granted_again_and_told(
    owned: OwnedDatabase, capsys: pytest.CaptureFixture[str]
) -> None:
    owned.upgrade("producer")
    before = owned.given
    relay = owned.role("relay")
    owned.execute(f"REVOKE UPDATE (held) ON sinergi_producer.outbox FROM {relay}")
    capsys.readouterr()
    assert upgrade(owned, "--role", "producer") == 0
    said = "granted UPDATE (held, leaf_index, partition) on sinergi_producer.outbox"
    assert f"sinergi: relay {relay}: {said}\n" in capsys.readouterr().err
    assert owned.given == before


@pytest.mark.parametrize("of", PURPOSES)
def test_the_sql_for_a_dba_makes_the_same_roles_with_the_same_rights(
    services: Services,
    ready: OwnedDatabase,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    of: str,
) -> None:
    with owned_database(services.postgresql, tmp_path) as by_hand:
        settings = by_hand.settings()
        assert upgrade(by_hand, "--role", of, "--sql", config=settings) == 0
        whole = capsys.readouterr().out
        assert upgrade(by_hand, "--role", of, "--sql", "--only-roles", config=settings) == 0
        roles = capsys.readouterr().out
        assert len(roles) < len(whole)
        by_hand.execute(whole)
        wanted = {each for each in ready.given if each[0] in PURPOSES[of]}
        assert by_hand.given == wanted
        by_hand.execute(roles, roles)
        assert by_hand.given == wanted


def test_a_right_that_a_role_does_not_need_is_told_and_not_revoked(
    owned: OwnedDatabase, capsys: pytest.CaptureFixture[str]
) -> None:
    owned.upgrade()
    application, reader = owned.role("application"), owned.role("reader")
    owned.execute(
        f"GRANT INSERT (leaf_index), SELECT (datum) ON sinergi_producer.outbox TO {application}",
        "GRANT DELETE ON sinergi_producer.lease TO PUBLIC",
        "GRANT CREATE ON SCHEMA sinergi TO PUBLIC",
        "GRANT EXECUTE ON FUNCTION sinergi_consumer.release_datum TO PUBLIC",
        f"CREATE ROLE {owned.role('group')}",
        f"GRANT {owned.role('group')} TO {reader}",
        f"GRANT UPDATE ON sinergi.transfer TO {owned.role('group')}",
        "CREATE TABLE sinergi.own ()",
        f"GRANT ALL ON sinergi.own TO {reader}",
    )
    before = owned.given
    capsys.readouterr()
    for of in PURPOSES:
        assert upgrade(owned, "--role", of) == 0
    said = capsys.readouterr().err.splitlines()
    assert owned.given == before
    told = {
        line.removeprefix("sinergi: ").partition("; revoke them: ")[0]
        for line in said
        if "does not need" in line
    }
    lease, own = "DELETE on sinergi_producer.lease", "CREATE on schema sinergi"
    outbox = "INSERT on sinergi_producer.outbox; SELECT on sinergi_producer.outbox"
    execute = "EXECUTE on sinergi_consumer.release_datum"
    excess = "has rights that it does not need:"
    assert told == {
        f"application {application} {excess} {lease}; {outbox}",
        f"relay {owned.role('relay')} {excess} {lease}",
        f"materialiser {owned.role('materialiser')} {excess} {own}; {execute}",
        f"auditor {owned.role('auditor')} {excess} {own}; {execute}",
        f"reader {reader} {excess} {own}; {execute}; UPDATE on sinergi.transfer",
    }


def test_without_names_no_role_is_made_or_granted(
    owned: OwnedDatabase, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = owned.settings(producer={})
    assert upgrade(owned, "--role", "producer", config=settings) == 0
    assert upgrade(owned, "--role", "producer", "--sql", config=settings) == 0
    assert "ROLE" not in capsys.readouterr().out
    assert owned.given == set()


def test_a_role_that_exists_is_used_as_it_is_and_keeps_what_it_has(owned: OwnedDatabase) -> None:
    relay = owned.role("relay")
    owned.execute(f"CREATE ROLE {relay} NOLOGIN CONNECTION LIMIT 3", "CREATE TABLE public.own ()")
    owned.execute(f"GRANT SELECT ON public.own TO {relay}")
    assert upgrade(owned, "--role", "producer") == 0
    found = f"SELECT rolcanlogin, rolconnlimit FROM pg_roles WHERE rolname = '{relay}'"
    assert owned.rows(found) == [(False, 3)]
    assert owned.rows(f"SELECT has_table_privilege('{relay}', 'public.own', 'SELECT')") == [(True,)]
    assert as_stored("relay", RELAY.rights) <= owned.given


def test_a_right_that_comes_from_a_group_counts(owned: OwnedDatabase) -> None:
    group, reader = owned.role("group"), owned.role("reader")
    assert upgrade(owned, "--role", "consumer", config=owned.settings(consumer={})) == 0
    owned.execute(
        f"CREATE ROLE {group}",
        f"CREATE ROLE {reader} IN ROLE {group}",
        f"GRANT USAGE ON SCHEMA sinergi TO {group}",
        f"GRANT SELECT ON ALL TABLES IN SCHEMA sinergi TO {group}",
        f"GRANT CONNECT ON DATABASE {owned.name} TO {group}",
    )
    named = owned.settings(consumer={"reader": reader})
    assert upgrade(owned, "--role", "consumer", config=named) == 0
    assert not {each for each in owned.given if each[0] == "reader"}


def test_the_table_of_a_new_projection_is_granted_when_it_is_made(owned: OwnedDatabase) -> None:
    owned.upgrade("consumer")
    new = (*PROJECTIONS, FEW_ESCORTS)
    roles = [
        DatabaseRole(owned.role(who), needed.setting, needed.rights)
        for who, needed in (
            ("materialiser", of_consumer.materialiser(new)),
            ("reader", of_consumer.reader(new)),
        )
    ]
    done = migrate.upgrade(owned.url("owner"), migrate.Role.CONSUMER, new, roles)
    found = {each.role.purpose: " ".join(map(str, each.rights)) for each in done.roles}
    assert found["reader"] == ("SELECT on sinergi.few_escorts_record SELECT on sinergi.few_escorts")
    assert "DELETE on sinergi.few_escorts" in found["materialiser"]
    owned.let_in("reader")
    with psycopg.connect(owned.url("reader")) as connection:
        connection.execute("SELECT * FROM sinergi.few_escorts")


RUNBOOKS = Path(__file__).parent.parent / "docs" / "runbooks.md"
AWAY = sa.make_url("postgresql://nobody@127.0.0.1:1/nothing")
STRANGE = (
    "has space",
    'quote"s "; DROP SCHEMA sinergi_producer; --',
    "o'brien",
    "$$ $sinergi$ $sinergi_$",
    "Kapital",
    "user",
    "é" * 10,
    "50%s",
    "back\\slash",
)


def test_a_role_may_have_any_name_that_postgresql_takes(
    owned: OwnedDatabase, capsys: pytest.CaptureFixture[str]
) -> None:
    assert upgrade(owned, "--role", "producer", config=owned.settings(producer={})) == 0
    for each in STRANGE:
        name = f"{each} {owned.name}"
        settings = owned.settings(producer={"relay": name})
        capsys.readouterr()
        assert upgrade(owned, "--role", "producer", "--sql", "--only-roles", config=settings) == 0
        owned.execute(capsys.readouterr().out)
        assert upgrade(owned, "--role", "producer", config=settings) == 0
        assert "granted" not in capsys.readouterr().err
        settings = owned.settings(producer={"relay": f"{name} 2"})
        assert upgrade(owned, "--role", "producer", config=settings) == 0
        for made in (name, f"{name} 2"):
            with psycopg.connect(owned.url()) as connection:
                assert not rights.missing(connection, RELAY.rights, made)


def test_the_commands_of_the_runbook_do_what_it_says(
    owned: OwnedDatabase, capsys: pytest.CaptureFixture[str]
) -> None:
    page = RUNBOOKS.read_text(encoding="utf-8")
    section = page.partition("\n## The DBA gives rights\n")[2].partition("\n## ")[0]
    lines = re.findall(r"(?m)^\$ sinergi (.+)$", section)
    assert len(lines) == 5
    settings = tomllib.loads(re.findall(r"(?ms)^```toml\n(.+?)^```", section)[0])
    assert {of: set(settings[of]["database_roles"]) for of in settings} == {
        of: set(purposes) for of, purposes in PURPOSES.items()
    }
    assert {of: set(settings[of]) for of in settings} == {
        of: {"database", "owner_database", "database_roles"} for of in PURPOSES
    }
    config = str(owned.settings())
    for line in lines:
        command, _, file = line.partition(" > ")
        capsys.readouterr()
        assert run(["--config", config, *command.split()]) == 0
        out = capsys.readouterr().out
        is_done = "--plan" in command  # the upgrade before it has left nothing to do
        assert bool(out) is (bool(file) and not is_done)
        if "--only-roles" in command:
            owned.execute(out)
    wanted = {right for who, needed in RIGHTS.items() for right in as_stored(who, needed)}
    assert owned.given == wanted
    for role in (role for roles in PURPOSES.values() for role in roles):
        assert f"| `{role}` |" in section


# Wrong input


def names(**of: str) -> dict[str, dict[str, str]]:
    """Roles for a settings file: `producer_relay="x"`."""
    found: dict[str, dict[str, str]] = {"producer": {}, "consumer": {}}
    for key, name in of.items():
        table, _, purpose = key.partition("_")
        found[table][purpose] = name
    return found


WRONG = {
    "64 bytes": (names(producer_relay="r" * 64), "relay: is longer than 63 bytes"),
    "64 bytes of 32 letters": (names(consumer_reader="é" * 32), "reader: is longer than 63 bytes"),
    "reserved": (names(producer_relay="pg_monitor"), "relay: 'pg_monitor' cannot name a role"),
    "everybody": (names(consumer_reader="public"), "reader: 'public' cannot name a role"),
    "nobody": (names(producer_application="none"), "application: 'none' cannot name a role"),
    "empty": (names(producer_relay=""), "relay: it is empty"),
    "line break": (names(producer_relay="a\nb"), "write printable characters only"),
    "no purpose": (names(producer_boss="x"), "database_roles.boss: there is no such key"),
    "twice": (
        names(producer_application="one", producer_relay="one"),
        "producer.database_roles.relay: one is also producer.database_roles.application",
    ),
    "in both databases": (
        names(producer_relay="one", consumer_reader="one"),
        "consumer.database_roles.reader: one is also producer.database_roles.relay",
    ),
}


@pytest.mark.parametrize("mistake", WRONG)
def test_a_name_that_cannot_be_used_is_refused_before_the_database_is_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], mistake: str
) -> None:
    roles, said = WRONG[mistake]
    away = OwnedDatabase(AWAY, tmp_path)
    assert upgrade(away, "--role", "producer", config=away.settings(**roles)) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert said in " ".join(err.split())
    assert err.count("\n") <= 3


def refused(owned: OwnedDatabase, capsys: pytest.CaptureFixture[str], *options: str) -> str:
    """What an upgrade says that does nothing."""
    before = owned.given
    capsys.readouterr()
    assert upgrade(owned, *(options or ("--role", "producer"))) == 2
    assert owned.given == before
    assert owned.rows("SELECT FROM pg_namespace WHERE nspname LIKE 'sinergi%'") == []
    return " ".join(capsys.readouterr().err.split())


def test_who_may_not_create_roles_is_told_so_and_how_a_dba_does_it(
    owned: OwnedDatabase, capsys: pytest.CaptureFixture[str]
) -> None:
    owner, relay = owned.role("owner"), owned.role("relay")
    owned.execute(f"ALTER ROLE {owner} NOCREATEROLE")
    said = refused(owned, capsys)
    assert f"there is no role {relay}, and {owner} may not create it" in said
    assert f'let a DBA run `CREATE ROLE "{relay}" LOGIN`' in said
    assert "`sinergi db upgrade --role producer --sql`" in said
    for each in PURPOSES["producer"]:
        owned.execute(f"CREATE ROLE {owned.role(each)} LOGIN")
    assert upgrade(owned, "--role", "producer") == 0
    assert as_stored("relay", RELAY.rights) <= owned.given


@pytest.mark.parametrize(
    ("made", "said"),
    [
        ("CREATE ROLE {relay} SUPERUSER", "{relay} is a superuser"),
        ("CREATE ROLE {relay} CREATEROLE", "{relay} may create roles"),
        (
            "CREATE ROLE {relay} IN ROLE {owner}",
            "{relay} is a member of {owner}, which is the owner of the tables",
        ),
        (
            "CREATE ROLE {relay}; CREATE ROLE {application} IN ROLE {relay}",
            "application: {application} is a member of {relay}, the relay, and has all its rights",
        ),
    ],
)
def test_a_role_from_which_no_right_can_be_withheld_is_refused(
    owned: OwnedDatabase, capsys: pytest.CaptureFixture[str], made: str, said: str
) -> None:
    called = {each: owned.role(each) for each in ("owner", "relay", "application")}
    owned.execute(*made.format(**called).split("; "))
    assert said.format(**called) in refused(owned, capsys)


def test_the_owner_of_the_tables_is_refused_as_a_role(
    owned: OwnedDatabase, capsys: pytest.CaptureFixture[str]
) -> None:
    owned.execute(f"ALTER ROLE {owned.role('owner')} NOCREATEROLE")
    settings = owned.settings(producer={"relay": owned.role("owner")})
    assert upgrade(owned, "--role", "producer", config=settings) == 2
    assert f"{owned.role('owner')} is the owner of the tables" in capsys.readouterr().err


def test_who_owns_the_tables_but_may_not_grant_on_the_database_is_told_so(
    owned: OwnedDatabase, capsys: pytest.CaptureFixture[str]
) -> None:
    owner = owned.role("owner")
    owned.execute(
        f"ALTER DATABASE {owned.name} OWNER TO CURRENT_USER",
        f"GRANT CONNECT, CREATE ON DATABASE {owned.name} TO {owner}",
    )
    said = refused(owned, capsys)
    assert f"{owner} may not grant" in said
    assert "CONNECT on the database" in said
    owned.execute(f"GRANT CONNECT, TEMPORARY ON DATABASE {owned.name} TO PUBLIC")
    assert upgrade(owned, "--role", "producer") == 0


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--only-roles",), "it needs --sql too"),
        (("--only-roles", "--sql"), "the settings name no role under database_roles"),
    ],
)
def test_a_wrong_option_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: tuple[str, ...], said: str
) -> None:
    away = OwnedDatabase(AWAY, tmp_path)
    unnamed = away.settings(producer={})
    assert upgrade(away, "--role", "producer", *options, config=unnamed) == 2
    assert said in " ".join(capsys.readouterr().err.replace("│", " ").split())
