"""Recovery: a database that was restored from a backup gets its lost events from the topics."""
