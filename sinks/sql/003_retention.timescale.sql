-- Compression and retention with TimescaleDB. Age is event time: windows of a recording older than 90 days are dropped within a day of
-- being written; before importing one, SELECT remove_retention_policy('metric_windows').
--
-- Windows are compressed after 7 days, long after the last late event (60 s) of an ordinary run; an upsert into a compressed chunk works,
-- only slower. Another period: remove_retention_policy, then add_retention_policy.

ALTER TABLE metric_windows SET (
    timescaledb.compress,
    timescaledb.compress_segmentby = 'agent_id',
    timescaledb.compress_orderby = 'window_start DESC, window_uid'
);
ALTER TABLE guardrail_decisions SET (
    timescaledb.compress,
    timescaledb.compress_segmentby = 'agent_id',
    timescaledb.compress_orderby = 'event_time DESC, event_uid'
);
SELECT add_compression_policy('metric_windows', compress_after => INTERVAL '7 days');
SELECT add_compression_policy('guardrail_decisions', compress_after => INTERVAL '7 days');

SELECT add_retention_policy('metric_windows', drop_after => INTERVAL '90 days');
SELECT add_retention_policy('guardrail_decisions', drop_after => INTERVAL '400 days');
SELECT add_retention_policy('alerts', drop_after => INTERVAL '400 days');
SELECT add_retention_policy('metrics_1m', drop_after => INTERVAL '400 days');
SELECT add_retention_policy('metrics_1h', drop_after => INTERVAL '1200 days');

-- dead_letters is an ordinary table, so its retention is a job. Dead letters without a time (read from files) are kept.
CREATE PROCEDURE headrace_expire_dead_letters(job_id integer, config jsonb)
LANGUAGE sql AS $$
    DELETE FROM dead_letters WHERE kafka_time < now() - (config ->> 'older_than')::interval;
$$;
SELECT add_job('headrace_expire_dead_letters', INTERVAL '1 day', config => '{"older_than": "90 days"}');
