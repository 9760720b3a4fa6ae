"""Kafka's clients, with the settings that all of ours share, and what their errors mean."""

from __future__ import annotations

from sinergi_schemas.kafka.connection import Connection

__all__ = ["Connection"]
