"""Settings of one agency, and the files that hold them."""
