"""The sink of PostgreSQL."""
