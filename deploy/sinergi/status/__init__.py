"""The progress of every topic and partition: read as facts, judged separately, then shown."""

from __future__ import annotations
