"""Requests to Triton over gRPC: a pool of channels, answers brought into one event loop, foreign errors made ours.

Not over ``grpc.aio``: it serves one event loop a process. With three clients, each with a loop of its own, in one run of ten all requests hung
until their deadlines (grpcio 1.85); and other libraries may have loops too. Here gRPC's own threads call back, and the loop is told.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final, Protocol

import numpy as np
import tritonclient.grpc as triton
from numpy.typing import NDArray
from tritonclient.utils import InferenceServerException

from models.endpoint import Endpoint
from models.failures import FailureKind, ModelFailure
from models.results import Served
from models.spec import BUILD, ModelSpec

#: A server that comes back is found within a second; by default a channel waits up to two minutes. Each channel has a connection of its own.
_CHANNEL: Final = [
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    ("grpc.enable_retries", 0),
    ("grpc.max_send_message_length", 2**31 - 1),
    ("grpc.max_receive_message_length", 2**31 - 1),
    ("grpc.primary_user_agent", "headrace"),
]

#: By gRPC code; every other one is the model's own failure.
_KINDS: Final[Mapping[str, FailureKind]] = MappingProxyType(
    {
        "UNAVAILABLE": FailureKind.AWAY,
        "NOT_FOUND": FailureKind.AWAY,
        "RESOURCE_EXHAUSTED": FailureKind.AWAY,
        "DEADLINE_EXCEEDED": FailureKind.SLOW,
        "CANCELLED": FailureKind.SLOW,
    }
)


@dataclass(frozen=True, slots=True)
class Answer:
    """What came for one batch.

    Attributes:
        served: What answered.
        outputs: Tensors by name; None for one that is absent.
    """

    served: Served
    outputs: Mapping[str, NDArray[Any] | None]


class Transport(Protocol):
    """Sends one batch and gives what came, unread."""

    async def infer(self, spec: ModelSpec, version: str, texts: Sequence[bytes], timeout_s: float) -> Answer:
        """Raises ModelFailure. An empty version leaves the choice to the server."""
        ...

    async def close(self) -> None:
        """Ends all connections."""
        ...


class GrpcTransport:
    """A pool of channels to one server; to be made and used in one event loop.

    Args:
        endpoint: The server.
        channels: Connections; a batch takes the one with the fewest under way.
    """

    def __init__(self, endpoint: Endpoint, channels: int) -> None:
        connection = endpoint.connection()
        self._clients = [triton.InferenceServerClient(**connection, channel_args=_CHANNEL) for _ in range(channels)]
        self._under_way = [0] * channels

    async def infer(self, spec: ModelSpec, version: str, texts: Sequence[bytes], timeout_s: float) -> Answer:
        """Sends one batch; raises ModelFailure."""
        rows = np.empty((len(texts), 1), dtype=np.object_)
        rows[:, 0] = texts
        tensor = triton.InferInput("TEXT", [len(texts), 1], "BYTES")
        tensor.set_data_from_numpy(rows)
        channel = self._under_way.index(min(self._under_way))
        self._under_way[channel] += 1
        failure = None
        try:
            result = await _inferred(self._clients[channel], spec.name, tensor, version, timeout_s)
            outputs = {output.name: result.as_numpy(output.name) for output in spec.outputs}
            return Answer(Served(str(result.get_response().model_version), _build_of(outputs[BUILD.name])), outputs)
        except InferenceServerException as error:
            # Raised below, without its cause: a server's message may quote a text.
            code = str(error.status() or "UNKNOWN").removeprefix("StatusCode.")
            failure = ModelFailure(spec.name, _KINDS.get(code, FailureKind.REFUSED), f"gRPC {code}")
        except (ValueError, TypeError, AttributeError):  # tensors whose bytes do not fit their shape, or of an unknown type
            failure = ModelFailure(spec.name, FailureKind.INVALID, "a tensor's bytes do not fit its shape")
        finally:
            self._under_way[channel] -= 1
        raise failure

    async def close(self) -> None:
        """Ends all connections."""
        for client in self._clients:
            with contextlib.suppress(Exception):
                client.close()


def _build_of(rows: NDArray[Any] | None) -> str:
    """Gives what the rows agree on."""
    found = set() if rows is None else {bytes(row) for row in rows.ravel()}
    return found.pop().decode("ascii", "replace") if len(found) == 1 else ""


async def _inferred(client: Any, model: str, tensor: Any, version: str, timeout_s: float) -> Any:
    """Gives the result of one request, or raises InferenceServerException; a request that nobody waits for any more is cancelled."""
    loop = asyncio.get_running_loop()
    arrived: asyncio.Future[Any] = loop.create_future()

    def settle(result: Any, error: InferenceServerException | None) -> None:
        if arrived.done():
            return
        if error is None:
            arrived.set_result(result)
        else:
            arrived.set_exception(error)

    def came(result: Any, error: InferenceServerException | None) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits
            loop.call_soon_threadsafe(settle, result, error)

    request = client.async_infer(model, [tensor], came, model_version=version, client_timeout=timeout_s)
    try:
        return await arrived
    finally:
        if not arrived.done() or arrived.cancelled():
            request.cancel()
