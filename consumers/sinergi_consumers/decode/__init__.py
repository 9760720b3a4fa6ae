"""Decoding: verified messages to frames of events."""
