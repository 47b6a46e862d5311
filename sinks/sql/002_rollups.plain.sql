-- Metrics by minute and by hour on plain PostgreSQL: views, computed when read. Columns and types are those of 002_rollups.timescale.sql;
-- a test compares the two files.
--
-- Sums, counts, smallest and largest values of windows add up to those of the bucket. Percentiles do not: what is given is the largest
-- percentile of any window in the bucket, and the column says so (latency_p95_us_max). Windows longer than the bucket are left out.

CREATE VIEW metrics_1m AS
SELECT
    date_bin(INTERVAL '1 minute', window_start, TIMESTAMPTZ '2000-01-03 00:00:00+00') AS bucket,
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
GROUP BY 1, 2, 3, 4;

CREATE VIEW metrics_1h AS
SELECT
    date_bin(INTERVAL '1 hour', window_start, TIMESTAMPTZ '2000-01-03 00:00:00+00') AS bucket,
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
GROUP BY 1, 2, 3, 4;
