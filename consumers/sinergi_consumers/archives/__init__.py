"""An archive: a file with the messages of topics, which is read in place of a broker."""
