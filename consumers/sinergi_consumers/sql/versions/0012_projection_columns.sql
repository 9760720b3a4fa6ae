-- The columns that any version of Sinergi has made for its projections. A materialiser of another
-- version, which does not declare one of them, thereby knows that it is no column of the agency's own.
CREATE TABLE sinergi_consumer.projection_column (
    projection    text        NOT NULL,
    table_name    text        NOT NULL,
    column_name   text        NOT NULL,
    registered_at timestamptz NOT NULL DEFAULT pg_catalog.now(),
    PRIMARY KEY (table_name, column_name)
);
COMMENT ON TABLE  sinergi_consumer.projection_column IS 'The columns of projections, of every version of Sinergi that has upgraded this database.';
COMMENT ON COLUMN sinergi_consumer.projection_column.table_name IS 'A table in the schema sinergi.';
COMMENT ON COLUMN sinergi_consumer.projection_column.registered_at IS 'The same time for all that one upgrade has registered.';

-- Everything belongs to whoever owns the tables, also where a superuser runs the upgrade.
DO $$
DECLARE
    owner text;
BEGIN
    SELECT pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(c.relowner)) INTO owner
    FROM pg_catalog.pg_class AS c
    WHERE c.oid = 'sinergi_consumer.position'::pg_catalog.regclass;
    EXECUTE 'ALTER TABLE sinergi_consumer.projection_column OWNER TO ' || owner;
END $$;
