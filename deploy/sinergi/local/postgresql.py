"""PostgreSQL on one machine, from the programs of a wheel, with its usual durability."""

from __future__ import annotations

import shutil
import signal
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote

from sinergi.local import programs
from sinergi.local.account import Account
from sinergi.local.errors import LocalDown, LocalFailed, LocalFolderRefused
from sinergi.local.process import Program
from sinergi.local.state import write_for_owner

if TYPE_CHECKING:
    from pathlib import Path

    import psycopg

    from sinergi.local.state import LocalState

_SUPERUSER = "postgres"
# In the form of libpq's password file (PostgreSQL 18, section 32.16); libpq ignores it unless it is
# readable by its owner only.
_PASSWORD_FILE = "postgresql.pgpass"  # noqa: S105 - a file's name
# The folder of a `Program` by its file descriptor: the server's user need not be able to enter the
# folders above it, and no character in their names has an effect.
_FOLDER = "/proc/self/fd/3"


@dataclass(frozen=True, slots=True)
class LocalPostgresql:
    """The database server of one folder."""

    folder: Path
    state: LocalState

    name = "PostgreSQL"
    # SIGINT is its fast shutdown: clients are disconnected and everything is written.
    stops_by = signal.SIGINT

    @property
    def mark(self) -> str:
        """The mark on its command line."""
        return self.state.mark_of("postgresql")

    @property
    def ports(self) -> tuple[int, ...]:
        """The ports it listens on."""
        return (self.state.postgresql_port,)

    @property
    def log(self) -> Path:
        """The server's log."""
        return self.folder / "postgresql.log"

    @property
    def address(self) -> str:
        """Its address for clients."""
        return f"127.0.0.1:{self.state.postgresql_port}"

    def url(self, database: str) -> str:
        """The SQLAlchemy URL of one of its databases, which names the file with the password."""
        place = f"{self.address}/{quote(database, safe='')}"
        passfile = quote(str(self.folder / _PASSWORD_FILE), safe="")
        return f"postgresql+psycopg://{_SUPERUSER}@{place}?passfile={passfile}"

    def _write_password_file(self) -> None:
        """Write the superuser's password for libpq, for every port and database."""
        line = f"127.0.0.1:*:*:{_SUPERUSER}:{self.state.password}\n"
        try:
            write_for_owner(self.folder / _PASSWORD_FILE, line)
        except OSError as why:
            raise LocalFolderRefused(str(self.folder), str(why.strerror)) from None

    def program(self) -> Program:
        """The server's program; creates its data folder and its password file first.

        Raises:
            LocalMissing: there is no PostgreSQL for this machine.
            LocalRootRefused: the current user is root, and the server can run as no other user.
            LocalProgramsUnreachable: no copy of its programs can be run by its user.
            LocalFailed: the data folder cannot be created.
            LocalFolderRefused: the password file cannot be written.
        """
        self._write_password_file()
        account = Account.of_server()
        bin_folder = programs.find(account)
        self._make(bin_folder, account)
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.state.postgresql_port),
            "unix_socket_directories": "",
            "max_connections": "200",
            self.mark.partition("=")[0]: self.mark.partition("=")[2],
        }
        words = [word for pair in settings.items() for word in ("-c", "=".join(pair))]
        command = (str(bin_folder / "postgres"), "-D", _FOLDER, *words)
        return self._program(command, account, self._data)

    def answers(self) -> bool:
        """Whether this server, and not another one on its port, serves clients."""
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
        """The URL of a database, which is created if it does not exist.

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
            raise LocalDown(str(self.folder)) from None
        return self.url(name)

    @property
    def _data(self) -> Path:
        return self.folder / "postgresql"

    def _program(self, command: tuple[str, ...], account: Account, folder: Path) -> Program:
        return Program(
            command, self.log, account.word, self.stops_by, dies_by=signal.SIGQUIT, folder=folder
        )

    def _make(self, bin_folder: Path, account: Account) -> None:
        """Create the data folder once: elsewhere, then moved, so that it is never incomplete."""
        if self._data.exists():
            return
        making = self.folder / "postgresql.making"
        data, secret = making / "data", making / "secret"
        shutil.rmtree(making, ignore_errors=True)
        data.mkdir(mode=0o700, parents=True)
        secret.touch(mode=0o600)
        secret.write_text(self.state.password, "ascii")
        account.give(making, data, secret)
        locale = ("--encoding=UTF8", "--no-locale", "--locale-provider=builtin")
        login = (f"--username={_SUPERUSER}", "--auth=scram-sha-256", f"--pwfile={_FOLDER}/secret")
        order = (f"--pgdata={_FOLDER}/data", *locale, "--builtin-locale=C.UTF-8", *login)
        try:
            self._program((str(bin_folder / "initdb"), *order), account, making).run()
            data.rename(self._data)
        except subprocess.CalledProcessError as failure:
            what = f"its data folder cannot be made: {failure.output}"
            raise LocalFailed(self.name, what, str(self.log)) from None
        finally:
            shutil.rmtree(making)
