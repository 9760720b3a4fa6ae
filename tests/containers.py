"""Kafka and PostgreSQL in containers, for a machine with a Docker engine."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from testcontainers.core.container import DockerContainer
from testcontainers.core.wait_strategies import LogMessageWaitStrategy
from testcontainers.postgres import PostgresContainer

if TYPE_CHECKING:
    from contextlib import ExitStack

_KAFKA = "apache/kafka:4.3.1"
_POSTGRESQL = "postgres:18"


def start(stack: ExitStack) -> tuple[str, str]:
    """Start both until the stack is closed; the broker's address and the server's URL."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    broker = DockerContainer(_KAFKA).with_bind_ports(9092, port)
    for name, value in _settings(port).items():
        broker = broker.with_env(f"KAFKA_{name.upper().replace('.', '_')}", value)
    stack.enter_context(broker.waiting_for(LogMessageWaitStrategy("Kafka Server started")))
    server = PostgresContainer(_POSTGRESQL, driver="psycopg")
    stack.enter_context(server)
    return f"127.0.0.1:{port}", server.get_connection_url()


def _settings(port: int) -> dict[str, str]:
    return {
        "process.roles": "broker,controller",
        "node.id": "1",
        "controller.quorum.voters": "1@localhost:9093",
        "listeners": "BROKER://:9092,CONTROLLER://:9093",
        "advertised.listeners": f"BROKER://127.0.0.1:{port}",
        "listener.security.protocol.map": "BROKER:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "inter.broker.listener.name": "BROKER",
        "controller.listener.names": "CONTROLLER",
        "auto.create.topics.enable": "false",
        "unclean.leader.election.enable": "false",
        "log.message.timestamp.type": "LogAppendTime",
        "offsets.topic.replication.factor": "1",
        "transaction.state.log.replication.factor": "1",
        "transaction.state.log.min.isr": "1",
        "group.initial.rebalance.delay.ms": "0",
        # As the local services have it: what a killed worker held goes to another within 8 s.
        "group.consumer.session.timeout.ms": "8000",
        "group.consumer.min.session.timeout.ms": "8000",
        "group.consumer.heartbeat.interval.ms": "1000",
        "group.consumer.min.heartbeat.interval.ms": "1000",
    }
