"""Recovery: what a database restored from a backup takes back from its topics."""
