-- What people read again to audit it, and why. Whoever reads has the right to add rows and to see
-- them, and none to change or delete one. The time and the user of a row are the server's: nobody has
-- the right to write these columns.
CREATE TABLE sinergi_consumer.journal (
    run           uuid        NOT NULL PRIMARY KEY,
    begun_at      timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    database_user text        NOT NULL DEFAULT session_user,
    principals    text[]      NOT NULL,
    account       text        NOT NULL,
    command       text        NOT NULL,
    why           text,
    asked_for     jsonb       NOT NULL,
    topics        text[]      NOT NULL,
    agreements    text[]      NOT NULL,
    software      text        NOT NULL
);
CREATE INDEX journal_by_time ON sinergi_consumer.journal (begun_at);
COMMENT ON TABLE  sinergi_consumer.journal IS 'What was read again to audit it: a row for each run of a command, written before it reads. It holds personal data, where a person was asked for.';
COMMENT ON COLUMN sinergi_consumer.journal.begun_at IS 'By the clock of this database.';
COMMENT ON COLUMN sinergi_consumer.journal.database_user IS 'Who was logged in to this database.';
COMMENT ON COLUMN sinergi_consumer.journal.principals IS 'Under which names the brokers were read, as Kafka''s ACLs have them.';
COMMENT ON COLUMN sinergi_consumer.journal.account IS 'The account of the operating system and its machine, as that machine states them.';
COMMENT ON COLUMN sinergi_consumer.journal.why IS 'The reason that was given; null without one.';
COMMENT ON COLUMN sinergi_consumer.journal.asked_for IS 'The options that chose what is read, as they were given.';
COMMENT ON COLUMN sinergi_consumer.journal.agreements IS 'SHA-256 of the files of the agreements that were loaded.';

CREATE TABLE sinergi_consumer.journal_end (
    run           uuid        NOT NULL PRIMARY KEY REFERENCES sinergi_consumer.journal,
    ended_at      timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    database_user text        NOT NULL DEFAULT session_user,
    outcome       text        NOT NULL CHECK (outcome IN ('ended', 'failed', 'stopped')),
    exit_status   integer,
    error         text,
    trees         jsonb       NOT NULL,
    counts        jsonb       NOT NULL,
    verdict       text
);
COMMENT ON TABLE  sinergi_consumer.journal_end IS 'How a run ended. A run without a row here still goes on, or its process was killed.';
COMMENT ON COLUMN sinergi_consumer.journal_end.outcome IS 'ended: by itself; failed: by an error; stopped: by Ctrl-C, or because nobody read its output any more.';
COMMENT ON COLUMN sinergi_consumer.journal_end.error IS 'The name of the error that it failed by.';
COMMENT ON COLUMN sinergi_consumer.journal_end.trees IS 'Each topic-partition with the verified leaves and the root of their tree.';

-- Everything belongs to whoever owns the tables, also where a superuser runs the upgrade.
DO $$
DECLARE
    owner text;
BEGIN
    SELECT pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(c.relowner)) INTO owner
    FROM pg_catalog.pg_class AS c
    WHERE c.oid = 'sinergi_consumer.position'::pg_catalog.regclass;
    EXECUTE 'ALTER TABLE sinergi_consumer.journal OWNER TO ' || owner;
    EXECUTE 'ALTER TABLE sinergi_consumer.journal_end OWNER TO ' || owner;
END $$;
