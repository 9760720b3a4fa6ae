"""Writes a lost topic from an archive back to a cluster."""
