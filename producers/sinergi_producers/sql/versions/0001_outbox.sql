CREATE SCHEMA IF NOT EXISTS sinergi_producer;
COMMENT ON SCHEMA sinergi_producer IS 'What an agency has published, and how far it is on its way.';

CREATE TABLE sinergi_producer.head (
    event_type text    NOT NULL,
    record_id  text    NOT NULL,
    revision   integer NOT NULL CHECK (revision > 0),
    action     text    NOT NULL CHECK (action IN ('RECORDED', 'CORRECTED', 'RETRACTED')),
    PRIMARY KEY (event_type, record_id)
);
COMMENT ON TABLE  sinergi_producer.head IS 'The newest revision of each record; its row is the lock that orders the revisions.';
COMMENT ON COLUMN sinergi_producer.head.action IS 'RECORDED, CORRECTED or RETRACTED: what the newest revision did.';

CREATE TABLE sinergi_producer.outbox (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    event_id    uuid        NOT NULL UNIQUE,
    event_type  text        NOT NULL,
    record_id   text        NOT NULL,
    revision    integer     NOT NULL,
    recorded_at timestamptz NOT NULL,
    fingerprint bytea       NOT NULL,
    datum       bytea       NOT NULL,
    traceparent text,
    backfill    boolean     NOT NULL DEFAULT false,
    held        text,
    partition   integer,
    leaf_index  bigint,
    CHECK ((partition IS NULL) = (leaf_index IS NULL))
);
COMMENT ON TABLE  sinergi_producer.outbox IS 'Every event of this agency. A sealed row never changes again: its message is a function of it.';
COMMENT ON COLUMN sinergi_producer.outbox.fingerprint IS 'SHA-256 of the schema file that the datum was written with.';
COMMENT ON COLUMN sinergi_producer.outbox.datum IS 'The event in Avro binary, bare: no frame, no container.';
COMMENT ON COLUMN sinergi_producer.outbox.backfill IS 'History: sealed only when nothing live waits.';
COMMENT ON COLUMN sinergi_producer.outbox.held IS 'Why the relay does not seal the row for now.';
COMMENT ON COLUMN sinergi_producer.outbox.leaf_index IS 'The leaf in the tree of (event_type, partition); none while the row is not sealed.';

-- Rows are found by this mark and never by a cursor on ids, which commit in another order.
CREATE INDEX outbox_unsealed ON sinergi_producer.outbox (id)
    WHERE leaf_index IS NULL AND held IS NULL AND NOT backfill;
CREATE INDEX outbox_unsealed_backfill ON sinergi_producer.outbox (id)
    WHERE leaf_index IS NULL AND held IS NULL AND backfill;
CREATE INDEX outbox_unsealed_backfill_record ON sinergi_producer.outbox (event_type, record_id)
    WHERE leaf_index IS NULL AND held IS NULL AND backfill;
CREATE INDEX outbox_held ON sinergi_producer.outbox (id) WHERE held IS NOT NULL;
CREATE UNIQUE INDEX outbox_leaf ON sinergi_producer.outbox (event_type, partition, leaf_index)
    WHERE leaf_index IS NOT NULL;

CREATE FUNCTION sinergi_producer.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION USING ERRCODE = 'restrict_violation', MESSAGE = 'row ' || OLD.id
        || ' of the outbox is under the seal and never changes again; publish a correction';
END $$;
-- AFTER and not BEFORE: the latter would lock each row a second time while the relay seals it.
CREATE TRIGGER frozen AFTER UPDATE OR DELETE ON sinergi_producer.outbox
    FOR EACH ROW WHEN (OLD.leaf_index IS NOT NULL)
    EXECUTE FUNCTION sinergi_producer.refuse_change();
COMMENT ON FUNCTION sinergi_producer.refuse_change IS 'What is sealed can be neither changed nor deleted by mistake.';

CREATE TABLE sinergi_producer.tree (
    event_type text    NOT NULL,
    partition  integer NOT NULL,
    size       bigint  NOT NULL DEFAULT 0,
    frontier   bytea   NOT NULL DEFAULT '',
    sent_size  bigint  NOT NULL DEFAULT 0,
    epoch      bigint  NOT NULL DEFAULT 0,
    PRIMARY KEY (event_type, partition),
    CHECK (sent_size <= size)
);
COMMENT ON TABLE  sinergi_producer.tree IS 'The Merkle tree of each topic and partition of this agency (RFC 6962 section 2.1).';
COMMENT ON COLUMN sinergi_producer.tree.frontier IS 'Subtree hashes of the tree, largest first, 32 bytes each.';
COMMENT ON COLUMN sinergi_producer.tree.sent_size IS 'The broker has confirmed exactly the leaves below it.';
COMMENT ON COLUMN sinergi_producer.tree.epoch IS 'The lease under which the tree may grow.';

CREATE TABLE sinergi_producer.checkpoint (
    event_type text    NOT NULL,
    partition  integer NOT NULL,
    size       bigint  NOT NULL,
    root       bytea   NOT NULL,
    frontier   bytea   NOT NULL,
    note       text    NOT NULL,
    sealed_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (event_type, partition, size)
);
COMMENT ON TABLE sinergi_producer.checkpoint IS 'Every checkpoint that was signed; it travels on the message of leaf size - 1.';

CREATE TABLE sinergi_producer.lease (
    name       text        PRIMARY KEY,
    epoch      bigint      NOT NULL DEFAULT 0,
    holder     text,
    expires_at timestamptz NOT NULL DEFAULT '-infinity'
);
INSERT INTO sinergi_producer.lease (name) VALUES ('relay');
COMMENT ON TABLE sinergi_producer.lease IS 'Who is the leader, and until when by this database''s own clock.';

CREATE FUNCTION sinergi_producer.put(
    the_event_id uuid, the_type text, the_record text, the_action text, the_recorded_at timestamptz,
    the_fingerprint bytea, datum_head bytea, datum_tail bytea, the_traceparent text,
    is_backfill boolean,
    OUT status text, OUT revision integer, OUT fingerprint bytea, OUT datum bytea
) LANGUAGE plpgsql AS $$
DECLARE
    the_revision integer;
    zigzag bigint;
    varint bytea := '';
    stored record;
BEGIN
    -- The record's head is locked from here to the end of the caller's transaction. There is no
    -- EXCEPTION block: each would be a subtransaction, and beyond 64 of them in one transaction
    -- every other session pays for looking them up.
    IF the_action = 'RECORDED' THEN
        INSERT INTO sinergi_producer.head AS h (event_type, record_id, revision, action)
        VALUES (the_type, the_record, 1, the_action)
        ON CONFLICT (event_type, record_id) DO NOTHING RETURNING h.revision INTO the_revision;
    ELSE
        SELECT h.revision + 1 INTO the_revision FROM sinergi_producer.head AS h
        WHERE h.event_type = the_type AND h.record_id = the_record AND h.action <> 'RETRACTED'
        FOR NO KEY UPDATE;
    END IF;
    IF the_revision IS NOT NULL THEN
        -- Avro's int: zigzag, then seven bits a byte, the lowest first.
        zigzag := the_revision::bigint << 1;
        WHILE zigzag > 127 LOOP
            varint := varint || set_byte('\x00', 0, (zigzag & 127)::integer | 128);
            zigzag := zigzag >> 7;
        END LOOP;
        varint := varint || set_byte('\x00', 0, zigzag::integer);
        INSERT INTO sinergi_producer.outbox (event_id, event_type, record_id, revision,
            recorded_at, fingerprint, datum, traceparent, backfill)
        VALUES (the_event_id, the_type, the_record, the_revision, the_recorded_at,
            the_fingerprint, datum_head || varint || datum_tail, the_traceparent, is_backfill)
        ON CONFLICT (event_id) DO NOTHING;
        IF FOUND THEN
            IF the_revision > 1 THEN
                UPDATE sinergi_producer.head AS h SET revision = the_revision, action = the_action
                WHERE h.event_type = the_type AND h.record_id = the_record;
            END IF;
            status := 'put';
            revision := the_revision;
            RETURN;
        END IF;
        IF the_revision = 1 THEN
            DELETE FROM sinergi_producer.head AS h
            WHERE h.event_type = the_type AND h.record_id = the_record;
        END IF;
    END IF;
    SELECT o.event_type, o.record_id, o.revision, o.fingerprint, o.datum INTO stored
    FROM sinergi_producer.outbox AS o WHERE o.event_id = the_event_id;
    IF FOUND AND (stored.event_type, stored.record_id) = (the_type, the_record) THEN
        status := 'stored';
        revision := stored.revision;
        fingerprint := stored.fingerprint;
        datum := stored.datum;
    ELSIF FOUND THEN
        status := 'other-record';
    ELSE
        SELECT CASE WHEN the_action = 'RECORDED' THEN 'recorded-already' ELSE 'retracted' END
        INTO status FROM sinergi_producer.head AS h
        WHERE h.event_type = the_type AND h.record_id = the_record;
        status := coalesce(status, 'never-recorded');
    END IF;
END $$;
COMMENT ON FUNCTION sinergi_producer.put IS 'Give an event the next revision of its record and store it, in one round trip. A refusal changes nothing and leaves the caller''s transaction usable.';
