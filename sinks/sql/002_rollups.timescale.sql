-- The same tables and views with TimescaleDB (2.22, Community licence): hypertables, and continuous aggregates by minute and by hour.
--
-- dead_letters stays an ordinary table: its time is null where the source has none, and a hypertable's time may not be.
--
-- A window is written again whenever a late event changes it: TimescaleDB notes the change and the policy recomputes its bucket.
-- Buckets that are not yet materialised are computed when read (materialized_only = false). The policy looks back 80 days, less than
-- the 90 days that windows are kept (003), so that it never recomputes a bucket whose windows are gone. After writing windows older
-- than that (imported recordings): CALL refresh_continuous_aggregate('metrics_1m', NULL, NULL), and the same for metrics_1h.
--
-- Sums, counts, smallest and largest values of windows add up to those of the bucket. Percentiles do not: what is given is the largest
-- percentile of any window in the bucket, and the column says so (latency_p95_us_max). Windows longer than the bucket are left out.

SELECT create_hypertable('metric_windows', by_range('window_start', INTERVAL '1 day'), create_default_indexes => false);
SELECT create_hypertable('guardrail_decisions', by_range('event_time', INTERVAL '1 day'), create_default_indexes => false);
SELECT create_hypertable('alerts', by_range('event_time', INTERVAL '7 days'), create_default_indexes => false);

CREATE MATERIALIZED VIEW metrics_1m
WITH (timescaledb.continuous, timescaledb.materialized_only = false) AS
SELECT
    time_bucket(INTERVAL '1 minute', window_start) AS bucket,
    agent_id,
    event_type,
    tool_name,
    count(*) AS windows,
    sum(events)::bigint AS events,
    sum(errors)::bigint AS errors,
    sum(latency_count)::bigint AS latency_count,
    sum(latency_sum_us)::bigint AS latency_sum_us,
    min(latency_min_us) AS latency_min_us,
    max(latency_max_us) AS latency_max_us,
    sum(latency_sum_us)::double precision / nullif(sum(latency_count), 0)::double precision AS latency_mean_us,
    max(latency_p50_us) AS latency_p50_us_max,
    max(latency_p95_us) AS latency_p95_us_max,
    max(latency_p99_us) AS latency_p99_us_max,
    sum(input_tokens)::bigint AS input_tokens,
    sum(output_tokens)::bigint AS output_tokens,
    sum(cost_nano_usd)::bigint AS cost_nano_usd,
    sum(tool_calls)::bigint AS tool_calls,
    sum(confidence_count)::bigint AS confidence_count,
    sum(confidence_sum_ppm)::bigint AS confidence_sum_ppm,
    sum(confidence_sum_ppm)::double precision / nullif(sum(confidence_count), 0)::double precision / 1e6::double precision AS confidence_mean
FROM metric_windows
WHERE window_end - window_start <= INTERVAL '1 minute'
GROUP BY 1, 2, 3, 4
WITH NO DATA;

CREATE MATERIALIZED VIEW metrics_1h
WITH (timescaledb.continuous, timescaledb.materialized_only = false) AS
SELECT
    time_bucket(INTERVAL '1 hour', window_start) AS bucket,
    agent_id,
    event_type,
    tool_name,
    count(*) AS windows,
    sum(events)::bigint AS events,
    sum(errors)::bigint AS errors,
    sum(latency_count)::bigint AS latency_count,
    sum(latency_sum_us)::bigint AS latency_sum_us,
    min(latency_min_us) AS latency_min_us,
    max(latency_max_us) AS latency_max_us,
    sum(latency_sum_us)::double precision / nullif(sum(latency_count), 0)::double precision AS latency_mean_us,
    max(latency_p50_us) AS latency_p50_us_max,
    max(latency_p95_us) AS latency_p95_us_max,
    max(latency_p99_us) AS latency_p99_us_max,
    sum(input_tokens)::bigint AS input_tokens,
    sum(output_tokens)::bigint AS output_tokens,
    sum(cost_nano_usd)::bigint AS cost_nano_usd,
    sum(tool_calls)::bigint AS tool_calls,
    sum(confidence_count)::bigint AS confidence_count,
    sum(confidence_sum_ppm)::bigint AS confidence_sum_ppm,
    sum(confidence_sum_ppm)::double precision / nullif(sum(confidence_count), 0)::double precision / 1e6::double precision AS confidence_mean
FROM metric_windows
WHERE window_end - window_start <= INTERVAL '1 hour'
GROUP BY 1, 2, 3, 4
WITH NO DATA;

SELECT add_continuous_aggregate_policy(
    'metrics_1m', start_offset => INTERVAL '80 days', end_offset => INTERVAL '2 minutes', schedule_interval => INTERVAL '1 minute'
);
SELECT add_continuous_aggregate_policy(
    'metrics_1h', start_offset => INTERVAL '80 days', end_offset => INTERVAL '2 hours', schedule_interval => INTERVAL '30 minutes'
);
