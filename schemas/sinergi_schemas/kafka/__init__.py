"""The ground of Sinergi: what producers and consumers must agree on. It performs no I/O at import."""
