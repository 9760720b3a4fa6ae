"""Disks without room: what a server does whose writes the kernel refuses.

Nobody needs the right to mount anything for it. PostgreSQL writes into Linux's own full device from
within the statement that is to fail, and answers with the error that it has for any full disk
(`ENOSPC`, SQLSTATE 53100, as measured on a file system without room). A Kafka may not make its
files any longer (RLIMIT_FSIZE): to its log directory that is an input/output error like any other.
"""

from __future__ import annotations

import resource
from contextlib import contextmanager
from typing import TYPE_CHECKING

import sqlalchemy as sa

if TYPE_CHECKING:
    from collections.abc import Iterator

    import psutil

_FUNCTION = """
    CREATE FUNCTION public.full_disk() RETURNS trigger LANGUAGE plpgsql
    AS 'BEGIN COPY (SELECT 1) TO ''/dev/full''; RETURN NULL; END'
"""
_TRIGGER = """
    CREATE TRIGGER full_disk BEFORE INSERT ON {table}
    FOR EACH STATEMENT EXECUTE FUNCTION public.full_disk()
"""
_ROOM = "DROP FUNCTION public.full_disk CASCADE"


@contextmanager
def full(engine: sa.Engine, *tables: str) -> Iterator[None]:
    """Let these tables have no room while the block lasts."""
    with engine.begin() as connection:
        connection.execute(sa.text(_FUNCTION))
        for table in tables:
            connection.execute(sa.text(_TRIGGER.format(table=table)))
    try:
        yield
    finally:
        with engine.begin() as connection:
            connection.execute(sa.text(_ROOM))


def fill(process: psutil.Process) -> None:
    """Let no file of a process grow any more; one that is started anew may grow its files."""
    _, most = process.rlimit(resource.RLIMIT_FSIZE)
    process.rlimit(resource.RLIMIT_FSIZE, (1, most))
