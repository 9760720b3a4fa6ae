"""Audit: topics read again, and what is found held against everything that was signed."""
