-- The four tables that the pipeline writes. Columns are the fields of schemas/avro/{metric_window,guardrail_decision,alert,dead_letter}.avsc,
-- in their order; units are in the column names or in the schema. A test holds the columns and types equal.
--
-- A primary key holds the id of the record; where the schema's time is never null it also holds the time, because TimescaleDB wants the
-- partitioning column in every unique key. One id always has one time, so this changes nothing on plain PostgreSQL.

CREATE TABLE metric_windows (
    window_uid         text        NOT NULL,
    generation         integer     NOT NULL,
    revision           bigint      NOT NULL,
    window_start       timestamptz NOT NULL,
    window_end         timestamptz NOT NULL,
    agent_id           text        NOT NULL,
    event_type         text        NOT NULL,
    tool_name          text,
    events             bigint      NOT NULL,
    errors             bigint      NOT NULL,
    latency_count      bigint      NOT NULL,
    latency_sum_us     bigint      NOT NULL,
    latency_min_us     bigint,
    latency_max_us     bigint,
    latency_mean_us    double precision,
    latency_p50_us     double precision,
    latency_p95_us     double precision,
    latency_p99_us     double precision,
    input_tokens       bigint      NOT NULL,
    output_tokens      bigint      NOT NULL,
    cost_nano_usd      bigint      NOT NULL,
    tool_calls         bigint      NOT NULL,
    confidence_count   bigint      NOT NULL,
    confidence_sum_ppm bigint      NOT NULL,
    confidence_mean    double precision,
    first_event_time   timestamptz NOT NULL,
    last_event_time    timestamptz NOT NULL,
    PRIMARY KEY (window_uid, window_start)
);
COMMENT ON TABLE metric_windows IS 'One row a window: the one with the highest (generation, revision) that was written.';
CREATE INDEX metric_windows_by_time ON metric_windows (window_start DESC);
CREATE INDEX metric_windows_by_agent ON metric_windows (agent_id, window_start DESC);

CREATE TABLE guardrail_decisions (
    event_uid      text        NOT NULL,
    event_id       text        NOT NULL,
    agent_id       text        NOT NULL,
    session_id     text,
    kind           text        NOT NULL,
    event_type     text        NOT NULL,
    tool_name      text,
    event_time     timestamptz NOT NULL,
    verdict        text        NOT NULL,
    action         text        NOT NULL,
    enforcement    text        NOT NULL,
    hits           text[],
    policy_id      text        NOT NULL,
    policy_version text        NOT NULL,
    topic          text        NOT NULL,
    "partition"    integer     NOT NULL,
    "offset"       bigint      NOT NULL,
    PRIMARY KEY (event_uid, event_time)
);
COMMENT ON TABLE guardrail_decisions IS 'What policy decided, one row an event.';
CREATE INDEX guardrail_decisions_by_time ON guardrail_decisions (event_time DESC);
CREATE INDEX guardrail_decisions_by_agent ON guardrail_decisions (agent_id, event_time DESC);

CREATE TABLE alerts (
    alert_uid      text        NOT NULL,
    agent_id       text        NOT NULL,
    event_time     timestamptz NOT NULL,
    severity       text        NOT NULL,
    rule_id        text        NOT NULL,
    message        text        NOT NULL,
    event_uid      text,
    policy_version text        NOT NULL,
    PRIMARY KEY (alert_uid, event_time)
);
COMMENT ON TABLE alerts IS 'What a person should look at.';
CREATE INDEX alerts_by_time ON alerts (event_time DESC);
CREATE INDEX alerts_by_agent ON alerts (agent_id, event_time DESC);

CREATE TABLE dead_letters (
    record_uid  text    NOT NULL,
    topic       text    NOT NULL,
    "partition" integer NOT NULL,
    "offset"    bigint  NOT NULL,
    kafka_time  timestamptz,
    traceparent text,
    kind        text,
    agent_id    text,
    event_uid   text,
    step        text    NOT NULL,
    disposition text    NOT NULL,
    code        text    NOT NULL,
    reason      text    NOT NULL,
    PRIMARY KEY (record_uid)
);
COMMENT ON TABLE dead_letters IS 'Records that could not go on: where they lie and why, never what they hold.';
CREATE INDEX dead_letters_by_time ON dead_letters (kafka_time DESC);
CREATE INDEX dead_letters_by_place ON dead_letters (topic, "partition", "offset");
