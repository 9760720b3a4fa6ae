-- What `sinergi db prune` has removed. Only the owner of the tables writes it: a materialiser and an
-- auditor may read it.
CREATE TABLE sinergi_consumer.retention (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    table_name    text        NOT NULL,
    before        timestamptz NOT NULL,
    rows          bigint      NOT NULL,
    topic         text,
    partition     integer,
    largest_size  bigint,
    removed_at    timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    database_user text        NOT NULL DEFAULT session_user,
    account       text        NOT NULL,
    why           text        NOT NULL
);
CREATE INDEX retention_of_table ON sinergi_consumer.retention (table_name, topic, partition, largest_size);
COMMENT ON TABLE  sinergi_consumer.retention IS 'What was removed because it was old enough: a row for each transaction that removed some.';
COMMENT ON COLUMN sinergi_consumer.retention.before IS 'Rows of the table from before this time may be gone: recorded_at of an event, seen_at of a checkpoint, signed_at of a receipt.';
COMMENT ON COLUMN sinergi_consumer.retention.rows IS 'How many were removed; rows of the tables of lists are not counted.';
COMMENT ON COLUMN sinergi_consumer.retention.topic IS 'Whose checkpoints or receipts were removed, with partition; null for events.';
COMMENT ON COLUMN sinergi_consumer.retention.largest_size IS 'The largest tree of the removed checkpoints or receipts; null for events.';
COMMENT ON COLUMN sinergi_consumer.retention.account IS 'The account of the operating system and its machine, as that machine states them.';

-- Everything belongs to whoever owns the tables, also where a superuser runs the upgrade.
DO $$
DECLARE
    owner text;
BEGIN
    SELECT pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(c.relowner)) INTO owner
    FROM pg_catalog.pg_class AS c
    WHERE c.oid = 'sinergi_consumer.position'::pg_catalog.regclass;
    EXECUTE 'ALTER TABLE sinergi_consumer.retention OWNER TO ' || owner;
END $$;
