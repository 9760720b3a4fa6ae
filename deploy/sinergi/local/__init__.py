"""Real Kafka and real PostgreSQL on a machine that has nothing but Python.

They come as wheels and jars, listen on 127.0.0.1 only, and keep everything in one folder. Nothing
here is for production: it is for the demo, the tests, the examples and a first look.
"""

from __future__ import annotations

from sinergi.local.services import Local, LocalService, LocalStatus

__all__ = ["Local", "LocalService", "LocalStatus"]
