"""PostgreSQL: addresses, connections, the settings of every transaction, and what errors mean."""

from sinergi_schemas.postgresql.connection import Database
from sinergi_schemas.postgresql.faults import translate, translate_wrapped

__all__ = ["Database", "translate", "translate_wrapped"]
