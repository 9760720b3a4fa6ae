"""Reading a topic-partition: from where, how far, and which leaves are verified."""
