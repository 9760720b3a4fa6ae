"""Alembic's entry: runs the migrations of one role, on a connection or as SQL for a DBA."""

from __future__ import annotations

from alembic import context

config = context.config
schema = config.attributes["schema"]
version_table = {"version_table": "version", "version_table_schema": schema}

if context.is_offline_mode():
    # The caller begins the one transaction around everything.
    context.configure(
        dialect_name="postgresql",
        output_buffer=config.attributes["output"],
        transactional_ddl=False,
        **version_table,
    )
    context.execute(f"CREATE SCHEMA IF NOT EXISTS {schema}")
    with context.begin_transaction():
        context.run_migrations()
else:
    context.configure(connection=config.attributes["connection"], **version_table)
    with context.begin_transaction():
        context.run_migrations()
