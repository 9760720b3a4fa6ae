"""The roles of PostgreSQL with which the processes log in, and the rights that each of them gets.

The owner of the tables upgrades them; application, relay, materialiser, reader of rows and auditor
each have a role with the rights that it needs. One that does not exist is created with LOGIN and no
password: it is the user of a process, but nobody can log in with a password before the DBA has set
one. A role that exists is used as it is: nothing of it is changed, no right is revoked, and no role
is dropped. All tables are created by the upgrade, so it also grants the rights on them, and
ALTER DEFAULT PRIVILEGES is not needed: that would hold for whatever else the owner creates there.
"""

from __future__ import annotations

from itertools import permutations
from typing import TYPE_CHECKING, NamedTuple

from sinergi.settings.model import BusRole
from sinergi_producers.outbox.rights import APPLICATION
from sinergi_producers.relay.rights import RELAY
from sinergi_schemas import errors
from sinergi_schemas.plain_text import listing, plain, some
from sinergi_schemas.postgresql import rights
from sinergi_schemas.postgresql.rights import CONNECT

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    import psycopg

    from sinergi.settings.model import Values
    from sinergi_consumers.projections.projection import Projection
    from sinergi_schemas.postgresql.rights import DatabaseRight, RoleRights

_FOUND = """
    SELECT rolname, rolsuper, rolcreaterole FROM pg_catalog.pg_roles
    WHERE rolname = ANY(%s) OR rolname = current_user
"""
_OWNERS = """
    SELECT DISTINCT pg_catalog.pg_get_userbyid(owner) FROM (
        SELECT c.relowner AS owner, c.relnamespace AS schema FROM pg_catalog.pg_class AS c
        UNION SELECT p.proowner, p.pronamespace FROM pg_catalog.pg_proc AS p
        UNION SELECT n.nspowner, n.oid FROM pg_catalog.pg_namespace AS n
    ) AS owned JOIN pg_catalog.pg_namespace AS n ON n.oid = owned.schema
    WHERE n.nspname = ANY(%s)
"""
_IS_MEMBER = "SELECT pg_catalog.pg_has_role(%s::name, %s::name, 'MEMBER')"


class DatabaseRole(NamedTuple):
    """A role of PostgreSQL for one purpose, with the rights that it needs.

    Attributes:
        name: as PostgreSQL stores it.
        setting: the key that names it.
    """

    name: str
    setting: str
    rights: tuple[DatabaseRight, ...]

    @property
    def purpose(self) -> str:
        """What it is for: application, relay, materialiser, reader or auditor."""
        return self.setting.rpartition(".")[2]

    @property
    def creation(self) -> str:
        """The statement that creates it."""
        return f"CREATE ROLE {rights.quoted_always(self.name)} LOGIN"

    @property
    def grants(self) -> list[str]:
        """The statements that give it all of its rights."""
        return rights.grants(self.rights, self.name)


class GivenRole(NamedTuple):
    """What was done for a role.

    Attributes:
        is_new: whether it was created.
        rights: those that were granted.
    """

    role: DatabaseRole
    is_new: bool
    rights: Sequence[DatabaseRight]

    def __str__(self) -> str:
        done = ["created without a password"] if self.is_new else []
        if self.rights:
            done.append(f"granted {some(map(str, self.rights))}")
        return f"{self.role.purpose} {plain(self.role.name)}: {', '.join(done)}"


def roles_of(
    values: Values, role: BusRole, projections: Iterable[Projection]
) -> list[DatabaseRole]:
    """The roles that the settings name for a database.

    Args:
        projections: those whose tables are in it.

    Raises:
        RolesRefused: two settings name the same role.
    """
    _check_distinct(values)
    if role is BusRole.PRODUCER:
        return _named(values, (APPLICATION, RELAY))
    if not any(name for _, name in values.consumer.database_roles):
        return []
    from sinergi_consumers.sinks.postgresql import rights as of_consumer  # noqa: PLC0415 - it needs polars

    tables = tuple(projections)
    roles = (of_consumer.materialiser, of_consumer.reader, of_consumer.verifier)
    return _named(values, (each(tables) for each in roles))


def statements(roles: Iterable[DatabaseRole]) -> Iterator[str]:
    """The SQL that creates roles unless they exist, and gives them their rights, for a DBA."""
    for each in roles:
        yield rights.block(
            "BEGIN IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles"
            f" WHERE rolname = {rights.literal(each.name)})"
            f" THEN {each.creation}; END IF; END"
        )
        yield from each.grants


def give(
    connection: psycopg.Connection, roles: Sequence[DatabaseRole], schemas: Sequence[str]
) -> list[GivenRole]:
    """Create the roles that do not exist, and grant the rights that are missing.

    Args:
        schemas: those that hold the tables.

    Returns:
        The roles for which something was done; none if it was done before.

    Raises:
        RolesRefused: a role cannot be created, or PostgreSQL would refuse it nothing, or the
            connection's user may not grant a right.
    """
    if not roles:
        return []
    problems, created = _checked(connection, roles)
    if problems:
        raise _refused(problems)
    for each in created:
        connection.execute(each.creation.encode())
    owners = [str(name) for (name,) in connection.execute(_OWNERS, (list(schemas),))]
    if problems := [*_memberships(connection, roles, owners)]:
        raise _refused(problems)
    done = []
    for each in roles:
        lacked = rights.missing(connection, each.rights, each.name)
        for statement in rights.grants(lacked, each.name):
            connection.execute(statement.encode())
        # Who may not grant a right gets a warning from PostgreSQL, and no error.
        if left := rights.missing(connection, lacked, each.name):
            user = rights.current_user(connection)
            what = f"{plain(user)} may not grant {plain(each.name)} the right {left[0]}"
            problems.append(f"{each.setting}: {what}; {_SQL.format(of=_of(each))}")
        if lacked or each in created:
            done.append(GivenRole(each, each in created, lacked))
    if problems:
        raise _refused(problems)
    return done


_SQL = "run this as the owner, or let a DBA run what `sinergi db upgrade --role {of} --sql` prints"


def _of(role: DatabaseRole) -> str:
    return role.setting.partition(".")[0]


def _named(values: Values, needed: Iterable[RoleRights]) -> list[DatabaseRole]:
    names = _names(values)
    return [
        DatabaseRole(names[each.setting], each.setting, (CONNECT, *each.rights))
        for each in needed
        if each.setting in names
    ]


def _names(values: Values) -> Mapping[str, str]:
    """The role of each setting that names one."""
    return {
        f"{role}.database_roles.{purpose}": name
        for role in BusRole
        for purpose, name in values.table(role).database_roles
        if name
    }


def _check_distinct(values: Values) -> None:
    found: dict[str, str] = {}
    for setting, name in _names(values).items():
        other = found.setdefault(name, setting)
        if other != setting:
            what = f"{plain(name)} is also {other}, and would have the rights of both"
            raise _refused([f"{setting}: {what}; name another role"])


def _checked(
    connection: psycopg.Connection, roles: Sequence[DatabaseRole]
) -> tuple[list[str], list[DatabaseRole]]:
    """What is wrong with the roles themselves, and those that are to be created."""
    rows = connection.execute(_FOUND, ([each.name for each in roles],))
    found = {name: (is_super, creates) for name, is_super, creates in rows}
    user = rights.current_user(connection)
    may_create = any(found.get(user, ()))
    problems, created = [], []
    for each in roles:
        name = plain(each.name)
        if each.name in found:
            is_super, creates = found[each.name]
            if is_super or creates:
                may = "is a superuser" if is_super else "may create roles"
                what = f"{name} {may}, so that no right can be withheld from it"
                problems.append(f"{each.setting}: {what}; name another role")
        elif may_create:
            created.append(each)
        else:
            what = f"there is no role {name}, and {plain(user)} may not create it"
            problems.append(
                f"{each.setting}: {what}; let a DBA run `{plain(each.creation)}`, or what"
                f" `sinergi db upgrade --role {_of(each)} --sql` prints"
            )
    return problems, created


def _memberships(
    connection: psycopg.Connection, roles: Sequence[DatabaseRole], owners: Sequence[str]
) -> Iterator[str]:
    """The roles that have all rights of the tables' owner, or of each other."""
    for each in roles:
        for owner in owners:
            if _is_member(connection, each.name, owner):
                own = "is" if owner == each.name else f"is a member of {plain(owner)}, which is"
                what = f"{plain(each.name)} {own} the owner of the tables"
                yield f"{each.setting}: {what}, so that no right can be withheld from it"
    for one, other in permutations(roles, 2):
        if _is_member(connection, one.name, other.name):
            what = f"{plain(one.name)} is a member of {plain(other.name)}, the {other.purpose}"
            yield f"{one.setting}: {what}, and has all its rights; revoke the membership"


def _is_member(connection: psycopg.Connection, name: str, of: str) -> bool:
    found = connection.execute(_IS_MEMBER, (name, of)).fetchone()
    return bool(found and found[0])


def _refused(problems: Iterable[str]) -> errors.RolesRefused:
    return errors.RolesRefused(listing(problems))
