"""Reading a topic-partition: the start, the position, and the verification of leaves."""
