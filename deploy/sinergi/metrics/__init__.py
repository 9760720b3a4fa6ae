"""Metrics for Prometheus and health answers of a running process, where `--listen` is given."""
