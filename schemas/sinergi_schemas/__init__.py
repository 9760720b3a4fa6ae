"""The ground of Sinergi: what producers and consumers must agree on. It loads nothing at import."""
