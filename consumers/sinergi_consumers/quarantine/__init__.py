"""Quarantine: events that could not become rows, why, and how they are tried again."""
