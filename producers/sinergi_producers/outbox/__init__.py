"""The outbox: events in the agency's own database, before they are sent."""
