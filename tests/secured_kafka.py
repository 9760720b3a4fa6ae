"""A Kafka for tests that requires a login, uses TLS, and allows only what an ACL allows.

Five listeners: one without a login for the setup, and four for the clients under test. Nobody has a
right that a test did not give.
"""

from __future__ import annotations

import threading
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import psutil
from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    NewTopic,
    ResourcePatternType,
    ResourceType,
    ScramMechanism,
    UserScramCredentialAlteration,
    UserScramCredentialDeletion,
)

from sinergi.local import process
from sinergi.local.certificates import LocalAuthority, certificate_pem, key_pem
from sinergi.local.kafka import LocalKafka
from sinergi.local.state import LocalState, free_ports
from sinergi.provision.access_control import ALL_ENTRIES
from sinergi_schemas.clock import SYSTEM
from sinergi_schemas.kafka import Connection
from sinergi_schemas.kafka.admin import Admin, describe, open_admin
from waiting import PATIENCE_SECONDS, until

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path


START_SECONDS = 90.0
USER, PASSWORD = "relay-user", "hush-hush"

_JAAS = (
    "org.apache.kafka.common.security.plain.PlainLoginModule required"
    f' username="admin" password="admin-secret" user_{USER}="{PASSWORD}";'
)
_SCRAM = "org.apache.kafka.common.security.scram.ScramLoginModule required;"


class Authority(LocalAuthority):
    """A certificate authority that only one test run knows."""

    def write(self, path: Path) -> Path:
        """The authority's own certificate, as a client trusts it."""
        path.write_bytes(certificate_pem(self.certificate))
        return path

    def write_client(self, folder: Path, name: str) -> dict[str, str]:
        """A client's key and certificate, and the settings that name them."""
        key, certificate = self.issue(name)
        files = {"private_key_file": folder / f"{name}.key", "certificate_file": folder / name}
        for each in files.values():
            each.touch(0o600)
        files["private_key_file"].write_bytes(key_pem(key))
        files["certificate_file"].write_bytes(certificate_pem(certificate))
        return {setting: str(each) for setting, each in files.items()}

    def write_server(self, path: Path) -> Path:
        """A server's key and certificate for 127.0.0.1, in one file as Kafka takes it."""
        key, certificate = self.issue("broker")
        path.write_bytes(key_pem(key) + certificate_pem(certificate))
        return path


@dataclass(frozen=True)
class SecuredKafka(LocalKafka):
    """The local Kafka with four more listeners, and rights by ACL alone."""

    login: int = 0
    tls: int = 0
    login_tls: int = 0
    mutual: int = 0
    certificates: str = ""
    authorities: str = ""
    more: Mapping[str, str] = field(default_factory=dict)

    def _settings(self) -> str:
        ports = {"LOGIN": self.login, "TLS": self.tls, "LOGINTLS": self.login_tls}
        ports |= {"MUTUAL": self.mutual}
        more = "".join(f",{name}://127.0.0.1:{port}" for name, port in ports.items())
        settings = {
            "listeners": f"BROKER://{self.address},"
            f"CONTROLLER://127.0.0.1:{self.state.controller_port}{more}",
            "advertised.listeners": f"BROKER://{self.address}{more}",
            "listener.security.protocol.map": "BROKER:PLAINTEXT,CONTROLLER:PLAINTEXT,"
            "LOGIN:SASL_PLAINTEXT,TLS:SSL,LOGINTLS:SASL_SSL,MUTUAL:SSL",
            "listener.name.mutual.ssl.client.auth": "required",
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": self.authorities,
            "sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-512",
            "listener.name.login.plain.sasl.jaas.config": _JAAS,
            "listener.name.logintls.plain.sasl.jaas.config": _JAAS,
            "listener.name.login.scram-sha-512.sasl.jaas.config": _SCRAM,
            "listener.name.logintls.scram-sha-512.sasl.jaas.config": _SCRAM,
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": self.certificates,
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": "User:ANONYMOUS",
            "allow.everyone.if.no.acl.found": "false",
            # A login that was refused is answered after this; the default is as long.
            "connection.failed.authentication.delay.ms": "100",
            **self.more,
        }
        # What stands here last holds.
        return super()._settings() + "".join(f"{key}={value}\n" for key, value in settings.items())


class BrokerProcess:
    """The process of a broker, which a test may kill and start again."""

    def __init__(self, kafka: SecuredKafka, thread: ThreadPoolExecutor) -> None:
        self._kafka = kafka
        self._thread = thread  # a leashed program dies with the thread that started it
        self._program = kafka.program()
        self.start()

    def start(self) -> None:
        """Start it, and wait until it answers."""
        self._spawn()
        end, pause = SYSTEM.monotonic() + START_SECONDS, threading.Event()
        while not self._kafka.answers():
            assert self._running.is_running(), self._kafka.log.read_text()
            assert SYSTEM.monotonic() < end, self._kafka.log.read_text()
            pause.wait(0.2)

    def restart(self) -> None:
        """Start it after a kill, as often as it ends: a controller may not take it back at once."""
        self._spawn()

        def answers() -> bool:
            if not self._running.is_running():
                self._spawn()
            return self._kafka.answers()

        until(answers, "the broker is back")

    def _spawn(self) -> None:
        self._running = self._thread.submit(self._program.start, leashed=True).result()

    def kill(self) -> None:
        """Kill it, as a power cut does."""
        if self._running.is_running():
            ours = [self._running, *self._running.children(recursive=True)]
            for each in ours:
                each.kill()
            psutil.wait_procs(ours)

    def stop(self) -> None:
        """Stop it in order."""
        process.stop(self._running, self._kafka.stops_by)


@dataclass(frozen=True)
class Secured:
    """A running broker, and what a test does with it."""

    kafka: SecuredKafka
    process: BrokerProcess
    ca_file: Path
    other_ca_file: Path
    authority: Authority
    other_authority: Authority

    @property
    def bootstrap(self) -> str:
        """Where whoever sets things up finds it, without a login."""
        return self.kafka.address

    @property
    def login(self) -> str:
        """Where a client with a login finds it."""
        return f"127.0.0.1:{self.kafka.login}"

    @property
    def tls(self) -> str:
        """Where a client that speaks TLS finds it."""
        return f"127.0.0.1:{self.kafka.tls}"

    @property
    def login_tls(self) -> str:
        """Where a client with a login that speaks TLS finds it."""
        return f"127.0.0.1:{self.kafka.login_tls}"

    @property
    def mutual(self) -> str:
        """Where a client that has a certificate finds it."""
        return f"127.0.0.1:{self.kafka.mutual}"

    @cached_property
    def admin(self) -> Admin:
        """Somebody who may do everything."""
        return open_admin(Connection(self.bootstrap))

    def options(self, **changes: str) -> dict[str, str]:
        """What a client says to log in; a change is named with _ for the dots."""
        found = {
            "security.protocol": "sasl_plaintext",
            "sasl.mechanism": "PLAIN",
            "sasl.username": USER,
            "sasl.password": PASSWORD,
        }
        return found | {name.replace("_", "."): value for name, value in changes.items()}

    def connection(self, **changes: str) -> Connection:
        """A client that logs in as `USER`, and has the rights that were given."""
        return Connection(self.login, self.options(**changes))

    def topic(self, name: str, partitions: int = 1) -> None:
        """Make a topic, and wait until the broker shows it."""
        self.admin.create_topics([NewTopic(name, partitions, 1)])[name].result(PATIENCE_SECONDS)
        while name not in describe(self.admin, [name]):
            pass

    def permit(self, resource: ResourceType, name: str, *operations: AclOperation) -> None:
        """Give `USER` rights on one resource, or on all with `*`."""
        self._add([self._binding(resource, name, each) for each in operations])

    def forbid(self, resource: ResourceType, name: str, operation: AclOperation) -> None:
        """Take a right away that others imply."""
        self._add([self._binding(resource, name, operation, AclPermissionType.DENY)])

    def forget(self) -> None:
        """Take all rights away."""
        for future in self.admin.delete_acls([ALL_ENTRIES]).values():
            future.result(PATIENCE_SECONDS)
        until(lambda: not self._entries(), "a broker without access control entries")

    def clear(self) -> None:
        """Take all rights, topics and users away."""
        self.forget()
        if topics := self._topics():
            for future in self.admin.delete_topics(topics).values():
                future.result(PATIENCE_SECONDS)
        until(lambda: not self._topics(), "a broker without topics")
        scram = ScramMechanism.SCRAM_SHA_512
        gone: list[UserScramCredentialAlteration] = [
            UserScramCredentialDeletion(each, scram) for each in self._users()
        ]
        if gone:
            for future in self.admin.alter_user_scram_credentials(gone).values():
                future.result(PATIENCE_SECONDS)
        until(lambda: not self._users(), "a broker without users")

    def _topics(self) -> list[str]:
        """Topics that the broker has not made for itself."""
        found = self.admin.list_topics(timeout=PATIENCE_SECONDS).topics
        return [each for each in found if not each.startswith("__")]

    def _users(self) -> list[str]:
        asked = self.admin.describe_user_scram_credentials()
        assert isinstance(asked, Future)
        return [*asked.result(PATIENCE_SECONDS)]

    def _add(self, bindings: list[AclBinding]) -> None:
        """Add entries. The controller answers before the broker applies them: wait for both."""
        if not bindings:
            return
        for future in self.admin.create_acls(bindings).values():
            future.result(PATIENCE_SECONDS)
        until(lambda: set(bindings) <= set(self._entries()), "the entries on the broker")

    def _entries(self) -> list[AclBinding]:
        """The access control entries that the broker applies."""
        found: list[AclBinding] = self.admin.describe_acls(ALL_ENTRIES).result(PATIENCE_SECONDS)
        return found

    @staticmethod
    def _binding(
        resource: ResourceType,
        name: str,
        operation: AclOperation,
        permission: AclPermissionType = AclPermissionType.ALLOW,
    ) -> AclBinding:
        return AclBinding(
            resource,
            name,
            ResourcePatternType.LITERAL,
            f"User:{USER}",
            "*",
            operation,
            permission,
        )


@contextmanager
def secured(folder: Path, **more: str) -> Iterator[Secured]:
    """A broker that runs while the block lasts.

    Args:
        more: further settings of the broker, each with _ for the dots in its name.
    """
    state = LocalState.of(folder, is_secured=False)
    authority, other = Authority("tests"), Authority("somebody else")
    login, tls, login_tls, mutual = free_ports(4)
    kafka = SecuredKafka(
        folder,
        state,
        login=login,
        tls=tls,
        login_tls=login_tls,
        mutual=mutual,
        certificates=str(authority.write_server(folder / "broker.pem")),
        authorities=str(authority.write(folder / "ca.pem")),
        more={name.replace("_", "."): value for name, value in more.items()},
    )
    with ThreadPoolExecutor(1) as thread:
        running = BrokerProcess(kafka, thread)
        try:
            other_file = other.write(folder / "other.pem")
            yield Secured(kafka, running, folder / "ca.pem", other_file, authority, other)
        finally:
            running.stop()
