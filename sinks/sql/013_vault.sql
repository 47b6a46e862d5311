-- The vault: what tokens in masked texts stand for, sealed twice (operators/pii/seal.py, then sinks/person_keys.py), and the record of who asked for it.
-- headrace_revealer calls vault.ask, vault.answer and vault.told and reads no table: so whoever is answered has asked, in a committed transaction.

CREATE TABLE vault.tokens (
    token      text  NOT NULL,
    person     text  NOT NULL,
    entity     text  NOT NULL,
    seal_kid   text  NOT NULL,
    ciphertext bytea,
    first_seen date  NOT NULL,
    last_seen  date  NOT NULL,
    PRIMARY KEY (token, person)
);
CREATE INDEX tokens_by_person ON vault.tokens (person);
CREATE INDEX tokens_by_age ON vault.tokens (last_seen);
COMMENT ON TABLE vault.tokens IS 'One row a token and person; ciphertext is NULL, and person ''erased'', where a person behind a token was erased.';

CREATE TABLE vault.reveals (
    id             bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    asked_at       timestamptz NOT NULL DEFAULT now(),
    asked_in       xid8        NOT NULL DEFAULT pg_current_xact_id(),
    db_user        text        NOT NULL DEFAULT session_user,
    os_user        text        NOT NULL,
    token          text        NOT NULL,
    purpose        text        NOT NULL,
    policy_id      text        NOT NULL,
    policy_version text        NOT NULL
);
CREATE INDEX reveals_by_time ON vault.reveals (asked_at DESC);
COMMENT ON TABLE vault.reveals IS 'Who asked what a token stands for, when and for which purpose; written before anything is read. Append-only.';

CREATE TABLE vault.reveal_results (
    reveal  bigint      PRIMARY KEY REFERENCES vault.reveals (id),
    told_at timestamptz NOT NULL DEFAULT now(),
    result  text        NOT NULL CHECK (result IN ('revealed', 'erased', 'unknown', 'unreadable', 'refused'))
);
COMMENT ON TABLE vault.reveal_results IS 'What came of it; written before a value is shown. A reveal without a row here showed nothing. Append-only.';

CREATE FUNCTION vault.keep_as_it_is() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the record of reveals is append-only' USING ERRCODE = 'insufficient_privilege';
END $$;
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON vault.reveals FOR EACH STATEMENT EXECUTE FUNCTION vault.keep_as_it_is();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON vault.reveal_results FOR EACH STATEMENT EXECUTE FUNCTION vault.keep_as_it_is();

CREATE FUNCTION vault.ask(os_user text, token text, purpose text, policy_id text, policy_version text) RETURNS bigint
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    INSERT INTO vault.reveals (os_user, token, purpose, policy_id, policy_version)
    VALUES (left(ask.os_user, 200), left(ask.token, 200), left(ask.purpose, 200), left(ask.policy_id, 200), left(ask.policy_version, 200))
    RETURNING id
$$;
COMMENT ON FUNCTION vault.ask IS 'Records a request and gives its number; commit before vault.answer.';

CREATE FUNCTION vault.is_open(reveal bigint) RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT EXISTS (
        SELECT FROM vault.reveals r
        WHERE r.id = is_open.reveal AND r.db_user = session_user AND r.asked_at > now() - interval '5 minutes'
            AND pg_xact_status(r.asked_in) = 'committed'
            AND NOT EXISTS (SELECT FROM vault.reveal_results t WHERE t.reveal = r.id)
    )
$$;

CREATE FUNCTION vault.answer(reveal bigint)
RETURNS TABLE (person text, entity text, seal_kid text, ciphertext bytea, wrap_kid text, wrapped bytea)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF NOT vault.is_open(answer.reveal) THEN
        RAISE EXCEPTION 'no committed request of this user within five minutes' USING ERRCODE = 'insufficient_privilege';
    END IF;
    RETURN QUERY
        SELECT t.person, t.entity, t.seal_kid, t.ciphertext, k.kid, k.wrapped
        FROM vault.reveals r JOIN vault.tokens t ON t.token = r.token LEFT JOIN vault.person_keys k ON k.person = t.person
        WHERE r.id = answer.reveal ORDER BY t.person;
END $$;
COMMENT ON FUNCTION vault.answer IS 'Gives the rows behind the token of a request that this user committed within the last five minutes; all of it is sealed.';

CREATE FUNCTION vault.told(reveal bigint, result text) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF NOT vault.is_open(told.reveal) THEN
        RAISE EXCEPTION 'no committed request of this user within five minutes' USING ERRCODE = 'insufficient_privilege';
    END IF;
    INSERT INTO vault.reveal_results (reveal, result) VALUES (told.reveal, told.result);
END $$;
COMMENT ON FUNCTION vault.told IS 'Records what came of a request.';

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA vault FROM PUBLIC;

-- Who reveals calls these functions and reads no table, so that nothing is read off the record; the pipeline has no part in reveals.
REVOKE ALL ON ALL TABLES IN SCHEMA vault FROM headrace_revealer;
REVOKE ALL ON vault.reveals, vault.reveal_results FROM headrace_writer;
ALTER DEFAULT PRIVILEGES IN SCHEMA vault REVOKE SELECT ON TABLES FROM headrace_revealer;
GRANT EXECUTE ON FUNCTION vault.ask, vault.answer, vault.told TO headrace_revealer;
