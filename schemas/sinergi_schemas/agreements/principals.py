"""The principals of an agreement: how its parties and its auditors log in to the brokers.

Where a party or an auditor names none, its principal is `<agency>.producer`, `<agency>.consumer` or
`<auditor>.auditor`. The brokers give rights to principals, so no two owners may share one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sinergi_schemas.agreements.model import Auditor, Principals
from sinergi_schemas.agreements.tables import AuditorTable
from sinergi_schemas.files import toml_file
from sinergi_schemas.files.toml_file import FileProblem, members_at, table_at
from sinergi_schemas.near_names import did_you_mean
from sinergi_schemas.topics import is_slug

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_ROLES = ("producer", "consumer")
_AUDITOR = "auditor"


def is_subject(principal: str) -> bool:
    """Whether a principal is the subject of a certificate, and not the name of a SCRAM user."""
    return "=" in principal


def default_principal(owner: str, role: str) -> str:
    """The principal of a party's or an auditor's role, where the agreement names none."""
    return f"{owner}.{role}"


def party_principals(agency: str, table: dict[str, Any]) -> Principals:
    """The principals of a party.

    Args:
        table: the party's table in the parsed TOML. A value of a wrong type counts as missing.
    """
    named = table_at(table, "principals")
    return Principals(*(_named(named, role, agency, role) for role in _ROLES))


class AuditorsExamination:
    """The check of the auditors of one file, and of all principals in it.

    Args:
        document: the parsed TOML.

    Attributes:
        auditors: those without problems, by their slugs.
        problems: everything that is wrong.
    """

    def __init__(self, document: dict[str, Any]) -> None:
        self._parties = table_at(document, "parties")
        self._events = table_at(document, "events")
        self._tables = table_at(document, "auditors")
        self.problems: list[FileProblem] = []
        found = [self._auditor(name) for name in self._tables]
        self.auditors = {each.auditor: each for each in found if each}
        self.problems += _shared(dict(self._owned()))

    def _auditor(self, name: str) -> Auditor | None:
        at = f"auditors.{name}"
        if not is_slug(name):
            what = "is not a name of an auditor; write lower-case words joined by hyphens"
            self.problems.append(FileProblem(at, what))
        if name in self._parties:
            what = f"{name} is a party of this agreement; let it be one of `readers` instead"
            self.problems.append(FileProblem(at, what))
        found, problems = toml_file.check(AuditorTable, self._tables[name], at, self._hints)
        self.problems += problems
        table = table_at(self._tables, name)
        for index, event_type in members_at(table, "reads", str):
            if event_type not in self._events:
                known = self._events
                hint = did_you_mean(event_type, known) if self._hints > 0 else "remove it"
                what = f"{event_type} is not an event type of this agreement; {hint}"
                self.problems.append(FileProblem(f"{at}.reads[{index}]", what))
        if found is None:
            return None
        principals = _named(table, "principals", name, _AUDITOR)
        return Auditor(name, found.name, tuple(dict.fromkeys(found.reads)), principals)

    @property
    def _hints(self) -> int:
        """How many more problems get a hint at a similar name, which takes time to find."""
        return toml_file.MOST_HINTS - len(self.problems)

    def _owned(self) -> Iterator[tuple[str, tuple[str, ...]]]:
        """The principals of each party and each auditor, by the key of its table."""
        for agency in self._parties:
            found = party_principals(agency, table_at(self._parties, agency))
            yield f"parties.{agency}", (*found.producer, *found.consumer)
        for name in self._tables:
            table = table_at(self._tables, name)
            yield f"auditors.{name}", _named(table, "principals", name, _AUDITOR)


def _named(table: dict[str, Any], key: str, owner: str, role: str) -> tuple[str, ...]:
    named = [each for _, each in members_at(table, key, str)]
    return tuple(dict.fromkeys(named)) or (default_principal(owner, role),)


def _shared(owned: Mapping[str, tuple[str, ...]]) -> Iterator[FileProblem]:
    """Principals with two owners, each at the second one."""
    first: dict[str, str] = {}
    for owner, principals in owned.items():
        for each in dict.fromkeys(principals):
            if first.setdefault(each, owner) != owner:
                what = f"{each} is a principal of {first[each]} too; give each its own"
                yield FileProblem(f"{owner}.principals", what)
