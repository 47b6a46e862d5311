"""Runs librdkafka's mock cluster in a process of its own: the child of ``streams.embedded.mock_kafka``, run as ``-m``, never imported.

It prints the bootstrap address, then answers each line of standard input, a JSON object of topic names and partition counts, by one
line: a JSON list of the librdkafka error code for each topic, in order. It ends when standard input does.
"""

from __future__ import annotations

import ctypes
import json
import sys
from pathlib import Path

# Importing it loads the library; the wheel exports the mock's functions but has no Python binding for setting partition counts.
import confluent_kafka

PRODUCER = 0
BROKERS = 1
REPLICAS = 1


def load_library() -> ctypes.CDLL:
    """The librdkafka that confluent-kafka brought, with the argument types of the functions used here.

    Source: ``rdkafka_mock.h`` of librdkafka.
    """
    beside = Path(confluent_kafka.__file__).parent.with_name("confluent_kafka.libs")
    library = ctypes.CDLL(str(next(beside.glob("librdkafka*"))))
    pointer = ctypes.c_void_p
    library.rd_kafka_conf_new.restype = pointer
    library.rd_kafka_new.restype = pointer
    library.rd_kafka_new.argtypes = [ctypes.c_int, pointer, ctypes.c_char_p, ctypes.c_size_t]
    library.rd_kafka_mock_cluster_new.restype = pointer
    library.rd_kafka_mock_cluster_new.argtypes = [pointer, ctypes.c_int]
    library.rd_kafka_mock_cluster_bootstraps.restype = ctypes.c_char_p
    library.rd_kafka_mock_cluster_bootstraps.argtypes = [pointer]
    library.rd_kafka_mock_topic_create.argtypes = [pointer, ctypes.c_char_p, ctypes.c_int, ctypes.c_int]
    library.rd_kafka_mock_group_initial_rebalance_delay_ms.argtypes = [pointer, ctypes.c_int32]
    library.rd_kafka_mock_group_initial_rebalance_delay_ms.restype = None
    return library


def serve() -> None:
    """Starts the cluster and answers until standard input ends."""
    library = load_library()
    reason = ctypes.create_string_buffer(512)
    handle = library.rd_kafka_new(PRODUCER, library.rd_kafka_conf_new(), reason, len(reason))
    if not handle:
        sys.exit(f"librdkafka gave no handle: {reason.value.decode()}")
    cluster = library.rd_kafka_mock_cluster_new(handle, BROKERS)
    if not cluster:
        sys.exit("librdkafka gave no mock cluster")
    library.rd_kafka_mock_group_initial_rebalance_delay_ms(cluster, 0)
    print(library.rd_kafka_mock_cluster_bootstraps(cluster).decode(), flush=True)
    for line in sys.stdin:
        topics: dict[str, int] = json.loads(line)
        codes = [library.rd_kafka_mock_topic_create(cluster, name.encode(), count, REPLICAS) for name, count in topics.items()]
        print(json.dumps(codes), flush=True)


if __name__ == "__main__":
    serve()
