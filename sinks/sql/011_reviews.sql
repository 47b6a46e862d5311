-- Events that wait for a person. A row of reviews comes from the pipeline; what a person says stands in review_history, which only grows.
-- review_releases is an outbox: an approval and the wish to release are one transaction, and the release itself finds out what is written already.

CREATE TABLE reviews (
    review_uid     text        NOT NULL,
    generation     integer     NOT NULL,
    revision       bigint      NOT NULL,
    state          text        NOT NULL CHECK (state IN ('open', 'approved', 'denied', 'expired')),
    event_uid      text        NOT NULL,
    agent_id       text        NOT NULL,
    user_id        text,
    session_id     text,
    kind           text        NOT NULL,
    tool_name      text,
    event_time     timestamptz NOT NULL,
    expires_at     timestamptz NOT NULL,
    rules          text[]      NOT NULL,
    action         text        NOT NULL,
    policy_id      text        NOT NULL,
    policy_version text        NOT NULL,
    topic          text        NOT NULL,
    "partition"    integer     NOT NULL,
    "offset"       bigint      NOT NULL,
    held           text,
    PRIMARY KEY (review_uid, event_time)
);
COMMENT ON TABLE reviews IS 'Events that policy holds until a person decides.';
CREATE INDEX reviews_by_state ON reviews (state, event_time DESC);
CREATE INDEX reviews_by_agent ON reviews (agent_id, event_time DESC);

CREATE TABLE review_history (
    review_uid text        NOT NULL PRIMARY KEY, -- a review is closed once
    at         timestamptz NOT NULL DEFAULT now(),
    state      text        NOT NULL CHECK (state IN ('approved', 'denied', 'expired')),
    who        text        NOT NULL DEFAULT session_user,
    operator   text        NOT NULL,
    why        text        NOT NULL
);
COMMENT ON TABLE review_history IS 'Who closed which review, when and why; rows are never changed.';

CREATE TABLE review_releases (
    review_uid  text        NOT NULL PRIMARY KEY REFERENCES review_history,
    position    bytea       NOT NULL,
    released_at timestamptz
);
COMMENT ON TABLE review_releases IS 'Approved events, and from where in the output topics a release has to look for itself.';

CREATE FUNCTION headrace_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% only grows', TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
END
$$;
CREATE TRIGGER review_history_only_grows BEFORE UPDATE OR DELETE OR TRUNCATE ON review_history
    FOR EACH STATEMENT EXECUTE FUNCTION headrace_refuse_change();

-- headrace_reviewer  closes reviews: whoever runs `headrace review approve`. It changes the state of a review and nothing else.
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'headrace_reviewer') THEN
        CREATE ROLE headrace_reviewer NOLOGIN;
    END IF;
EXCEPTION WHEN duplicate_object OR unique_violation THEN
    NULL;  -- another database of this server is migrated at this moment
END
$$;
GRANT USAGE ON SCHEMA public TO headrace_reviewer;
GRANT SELECT, UPDATE (state, revision) ON reviews TO headrace_reviewer;
GRANT SELECT, INSERT ON review_history TO headrace_reviewer;
GRANT SELECT, INSERT, UPDATE (released_at) ON review_releases TO headrace_reviewer;
REVOKE INSERT, UPDATE ON review_history, review_releases FROM headrace_writer;
