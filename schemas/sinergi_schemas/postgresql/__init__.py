"""PostgreSQL: how it is reached, what every transaction states first, and what its errors mean."""

from sinergi_schemas.postgresql.connection import Database
from sinergi_schemas.postgresql.faults import translate, translate_wrapped

__all__ = ["Database", "translate", "translate_wrapped"]
