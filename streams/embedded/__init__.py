"""Real parts without Docker: an Apache Kafka broker and a PostgreSQL server as child processes on the loopback interface.

The demo, the tests and the benchmarks use them; a deployment does not. Each part is a context manager, keeps its data in one directory,
chooses free ports, writes one log file, and dies with the process that started it.
"""
