CREATE INDEX quarantine_by_leaf ON sinergi_consumer.quarantine (topic, partition, leaf_index);
COMMENT ON INDEX sinergi_consumer.quarantine_by_leaf IS 'The rows of all projections that share one datum.';

CREATE FUNCTION sinergi_consumer.release_datum() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    -- One at a time: of two that settle the last two rows each would take the other's for unsettled.
    PERFORM pg_advisory_xact_lock(hashtextextended(OLD.topic || '/' || OLD.partition, 0));
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
COMMENT ON FUNCTION sinergi_consumer.release_datum IS 'Deletes key and datum of an event that is unsettled for no projection any more; the topic has them.';

CREATE TRIGGER quarantine_settled AFTER UPDATE OF state ON sinergi_consumer.quarantine FOR EACH ROW
    WHEN (OLD.state IN ('open', 'superseded') AND NEW.state NOT IN ('open', 'superseded'))
    EXECUTE FUNCTION sinergi_consumer.release_datum();
CREATE TRIGGER quarantine_deleted AFTER DELETE ON sinergi_consumer.quarantine FOR EACH ROW
    WHEN (OLD.state IN ('open', 'superseded'))
    EXECUTE FUNCTION sinergi_consumer.release_datum();

DELETE FROM sinergi_consumer.quarantined_datum AS d
WHERE greatest(octet_length(key), octet_length(datum)) > 262144
    OR NOT EXISTS (
        SELECT FROM sinergi_consumer.quarantine AS q
        WHERE q.topic = d.topic AND q.partition = d.partition AND q.leaf_index = d.leaf_index
            AND q.state IN ('open', 'superseded')
    );
COMMENT ON TABLE  sinergi_consumer.quarantined_datum IS 'Key and datum of events in quarantine: once an event, whatever projections it is unfit for, as long as it is open or superseded for one of them. Of an event that is larger than the contract allows, or whose owner has used up its room here, there is no row.';
COMMENT ON TABLE  sinergi_consumer.quarantine IS 'Events that are under the seal but could not become rows of a projection. A row is never deleted. Where quarantined_datum has no row, the topic has the bytes.';
