"""The way to Kafka: the clients' settings, made once for everybody, and what their errors mean."""

from __future__ import annotations

from sinergi_schemas.kafka.connection import Connection

__all__ = ["Connection"]
