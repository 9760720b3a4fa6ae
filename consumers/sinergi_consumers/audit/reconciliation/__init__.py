"""Reconciliation: the events of an outbox, of the topics and of databases, counted and compared."""
