"""TensorRT plans of the encoders with dynamic shapes, built on the host that has the GPU, and their places in the repository.

A plan fits one kind of GPU and one version of TensorRT: that of the Triton that serves it. Not verified on a GPU (docs/unverified.md).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from models.build.heads import OUTPUTS
from models.build.variants import GPU_VARIANTS
from models.spec import ModelSpec
from schemas.errors import ConfigError, FatalError

#: Rows that a plan takes at once, and cells (rows times tokens) that a front sends at once.
ROWS_MAX: Final = 256
CELLS_MAX: Final = ROWS_MAX * 128
_ROWS_USUAL: Final = 64
_WORKSPACE_BYTES: Final = 2 << 30
_NAMES: Final = ("input_ids", "attention_mask")


def encoder_name(model: str, precision: str) -> str:
    """Gives the name of the model that holds a plan."""
    return f"{model}_{precision}"


def profile(window_tokens: int) -> dict[str, tuple[tuple[int, int], tuple[int, int], tuple[int, int]]]:
    """Gives the least, usual and largest shape of each input."""
    shapes = ((1, 2), (_ROWS_USUAL, window_tokens // 2), (ROWS_MAX, window_tokens))
    return dict.fromkeys(_NAMES, shapes)


def providers(precision: str, window_tokens: int) -> dict[str, dict[str, str]]:
    """Gives the providers of ONNX Runtime for a GPU, TensorRT first; its plan is built at the first start and kept beside the model."""
    least, usual, most = (",".join(f"{name}:{rows}x{tokens}" for name in _NAMES) for rows, tokens in profile(window_tokens)[_NAMES[0]])
    tensorrt = {
        "trt_fp16_enable": "True",
        "trt_int8_enable": str(precision == "gpu_int8"),
        "trt_engine_cache_enable": "True",
        "trt_engine_cache_path": "/tmp/headrace-tensorrt",
        "trt_profile_min_shapes": least,
        "trt_profile_opt_shapes": usual,
        "trt_profile_max_shapes": most,
    }
    return {"TensorrtExecutionProvider": tensorrt, "CUDAExecutionProvider": {}}


def config_text(spec: ModelSpec, precision: str) -> str:
    """Gives the configuration of a plan for Triton."""
    output, shape = OUTPUTS[spec.name]
    dims = [part if isinstance(part, int) else -1 for part in shape[1:]]
    inputs = ",\n".join(f'  {{ name: "{name}" data_type: TYPE_INT32 dims: [ -1 ] }}' for name in _NAMES)
    return f"""# The encoder of {spec.name} in {precision}, for its front; clients ask {spec.name}.
name: "{encoder_name(spec.name, precision)}"
platform: "tensorrt_plan"
max_batch_size: {ROWS_MAX}
input [
{inputs}
]
output [ {{ name: "{output}" data_type: TYPE_FP32 dims: [ {", ".join(map(str, dims))} ] }} ]
# Fronts send whole batches: nothing is gained by waiting for more.
response_cache {{ enable: false }}
# Two instances: one copies while the other computes.
instance_group [ {{ kind: KIND_GPU count: 2 }} ]
optimization {{ cuda {{ graphs: true }} }}
"""


def write_plans(output: Path, spec: ModelSpec, version: int, tell: Callable[[str], None]) -> list[Path]:
    """Builds the plans of a model from the ONNX files beside its front, and writes them into the repository.

    Raises:
        ConfigError: TensorRT is not installed, or there is no GPU.
        FatalError: TensorRT could not build a plan.
    """
    written = []
    for precision in GPU_VARIANTS:
        tell(f"{spec.name}: building the TensorRT plan in {precision}; this takes minutes")
        plan = build_plan(output / spec.name / str(version) / f"{precision}.onnx", spec.window_tokens)
        home = output / encoder_name(spec.name, precision)
        (home / str(version)).mkdir(parents=True, exist_ok=True)
        (home / "config.pbtxt").write_text(config_text(spec, precision), encoding="utf-8")
        (home / str(version) / "model.plan").write_bytes(plan)
        written.append(home / str(version) / "model.plan")
    return written


def require_tensorrt() -> Any:
    """Gives the package ``tensorrt``.

    Raises:
        ConfigError: It is not installed.
    """
    try:
        import tensorrt
    except ImportError:
        raise ConfigError(
            "--target gpu: the package tensorrt is not installed; on the GPU host: pip install tensorrt, in the version of the Triton image "
            "that will serve (24.10: tensorrt-cu12==10.5.0), or choose --runner onnxruntime, whose provider builds the plan when it starts"
        ) from None
    return tensorrt


def build_plan(path: Path, window_tokens: int) -> bytes:
    """Gives the plan of an ONNX model, strongly typed: each layer computes in the type that the model states.

    Raises:
        ConfigError: There is no TensorRT or no GPU.
        FatalError: The model could not be parsed or built.
    """
    tensorrt = require_tensorrt()
    logger = tensorrt.Logger(tensorrt.Logger.WARNING)
    try:
        builder = tensorrt.Builder(logger)
    except (RuntimeError, TypeError) as error:
        raise ConfigError(f"--target gpu: TensorRT {tensorrt.__version__} finds no GPU ({type(error).__name__}); see nvidia-smi") from None
    network = builder.create_network(1 << int(tensorrt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = tensorrt.OnnxParser(network, logger)
    if not parser.parse(path.read_bytes()):
        reasons = "; ".join(parser.get_error(number).desc() for number in range(parser.num_errors))
        raise FatalError(f"{path}: TensorRT {tensorrt.__version__} cannot read the model: {reasons}")
    config = builder.create_builder_config()
    config.set_memory_pool_limit(tensorrt.MemoryPoolType.WORKSPACE, _WORKSPACE_BYTES)
    # Ten bits of mantissa would tip roundings to INT8 over, and a batch would move scores.
    config.clear_flag(tensorrt.BuilderFlag.TF32)
    shapes = builder.create_optimization_profile()
    for name, (least, usual, most) in profile(window_tokens).items():
        shapes.set_shape(name, least, usual, most)
    config.add_optimization_profile(shapes)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise FatalError(f"{path}: TensorRT {tensorrt.__version__} built no plan; its messages are above")
    return bytes(plan)
