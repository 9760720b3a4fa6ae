"""What quarantine keeps has bounds: an event's bytes once."""

from __future__ import annotations

import os
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
from alembic import command

from sinergi import migrate
from sinergi_consumers.testing.sinks import BUS, TOPIC
from sinergi_consumers.testing.tape import Tape
from sinergi_schemas.message import leaf_data
from sinergi_schemas.postgresql.engine import engine
from sinergi_schemas.seal.merkle import leaf_hash
from test_quarantine import Site, unreadable

if TYPE_CHECKING:
    from pathlib import Path

DATUMS = "SELECT leaf_index, key, datum FROM sinergi_consumer.quarantined_datum ORDER BY 1"


@pytest.fixture
def site(postgresql: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Site:
    return Site(postgresql, capsys, tmp_path / "agreements")


def test_what_two_projections_set_apart_is_kept_once(site: Site) -> None:
    cut = [unreadable(site.tape, f"P/{at}") for at in range(3)]
    site.take(site.tape.write_datums(cut))
    assert len(site.states()) == 6
    assert site.ask(DATUMS) == [(at, key.encode(), datum) for at, (_, key, datum) in enumerate(cut)]


# The tables as version 0003 has them


BEFORE = """
    INSERT INTO sinergi_consumer.quarantine (projection, topic, partition, leaf_index, state,
        reason, detail, fingerprint, key, datum)
    VALUES (:projection, :topic, 0, :leaf, :state, 'rows-refused', 'x', :fingerprint, :key, :datum)
"""


def at_version(url: str, version: str) -> None:
    """Make a consumer's own tables anew, at a version."""
    with engine(url, "a test") as opened, opened.begin() as connection:
        connection.execute(sa.text("DROP SCHEMA sinergi_consumer CASCADE"))
        connection.execute(sa.text("CREATE SCHEMA sinergi_consumer"))
        config = migrate._config(migrate.Role.CONSUMER)
        config.attributes["connection"] = connection
        command.upgrade(config, version)


@pytest.fixture
def old(
    postgresql: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> tuple[Site, list[tuple[Any, ...]]]:
    """A database with rows of version 0003, upgraded; and what was in it."""
    url = postgresql
    at_version(url, "0003")
    schema = Tape(BUS, TOPIC).schema
    rows = [
        (name, leaf, state, key, datum)
        for leaf, key, datum in (
            (0, b"P/0", b"cut"),
            (1, b"P/1", os.urandom(200_000)),
            (2, os.urandom(9_000), b""),
        )
        for name, state in (("transfer", "open"), ("transfer_history", "superseded"))
    ]
    made = sa.create_engine(url, poolclass=sa.NullPool)
    with made.begin() as connection:
        for name, leaf, state, key, datum in rows:
            given = {"projection": name, "leaf": leaf, "state": state, "key": key, "datum": datum}
            more = {"topic": TOPIC.name, "fingerprint": schema.fingerprint}
            connection.execute(sa.text(BEFORE), given | more)
    return Site(url, capsys, tmp_path / "agreements"), rows


def test_rows_of_an_older_version_are_moved(old: tuple[Site, list[tuple[Any, ...]]]) -> None:
    site, rows = old
    fingerprint = Tape(BUS, TOPIC).schema.fingerprint
    assert site.ask(DATUMS) == sorted({(leaf, key, datum) for _, leaf, _, key, datum in rows})
    found = site.ask(
        "SELECT projection, leaf_index, state, key_hash, leaf_hash, size"
        " FROM sinergi_consumer.quarantine ORDER BY id"
    )
    assert found == [
        (
            name,
            leaf,
            state,
            sha256(key).digest(),
            leaf_hash(leaf_data(fingerprint, key, datum)),
            len(key) + len(datum),
        )
        for name, leaf, state, key, datum in rows
    ]
    assert site.ask("SELECT DISTINCT owner FROM sinergi_consumer.quarantined_datum") == [
        (TOPIC.agency,)
    ]
    assert len(site.rows()) == 6
