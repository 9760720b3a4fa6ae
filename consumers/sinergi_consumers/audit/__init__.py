"""Audit: reads topics again and compares them with all signed statements."""
