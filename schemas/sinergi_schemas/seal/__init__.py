"""The seal: Merkle trees, checkpoints and keys. Bytes in, verdict out.

Nothing here knows Kafka, a database or a clock.
"""
