"""Avro schemas: which shapes are allowed, how versions differ, and how a datum is read."""
