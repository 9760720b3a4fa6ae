"""Joins the caller's transaction, whichever library holds it: SQLAlchemy, psycopg or Django.

Anything that cannot hold a transaction that is still open after `publish` is refused before
something is written: otherwise an event could stay although its transaction is rolled back.

Errors of the database keep the class that the caller's library raises, and the SQLSTATE, so that
the caller's own retries still work. Their text is replaced: the texts of the server and of the
library quote the values that were sent, and so the event.
"""

from __future__ import annotations

import sys
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, Protocol

import psycopg
import sqlalchemy as sa
from psycopg.pq import TransactionStatus
from psycopg.rows import tuple_row
from sqlalchemy.orm import Session, scoped_session, sessionmaker

from sinergi_producers.outbox.rights import APPLICATION
from sinergi_schemas import errors
from sinergi_schemas.postgresql import translate

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from contextlib import AbstractContextManager

_DRIVERS = ("psycopg", "psycopg_async")

_WITH_PSYCOPG = "connect with psycopg 3, in SQLAlchemy as postgresql+psycopg://"
_ASYNC_SESSION = (
    "call `await session.run_sync(lambda sync: outbox.publish(sync, event))` on SQLAlchemy's"
    " AsyncSession"
)
_BEGIN = {
    "sqlalchemy": "leave isolation_level='AUTOCOMMIT' out for it, and commit it yourself",
    "psycopg": "publish within `with connection.transaction():`, or open the connection without"
    " autocommit=True",
    "django": "publish within `with transaction.atomic():`",
}


class DjangoConnection(Protocol):
    """The part of `django.db.connection` that is used here; Django is never imported."""

    vendor: str
    connection: Any
    wrap_database_errors: AbstractContextManager[Any]

    def ensure_connection(self) -> None:
        """Connect, if there is no connection yet."""


Transaction = (
    Session | scoped_session[Any] | sa.Connection | psycopg.Connection[Any] | DjangoConnection
)
"""What `publish` accepts: something that holds the caller's transaction on PostgreSQL."""


class CallerTransaction(Protocol):
    """A caller's transaction."""

    def rows(self, statement: str, given: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        """The rows that a statement returns; its parameters are named in psycopg's style."""

    def savepoint(self) -> AbstractContextManager[Any]:
        """Undo what the block did if it ends with an error, and nothing else."""


def join(transaction: object) -> CallerTransaction:
    """The caller's transaction.

    Raises:
        TransactionRefused: it is no transaction on PostgreSQL that `publish` can be part of.
    """
    match transaction:
        case scoped_session():
            return join(transaction())
        case Session():
            return _of_sqlalchemy(_connection(transaction))
        case sa.Connection():
            return _of_sqlalchemy(transaction)
        case psycopg.Connection():
            _require_open(transaction, "psycopg")
            return _Psycopg(transaction)
        case _ if _is_django(transaction):
            return _of_django(transaction)
    raise errors.TransactionRefused(_name(transaction), _way(transaction))


def _connection(session: Session) -> sa.Connection:
    try:
        return session.connection()
    except sa.exc.UnboundExecutionError:
        way = "give it `session.connection(bind_arguments={'mapper': …})` of the right database"
        raise errors.TransactionRefused("a Session of several databases", way) from None


def _of_sqlalchemy(connection: sa.Connection) -> CallerTransaction:
    dialect = connection.dialect
    if dialect.name != "postgresql" or dialect.driver not in _DRIVERS:
        what = f"a connection of {dialect.name}+{dialect.driver}"
        raise errors.TransactionRefused(what, _WITH_PSYCOPG)
    driver: Any = connection.connection.driver_connection
    _require_open(driver, "sqlalchemy")
    return _SqlAlchemy(connection, driver.info.user)


def _of_django(wrapper: Any) -> CallerTransaction:
    if wrapper.vendor == "postgresql":
        wrapper.ensure_connection()
    if not isinstance(wrapper.connection, psycopg.Connection):
        what = f"Django's connection to {wrapper.vendor}"
        raise errors.TransactionRefused(what, "use its postgresql backend with psycopg 3")
    _require_open(wrapper.connection, "django")
    return _Psycopg(wrapper.connection, wrapper.wrap_database_errors)


def _require_open(driver: Any, library: str) -> None:
    """Refuse autocommit, unless a transaction was begun by hand."""
    if driver.autocommit and driver.info.transaction_status == TransactionStatus.IDLE:
        raise errors.TransactionRefused("a connection in autocommit", _BEGIN[library])


class _SqlAlchemy:
    """A transaction that SQLAlchemy holds.

    Args:
        user: the user of the database who began it.
    """

    def __init__(self, connection: sa.Connection, user: str) -> None:
        self._connection = connection
        self._user = user
        self._rewritten: list[BaseException] = []

    def rows(self, statement: str, given: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        with self._without_values():
            return [tuple(row) for row in self._connection.exec_driver_sql(statement, dict(given))]

    @contextmanager
    def savepoint(self) -> Iterator[None]:
        with self._without_values(), self._connection.begin_nested():
            yield

    @contextmanager
    def _without_values(self) -> Iterator[None]:
        try:
            yield
        except sa.exc.DBAPIError as why:
            if not isinstance(why.orig, psycopg.Error) or why.orig in self._rewritten:
                raise
            rewritten = _rewritten(why.orig, self._user)
            self._rewritten.append(rewritten)
            raise type(why)(
                why.statement,
                None,
                rewritten,
                hide_parameters=True,
                connection_invalidated=why.connection_invalidated,
            ) from None


class _Psycopg:
    """A transaction that psycopg holds.

    Args:
        raising: a context that turns errors of psycopg into those of the library around it.
    """

    def __init__(
        self,
        connection: psycopg.Connection[Any],
        raising: AbstractContextManager[Any] | None = None,
    ) -> None:
        self._connection = connection
        self._raising = raising or nullcontext()

    def rows(self, statement: str, given: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        with self._raising:
            try:
                # A new cursor, since the caller's may bind parameters or return rows differently.
                with psycopg.Cursor(self._connection, row_factory=tuple_row) as cursor:
                    return cursor.execute(statement.encode(), given).fetchall()
            except psycopg.Error as why:
                raise _rewritten(why, self._connection.info.user) from None

    @contextmanager
    def savepoint(self) -> Iterator[None]:
        # Not psycopg's `transaction()`, which commits at its end if it is the outermost.
        self._run("SAVEPOINT sinergi")
        try:
            yield
        except BaseException:
            if not self._connection.broken:
                self._run("ROLLBACK TO SAVEPOINT sinergi")
                self._run("RELEASE SAVEPOINT sinergi")
            raise
        self._run("RELEASE SAVEPOINT sinergi")

    def _run(self, statement: str) -> None:
        with self._raising:
            try:
                self._connection.execute(statement.encode())
            except psycopg.Error as why:
                raise _rewritten(why, self._connection.info.user) from None


def _rewritten(error: psycopg.Error, user: str) -> psycopg.Error:
    """An error of the same class and SQLSTATE whose text quotes no values.

    Raises:
        TablesMissing: the function `put`, or something that it uses, is not there.
        GrantMissing: the user may not use it.
    """
    meant = translate(error)
    if isinstance(meant, errors.ObjectMissing):
        raise errors.TablesMissing("sinergi_producer.put", "producer") from None
    if isinstance(meant, errors.RightMissing):
        # The transaction has failed, so the database cannot be asked which of the two is missing.
        words = meant.what.split()
        named = [each for each in APPLICATION.rights if (each.on.name or each.on.schema) in words]
        lacked = named or APPLICATION.rights
        raise APPLICATION.refusal(user, lacked, meant.sqlstate, meant.what) from None
    rewritten = type(error)(str(meant))
    rewritten.sqlstate = error.sqlstate
    return rewritten


def _is_django(given: object) -> bool:
    return all(
        hasattr(given, name) for name in ("vendor", "ensure_connection", "wrap_database_errors")
    )


def _name(given: object) -> str:
    """The type of what was given, since its text may hold a password."""
    kind = type(given)
    return f"{kind.__module__}.{kind.__qualname__}".removeprefix("builtins.")


def _way(given: object) -> str:
    """How to call `publish` with what was given."""
    asynchronous = sys.modules.get("sqlalchemy.ext.asyncio")
    if asynchronous and isinstance(
        given,
        asynchronous.AsyncSession
        | asynchronous.AsyncConnection
        | asynchronous.async_scoped_session,
    ):
        return _ASYNC_SESSION
    match given:
        case psycopg.AsyncConnection() | psycopg.AsyncCursor():
            return f"{_ASYNC_SESSION}, or a psycopg.Connection in a thread"
        case psycopg.Cursor():
            return "give it the cursor's connection"
        case sa.Engine():
            return "give it the connection of `with engine.begin() as connection:`"
        case sessionmaker():
            return "give it the session of `with sessions.begin() as session:`"
    return (
        "give it an SQLAlchemy Session or Connection, a psycopg.Connection, or django.db.connection"
        f"; {_WITH_PSYCOPG}"
    )
