"""Projections: which tables events become, and how those tables are made."""
