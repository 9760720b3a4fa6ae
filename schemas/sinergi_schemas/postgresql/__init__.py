"""PostgreSQL: how it is reached, what every transaction states first, and what its errors mean."""

from sinergi_schemas.postgresql.connection import Database
from sinergi_schemas.postgresql.faults import translate

__all__ = ["Database", "translate"]
