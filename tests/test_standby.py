"""A reader's PostgreSQL fails over to a standby: a real one, out of pg_basebackup, read-only until
somebody promotes it.
"""

from __future__ import annotations

import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest
import sqlalchemy as sa
from structlog.testing import capture_logs

from chaos.services import Server, Starter, _state
from sinergi import migrate
from sinergi.local import programs
from sinergi.local.account import Account
from sinergi.local.postgresql import LocalPostgresql
from sinergi_consumers.materialise.store import Stored
from sinergi_consumers.sinks.postgresql.sink import PostgresqlSink
from sinergi_consumers.testing.sinks import BUS, CURRENT, HISTORY, TOPIC, Worker, transfer
from sinergi_consumers.testing.tape import Tape
from waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator

PROJECTIONS = (CURRENT, HISTORY)


@dataclass(frozen=True)
class FailoverServers:
    """Two servers of one address, of which one runs."""

    primary: Server
    standby: Server

    def fail_over(self) -> None:
        """The primary dies, and the standby answers in its place."""
        self.primary.crash()
        self.standby.start()


@pytest.fixture
def servers() -> Iterator[FailoverServers]:
    with (
        tempfile.TemporaryDirectory(prefix="standby-", ignore_cleanup_errors=True) as name,
        closing(Starter()) as starter,
    ):
        folder, state = _state(Path(name) / "primary")
        (other := folder.with_name("standby")).mkdir()
        first = LocalPostgresql(folder, state)
        servers = FailoverServers(
            Server(first, starter), Server(LocalPostgresql(other, state), starter)
        )
        try:
            servers.primary.start()
            yield servers
        finally:
            servers.primary.stop()
            servers.standby.stop()


def copy(servers: FailoverServers) -> None:
    """Take the base backup that the standby starts from."""
    first, second = servers.primary.service, servers.standby.service
    assert isinstance(first, LocalPostgresql)
    assert isinstance(second, LocalPostgresql)
    url = sa.engine.make_url(first.url("postgres")).set(drivername="postgresql")
    # Its tool may run as another user, who cannot read the password file.
    url = url.set(query={}, password=first.state.password)
    account = Account.of_server()
    second._data.mkdir(mode=0o700)
    account.give(second._data)
    program = str(programs.find(account) / "pg_basebackup")
    source = f"--dbname={url.render_as_string(hide_password=False)}"
    order = (program, source, "--pgdata=/proc/self/fd/3", "--write-recovery-conf")
    command = (*order, "--checkpoint=fast", "--wal-method=stream")
    first._program(command, account, second._data).run()


@pytest.mark.long
def test_a_failover_to_a_read_only_standby_is_waited_for_and_nothing_is_set_apart(
    servers: FailoverServers,
) -> None:
    service = servers.primary.service
    assert isinstance(service, LocalPostgresql)
    url = service.database("reader")
    migrate.upgrade(url, migrate.Role.CONSUMER, PROJECTIONS)
    tape = Tape(BUS, TOPIC)
    with closing(PostgresqlSink(url, PROJECTIONS)) as sink, ThreadPoolExecutor(1) as thread:
        worker = Worker(sink, tape, PROJECTIONS)
        assert isinstance(worker.store(worker.work([transfer("P/1")])), Stored)
        copy(servers)
        servers.fail_over()
        with service.connect() as connection, capture_logs() as logs:
            assert connection.execute("SELECT pg_is_in_recovery()").fetchone() == (True,)
            done = thread.submit(worker.store, worker.work([transfer("P/2")]))
            until(lambda: any("25006" in str(each) for each in list(logs)), "it waits")
            assert not done.done()
            connection.execute("SELECT pg_promote()")
            assert isinstance(done.result(), Stored)
    with psycopg.connect(url.replace("+psycopg", "")) as connection:
        question = "SELECT record_id FROM sinergi.transfer_history ORDER BY 1"
        assert connection.execute(question).fetchall() == [("P/1",), ("P/2",)]
        held = connection.execute("SELECT count(*) FROM sinergi_consumer.quarantine")
        assert held.fetchone() == (0,)
