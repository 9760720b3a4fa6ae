-- The texts of the schemas, so that an older relay seals and sends events of a newer version. Whoever
-- publishes registers its schema here if the upgrade of the database has not done so.
ALTER TABLE sinergi_producer.known_schema
    ADD COLUMN text bytea CHECK (pg_catalog.sha256(text) = fingerprint);
COMMENT ON TABLE  sinergi_producer.known_schema IS 'The schemas of every version of Sinergi that has upgraded this database or published from it, so that an older relay sends their events.';
COMMENT ON COLUMN sinergi_producer.known_schema.text IS 'The bytes of its file; NULL if an earlier version has registered it.';
COMMENT ON COLUMN sinergi_producer.known_schema.sinergi IS 'The version of Sinergi that brought it.';

CREATE FUNCTION sinergi_producer.register_schema(
    the_type text, the_version integer, the_id integer, the_text bytea, the_sinergi text
) RETURNS boolean LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    the_fingerprint CONSTANT bytea := pg_catalog.sha256(the_text);
BEGIN
    IF pg_catalog.num_nulls(the_type, the_version, the_id, the_text, the_sinergi) > 0
        OR pg_catalog.length(the_text) > 65536 OR pg_catalog.length(the_type) > 63
        OR pg_catalog.length(the_sinergi) > 63
    THEN
        RETURN false;
    END IF;
    -- Another transaction that registers a schema may stay open for hours. No publisher waits for it:
    -- what it has not registered in the end, a later call registers.
    BEGIN
        LOCK TABLE sinergi_producer.known_schema IN SHARE ROW EXCLUSIVE MODE NOWAIT;
    EXCEPTION WHEN lock_not_available THEN
        RETURN false;
    END;
    -- Only the owner of the database registers more than that.
    IF (SELECT pg_catalog.count(*) FROM sinergi_producer.known_schema) >= 256 THEN
        RETURN false;
    END IF;
    INSERT INTO sinergi_producer.known_schema AS k
        (fingerprint, event_type, version, id, sinergi, text)
    VALUES (the_fingerprint, the_type, the_version, the_id, the_sinergi, the_text)
    ON CONFLICT (fingerprint) DO UPDATE SET text = EXCLUDED.text WHERE k.text IS NULL;
    RETURN true;
END $$;
REVOKE ALL ON FUNCTION sinergi_producer.register_schema FROM PUBLIC;
COMMENT ON FUNCTION sinergi_producer.register_schema IS 'Store a schema that this database lacks. It never changes one, and false says that nothing was stored.';

-- As before, but of an event that it has stored it returns the fingerprint if the text of its schema
-- is not registered here. The caller then registers it. Clients of before do not look at it.
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
            fingerprint := CASE WHEN NOT EXISTS (SELECT FROM sinergi_producer.known_schema AS k
                WHERE k.fingerprint = the_fingerprint AND k.text IS NOT NULL)
                THEN the_fingerprint END;
            RETURN;
        END IF;
        IF the_revision = 1 THEN
            DELETE FROM sinergi_producer.head AS h
            WHERE h.event_type = the_type AND h.record_id = the_record;
        END IF;
    END IF;
    SELECT o.event_type, o.record_id, o.revision, o.fingerprint, o.datum, o.leaf_hash, o.recorded_at
    INTO stored FROM sinergi_producer.outbox AS o WHERE o.event_id = the_event_id;
    IF FOUND AND stored.event_type = the_type AND stored.record_id = the_record THEN
        -- The word that clients know since migration 0003, so that they need no upgrade.
        status := 'pruned';
        revision := stored.revision;
        fingerprint := stored.fingerprint;
        -- The hash of the leaf, then recorded_at in microseconds since 1970.
        datum := coalesce(stored.leaf_hash, pg_catalog.sha256(zero || stored.fingerprint
            || pg_catalog.int4send(pg_catalog.octet_length(
                pg_catalog.convert_to(stored.record_id, 'UTF8')))
            || pg_catalog.convert_to(stored.record_id, 'UTF8') || stored.datum))
            || pg_catalog.int8send((EXTRACT(epoch FROM stored.recorded_at) * 1000000)::bigint);
    ELSIF FOUND THEN
        status := 'other-record';
    ELSE
        SELECT CASE WHEN the_action = 'RECORDED' THEN 'recorded-already' ELSE 'retracted' END
        INTO status FROM sinergi_producer.head AS h
        WHERE h.event_type = the_type AND h.record_id = the_record;
        status := coalesce(status, 'never-recorded');
    END IF;
END $$;

-- Whoever publishes may register a schema.
DO $$
DECLARE
    publisher record;
BEGIN
    FOR publisher IN
        SELECT CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_catalog.quote_ident(r.rolname) END AS name
        FROM pg_catalog.pg_proc AS p
        CROSS JOIN LATERAL pg_catalog.aclexplode(p.proacl) AS a
        LEFT JOIN pg_catalog.pg_roles AS r ON r.oid = a.grantee
        WHERE p.pronamespace = 'sinergi_producer'::pg_catalog.regnamespace AND p.proname = 'put'
            AND a.privilege_type = 'EXECUTE' AND a.grantee <> p.proowner
    LOOP
        EXECUTE 'GRANT EXECUTE ON FUNCTION sinergi_producer.register_schema TO ' || publisher.name;
    END LOOP;
END $$;

-- Everything belongs to whoever owns the outbox, also where a superuser runs the upgrade.
DO $$
DECLARE
    owner text;
BEGIN
    SELECT pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(c.relowner)) INTO owner
    FROM pg_catalog.pg_class AS c WHERE c.oid = 'sinergi_producer.outbox'::pg_catalog.regclass;
    EXECUTE 'ALTER FUNCTION sinergi_producer.put OWNER TO ' || owner;
    EXECUTE 'ALTER FUNCTION sinergi_producer.register_schema OWNER TO ' || owner;
END $$;
