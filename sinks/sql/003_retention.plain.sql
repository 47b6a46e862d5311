-- Retention on plain PostgreSQL, which has no scheduler of its own: CALL headrace_expire() deletes what is too old; run it daily (cron,
-- pg_cron). The defaults are those of 003_retention.timescale.sql. Age is event time. Dead letters without a time (read from files) are kept.

CREATE PROCEDURE headrace_expire(
    windows_older_than      interval DEFAULT '90 days',
    decisions_older_than    interval DEFAULT '400 days',
    dead_letters_older_than interval DEFAULT '90 days'
)
LANGUAGE sql AS $$
    DELETE FROM metric_windows WHERE window_start < now() - windows_older_than;
    DELETE FROM guardrail_decisions WHERE event_time < now() - decisions_older_than;
    DELETE FROM alerts WHERE event_time < now() - decisions_older_than;
    DELETE FROM dead_letters WHERE kafka_time < now() - dead_letters_older_than;
$$;
