"""The access control of a cluster: reads its entries and users, and does what a plan says."""

from __future__ import annotations

from concurrent.futures import Future
from functools import partial
from time import sleep
from typing import TYPE_CHECKING, TypeVar

from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    ConfigResource,
    ResourcePatternType,
    ResourceType,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialDeletion,
    UserScramCredentialUpsertion,
)

from sinergi.provision.access import AccessAction, FoundAccess
from sinergi.provision.groups import groups
from sinergi.provision.progress import RIGHT, Progress
from sinergi.provision.progress import USER as USERS
from sinergi.provision.rights import USER, AclEntry
from sinergi_schemas import errors
from sinergi_schemas.clock import SYSTEM
from sinergi_schemas.kafka.admin import broker_ids

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from sinergi.provision.access import AccessStep
    from sinergi.provision.passwords import PasswordFolder
    from sinergi_schemas.kafka.admin import Admin
    from sinergi_schemas.kafka.connection import Attempt

BindingT = TypeVar("BindingT", AclBinding, AclBindingFilter)

# RFC 7677 asks for 4096 at least; a random password of 256 bits gains nothing from more. No other
# tool chooses this number by itself, so it tells which users Sinergi has made; see `access`.
_ITERATIONS = 4_241
# Of one request. It keeps others from setting passwords, and a crash leaves as many unfinished.
_MOST_USERS = 200
_PAUSE_SECONDS = 0.1
_AUTHORIZER = "authorizer.class.name"
ALL_ENTRIES = AclBindingFilter(
    ResourceType.ANY,
    None,  # type: ignore[arg-type]  # the library takes it for "any"
    ResourcePatternType.ANY,
    None,  # type: ignore[arg-type]
    None,  # type: ignore[arg-type]
    AclOperation.ANY,
    AclPermissionType.ANY,
)


class AccessControl:
    """The access control list and the SCRAM users of a cluster.

    Args:
        passwords: where the passwords of new users go.
    """

    def __init__(self, admin: Admin, passwords: PasswordFolder) -> None:
        self._admin = admin
        self._passwords = passwords

    def read(self) -> FoundAccess | None:
        """What the cluster has; None if none of its brokers has an authorizer, so all may do all.

        Raises:
            NotPermitted: this principal may not describe them.
            SinergiError: the cluster does not answer; see `faults.translate`.
        """
        return self._found() if len(self.open_brokers()) < len(broker_ids(self._admin)) else None

    def open_brokers(self) -> list[int]:
        """The brokers without an authorizer: whoever reaches one of them may do everything there.

        Each broker is asked, since each has its own settings file.

        Raises:
            NotPermitted: this principal may not describe them.
            SinergiError: a broker does not answer; see `faults.translate`.
        """
        brokers = broker_ids(self._admin)
        resources = [ConfigResource(ResourceType.BROKER, str(each)) for each in brokers]
        asked = [  # the client takes one broker for each request
            self._admin.describe_configs([each], request_timeout=self._seconds)[each]
            for each in resources
        ]
        attempt = self._attempt("DescribeConfigs")
        settings = [self._admin.answer(each, attempt) for each in asked]
        has_one = [bool(each[_AUTHORIZER].value) for each in settings]
        return [broker for broker, has in zip(brokers, has_one, strict=True) if not has]

    def _found(self) -> FoundAccess:
        asked = self._admin.describe_acls(ALL_ENTRIES, request_timeout=self._seconds)
        bindings = self._admin.answer(asked, self._attempt("Describe"))
        made, others = self._users()
        return FoundAccess(
            frozenset(map(_entry, bindings)),
            made,
            self._admin.connection.principal.removeprefix(USER),
            others,
            # Read after the users: what is made meanwhile is finished, or another command works.
            made.intersection(self._passwords.unfinished()),
        )

    def _users(self) -> tuple[frozenset[str], frozenset[str]]:
        """The users whose password Sinergi has set, and the others."""
        asked = self._admin.describe_user_scram_credentials(request_timeout=self._seconds)
        assert isinstance(asked, Future)  # one for all users, since none is named
        users = self._admin.answer(asked, self._attempt("Describe"))
        made = frozenset(
            name
            for name, found in users.items()
            if any(map(_is_ours, found.scram_credential_infos))
        )
        return made, frozenset(users) - made

    def remove(self, steps: Sequence[AccessStep], progress: Progress) -> None:
        """Remove the rights and users that a plan removes; twice has the same result as once.

        Users are removed also if a right cannot be.

        Args:
            progress: counts what the brokers have confirmed.

        Raises:
            PasswordFileRefused: the file of a user that is removed cannot be.
            NotPermitted: this principal may not change them.
            SinergiError: the cluster does not answer; see `faults.translate`.
        """
        removed = [step for step in steps if step.action is AccessAction.REMOVE]
        entries = [step.entry for step in removed if step.entry]
        rights = map(self._delete_entries, groups(entries))
        users = map(self._delete_users, groups(step.user for step in removed if not step.entry))
        try:
            progress.confirm(RIGHT, rights)
        finally:
            progress.confirm(USERS, users)
        self._await(removed)

    def create(self, steps: Sequence[AccessStep], progress: Progress) -> None:
        """Make the users and rights that a plan creates; twice has the same result as once.

        A user gets its password before its rights.

        Args:
            progress: counts what the brokers have confirmed.

        Raises:
            PasswordFileRefused: a password cannot be written; that user is not made.
            NotPermitted, SinergiError: as `remove`.
        """
        created = [step for step in steps if step.action is AccessAction.CREATE]
        users = [step.user for step in created if step.entry is None]
        self._give_passwords(users, progress, is_first=True)
        entries = [step.entry for step in created if step.entry]
        progress.confirm(RIGHT, map(self._create_entries, groups(entries)))
        self._await(created)

    def _await(self, changed: Sequence[AccessStep]) -> None:
        """Wait until a broker shows the changes, which the controller knows earlier.

        It is waited for while it shows more and more of them.
        """
        pending = changed
        deadline = SYSTEM.monotonic() + self._seconds
        while left := self._unshown(pending):
            if len(left) < len(pending):
                deadline = SYSTEM.monotonic() + self._seconds
            elif SYSTEM.monotonic() > deadline:
                raise errors.BrokerAway("users or rights were changed, and it does not show them")
            pending = left
            sleep(_PAUSE_SECONDS)

    def _unshown(self, steps: Sequence[AccessStep]) -> list[AccessStep]:
        if not steps:
            return []
        found = self._found()
        return [each for each in steps if not found.shows(each)]

    def _delete_entries(self, entries: Iterable[AclEntry]) -> list[Callable[[], object]]:
        """Ask for it; what waits for each answer."""
        filters = [_as(AclBindingFilter, each) for each in entries]
        asked = self._admin.delete_acls(filters, request_timeout=self._seconds)
        attempt = self._attempt("Alter")
        return [partial(self._admin.answer, each, attempt) for each in asked.values()]

    def _create_entries(self, entries: Iterable[AclEntry]) -> list[Callable[[], object]]:
        """Ask for it; what waits for each answer."""
        bindings = [_as(AclBinding, each) for each in entries]
        asked = self._admin.create_acls(bindings, request_timeout=self._seconds)
        attempt = self._attempt("Alter")
        return [partial(self._admin.answer, each, attempt) for each in asked.values()]

    def rotate(self, users: Iterable[str]) -> None:
        """Give users new passwords in place of those that they have.

        Kafka holds one password of a user for a mechanism, so the old one ends at once for whoever
        logs in from then on. Connections that are open go on.

        Raises:
            PasswordFileRefused: a password cannot be written; that user keeps its password.
            NotPermitted, SinergiError: as `remove`.
        """
        self._give_passwords(users, Progress(), is_first=False)

    def _give_passwords(self, users: Iterable[str], progress: Progress, *, is_first: bool) -> None:
        """Give users new passwords, group by group.

        Args:
            is_first: the users are being made. One that another command has made since they were
                planned keeps its password, which may have been handed over.
        """
        for group in groups(users, most=_MOST_USERS):
            with self._passwords.locked():
                wanted = self._unmade(group) if is_first else group
                progress.confirm(USERS, [self._set_passwords(wanted, is_first=is_first)])

    def _unmade(self, users: Sequence[str]) -> list[str]:
        """Those that the brokers do not have, or whose making was interrupted."""
        made, _ = self._users()
        finished = made.difference(self._passwords.unfinished())
        return [each for each in users if each not in finished]

    def _set_passwords(self, users: Sequence[str], *, is_first: bool) -> list[Callable[[], object]]:
        """Ask for those that can be written; what waits for each answer, or says why it cannot."""
        info = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, _ITERATIONS)
        changes: dict[str, UserScramCredentialUpsertion] = {}
        refused: list[Callable[[], object]] = []
        for user in users:
            try:
                password = self._passwords.write(user, is_first=is_first)
            except errors.PasswordFileRefused as why:
                refused.append(partial(_fail, why))
            else:
                changes[user] = UserScramCredentialUpsertion(user, info, password)
        asked = self._alter([*changes.values()]) if changes else {}
        confirm = partial(self._confirm_password, is_first=is_first)
        return [*refused, *(partial(confirm, each, asked[each]) for each in changes)]

    def _confirm_password(self, user: str, answer: Callable[[], object], *, is_first: bool) -> None:
        answer()
        self._passwords.confirm(user, is_first=is_first)

    def _delete_users(self, users: Sequence[str]) -> list[Callable[[], None]]:
        """Ask for it; what waits for each answer, and then removes the user's files."""
        asked = self._alter(
            [UserScramCredentialDeletion(each, ScramMechanism.SCRAM_SHA_512) for each in users]
        )
        return [partial(self._remove_files, *each) for each in asked.items()]

    def _remove_files(self, user: str, answer: Callable[[], object]) -> None:
        answer()
        self._passwords.remove(user)

    def _alter(
        self, changes: Sequence[UserScramCredentialUpsertion | UserScramCredentialDeletion]
    ) -> dict[str, Callable[[], object]]:
        """Ask for changes; what waits for the answer, for each user."""
        asked = self._admin.alter_user_scram_credentials(
            list(changes), request_timeout=self._seconds
        )
        attempt = self._attempt("Alter")
        return {
            user: partial(self._admin.answer, answer, attempt) for user, answer in asked.items()
        }

    @property
    def _seconds(self) -> float:
        return self._admin.connection.timeouts.change

    def _attempt(self, operation: str) -> Attempt:
        return self._admin.connection.attempt(operation)


def _fail(why: errors.SinergiError) -> None:
    raise why


def _is_ours(password: ScramCredentialInfo) -> bool:
    """Whether Sinergi has set a password."""
    is_sha_512 = password.mechanism == ScramMechanism.SCRAM_SHA_512
    return is_sha_512 and password.iterations == _ITERATIONS


def _entry(binding: AclBinding) -> AclEntry:
    # The library says that each of the four may also be a name or a number; it reads them as enums.
    return AclEntry(
        binding.principal,
        ResourceType(binding.restype).name,
        binding.name,
        ResourcePatternType(binding.resource_pattern_type).name,
        AclOperation(binding.operation).name,
        AclPermissionType(binding.permission_type).name,
        binding.host,
    )


def _as(kind: type[BindingT], entry: AclEntry) -> BindingT:
    """An entry as a binding that is created, or as a filter that finds only this entry."""
    return kind(
        ResourceType[entry.resource],
        entry.name,
        ResourcePatternType[entry.pattern],
        entry.principal,
        entry.host,
        AclOperation[entry.operation],
        AclPermissionType[entry.permission],
    )
