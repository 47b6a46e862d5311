-- The audit log: the same entries as topic audit_log, and those of the command line (reveals, erasures), in a hash chain of the table's own.
--
-- audit_records   what was done; columns are the fields of schemas/avro/audit_record.avsc in their order
-- audit_links     each entry's place in the chain, made by the database for every row that is inserted, whoever inserts it
-- audit_heads     the last link; who inserts holds its lock until the end of the transaction, so that the chain has one order
-- audit_anchors   heads of the topic's partitions and of the table as they stood at a time, each with a mark that only a holder of the key can make
--
-- The hash covers the hash before, the number of the entry (8 bytes, big-endian) and each column as length:text, or - where it is null;
-- governance/audit_chain.py computes the same. Ordinary tables: a trigger over all rows of a statement is not for hypertables.

CREATE TABLE audit_records (
    audit_uid      text        NOT NULL,
    event_time     timestamptz NOT NULL,
    what           text        NOT NULL,
    service        text        NOT NULL,
    agent_id       text        NOT NULL,
    person         text,
    event_uid      text,
    topic          text,
    "partition"    integer,
    "offset"       bigint,
    rules          text[],
    result         text        NOT NULL,
    action         text,
    policy_id      text,
    policy_version text,
    detail         text,
    PRIMARY KEY (audit_uid, event_time)
);
COMMENT ON TABLE audit_records IS 'Who did what under which policy, and with what result. Rows are added, never changed.';
CREATE INDEX audit_records_by_time ON audit_records (event_time DESC);
CREATE INDEX audit_records_by_what ON audit_records (what, event_time DESC);

CREATE TABLE audit_links (
    seq        bigint      PRIMARY KEY,
    audit_uid  text        NOT NULL,
    event_time timestamptz NOT NULL,
    before     bytea       NOT NULL,
    hash       bytea       NOT NULL,
    linked_at  timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX audit_links_by_entry ON audit_links (audit_uid);

CREATE TABLE audit_heads (
    chain text   PRIMARY KEY,
    seq   bigint NOT NULL,
    hash  bytea  NOT NULL
);
INSERT INTO audit_heads VALUES ('table', -1, sha256('headrace audit chain table'));

CREATE TABLE audit_anchors (
    chain       text        NOT NULL,
    seq         bigint      NOT NULL,
    hash        bytea       NOT NULL,
    anchored_at timestamptz NOT NULL,
    mark        bytea       NOT NULL,
    PRIMARY KEY (chain, seq)
);

CREATE FUNCTION headrace_audit_part(value text) RETURNS bytea
LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN value IS NULL THEN '-'::bytea
                ELSE convert_to(octet_length(convert_to(value, 'UTF8')) || ':', 'UTF8') || convert_to(value, 'UTF8') END
$$;

CREATE FUNCTION headrace_audit_link() RETURNS trigger
LANGUAGE plpgsql AS $$
DECLARE
    entry record;
    at    bigint;
    last  bytea;
    own   bytea;
BEGIN
    IF NOT EXISTS (SELECT FROM inserted) THEN
        RETURN NULL;
    END IF;
    SELECT seq, hash INTO at, last FROM audit_heads WHERE chain = 'table' FOR UPDATE;
    FOR entry IN
        SELECT
            audit_uid,
            event_time,
            headrace_audit_part(audit_uid)
            || headrace_audit_part((extract(epoch FROM event_time) * 1000)::bigint::text)
            || headrace_audit_part(what) || headrace_audit_part(service) || headrace_audit_part(agent_id) || headrace_audit_part(person)
            || headrace_audit_part(event_uid) || headrace_audit_part(topic) || headrace_audit_part("partition"::text)
            || headrace_audit_part("offset"::text) || headrace_audit_part(array_to_string(rules, ',')) || headrace_audit_part(result)
            || headrace_audit_part(action) || headrace_audit_part(policy_id) || headrace_audit_part(policy_version)
            || headrace_audit_part(detail) AS content
        FROM inserted
        ORDER BY event_time, audit_uid
    LOOP
        at := at + 1;
        own := sha256(last || int8send(at) || entry.content);
        INSERT INTO audit_links (seq, audit_uid, event_time, before, hash) VALUES (at, entry.audit_uid, entry.event_time, last, own);
        last := own;
    END LOOP;
    UPDATE audit_heads SET seq = at, hash = last WHERE chain = 'table';
    RETURN NULL;
END
$$;

CREATE TRIGGER audit_records_are_linked AFTER INSERT ON audit_records
REFERENCING NEW TABLE AS inserted FOR EACH STATEMENT EXECUTE FUNCTION headrace_audit_link();

-- Rows are added and never changed. Retention (headrace retention apply) removes the oldest ones in a session that says so.
CREATE FUNCTION headrace_audit_append_only() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' AND current_setting('headrace.audit_retention', true) = 'on' THEN
        RETURN NULL;
    END IF;
    RAISE EXCEPTION 'the audit log is append-only: % on % is refused', TG_OP, TG_TABLE_NAME;
END
$$;

CREATE TRIGGER audit_records_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_records
FOR EACH STATEMENT EXECUTE FUNCTION headrace_audit_append_only();
CREATE TRIGGER audit_links_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_links
FOR EACH STATEMENT EXECUTE FUNCTION headrace_audit_append_only();
CREATE TRIGGER audit_anchors_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_anchors
FOR EACH STATEMENT EXECUTE FUNCTION headrace_audit_append_only();
