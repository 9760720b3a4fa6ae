"""A second database of the agency that reads, filled by materialisers of its own."""

from __future__ import annotations

import secrets
import tomllib
from dataclasses import replace
from typing import TYPE_CHECKING

import sqlalchemy as sa
import tomli_w

from agency_pair import BUS
from chaos.judge import Judge, Verdict
from chaos.timing import until_grown
from sinergi import migrate
from sinergi_schemas.seal.keys import Algorithm, SigningKey

if TYPE_CHECKING:
    from chaos.chaos_bus import ChaosBus
    from chaos.processes import Worker

_NAME = "second"
_ROWS = sa.text("SELECT count(*) FROM sinergi.transfer_history")


class SecondReader:
    """The database and its settings. It changes the agreement, so make it before any process."""

    def __init__(self, bus: ChaosBus) -> None:
        pair = bus.pair
        self._bus = bus
        url = bus.services.reader_database(f"second_{secrets.token_hex(4)}")
        migrate.upgrade(url, migrate.Role.CONSUMER, pair.projections)
        self._engine = sa.create_engine(url, poolclass=sa.NullPool)
        key = SigningKey.generate(f"{BUS}/{pair.reader}/{_NAME}", Algorithm.COSIGNATURE)
        receipts = pair.agreement["parties"][pair.reader]["receipt_keys"]
        receipts.append({"database": _NAME, "key": str(key.public)})
        bus.agree_anew()
        settings = tomllib.loads(bus.reader_settings.read_text("utf-8"))
        key.save(bus.reader_settings.parent / "keys" / f"{_NAME}.key")
        settings["consumer"] |= {"name": _NAME, "database": url}
        self._settings = bus.reader_settings.with_name(f"{_NAME}.toml")
        self._settings.write_text(tomli_w.dumps(settings), encoding="utf-8")
        self._case = replace(bus.case, reader=url.replace("+psycopg", ""))

    def start(self) -> Worker:
        """Start a materialiser."""
        return self._bus.workers.start("materialise", self._settings)

    def until_arrived(self, seconds: float) -> None:
        """Wait until everything committed is in this database."""
        committed = self._bus.register.committed()
        until_grown(self._count, committed, seconds, f"{committed} events arrive in the second")

    def compare(self) -> Verdict:
        """What the judge finds in this database; its events are those of the first one."""
        return replace(Judge(self._case).compare(), events=0)

    def _count(self) -> int:
        with self._engine.connect() as connection:
            return int(connection.execute(_ROWS).scalar_one())
