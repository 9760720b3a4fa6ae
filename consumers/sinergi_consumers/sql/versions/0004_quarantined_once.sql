CREATE TABLE sinergi_consumer.quarantined_datum (
    topic      text    NOT NULL,
    partition  integer NOT NULL,
    leaf_index bigint  NOT NULL,
    key        bytea   NOT NULL,
    datum      bytea   NOT NULL,
    owner      text    NOT NULL GENERATED ALWAYS AS (split_part(topic, '.', 2)) STORED,
    size       integer NOT NULL GENERATED ALWAYS AS (octet_length(key) + octet_length(datum) + 200) STORED,
    PRIMARY KEY (topic, partition, leaf_index)
);
CREATE INDEX quarantined_datum_of_owner ON sinergi_consumer.quarantined_datum (owner) INCLUDE (size);
COMMENT ON TABLE  sinergi_consumer.quarantined_datum IS 'Key and datum of events in quarantine: once an event, whatever projections it is unfit for.';
COMMENT ON COLUMN sinergi_consumer.quarantined_datum.owner IS 'The agency that owns the topic.';
COMMENT ON COLUMN sinergi_consumer.quarantined_datum.size IS 'What it takes of the room that its owner has here: bytes of key and datum, and 200 for the row.';

INSERT INTO sinergi_consumer.quarantined_datum (topic, partition, leaf_index, key, datum)
    SELECT DISTINCT ON (topic, partition, leaf_index) topic, partition, leaf_index, key, datum
    FROM sinergi_consumer.quarantine ORDER BY topic, partition, leaf_index, id;

DROP INDEX sinergi_consumer.quarantine_by_key;
ALTER TABLE sinergi_consumer.quarantine ADD COLUMN size integer;
UPDATE sinergi_consumer.quarantine SET size = octet_length(key) + octet_length(datum);
-- Types that change by an expression have the table written anew, which frees the room of the bytes.
ALTER TABLE sinergi_consumer.quarantine
    ALTER COLUMN size SET NOT NULL,
    ALTER COLUMN key TYPE bytea USING sha256(key),
    ALTER COLUMN datum TYPE bytea
        USING sha256('\x00' || fingerprint || int4send(octet_length(key)) || key || datum);
ALTER TABLE sinergi_consumer.quarantine RENAME COLUMN key TO key_hash;
ALTER TABLE sinergi_consumer.quarantine RENAME COLUMN datum TO leaf_hash;
CREATE INDEX quarantine_by_key ON sinergi_consumer.quarantine (key_hash) WHERE state = 'open';
COMMENT ON INDEX  sinergi_consumer.quarantine_by_key IS 'Each record that arrives is looked up here.';
COMMENT ON COLUMN sinergi_consumer.quarantine.size IS 'Bytes of key and datum, wherever they are kept.';
COMMENT ON COLUMN sinergi_consumer.quarantine.key_hash IS 'SHA-256 of the key: a key that nobody vouches for may have any length.';
COMMENT ON COLUMN sinergi_consumer.quarantine.leaf_hash IS 'Hash of the leaf (RFC 6962 section 2.1) that was verified under the seal: whatever is read again must have it.';
