CREATE INDEX quarantine_by_key ON sinergi_consumer.quarantine USING hash (key) WHERE state = 'open';
COMMENT ON INDEX sinergi_consumer.quarantine_by_key IS 'Each record that arrives is looked up here. By hash: a key that nobody vouches for may be longer than a B-tree takes.';
