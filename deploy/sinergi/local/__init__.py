"""Real Kafka and real PostgreSQL on a machine that has only Python.

They are installed as wheels and jars, listen on 127.0.0.1 only, and keep all data in one folder.
They are for the demo, the tests, the examples and first trials, not for production.
"""

from __future__ import annotations

from sinergi.local.services import Local, LocalService, LocalStatus

__all__ = ["Local", "LocalService", "LocalStatus"]
