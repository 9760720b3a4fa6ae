"""An upgrade and every role work behind a connection pooler in transaction mode.

They are tried behind the tests' own pooler, and behind PgBouncer where it is installed.
"""

from __future__ import annotations

from contextlib import ExitStack, closing, contextmanager
from typing import TYPE_CHECKING

import psycopg
import pytest
from sqlalchemy.engine import make_url

from agency_pair import transfer
from database_roles import PURPOSES, OwnedDatabase, owned_database
from pgbouncer import PROGRAM, pgbouncer
from pooler import pooling
from sinergi import migrate
from sinergi.cli.root import run
from sinergi_consumers.sinks.postgresql import rights as of_consumer
from sinergi_consumers.testing.sinks import PROJECTIONS
from sinergi_producers.outbox.publishing import Outbox
from sinergi_producers.relay.sealing import TreeKey
from sinergi_producers.relay.store import OutboxStore
from sinergi_producers.relay.watermark import Watermarks
from sinergi_schemas import errors
from sinergi_schemas.agreements.collection import Agreements
from sinergi_schemas.catalog import Catalog
from test_database_roles import RIGHTS, as_stored
from test_outbox import AGENCY, EXAMPLE
from test_role_rights import materialise, role_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from conftest import Services


@contextmanager
def behind_ours(owned: OwnedDatabase) -> Iterator[Callable[[str], str]]:
    with ExitStack() as stack:

        def url(purpose: str) -> str:
            made = stack.enter_context(pooling(owned.url(purpose), 2))
            return on_port(owned.url(purpose), made.port)

        yield url


@contextmanager
def behind_pgbouncer(owned: OwnedDatabase) -> Iterator[Callable[[str], str]]:
    names = [owned.role(each) for each in ("owner", *(p for of in PURPOSES.values() for p in of))]
    with pgbouncer(owned.url(), {each: each for each in names}) as port:
        yield lambda purpose: on_port(owned.url(purpose), port)


POOLERS = {"ours": behind_ours, **({"pgbouncer": behind_pgbouncer} if PROGRAM else {})}


def on_port(url: str, port: int) -> str:
    return make_url(url).set(port=port).render_as_string(hide_password=False)


@pytest.mark.long
@pytest.mark.parametrize("pooler", POOLERS)
def test_an_upgrade_and_each_role_work_behind_a_pooler(
    services: Services, tmp_path: Path, agency_slug: str, pooler: str
) -> None:
    with (
        owned_database(services.postgresql, tmp_path) as owned,
        POOLERS[pooler](owned) as through,
    ):
        settings, owner = owned.settings(), through("owner")
        for _ in range(2):
            for of in PURPOSES:
                command = ["db", "upgrade", "--role", of, "--database", owner]
                assert run(["--config", str(settings), *command]) == 0
        wanted = {right for who, needed in RIGHTS.items() for right in as_stored(who, needed)}
        assert owned.given == wanted
        for purpose in RIGHTS:
            owned.let_in(purpose)
        publish(through("application"))
        relay(through("relay"))
        roles = [role_of(owned, each(PROJECTIONS)) for each in (of_consumer.materialiser,)]
        migrate.upgrade(owner, migrate.Role.CONSUMER, PROJECTIONS, roles)
        owned.execute("ALTER TABLE sinergi.transfer ADD CHECK (record_id <> 'BAD')")
        materialise(through("materialiser"), agency_slug)
        reader = through("reader")
        with psycopg.connect(reader, prepare_threshold=None) as connection:
            assert connection.execute("SELECT count(*) FROM sinergi.transfer").fetchone() == (2,)
        lacking(owned, through("relay"))


def publish(url: str) -> None:
    outbox = Outbox(AGENCY, Agreements.load(EXAMPLE), Catalog.shipped())
    with psycopg.connect(url, prepare_threshold=None) as connection:
        outbox.publish(connection, transfer("P/1"))


def relay(url: str) -> None:
    """What a relay reads and writes before it seals."""
    with closing(OutboxStore(url)) as store:
        store.check()
        epoch = store.take_lease()
        assert epoch
        store.ensure_trees([TreeKey("transfer", 0)], epoch)
        assert store.trees()
        store.horizon(Watermarks())
        assert len(store.unsealed_rows(Watermarks()).rows) == 1
        store.release_lease(epoch)


def lacking(owned: OwnedDatabase, url: str) -> None:
    """The user who is named is the role, although the sessions are the pooler's."""
    name = owned.role("relay")
    owned.execute(f"REVOKE SELECT ON sinergi_producer.tree FROM {name}")
    with closing(OutboxStore(url)) as store, pytest.raises(errors.GrantMissing) as found:
        store.trees()
    assert (found.value.user, found.value.missing) == (name, ("SELECT on sinergi_producer.tree",))
