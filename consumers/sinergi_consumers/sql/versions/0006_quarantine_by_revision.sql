DROP INDEX sinergi_consumer.quarantine_by_key;
-- One text for four columns: by them alone PostgreSQL would take an index that has no key.
CREATE INDEX quarantine_by_revision ON sinergi_consumer.quarantine
    (key_hash, (projection || ' ' || topic || ' ' || partition::text || ' ' || state), revision, leaf_index);
COMMENT ON INDEX sinergi_consumer.quarantine_by_revision IS 'Each record that arrives is looked up here: the revisions that it supersedes, and no others.';
-- Where one record has most of the rows, PostgreSQL would walk through all of them for each record.
ALTER TABLE sinergi_consumer.quarantine ALTER COLUMN key_hash SET (n_distinct = -1);
