"""`sinergi db upgrade` makes an agency's tables; `sinergi outbox list` shows what is in them."""

from __future__ import annotations

import json
import secrets
import shutil
from concurrent.futures import ThreadPoolExecutor
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
import sqlalchemy as sa
from sqlalchemy.engine import make_url
from sqlalchemy.orm import Session

from agency_pair import transfer
from long_cases import long_after
from sinergi import migrate
from sinergi.cli.root import run
from sinergi_consumers.projections.projection import projection
from sinergi_producers.outbox.publishing import Outbox
from sinergi_schemas.agreements.collection import Agreements
from sinergi_schemas.catalog import Catalog
from waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

EXAMPLE = Path(__file__).parent.parent / "examples" / "agreement"
CATALOGUE = """
    SELECT kind, name, about FROM (
        SELECT 'column' AS kind, attrelid::regclass || '.' || attname AS name,
            concat_ws(' ', format_type(atttypid, atttypmod), attnotnull, attidentity,
                col_description(attrelid, attnum)) AS about
        FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid
        WHERE attnum > 0 AND NOT attisdropped AND relkind IN ('r', 'i')
            AND relnamespace::regnamespace::text LIKE 'sinergi%'
        UNION ALL
        SELECT 'index', indexrelid::regclass::text, pg_get_indexdef(indexrelid) FROM pg_index
        JOIN pg_class ON pg_class.oid = indrelid
        WHERE relnamespace::regnamespace::text LIKE 'sinergi%'
        UNION ALL
        SELECT 'constraint', conrelid::regclass || conname, pg_get_constraintdef(pg_constraint.oid)
        FROM pg_constraint WHERE connamespace::regnamespace::text LIKE 'sinergi%'
        UNION ALL
        SELECT 'function', pg_proc.oid::regprocedure::text, md5(prosrc)
            || obj_description(pg_proc.oid, 'pg_proc')
        FROM pg_proc WHERE pronamespace::regnamespace::text LIKE 'sinergi%'
        UNION ALL
        SELECT 'table', pg_class.oid::regclass::text, obj_description(pg_class.oid, 'pg_class')
        FROM pg_class WHERE relkind = 'r' AND relnamespace::regnamespace::text LIKE 'sinergi%'
    ) AS things ORDER BY 1, 2, 3
"""

WAITING = """
    SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND wait_event_type = 'Lock'
"""


@pytest.fixture
def empty(services: Any) -> Iterator[Callable[[], str]]:
    """Makes databases with nothing in them."""
    server = make_url(services.postgresql)
    with psycopg.connect(conninfo(services.postgresql), autocommit=True) as connection:
        made = []

        def make() -> str:
            made.append(f"empty_{secrets.token_hex(6)}")
            connection.execute(f"CREATE DATABASE {made[-1]}")
            return server.set(database=made[-1]).render_as_string(hide_password=False)

        yield make
        for name in made:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


def conninfo(url: str) -> str:
    return make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)


def catalogue(url: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(conninfo(url)) as connection:
        return connection.execute(CATALOGUE).fetchall()


def as_flag(url: str) -> list[str]:
    return ["--database", conninfo(url)]


@pytest.mark.parametrize("role", ["producer", "consumer"])
def test_the_sql_for_a_dba_makes_the_very_same_tables(
    empty: Callable[[], str], capsys: pytest.CaptureFixture[str], role: str
) -> None:
    by_command, by_hand = empty(), empty()
    assert run(["db", "upgrade", "--role", role, *as_flag(by_command)]) == 0
    capsys.readouterr()
    assert run(["db", "upgrade", "--role", role, "--sql"]) == 0
    with psycopg.connect(conninfo(by_hand), autocommit=True) as connection:
        connection.execute(capsys.readouterr().out.encode())
    assert catalogue(by_hand) == catalogue(by_command) != []
    before = catalogue(by_hand)
    assert run(["db", "upgrade", "--role", role, *as_flag(by_hand)]) == 0
    assert catalogue(by_hand) == before


CHANGES = {
    "another type": (
        "ALTER TABLE sinergi.transfer ALTER COLUMN movement_id TYPE varchar(20)",
        "sinergi.transfer.movement_id is character varying(20) and is declared text",
        1,
    ),
    "another number": (
        "ALTER TABLE sinergi.seizure_exhibits ALTER COLUMN net_weight_g TYPE numeric(6, 2)",
        "sinergi.seizure_exhibits.net_weight_g is numeric(6,2) and is declared numeric(18,4)",
        1,
    ),
    "NOT NULL": (
        "ALTER TABLE sinergi.transfer ALTER COLUMN movement_id SET NOT NULL",
        "sinergi.transfer.movement_id is NOT NULL and is declared to be null at times",
        1,
    ),
    "null": (
        "ALTER TABLE sinergi.transfer ALTER COLUMN reason DROP NOT NULL",
        "sinergi.transfer.reason may be null and is declared NOT NULL",
        0,
    ),
    "one more": (
        "ALTER TABLE sinergi.transfer ADD COLUMN remark text",
        "sinergi.transfer.remark is not declared; its rows stay, and new ones leave it empty",
        0,
    ),
    "one more in the key": (
        "ALTER TABLE sinergi.transfer DROP CONSTRAINT transfer_pkey, ADD PRIMARY KEY (event_id)",
        "sinergi.transfer has the key (event_id) and is declared with (agency, record_id)",
        1,
    ),
    "no key": (
        "ALTER TABLE sinergi.transfer DROP CONSTRAINT transfer_pkey",
        "sinergi.transfer has the key (none) and is declared with (agency, record_id)",
        1,
    ),
}


@pytest.mark.parametrize(
    ("change", "said", "status"), long_after(2, CHANGES.values()), ids=CHANGES.keys()
)
def test_an_upgrade_says_which_columns_are_not_as_declared(
    empty: Callable[[], str],
    capsys: pytest.CaptureFixture[str],
    change: str,
    said: str,
    status: int,
) -> None:
    url = empty()
    command = ["db", "upgrade", "--role", "consumer", *as_flag(url)]
    assert run(command) == 0
    assert "up to date" in capsys.readouterr().err
    with psycopg.connect(conninfo(url)) as connection:
        connection.execute(change.encode())
    before = catalogue(url)
    assert run(command) == status
    out, err = capsys.readouterr()
    assert out == ""
    assert "up to date" not in err
    assert f"  {said}\n" in err
    assert err.count("\n  sinergi.") == 1
    assert catalogue(url) == before


def test_a_column_that_is_not_there_is_made_and_what_differs_is_still_said(
    empty: Callable[[], str], capsys: pytest.CaptureFixture[str]
) -> None:
    url = empty()
    command = ["db", "upgrade", "--role", "consumer", *as_flag(url)]
    assert run(command) == 0
    with psycopg.connect(conninfo(url)) as connection:
        connection.execute("ALTER TABLE sinergi.transfer DROP COLUMN reason")
    capsys.readouterr()
    assert run(command) == 0
    err = capsys.readouterr().err
    assert "2 statements for the projections' tables" in err
    assert "sinergi.transfer.reason may be null and is declared NOT NULL" in err


@pytest.mark.parametrize(
    ("made", "kind"),
    [
        ("VIEW sinergi.transfer AS SELECT * FROM sinergi.transfer_history", "a view"),
        (
            "MATERIALIZED VIEW sinergi.transfer AS SELECT * FROM sinergi.transfer_history",
            "a materialised view",
        ),
        ("SEQUENCE sinergi.transfer", "a sequence"),
        ("INDEX transfer ON sinergi.transfer_history (reason)", "an index"),
        ("TYPE sinergi.transfer AS (reason text)", "a type"),
    ],
    ids=["view", "materialised view", "sequence", "index", "type"],
)
def test_what_stands_in_place_of_a_table_is_named_with_the_remedy_and_stays(
    empty: Callable[[], str], capsys: pytest.CaptureFixture[str], made: str, kind: str
) -> None:
    url = empty()
    command = ["db", "upgrade", "--role", "consumer", *as_flag(url)]
    assert run(command) == 0
    with psycopg.connect(conninfo(url)) as connection:
        connection.execute("DROP TABLE sinergi.transfer_escort, sinergi.transfer")
        connection.execute(f"CREATE {made}".encode())
    before = catalogue(url)
    capsys.readouterr()
    assert run(command) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert f"No table can be made where sinergi.transfer is {kind}, and nothing was done." in err
    assert "Drop or rename that as the database's owner" in err
    assert catalogue(url) == before


def test_every_type_that_a_projection_may_declare_is_found_again(postgresql: str) -> None:
    kinds: list[Any] = [
        sa.String,
        sa.String(9),
        sa.Float,
        sa.Double,
        sa.SmallInteger,
        sa.DateTime,
        sa.Time,
    ]
    kinds += [sa.Interval, sa.JSON, sa.ARRAY(sa.Integer), sa.LargeBinary, sa.Numeric, sa.Boolean]
    kinds += [sa.Numeric(9, 3), sa.Uuid, sa.Date, sa.BigInteger, sa.DateTime(timezone=True)]
    columns: list[sa.Column[Any]] = [sa.Column(f"50%_{at}", kind) for at, kind in enumerate(kinds)]
    columns.append(sa.Column("id", sa.Integer, primary_key=True))
    declared = projection("transfer", table=sa.Table("own", sa.MetaData(), *columns))
    own = declared(lambda events: events)
    migrate.upgrade(postgresql, migrate.Role.CONSUMER, [own])
    assert migrate.differences(postgresql, [own]) == []


def test_databases_that_are_upgraded_at_once_get_all_of_their_tables(
    empty: Callable[[], str],
) -> None:
    urls = [empty() for _ in range(4)]
    with ThreadPoolExecutor(len(urls)) as threads:
        made = threads.map(lambda url: migrate.upgrade(url, migrate.Role.CONSUMER), urls)
        assert [each.tables for each in made] == [[]] * len(urls)
    assert len({str(catalogue(url)) for url in urls}) == 1


@pytest.mark.parametrize("is_new", [True, False])
def test_an_upgrade_waits_for_another_one_of_the_same_database_and_finds_all_done(
    empty: Callable[[], str], *, is_new: bool
) -> None:
    """Another process has made the schema, or works on the tables, and has not committed yet."""
    url = empty()
    if not is_new:
        migrate.upgrade(url, migrate.Role.CONSUMER)
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    looking = engine.execution_options(isolation_level="AUTOCOMMIT")
    first = "CREATE SCHEMA sinergi_consumer" if is_new else "LOCK TABLE sinergi_consumer.version"
    with engine.connect() as other, looking.connect() as observer, ThreadPoolExecutor(1) as thread:
        other.exec_driver_sql(first)
        upgraded = thread.submit(migrate.upgrade, url, migrate.Role.CONSUMER)
        until(lambda: observer.exec_driver_sql(WAITING).scalar() == 1, "the upgrade waits")
        assert not upgraded.done()
        other.commit()
        assert upgraded.result().tables == []
    whole = empty()
    migrate.upgrade(whole, migrate.Role.CONSUMER)
    assert catalogue(url) == catalogue(whole)


def test_one_database_may_be_both(empty: Callable[[], str]) -> None:
    url = empty()
    for role in migrate.Role:
        assert run(["db", "upgrade", "--role", role.value, *as_flag(url)]) == 0
    assert {name.partition(".")[0] for kind, name, _ in catalogue(url) if kind == "table"} == {
        "sinergi",
        "sinergi_consumer",
        "sinergi_producer",
    }


def test_tables_are_made_from_below_a_folder_with_a_percent_sign(
    empty: Callable[[], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "50%s %(here)s"
    for package in ("sinergi", "sinergi_producers"):
        for inner in ("migrations", "sql"):
            if (files(package) / inner).is_dir():
                shutil.copytree(str(files(package) / inner), place / package / inner)
    monkeypatch.setattr(migrate, "files", lambda package: place / package)
    url = empty()
    assert run(["db", "upgrade", "--role", "producer", *as_flag(url)]) == 0
    assert catalogue(url)


def test_everything_of_a_producer_says_what_it_is(postgresql: str) -> None:
    silent = [
        name
        for kind, name, about in catalogue(postgresql)
        if kind in ("table", "function")
        and name.startswith("sinergi_producer.")
        and not name.endswith(".version")
        and not about
    ]
    assert silent == []


def test_what_waits_is_listed_with_the_reason(
    postgresql: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    outbox = Outbox("lapas-banyuwangi", Agreements.load(EXAMPLE), Catalog.shipped())
    engine = sa.create_engine(postgresql, poolclass=sa.NullPool)
    with Session(engine) as session, session.begin():
        for number in range(3):
            outbox.publish(session, transfer(f"P/{number}"))
        session.execute(
            sa.text(
                "UPDATE sinergi_producer.outbox SET held = 'no agreement' WHERE record_id = 'P/0'"
            )
        )
        session.execute(
            sa.text(
                "UPDATE sinergi_producer.outbox SET partition = 0, leaf_index = 0"
                " WHERE record_id = 'P/1'"
            )
        )
    config = tmp_path / "sinergi.toml"
    config.write_text(f'[producer]\ndatabase = "{conninfo(postgresql)}"\n')
    command = ["--config", str(config), "outbox", "list", "--json"]
    for flags, expected in (
        ([], [("P/0", "no agreement"), ("P/2", None)]),
        (["--held"], [("P/0", "no agreement")]),
        (["--unsealed"], [("P/2", None)]),
        (["--limit", "1"], [("P/0", "no agreement")]),
    ):
        assert run([*command, *flags]) == 0
        document = json.loads(capsys.readouterr().out)
        assert [(row["record_id"], row["held"]) for row in document["rows"]] == expected
        assert document["count"] == (2 if "--limit" in flags else len(expected))


def test_a_role_without_rights_is_told_which_it_lacks_and_to_run_it_as_the_owner(
    empty: Callable[[], str], capsys: pytest.CaptureFixture[str]
) -> None:
    url, user = make_url(empty()), f"reader_{secrets.token_hex(4)}"
    with psycopg.connect(conninfo(url.render_as_string(hide_password=False))) as connection:
        connection.execute(f"CREATE ROLE {user} LOGIN PASSWORD '{user}'")
    try:
        as_user = url.set(username=user, password=user).render_as_string(hide_password=False)
        assert run(["db", "upgrade", "--role", "producer", *as_flag(as_user)]) == 2
    finally:
        with psycopg.connect(conninfo(url.render_as_string(hide_password=False))) as connection:
            connection.execute(f"DROP ROLE {user}")
    said = capsys.readouterr().err
    assert f"permission denied for database {url.database}, the right CREATE on it" in said
    assert "run this as its owner" in said
    assert "sinergi db upgrade" not in said
