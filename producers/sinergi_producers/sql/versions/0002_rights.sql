-- An application needs EXECUTE on `put` and nothing else. `put` runs with the rights of its owner, so
-- it takes no name from the caller's search_path, and stores nothing that could not be an event.
CREATE OR REPLACE FUNCTION sinergi_producer.put(
    the_event_id uuid, the_type text, the_record text, the_action text, the_recorded_at timestamptz,
    the_fingerprint bytea, datum_head bytea, datum_tail bytea, the_traceparent text,
    is_backfill boolean,
    OUT status text, OUT revision integer, OUT fingerprint bytea, OUT datum bytea
) LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    problem text;
    -- Not '\x00': the caller's standard_conforming_strings says what a backslash means.
    zero CONSTANT bytea := pg_catalog.decode('00', 'hex');
    id_bytes CONSTANT bytea := pg_catalog.uuid_send(the_event_id);
    the_revision integer;
    zigzag bigint;
    varint bytea := '';
    the_datum bytea;
    stored record;
BEGIN
    problem := CASE
        WHEN pg_catalog.num_nulls(the_event_id, the_type, the_record, the_action, the_recorded_at,
            the_fingerprint, datum_head, datum_tail, is_backfill) > 0 THEN 'a value is missing'
        WHEN pg_catalog.get_byte(id_bytes, 6) >> 4 NOT BETWEEN 1 AND 8
            OR pg_catalog.get_byte(id_bytes, 8) >> 6 <> 2
            THEN 'event_id: is not a UUID of version 1 to 8 (RFC 9562)'
        WHEN pg_catalog.length(the_type) > 63
            OR the_type COLLATE pg_catalog."C" !~ '^[a-z0-9]+(-[a-z0-9]+)*$'
            THEN 'event_type: is not lower-case words joined by hyphens, 63 characters at most'
        WHEN pg_catalog.octet_length(the_record) NOT BETWEEN 1 AND 256
            THEN 'record_id: is empty or longer than 256 bytes'
        WHEN the_record COLLATE pg_catalog."C" ~ E'[\u0001-\u001f\u007f-\u009f]' THEN 'record_id: holds a control character'
        WHEN the_action NOT IN ('RECORDED', 'CORRECTED', 'RETRACTED')
            THEN 'action: is not RECORDED, CORRECTED or RETRACTED'
        WHEN NOT pg_catalog.isfinite(the_recorded_at)
            OR EXTRACT(year FROM the_recorded_at AT TIME ZONE 'UTC') NOT BETWEEN 1 AND 9999
            THEN 'recorded_at: lies outside the years 1 to 9999 in UTC'
        WHEN pg_catalog.length(the_fingerprint) <> 32
            THEN 'the fingerprint of the schema is not 32 bytes long'
        WHEN pg_catalog.length(datum_head)::bigint + pg_catalog.length(datum_tail) > 262139
            THEN 'the event is above 262144 bytes'
        WHEN the_traceparent <> '' AND the_traceparent COLLATE pg_catalog."C"
            !~ '^00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$'
            THEN 'traceparent: is not of version 00'
    END;
    IF problem IS NOT NULL THEN
        status := 'refused: ' || problem;
        RETURN;
    END IF;
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
            varint := varint || pg_catalog.set_byte(zero, 0, (zigzag & 127)::integer | 128);
            zigzag := zigzag >> 7;
        END LOOP;
        varint := varint || pg_catalog.set_byte(zero, 0, zigzag::integer);
        the_datum := datum_head || varint || datum_tail;
        INSERT INTO sinergi_producer.outbox (event_id, event_type, record_id, revision,
            recorded_at, fingerprint, datum, traceparent, backfill)
        VALUES (the_event_id, the_type, the_record, the_revision, the_recorded_at,
            the_fingerprint, the_datum, nullif(the_traceparent, ''), is_backfill)
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
    IF FOUND AND stored.event_type = the_type AND stored.record_id = the_record THEN
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
REVOKE ALL ON FUNCTION sinergi_producer.put FROM PUBLIC;
COMMENT ON FUNCTION sinergi_producer.put IS 'Give an event the next revision of its record and store it, in one round trip. Whoever may EXECUTE it needs no other right. A refusal changes nothing and leaves the caller''s transaction usable.';

-- Whoever published with rights on the tables, as the documents had it before, publishes with the
-- one right; what else those documents had granted goes. Who may update the outbox is no
-- application, and keeps what he has.
DO $$
DECLARE
    publisher record;
BEGIN
    FOR publisher IN
        SELECT CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_catalog.quote_ident(r.rolname) END AS name,
            pg_catalog.bool_or(a.privilege_type = 'UPDATE') AS may_update
        FROM pg_catalog.pg_class AS c
        CROSS JOIN LATERAL pg_catalog.aclexplode(c.relacl) AS a
        LEFT JOIN pg_catalog.pg_roles AS r ON r.oid = a.grantee
        WHERE c.oid = 'sinergi_producer.outbox'::pg_catalog.regclass AND a.grantee <> c.relowner
        GROUP BY 1 HAVING pg_catalog.bool_or(a.privilege_type = 'INSERT')
    LOOP
        EXECUTE 'GRANT EXECUTE ON FUNCTION sinergi_producer.put TO ' || publisher.name;
        IF NOT publisher.may_update THEN
            EXECUTE 'REVOKE ALL ON sinergi_producer.head, sinergi_producer.outbox FROM '
                || publisher.name;
        END IF;
    END LOOP;
END $$;

CREATE OR REPLACE FUNCTION sinergi_producer.refuse_change() RETURNS trigger LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RAISE EXCEPTION USING ERRCODE = 'restrict_violation', MESSAGE = 'row ' || OLD.id
        || ' of the outbox is under the seal and never changes again; publish a correction';
END $$;
REVOKE ALL ON FUNCTION sinergi_producer.refuse_change FROM PUBLIC;

CREATE FUNCTION sinergi_producer.refuse_loss() RETURNS trigger LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RAISE EXCEPTION USING ERRCODE = 'restrict_violation', MESSAGE = TG_OP || ' on sinergi_producer.'
        || TG_TABLE_NAME || ' is refused: what was sealed and signed can never be made again';
END $$;
REVOKE ALL ON FUNCTION sinergi_producer.refuse_loss FROM PUBLIC;
COMMENT ON FUNCTION sinergi_producer.refuse_loss IS 'Nothing that a seal needs can be deleted by mistake.';
CREATE TRIGGER whole BEFORE TRUNCATE ON sinergi_producer.outbox
    FOR EACH STATEMENT EXECUTE FUNCTION sinergi_producer.refuse_loss();
CREATE TRIGGER whole BEFORE TRUNCATE ON sinergi_producer.head
    FOR EACH STATEMENT EXECUTE FUNCTION sinergi_producer.refuse_loss();
CREATE TRIGGER whole BEFORE TRUNCATE ON sinergi_producer.tree
    FOR EACH STATEMENT EXECUTE FUNCTION sinergi_producer.refuse_loss();
CREATE TRIGGER kept BEFORE DELETE ON sinergi_producer.tree
    FOR EACH ROW EXECUTE FUNCTION sinergi_producer.refuse_loss();
CREATE TRIGGER whole BEFORE TRUNCATE ON sinergi_producer.checkpoint
    FOR EACH STATEMENT EXECUTE FUNCTION sinergi_producer.refuse_loss();
CREATE TRIGGER kept BEFORE UPDATE OR DELETE ON sinergi_producer.checkpoint
    FOR EACH ROW EXECUTE FUNCTION sinergi_producer.refuse_loss();

-- Rows that somebody inserted with a leaf of their own making are not in the tree: sealing and
-- marking are one transaction. Without the mark they are looked at like all others.
ALTER TABLE sinergi_producer.outbox DISABLE TRIGGER frozen;
UPDATE sinergi_producer.outbox AS o SET partition = NULL, leaf_index = NULL
WHERE o.leaf_index IS NOT NULL AND NOT EXISTS (
    SELECT FROM sinergi_producer.tree AS t
    WHERE t.event_type = o.event_type AND t.partition = o.partition AND t.size > o.leaf_index
    AND o.leaf_index >= 0);
ALTER TABLE sinergi_producer.outbox ENABLE TRIGGER frozen;

CREATE FUNCTION sinergi_producer.refuse_foreign_leaf() RETURNS trigger LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF NOT EXISTS (
        SELECT FROM sinergi_producer.tree AS t WHERE t.event_type = NEW.event_type
        AND t.partition = NEW.partition AND NEW.leaf_index >= 0 AND t.size > NEW.leaf_index)
    THEN
        RAISE EXCEPTION USING ERRCODE = 'restrict_violation', MESSAGE =
            'a row of the outbox cannot be inserted with a leaf that no tree has; publish the event';
    END IF;
    RETURN NULL;
END $$;
REVOKE ALL ON FUNCTION sinergi_producer.refuse_foreign_leaf FROM PUBLIC;
COMMENT ON FUNCTION sinergi_producer.refuse_foreign_leaf IS 'Only the relay gives out leaves; a recovery inserts rows of leaves that their tree has already.';
CREATE TRIGGER leaf_of_a_tree AFTER INSERT ON sinergi_producer.outbox
    FOR EACH ROW WHEN (NEW.leaf_index IS NOT NULL)
    EXECUTE FUNCTION sinergi_producer.refuse_foreign_leaf();

CREATE INDEX outbox_held_record ON sinergi_producer.outbox (event_type, record_id)
    WHERE held IS NOT NULL;

CREATE TABLE sinergi_producer.known_schema (
    fingerprint   bytea       PRIMARY KEY CHECK (length(fingerprint) = 32),
    event_type    text        NOT NULL,
    version       integer     NOT NULL,
    id            integer     NOT NULL,
    sinergi       text        NOT NULL,
    registered_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE  sinergi_producer.known_schema IS 'The schemas of every version of Sinergi that has upgraded this database, so that an older relay can name the version that it lacks.';
COMMENT ON COLUMN sinergi_producer.known_schema.id IS 'Its number in the Confluent framing.';
COMMENT ON COLUMN sinergi_producer.known_schema.sinergi IS 'The version of Sinergi that brought it.';

-- Everything belongs to whoever owns the outbox, also where a superuser runs the upgrade.
DO $$
DECLARE
    owner text;
BEGIN
    SELECT pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(c.relowner)) INTO owner
    FROM pg_catalog.pg_class AS c WHERE c.oid = 'sinergi_producer.outbox'::pg_catalog.regclass;
    EXECUTE 'ALTER TABLE sinergi_producer.known_schema OWNER TO ' || owner;
    EXECUTE 'ALTER FUNCTION sinergi_producer.put OWNER TO ' || owner;
    EXECUTE 'ALTER FUNCTION sinergi_producer.refuse_change OWNER TO ' || owner;
    EXECUTE 'ALTER FUNCTION sinergi_producer.refuse_loss OWNER TO ' || owner;
    EXECUTE 'ALTER FUNCTION sinergi_producer.refuse_foreign_leaf OWNER TO ' || owner;
END $$;
