-- An advisory lock needs no right, and its key could be computed from the topic's name: whoever
-- reached the database could hold it. Nobody but the owner has a right on the rows of this table.
CREATE TABLE sinergi_consumer.release_lock (
    topic     text    NOT NULL,
    partition integer NOT NULL,
    PRIMARY KEY (topic, partition)
);
COMMENT ON TABLE sinergi_consumer.release_lock IS 'A row is locked while events in quarantine of its topic-partition are settled. It says nothing, and may be deleted.';

-- It runs with the rights of its owner, so a materialiser needs no right on either table.
CREATE OR REPLACE FUNCTION sinergi_consumer.release_datum() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    -- One at a time: of two that settle the last two rows each would take the other's for unsettled.
    INSERT INTO sinergi_consumer.release_lock (topic, partition) VALUES (OLD.topic, OLD.partition)
    ON CONFLICT (topic, partition) DO NOTHING;
    PERFORM FROM sinergi_consumer.release_lock AS l
    WHERE l.topic = OLD.topic AND l.partition = OLD.partition FOR UPDATE;
    DELETE FROM sinergi_consumer.quarantined_datum AS d
    WHERE d.topic = OLD.topic AND d.partition = OLD.partition AND d.leaf_index = OLD.leaf_index
        AND NOT EXISTS (
            SELECT FROM sinergi_consumer.quarantine AS q
            WHERE q.topic = d.topic AND q.partition = d.partition AND q.leaf_index = d.leaf_index
                AND q.state IN ('open', 'superseded')
        );
    RETURN NULL;
END
$$;
REVOKE ALL ON FUNCTION sinergi_consumer.release_datum FROM PUBLIC;

-- Everything belongs to whoever owns the tables, also where a superuser runs the upgrade.
DO $$
DECLARE
    owner text;
    materialiser record;
BEGIN
    SELECT pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(c.relowner)) INTO owner
    FROM pg_catalog.pg_class AS c
    WHERE c.oid = 'sinergi_consumer.quarantined_datum'::pg_catalog.regclass;
    EXECUTE 'ALTER TABLE sinergi_consumer.release_lock OWNER TO ' || owner;
    EXECUTE 'ALTER FUNCTION sinergi_consumer.release_datum OWNER TO ' || owner;
    -- Whoever quarantines events needs no right to delete their bytes any more.
    FOR materialiser IN
        SELECT pg_catalog.quote_ident(r.rolname) AS name
        FROM pg_catalog.pg_class AS c
        CROSS JOIN LATERAL pg_catalog.aclexplode(c.relacl) AS a
        JOIN pg_catalog.pg_roles AS r ON r.oid = a.grantee
        WHERE c.oid = 'sinergi_consumer.quarantined_datum'::pg_catalog.regclass
            AND a.grantee <> c.relowner
        GROUP BY 1 HAVING pg_catalog.bool_or(a.privilege_type = 'INSERT')
            AND pg_catalog.bool_or(a.privilege_type = 'DELETE')
    LOOP
        EXECUTE 'REVOKE DELETE ON sinergi_consumer.quarantined_datum FROM ' || materialiser.name;
    END LOOP;
END $$;
