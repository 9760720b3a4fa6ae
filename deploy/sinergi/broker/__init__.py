"""The settings of a broker, each with its reason: one source for all places where brokers run."""
