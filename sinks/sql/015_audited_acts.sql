-- Reveals and reviews in the audit log: an entry for each, in the transaction of the act itself, whoever acts. The functions run with the rights of who
-- migrates, so no role needs more than it had.
--
-- reveal  twice: `asked`, before anything is read, and what came of it. Names the entity, never the token; the person by the HMAC under the person's own key
-- review  closed (approved, denied, expired), released, and looked at. The person is the one that the entry of the event's decision names

ALTER TABLE vault.reveal_results ADD COLUMN person_mark text;
COMMENT ON COLUMN vault.reveal_results.person_mark IS 'HMAC of the person under the person''s own key, as in the audit log; null where there is none.';

CREATE FUNCTION headrace_audit_uid(VARIADIC about text[]) RETURNS text
LANGUAGE sql IMMUTABLE AS $$
    SELECT substr(encode(sha256(convert_to('headrace audit entry' || array_to_string(about, E'\n', '-'), 'UTF8')), 'hex'), 1, 32)
$$;

CREATE FUNCTION headrace_audit_reveal() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    asked vault.reveals;
    came  text := 'asked';
    at    timestamptz;
    mark  text;
BEGIN
    IF TG_TABLE_NAME = 'reveals' THEN
        asked := NEW;
        at := NEW.asked_at;
    ELSE
        SELECT * INTO STRICT asked FROM vault.reveals WHERE id = NEW.reveal;
        came := NEW.result;
        at := NEW.told_at;
        mark := NEW.person_mark;
    END IF;
    INSERT INTO audit_records (audit_uid, event_time, what, service, agent_id, person, result, policy_id, policy_version, detail)
    VALUES (
        headrace_audit_uid('reveal', asked.id::text, came), date_trunc('milliseconds', at), 'reveal', 'reveal by ' || asked.os_user, 'headrace', mark, came,
        asked.policy_id, asked.policy_version,
        json_build_object(
            'reveal', asked.id, 'db_user', asked.db_user, 'entity', substring(asked.token FROM '^<([A-Z][A-Z0-9_]*):'), 'purpose', asked.purpose
        )::text
    );
    RETURN NULL;
END
$$;

CREATE FUNCTION headrace_audit_review() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    held   reviews;
    closed review_history;
    came   text;
    at     timestamptz;
BEGIN
    SELECT * INTO STRICT closed FROM review_history WHERE review_uid = NEW.review_uid;
    SELECT * INTO held FROM reviews WHERE review_uid = NEW.review_uid LIMIT 1;
    IF TG_TABLE_NAME = 'review_history' THEN
        came := closed.state;
        at := closed.at;
    ELSE
        came := 'released';
        at := NEW.released_at;
    END IF;
    INSERT INTO audit_records (
        audit_uid, event_time, what, service, agent_id, person, event_uid, topic, "partition", "offset", rules, result, action, policy_id, policy_version,
        detail
    ) VALUES (
        headrace_audit_uid('review', closed.review_uid, came), date_trunc('milliseconds', at), 'review', 'review by ' || closed.operator,
        coalesce(held.agent_id, 'headrace'),
        (SELECT d.person FROM audit_records d WHERE d.what = 'decision' AND d.event_uid = held.event_uid LIMIT 1),
        held.event_uid, held.topic, held."partition", held."offset", held.rules, came, held.action, held.policy_id, held.policy_version,
        json_build_object('review', closed.review_uid, 'db_user', session_user)::text
    );
    RETURN NULL;
END
$$;

CREATE FUNCTION headrace_audit_look(operator text, looked_at text, review text, count bigint) RETURNS void LANGUAGE sql AS $$
    INSERT INTO audit_records (audit_uid, event_time, what, service, agent_id, result, detail)
    VALUES (
        headrace_audit_uid('look', pg_current_xact_id()::text, clock_timestamp()::text, pg_backend_pid()::text), date_trunc('milliseconds', clock_timestamp()),
        'review', 'review by ' || left(operator, 200), 'headrace', left(looked_at, 40),
        json_build_object('review', left(review, 40), 'count', count, 'db_user', session_user)::text
    )
$$;
COMMENT ON FUNCTION headrace_audit_look IS 'Writes down that somebody listed or showed reviews; commit before they are shown.';

CREATE INDEX audit_records_by_event ON audit_records (event_uid) WHERE event_uid IS NOT NULL;

DO $$
DECLARE
    made text;
BEGIN
    FOREACH made IN ARRAY ARRAY['headrace_audit_reveal()', 'headrace_audit_review()', 'headrace_audit_look(text, text, text, bigint)'] LOOP
        EXECUTE format('ALTER FUNCTION %s SECURITY DEFINER SET search_path = %I, pg_catalog, pg_temp', made, current_schema());
        EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', made);
    END LOOP;
END
$$;
GRANT EXECUTE ON FUNCTION headrace_audit_look TO headrace_reviewer;

CREATE TRIGGER reveals_are_audited AFTER INSERT ON vault.reveals FOR EACH ROW EXECUTE FUNCTION headrace_audit_reveal();
CREATE TRIGGER results_are_audited AFTER INSERT ON vault.reveal_results FOR EACH ROW EXECUTE FUNCTION headrace_audit_reveal();
CREATE TRIGGER reviews_are_audited AFTER INSERT ON review_history FOR EACH ROW EXECUTE FUNCTION headrace_audit_review();
CREATE TRIGGER releases_are_audited AFTER UPDATE OF released_at ON review_releases
    FOR EACH ROW WHEN (OLD.released_at IS NULL AND NEW.released_at IS NOT NULL) EXECUTE FUNCTION headrace_audit_review();

DROP FUNCTION vault.told(bigint, text);
CREATE FUNCTION vault.told(reveal bigint, result text, person_mark text) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF NOT vault.is_open(told.reveal) THEN
        RAISE EXCEPTION 'no committed request of this user within five minutes' USING ERRCODE = 'insufficient_privilege';
    END IF;
    INSERT INTO vault.reveal_results (reveal, result, person_mark) VALUES (told.reveal, told.result, left(told.person_mark, 64));
END $$;
COMMENT ON FUNCTION vault.told IS 'Records what came of a request.';
REVOKE ALL ON FUNCTION vault.told FROM PUBLIC;
GRANT EXECUTE ON FUNCTION vault.told TO headrace_revealer;
