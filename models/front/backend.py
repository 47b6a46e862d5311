"""The thin part that only runs inside Triton's Python backend: requests in, responses out."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import triton_python_backend_utils as triton
from numpy.typing import NDArray

from .fronts import FRONTS, Front
from .requests import TextRefused, texts_of
from .rows import Encode, onnx_encoder
from .settings import FILE, Settings, read_settings
from .tokens import TextTokenizer

#: Lists the hash of every file of the version, so its own hash tells builds apart.
MANIFEST_FILE = "manifest.json"
_BUILD_DIGITS = 16


class TextModel:
    """A model of the repository: all requests that Triton hands over at once run as one batch, sorted by length."""

    _front: Front
    _settings: Settings
    _build: bytes

    def initialize(self, args: dict[str, str]) -> None:
        """Loads what lies beside ``model.py``; Triton calls it once an instance."""
        folder = Path(args["model_repository"]) / args["model_version"]
        config = json.loads(args["model_config"])
        threads = int(config["parameters"]["threads"]["string_value"])
        self._settings = read_settings(folder / FILE)
        runner = self._settings.runner
        encode = _server_encoder(runner.model, runner.output) if runner.kind == "triton" else onnx_encoder(folder, self._settings, threads)
        manifest = folder / MANIFEST_FILE
        self._build = hashlib.sha256(manifest.read_bytes()).hexdigest()[:_BUILD_DIGITS].encode() if manifest.exists() else b""
        self._front = FRONTS[config["name"]](TextTokenizer(folder / "tokenizer.json"), encode, self._settings)

    def execute(self, requests: Sequence[Any]) -> list[Any]:
        """Answers each request; one that cannot be read fails alone."""
        texts: list[str] = []
        parts: list[slice | str] = []
        for request in requests:
            try:
                read = texts_of(triton.get_input_tensor_by_name(request, "TEXT").as_numpy(), self._settings.text_bytes_max)
            except TextRefused as refused:
                parts.append(str(refused))
                continue
            parts.append(slice(len(texts), len(texts) + len(read)))
            texts += read
        try:
            tensors = self._front(texts) if texts else {}
        except Exception as error:  # noqa: BLE001 - the text of an error may quote a text; Triton would log and return it
            failure = triton.InferenceResponse(error=triton.TritonError(f"the model failed: {type(error).__name__}"))
            return [failure for _ in requests]
        return [_response(part, {**tensors, "BUILD": np.full((len(texts), 1), self._build, np.object_)}) for part in parts]


def _response(part: slice | str, tensors: dict[str, NDArray[Any]]) -> Any:
    if isinstance(part, str):
        return triton.InferenceResponse(error=triton.TritonError(part, triton.TritonError.INVALID_ARG))
    return triton.InferenceResponse([triton.Tensor(name, np.ascontiguousarray(rows[part])) for name, rows in tensors.items()])


def _server_encoder(model: str, output: str) -> Encode:
    """Gives an encoder that another model of this server runs."""

    def encode(ids: NDArray[np.int32], mask: NDArray[np.int32]) -> NDArray[np.float32]:
        tensors = [triton.Tensor("input_ids", ids), triton.Tensor("attention_mask", mask)]
        response = triton.InferenceRequest(model_name=model, requested_output_names=[output], inputs=tensors).exec()
        if response.has_error():
            raise RuntimeError(f"the model {model} failed")
        # The answer may lie in the memory of the GPU.
        found: NDArray[np.float32] = np.from_dlpack(triton.get_output_tensor_by_name(response, output)).astype(np.float32)
        return found

    return encode
