"""The demo: a simulated fleet through embedded Kafka, the pipeline and PostgreSQL, with a live view and a checked summary."""
