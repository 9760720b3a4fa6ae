"""One record, from the topic and from the agency's own databases."""
