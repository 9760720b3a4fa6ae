-- An upgrade is one transaction, so the indexes are not built CONCURRENTLY. Until it commits, events
-- cannot be quarantined or settled: about 1 s for 2 million rows.
CREATE INDEX quarantine_unsettled ON sinergi_consumer.quarantine (id)
    WHERE state IN ('open', 'superseded');
COMMENT ON INDEX sinergi_consumer.quarantine_unsettled IS 'What waits for somebody, the oldest first; the settled rows are far more.';
CREATE INDEX quarantine_by_reason ON sinergi_consumer.quarantine (reason);
COMMENT ON INDEX sinergi_consumer.quarantine_by_reason IS 'Each reason that there is, without reading all rows.';
