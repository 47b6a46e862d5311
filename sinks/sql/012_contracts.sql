-- What data contracts found (topic contract_results), and the records that are not to be trusted: those that broke a contract whose topic policy quarantines.

CREATE TABLE contract_results (
    result_uid     text        NOT NULL,
    about          text        NOT NULL,
    window_start   timestamptz NOT NULL,
    window_end     timestamptz NOT NULL,
    records        bigint      NOT NULL,
    expectation    text        NOT NULL,
    field          text        NOT NULL,
    why            text        NOT NULL,
    held           boolean     NOT NULL,
    unexpected     bigint      NOT NULL,
    size_ppm       bigint,
    action         text,
    policy_id      text        NOT NULL,
    policy_version text        NOT NULL,
    PRIMARY KEY (result_uid, window_start)
);
COMMENT ON TABLE contract_results IS 'One row for each thing that a data contract says of a window of a topic.';
CREATE INDEX contract_results_by_time ON contract_results (window_start DESC);

CREATE TABLE contract_quarantine (
    topic       text        NOT NULL,
    "partition" integer     NOT NULL,
    "offset"    bigint      NOT NULL,
    result_uid  text        NOT NULL,
    listed_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (topic, "partition", "offset", result_uid)
);
COMMENT ON TABLE contract_quarantine IS 'Coordinates of records that broke a contract; join against them to leave these records out.';
