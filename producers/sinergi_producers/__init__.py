"""How an event gets onto the bus: outbox, relay, and intake of files. It loads nothing at import."""
