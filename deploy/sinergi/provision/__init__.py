"""What the agreements in force need on the brokers: topics, rights and users."""
