ALTER TABLE sinergi_consumer.halt ADD COLUMN looks_at timestamptz;
ALTER TABLE sinergi_consumer.halt ADD COLUMN looks integer NOT NULL DEFAULT 1;
COMMENT ON TABLE  sinergi_consumer.halt IS 'Partitions whose materialising stands still, and why; a row goes when the partition is found sound.';
COMMENT ON COLUMN sinergi_consumer.halt.halted_at IS 'Since when it stands still for this reason.';
COMMENT ON COLUMN sinergi_consumer.halt.looks_at IS 'When the materialiser looks at the partition again, of itself.';
COMMENT ON COLUMN sinergi_consumer.halt.looks IS 'How often it was found not to be sound.';

CREATE TABLE sinergi_consumer.skipped (
    topic        text        NOT NULL,
    partition    integer     NOT NULL,
    cause        text        NOT NULL,
    messages     bigint      NOT NULL,
    first_offset bigint      NOT NULL,
    last_offset  bigint      NOT NULL,
    first_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
    last_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (topic, partition, cause)
);
COMMENT ON TABLE  sinergi_consumer.skipped IS 'Messages on event topics that no checkpoint of the owner covers, by cause. They decide nothing.';
COMMENT ON COLUMN sinergi_consumer.skipped.messages IS 'How many were met; a restart may count some of them no more than once.';
