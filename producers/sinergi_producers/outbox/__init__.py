"""The outbox: events in the agency's own database, before the relay sends them."""
