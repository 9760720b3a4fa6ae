"""The test kit for integrators' projections and sinks. It needs no broker."""
