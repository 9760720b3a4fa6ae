-- A receipts topic keeps the newest receipt of each database and topic-partition only. So the relay
-- keeps those that it has seen: by them the owner shows since when a reader has had an event.
CREATE TABLE sinergi_producer.seen_receipt (
    event_type          text        NOT NULL,
    partition           integer     NOT NULL,
    reader              text        NOT NULL,
    size                bigint      NOT NULL CHECK (size >= 0),
    note                text        NOT NULL,
    signed_by_reader_at timestamptz NOT NULL,
    seen_by_owner_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- The first receipt that covers a leaf is that of the smallest size above its index.
    PRIMARY KEY (event_type, partition, reader, size)
);
COMMENT ON TABLE  sinergi_producer.seen_receipt IS 'Receipts of the readers of our topics that the relay has seen, with valid signatures of both sides.';
COMMENT ON COLUMN sinergi_producer.seen_receipt.reader IS 'The reading agency and its database, <agency>/<database>.';
COMMENT ON COLUMN sinergi_producer.seen_receipt.size IS 'All leaves below it were in the reader''s database.';
COMMENT ON COLUMN sinergi_producer.seen_receipt.note IS 'Our checkpoint with the cosignature of the reader''s database (C2SP tlog-cosignature).';
COMMENT ON COLUMN sinergi_producer.seen_receipt.signed_by_reader_at IS 'When the reader''s database signed, by the reader''s clock. The signature covers it.';
COMMENT ON COLUMN sinergi_producer.seen_receipt.seen_by_owner_at IS 'When our relay stored it, by this database''s clock. Nothing signs it.';

-- It belongs to whoever owns the outbox, also where a superuser runs the upgrade.
DO $$
DECLARE
    owner text;
BEGIN
    SELECT pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(c.relowner)) INTO owner
    FROM pg_catalog.pg_class AS c WHERE c.oid = 'sinergi_producer.outbox'::pg_catalog.regclass;
    EXECUTE 'ALTER TABLE sinergi_producer.seen_receipt OWNER TO ' || owner;
END $$;
