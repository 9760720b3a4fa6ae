"""The settings that each of our transactions states before anything else.

A session inherits settings from the server, the database, the role, the URL and the environment,
and any of them may change what a statement means. Behind a connection pooler in transaction mode a
session is shared: a transaction finds what others left, and others find what it leaves. So every
transaction states every setting that matters, for itself alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sinergi_schemas.timeouts import DatabaseTimeouts

WRITING = "ISOLATION LEVEL READ COMMITTED READ WRITE NOT DEFERRABLE"
READING = "ISOLATION LEVEL REPEATABLE READ READ ONLY NOT DEFERRABLE"

SCRATCH = "ISOLATION LEVEL REPEATABLE READ READ WRITE NOT DEFERRABLE"

# On this path there is nothing that a user without special rights can create: no function,
# operator, type or cast of the schema `public` can take the place of one of PostgreSQL's own.
SEARCH_PATH = "pg_catalog, pg_temp"

# Values as in SQL.
_SETTINGS: dict[str, str] = {
    "search_path": SEARCH_PATH,
    "client_encoding": "'UTF8'",
    "datestyle": "'ISO, YMD'",
    "intervalstyle": "'postgres'",
    "timezone": "'UTC'",
    "standard_conforming_strings": "on",
    "escape_string_warning": "on",
    "backslash_quote": "safe_encoding",
    "array_nulls": "on",
    "bytea_output": "'hex'",
    "extra_float_digits": "1",
    "xmloption": "content",
    "xmlbinary": "base64",
    "transform_null_equals": "off",
    "exit_on_error": "off",
    "check_function_bodies": "on",
}
# Those that the server reports, and that it must report if a pooler changes sessions.
REPORTED = {b"client_encoding": b"UTF8", b"DateStyle": b"ISO, YMD", b"TimeZone": b"UTC"}
# Settings that older servers do not know, and the version that brought them.
_SINCE: dict[str, tuple[int, str]] = {"transaction_timeout": (170_000, "0")}

# A commit is on disk before it is reported. Only a stronger setting stays as it is.
_DURABLE = (
    "SELECT set_config('synchronous_commit', CASE current_setting('synchronous_commit')"
    " WHEN 'remote_apply' THEN 'remote_apply' ELSE 'on' END, true)"
)


def statements(
    server_version: int,
    timeouts: DatabaseTimeouts,
    *,
    row_security: bool = False,
    statement_seconds: float = 0.0,
) -> bytes:
    """The statements that set everything, for the transaction in which they run.

    Args:
        server_version: as libpq counts, e.g. 180004.
        timeouts: what a transaction waits for.
        row_security: whether a table's policies may hide rows from us. If not, a table with
            policies for our role is an error.
        statement_seconds: after which the server cancels a statement; 0 for never.
    """
    # The timeouts come first, before an inherited one can run out. A suspended process that holds a
    # row must not block its successor (lock_timeout), and must not hold the row for ever
    # (idle_in_transaction_session_timeout). A successor looks for stalled sessions each time that
    # lock_timeout runs out, so it begins at most that much later.
    waits = {
        "statement_timeout": _milliseconds(statement_seconds) if statement_seconds else "0",
        "lock_timeout": _milliseconds(timeouts.lock),
        "idle_in_transaction_session_timeout": _milliseconds(timeouts.idle),
    }
    newer = {name: value for name, (since, value) in _SINCE.items() if server_version >= since}
    every = waits | newer | _SETTINGS | {"row_security": "on" if row_security else "off"}
    stated = [f"SET LOCAL {name} = {value}" for name, value in every.items()]
    return "; ".join([*stated, _DURABLE]).encode()


def begin(
    mode: str,
    server_version: int,
    timeouts: DatabaseTimeouts,
    *,
    row_security: bool,
    statement_seconds: float = 0.0,
) -> bytes:
    """Begin a transaction and set everything, in one round trip.

    Args:
        mode: `WRITING`, `READING` or `SCRATCH`.
        server_version, timeouts, row_security, statement_seconds: see `statements`.
    """
    stated = statements(
        server_version, timeouts, row_security=row_security, statement_seconds=statement_seconds
    )
    return b"BEGIN %s; %s" % (mode.encode(), stated)


def _milliseconds(seconds: float) -> str:
    """A duration as a value in SQL; 0, which means no limit, is never the result."""
    return f"'{max(1, round(seconds * 1_000))}ms'"
