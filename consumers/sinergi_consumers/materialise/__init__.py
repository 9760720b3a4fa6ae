"""The materialiser: from the topics of other agencies to the tables of this one."""
