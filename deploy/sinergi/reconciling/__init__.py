"""The sides of a reconciliation: an agency's outbox, and readers' databases."""
