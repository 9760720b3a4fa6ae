"""The address of a database, in every form that PostgreSQL's own tools accept.

That is a URI (`postgresql://…`) or key/value pairs. libpq itself reads both, so several hosts,
`target_session_attrs`, `options`, `service`, `passfile` and the rest mean the same as for psql. A
URL of SQLAlchemy's (`postgresql+psycopg://…`) is read as SQLAlchemy reads it.
"""

from __future__ import annotations

import os
import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar

import psycopg
from psycopg import pq
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from sinergi_schemas import errors
from sinergi_schemas.files import file_rights
from sinergi_schemas.plain_text import plain

if TYPE_CHECKING:
    from collections.abc import Mapping


ErrorT = TypeVar("ErrorT", bound=errors.SinergiError)

_OF_SQLALCHEMY = "postgresql+psycopg"
_SCHEMES = ("postgresql", "postgres", _OF_SQLALCHEMY)
_HIDDEN = "***"

_SECRET = {each.keyword.decode() for each in pq.Conninfo.get_defaults() if each.dispchar == b"*"}
# A password follows the user, up to the last @ before the path; others are in the query.
_IN_URL = re.compile(rf"(://[^:/@?]*:)[^/?]*(?=@)|([?&](?:{'|'.join(sorted(_SECRET))})=)[^&]*")

# The keywords that name files; `sslrootcert=system` names none.
_FILES = ("passfile", "sslcert", "sslkey", "sslrootcert", "sslcrl", "sslcrldir")
_SYSTEM = "system"

_FORM = "write it as postgresql://user@host:5432/name"


class DatabaseAddress(str):
    """The address of a database that remembers who gave it, for errors about it.

    Args:
        url: the address.
        origin: the setting or the option that gave it, as `--into`.
    """

    __slots__ = ("origin",)

    origin: str

    def __new__(cls, url: str, origin: str) -> Self:
        """The same text, with its origin."""
        made = super().__new__(cls, url)
        made.origin = origin
        return made


def ascribed(why: ErrorT, url: str) -> ErrorT:
    """An error about the database at an address, which names who gave the address if that is known.

    An error that names somebody already is about another database, and stays as it is.
    """
    if (
        isinstance(why, errors.DatabaseAway)
        and why.origin == errors.DatabaseAway.origin
        and isinstance(url, DatabaseAddress)
    ):
        why.origin = url.origin
    return why


def conninfo(url: str) -> str:
    """A database's address as libpq's key/value pairs.

    Raises:
        ValueError: it is not an address. The message quotes nothing, since it may hold a password.
    """
    scheme, mark, _ = url.partition("://")
    if not mark and "=" not in url:
        raise ValueError("is no PostgreSQL URL; write it as postgresql://user@host/name")
    if scheme.startswith("postgresql+") and scheme != _OF_SQLALCHEMY:
        driver = f"postgresql+psycopg, not {plain(scheme)[:40]}"
        raise ValueError(f"names a driver that is not used here; write {driver}, or postgresql")
    if mark and "=" not in scheme and scheme not in _SCHEMES:
        raise ValueError("is no PostgreSQL URL; write it as postgresql://user@host/name")
    _, _, path = url.partition("?")[0].partition("://")[2].partition("/")
    if mark and "=" not in scheme and scheme != _OF_SQLALCHEMY and "@" in path:
        # libpq would take it for the database's name, with half of a password in it.
        raise ValueError("has an @ after a /; in a password write %2F for / and %40 for @")
    try:
        parts = _of_sqlalchemy(url) if scheme == _OF_SQLALCHEMY else conninfo_to_dict(url)
        made = make_conninfo(**parts)
    except psycopg.ProgrammingError:
        raise ValueError(f"cannot be read; {_FORM}") from None
    ports = str(parts.get("port") or "").split(",")
    if not all(not each or (each.isdecimal() and 0 < int(each) < 65_536) for each in ports):
        raise ValueError(f"its port is no number; {_FORM}")
    return made


def beside(url: str, folder: Path) -> str:
    """An address whose relative paths of files are relative to a folder.

    What is no address is given back as it is.
    """
    try:
        parts: dict[str, Any] = {**conninfo_to_dict(conninfo(url))}
    except ValueError:
        return url
    relative = {
        name: str(folder.absolute() / value)
        for name in _FILES
        if (value := parts.get(name)) and value != _SYSTEM and not Path(value).is_absolute()
    }
    return make_conninfo(**parts | relative) if relative else url


def passfile_fault(parts: Mapping[str, Any]) -> str:
    """Why the file of passwords that an address names gives no password; empty without a file.

    libpq passes over a file that it cannot use, and the server then misses the password.

    Args:
        parts: the address, by libpq's keywords.
    """
    path = Path(str(parts.get("passfile") or ""))
    if path == Path():
        return ""
    try:
        mode = path.stat().st_mode
    except OSError as why:
        return f"its passfile {path}: {why.strerror}"
    if not os.access(path, os.R_OK):
        return f"its passfile {path} cannot be read"
    if file_rights.is_open(mode):
        return f"its passfile {path} is not used, since others may use it; `chmod 600 {path}`"
    return f"its passfile {path} has no line for this host, port, database and user"


def is_same(one: str, other: str) -> bool:
    """Whether two addresses name the same database by the same words.

    Other words may name the same one too, as another name of a host.

    Raises:
        ValueError: one of them is no address.
    """
    return _place(one) == _place(other)


def masked(url: str) -> str:
    """A database's address without its passwords, for people to read.

    If it is not certain which part is a password, nothing of it is shown.
    """
    scheme, mark, _ = url.partition("://")
    try:
        parts: dict[str, Any] = {**conninfo_to_dict(conninfo(url))}
        secret = _SECRET & parts.keys()
        if not secret:
            return url
        if not mark:
            return make_conninfo(**parts | dict.fromkeys(secret, _HIDDEN))
        shown = _IN_URL.sub(rf"\g<1>\g<2>{_HIDDEN}", url)
        again = conninfo_to_dict(conninfo(shown))
        if all(again[name] == _HIDDEN for name in secret):
            return shown
    except ValueError:
        return f"{scheme}://{_HIDDEN}" if mark else _HIDDEN
    return f"{scheme}://{_HIDDEN}"


def _place(url: str) -> tuple[str, ...]:
    parts = conninfo_to_dict(conninfo(url))
    host = parts.get("hostaddr") or parts.get("host") or ""
    name = parts.get("dbname") or parts.get("user") or ""
    return str(parts.get("service") or ""), str(host), str(parts.get("port") or "5432"), str(name)


@cache
def _dialect() -> Any:
    """SQLAlchemy's dialect for the driver; it takes a while to make."""
    from sqlalchemy.dialects.postgresql.psycopg import dialect  # noqa: PLC0415 - only for such URLs

    return dialect()  # type: ignore[no-untyped-call] # SQLAlchemy leaves it untyped


def _of_sqlalchemy(url: str) -> Mapping[str, Any]:
    from sqlalchemy.engine import make_url  # noqa: PLC0415 - only for such URLs
    from sqlalchemy.exc import ArgumentError  # noqa: PLC0415 - as above

    try:
        _, found = _dialect().create_connect_args(make_url(url))
    except ArgumentError:
        raise ValueError(f"cannot be read; {_FORM}") from None
    except ValueError:
        raise ValueError(f"its port is no number; {_FORM}") from None
    return dict(found)
