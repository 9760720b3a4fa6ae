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
from sinergi.provision.progress import RIGHT
from sinergi.provision.progress import USER as USERS
from sinergi.provision.rights import USER, AclEntry
from sinergi_schemas import errors
from sinergi_schemas.clock import SYSTEM
from sinergi_schemas.kafka.admin import broker_ids

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from sinergi.provision.access import AccessStep
    from sinergi.provision.passwords import PasswordFolder
    from sinergi.provision.progress import Progress
    from sinergi_schemas.kafka.admin import Admin
    from sinergi_schemas.kafka.connection import Attempt

BindingT = TypeVar("BindingT", AclBinding, AclBindingFilter)

# RFC 7677 asks for 4096 at least; a random password of 256 bits gains nothing from more. No other
# tool chooses this number by itself, so it tells which users Sinergi has made; see `access`.
_ITERATIONS = 4_241
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
        asked_users = self._admin.describe_user_scram_credentials(request_timeout=self._seconds)
        assert isinstance(asked_users, Future)  # one for all users, since none is named
        users = self._admin.answer(asked_users, self._attempt("Describe"))
        made = frozenset(
            name
            for name, found in users.items()
            if any(map(_is_ours, found.scram_credential_infos))
        )
        return FoundAccess(
            frozenset(map(_entry, bindings)),
            made,
            self._admin.connection.principal.removeprefix(USER),
            frozenset(users) - made,
        )

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
        for each in created:
            if each.entry is None:
                progress.confirm(USERS, [[partial(self._set_password, each.user)]])
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
        for user in users:
            self._set_password(user)

    def _set_password(self, user: str) -> None:
        info = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, _ITERATIONS)
        with self._passwords.new(user) as password:
            (answer,) = self._alter([UserScramCredentialUpsertion(user, info, password)]).values()
            answer()

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
