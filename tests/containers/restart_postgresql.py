"""Start the local PostgreSQL of a folder, stop it, start it again, and say what it may do.

    restart_postgresql.py FOLDER [GUARDED]

Prints a line of JSON: who it runs as, its capabilities, what it kept from the first start to the
second, and what its superuser reads of the file GUARDED through SQL (empty if it may not); or the
error, where it does not start.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import psycopg
from psycopg.rows import scalar_row

from sinergi.local import process
from sinergi.local.postgresql import LocalPostgresql
from sinergi.local.state import LocalState
from sinergi_schemas import errors
from sinergi_schemas.clock import SYSTEM

_PATIENCE_SECONDS = 180
_CAPABILITIES = "SELECT line FROM told WHERE line LIKE 'Cap%%' AND line NOT LIKE 'CapBnd%%'"


def told(server: LocalPostgresql, guarded: str) -> dict[str, object]:
    """What the server that runs now says of itself."""
    with server.connect() as connection:
        cursor = connection.cursor(row_factory=scalar_row)
        cursor.execute("CREATE TABLE IF NOT EXISTS kept (at timestamptz)")
        kept = cursor.execute("SELECT count(*) FROM kept").fetchone()
        cursor.execute("INSERT INTO kept VALUES (now())")
        cursor.execute("CREATE TEMP TABLE told (line text)")
        sets = "sed s/[[:space:]]/=/g /proc/self/status"
        cursor.execute(f"COPY told FROM PROGRAM '{sets}'".encode())
        capabilities = cursor.execute(_CAPABILITIES).fetchall()
        cursor.execute("TRUNCATE told")
        cursor.execute("COPY told FROM PROGRAM 'id -u'")
        user = cursor.execute("SELECT line FROM told").fetchone()
        read = []
        for path in (guarded, "../secret", "../../secret", "../../../secret"):
            try:
                read.append(cursor.execute("SELECT pg_read_file(%s)", [path]).fetchone())
            except (psycopg.errors.InsufficientPrivilege, psycopg.errors.UndefinedFile):
                continue
    return {"user": user, "capabilities": capabilities, "kept": kept, "read": read}


def main(folder: Path, guarded: str = "/nowhere") -> dict[str, object]:
    """Start it twice."""
    state = LocalState.of(folder)
    state.write()
    server = LocalPostgresql(folder, state)
    said: dict[str, object] = {}
    for _ in range(2):
        try:
            program = server.program()
        except errors.SinergiError as why:
            return {"error": str(why)}
        running = program.start(leashed=True)
        until = SYSTEM.monotonic() + _PATIENCE_SECONDS
        try:
            while not server.answers():
                if process.ended_within(running, 0.05) or SYSTEM.monotonic() > until:
                    return {"error": program.reason(0)}
            said = told(server, guarded)
        finally:
            process.stop(running, server.stops_by)
    return said


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(Path(sys.argv[1]), *sys.argv[2:])) + "\n")
