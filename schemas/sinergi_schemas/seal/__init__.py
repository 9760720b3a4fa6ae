"""The seal: Merkle trees, checkpoints and keys.

These modules compute and verify. They use no Kafka, no database and no clock.
"""
