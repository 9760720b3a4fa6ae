"""How far every topic and partition is: gathered as facts, judged apart from them, then shown."""

from __future__ import annotations
