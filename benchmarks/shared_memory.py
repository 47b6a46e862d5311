"""Whether system shared memory pays: a model that computes nothing, asked over gRPC with texts and vectors inside or in shared memory.

This measurement decided against it; nothing else in headrace uses shared memory. With it a text lies in a file of /dev/shm until it is wiped.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
import tritonclient.grpc as triton
import tritonclient.utils.shared_memory as shared_memory
from tritonclient.utils import serialize_byte_tensor

from benchmarks.result import ROOT, Row
from streams.embedded.triton import TritonServer

VECTOR: Final = 384
#: Characters of a text of about 20, 200 tokens, and of a long document.
CHARS: Final = (100, 1_000, 20_000)
BATCHES: Final = (1, 64)

_MODEL: Final = """
import numpy as np
import triton_python_backend_utils as backend
class TritonPythonModel:
    def execute(self, requests):
        answers = []
        for request in requests:
            rows = backend.get_input_tensor_by_name(request, "TEXT").as_numpy().shape[0]
            answers.append(backend.InferenceResponse([backend.Tensor("EMBEDDING", np.zeros((rows, 384), np.float32))]))
        return answers
"""
_CONFIG: Final = """
name: "null"
backend: "python"
max_batch_size: 64
input [ { name: "TEXT" data_type: TYPE_STRING dims: [ 1 ] } ]
output [ { name: "EMBEDDING" data_type: TYPE_FP32 dims: [ 384 ] } ]
instance_group [ { kind: KIND_CPU count: 1 } ]
"""


def shared_memory_rows(runs: int, seconds: float) -> Iterator[Row]:
    """Measures both ways in turns."""
    with tempfile.TemporaryDirectory(prefix="headrace-null-") as folder:
        home = Path(folder) / "null"
        (home / "1").mkdir(parents=True)
        (home / "1" / "model.py").write_text(_MODEL)
        (home / "config.pbtxt").write_text(_CONFIG)
        with TritonServer(Path(folder), cache=ROOT / ".headrace") as server:
            client = triton.InferenceServerClient(server.endpoint.url)
            for chars in CHARS:
                for batch in BATCHES:
                    texts = np.array([[b"x" * chars]] * batch, dtype=np.object_)
                    with_memory, done = _shared(client, texts)
                    ways = {"gRPC": lambda texts=texts: _plain(client, texts), "shared memory": with_memory}
                    found: dict[str, dict[str, list[float]]] = {way: {"ms a request": [], "client CPU ms a request": []} for way in ways}
                    for run in range(runs):
                        for way in list(ways)[:: 1 if run % 2 else -1]:
                            wall, cpu = _timed(ways[way], seconds)
                            found[way]["ms a request"].append(wall)
                            found[way]["client CPU ms a request"].append(cpu)
                    done()
                    yield from (Row({"characters": f"{chars:,}", "batch": str(batch), "way": way}, values) for way, values in found.items())


def _timed(call: Callable[[], object], seconds: float) -> tuple[float, float]:
    call()
    count, cpu, began = 0, time.process_time(), time.perf_counter()
    while time.perf_counter() - began < seconds:
        call()
        count += 1
    return (time.perf_counter() - began) / count * 1e3, (time.process_time() - cpu) / count * 1e3


def _plain(client: Any, texts: Any) -> Any:
    tensor = triton.InferInput("TEXT", list(texts.shape), "BYTES")
    tensor.set_data_from_numpy(texts)
    return client.infer("null", [tensor]).as_numpy("EMBEDDING")


def _shared(client: Any, texts: Any) -> tuple[Callable[[], Any], Callable[[], None]]:
    """Gives a request over registered regions, and what takes them away."""
    batch = texts.shape[0]
    size_bytes, out_bytes = len(serialize_byte_tensor(texts).item()), batch * VECTOR * 4
    names = {side: f"headrace_bench_{os.getpid()}_{side}" for side in ("in", "out")}
    regions = {
        side: shared_memory.create_shared_memory_region(name, f"/{name}", {"in": size_bytes, "out": out_bytes}[side]) for side, name in names.items()
    }
    client.register_system_shared_memory(names["in"], f"/{names['in']}", size_bytes)
    client.register_system_shared_memory(names["out"], f"/{names['out']}", out_bytes)

    def ask() -> Any:
        shared_memory.set_shared_memory_region(regions["in"], [serialize_byte_tensor(texts)])
        tensor = triton.InferInput("TEXT", [batch, 1], "BYTES")
        tensor.set_shared_memory(names["in"], size_bytes)
        wanted = triton.InferRequestedOutput("EMBEDDING")
        wanted.set_shared_memory(names["out"], out_bytes)
        client.infer("null", [tensor], outputs=[wanted])
        return shared_memory.get_contents_as_numpy(regions["out"], np.float32, [batch, VECTOR])

    def done() -> None:
        client.unregister_system_shared_memory()
        for region in regions.values():
            shared_memory.destroy_shared_memory_region(region)

    return ask, done
