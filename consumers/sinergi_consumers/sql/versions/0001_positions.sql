CREATE SCHEMA IF NOT EXISTS sinergi_consumer;
COMMENT ON SCHEMA sinergi_consumer IS 'What a materialiser keeps of its own: how far it is, what it could not read, what it signed for.';

CREATE SCHEMA IF NOT EXISTS sinergi;
COMMENT ON SCHEMA sinergi IS 'What people touch: the tables of the projections, and the function publish.';

CREATE TABLE sinergi_consumer.position (
    projection  text        NOT NULL,
    topic       text        NOT NULL,
    partition   integer     NOT NULL,
    tree_size   bigint      NOT NULL DEFAULT 0 CHECK (tree_size >= 0),
    frontier    bytea       NOT NULL DEFAULT '',
    epoch       bigint      NOT NULL DEFAULT 1,
    cluster_id  text,
    topic_id    text,
    next_offset bigint,
    moved_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (projection, topic, partition)
);
COMMENT ON TABLE  sinergi_consumer.position IS 'How far a projection is in a partition; moved in the transaction that writes its rows.';
COMMENT ON COLUMN sinergi_consumer.position.tree_size IS 'Leaves materialised: exactly those with a smaller index.';
COMMENT ON COLUMN sinergi_consumer.position.frontier IS 'Subtree hashes of the tree of that size, largest first (RFC 6962 section 2.1), 32 bytes each.';
COMMENT ON COLUMN sinergi_consumer.position.epoch IS 'Raised by every claim of the partition; a worker that holds an older one can no longer write.';
COMMENT ON COLUMN sinergi_consumer.position.next_offset IS 'Where to go on reading on the cluster and topic of these ids: a cache of tree_size, never the truth.';

CREATE TABLE sinergi_consumer.checkpoint (
    topic     text    NOT NULL,
    partition integer NOT NULL,
    size      bigint  NOT NULL,
    root      bytea   NOT NULL,
    note      text    NOT NULL,
    seen_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (topic, partition, size)
);
COMMENT ON TABLE  sinergi_consumer.checkpoint IS 'Every checkpoint that was verified here: a witness against being shown two histories.';
COMMENT ON COLUMN sinergi_consumer.checkpoint.note IS 'The owner''s signed note (C2SP tlog-checkpoint).';

CREATE TABLE sinergi_consumer.receipt (
    topic        text    NOT NULL,
    partition    integer NOT NULL,
    size         bigint  NOT NULL,
    note         text    NOT NULL,
    signed_at    timestamptz NOT NULL,
    published_at timestamptz,
    PRIMARY KEY (topic, partition, size)
);
CREATE INDEX receipt_unpublished ON sinergi_consumer.receipt (topic, partition, size) WHERE published_at IS NULL;
COMMENT ON TABLE  sinergi_consumer.receipt IS 'Cosigned checkpoints: everything below their size is in the tables of every projection.';
COMMENT ON COLUMN sinergi_consumer.receipt.note IS 'The owner''s checkpoint with this database''s cosignature (C2SP tlog-cosignature).';

CREATE TABLE sinergi_consumer.quarantine (
    id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    projection     text        NOT NULL,
    topic          text        NOT NULL,
    partition      integer     NOT NULL,
    leaf_index     bigint      NOT NULL,
    event_id       uuid,
    revision       integer,
    state          text        NOT NULL DEFAULT 'open'
        CHECK (state IN ('open', 'superseded', 'retried', 'discarded')),
    reason         text        NOT NULL,
    detail         text        NOT NULL,
    fingerprint    bytea       NOT NULL,
    key            bytea       NOT NULL,
    datum          bytea       NOT NULL,
    quarantined_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    UNIQUE (projection, topic, partition, leaf_index)
);
CREATE INDEX quarantine_open ON sinergi_consumer.quarantine (projection, topic, partition, leaf_index) WHERE state = 'open';
COMMENT ON TABLE  sinergi_consumer.quarantine IS 'Events that are under the seal but could not become rows of a projection. A row is never deleted.';
COMMENT ON COLUMN sinergi_consumer.quarantine.event_id IS 'As a header of the message says it: a hint, which no seal covers.';
COMMENT ON COLUMN sinergi_consumer.quarantine.revision IS 'The record''s revision, where it could be read.';
COMMENT ON COLUMN sinergi_consumer.quarantine.state IS 'open; superseded by a later revision of the record that went through; retried, and through; discarded by somebody.';
COMMENT ON COLUMN sinergi_consumer.quarantine.reason IS 'The class of what is wrong, e.g. datum-invalid, rows-refused, revision-conflict, awaiting-schema.';
COMMENT ON COLUMN sinergi_consumer.quarantine.detail IS 'What is wrong and where, without any value out of the event.';

CREATE TABLE sinergi_consumer.decision (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    projection text        NOT NULL,
    topic      text        NOT NULL,
    partition  integer     NOT NULL,
    leaf_index bigint      NOT NULL,
    action     text        NOT NULL CHECK (action IN ('retry', 'discard')),
    outcome    text        NOT NULL,
    decided_by text        NOT NULL,
    why        text        NOT NULL,
    decided_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX decision_of_event ON sinergi_consumer.decision (topic, partition, leaf_index);
COMMENT ON TABLE  sinergi_consumer.decision IS 'What was done about events in quarantine: by whom, when and why.';
COMMENT ON COLUMN sinergi_consumer.decision.outcome IS 'retried or discarded; or, where it was tried in vain, the reason for which it stays.';

CREATE TABLE sinergi_consumer.halt (
    topic     text        NOT NULL,
    partition integer     NOT NULL,
    reason    text        NOT NULL,
    detail    text        NOT NULL,
    halted_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (topic, partition)
);
COMMENT ON TABLE sinergi_consumer.halt IS 'Partitions whose materialising stands still, and why; a row goes when the partition is claimed again.';
