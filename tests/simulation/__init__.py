"""Schedules of a pipeline's life in one process: its real source lanes, lanes, packs and Kafka sink on a simulated broker, killed anywhere."""
