"""How an event gets onto the bus: outbox, relay, intake. Nothing is loaded at import."""
