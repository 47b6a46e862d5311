-- What agents were told to do: the topic agent_control as a table.

CREATE TABLE control_commands (
    control_uid    text        NOT NULL,
    target_kind    text        NOT NULL,
    target         text        NOT NULL,
    command        text        NOT NULL,
    issued_at      timestamptz NOT NULL,
    until          timestamptz,
    reasons        text[]      NOT NULL,
    event_uid      text,
    policy_id      text        NOT NULL,
    policy_version text        NOT NULL,
    PRIMARY KEY (control_uid, issued_at)
);
COMMENT ON TABLE control_commands IS 'What agents were told to do, one row a command.';
CREATE INDEX control_commands_by_time ON control_commands (issued_at DESC);
CREATE INDEX control_commands_by_target ON control_commands (target, issued_at DESC);
