"""What the build writes: complete, described by its manifest, equal to the contract, and never half of a version."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from google.protobuf import text_format
from tritonclient.grpc.model_config_pb2 import DataType, ModelConfig, ModelInstanceGroup

from models.build.compare import ALONE
from models.build.gpu import config_text, encoder_name, profile, providers
from models.build.heads import OUTPUTS
from models.build.repository import ALONE_MOST, SOURCE, Built, Order, build, refuse_leaks
from models.build.variants import GPU_VARIANTS
from models.digest import sha256
from models.front.settings import FILE, read_settings
from models.spec import MODELS, ModelSpec, TensorSpec
from schemas.errors import FatalError
from streams.cli.main import status_of
from tests.fixtures.built_models import EVALUATED

KINDS = {"FP32": "TYPE_FP32", "BYTES": "TYPE_STRING", "INT32": "TYPE_INT32"}
BY_NAME = pytest.mark.parametrize("spec", MODELS, ids=lambda spec: spec.name)


def parsed(text: str) -> ModelConfig:
    return text_format.Parse(text, ModelConfig())


def tensors(specs: Sequence[TensorSpec]) -> list[tuple[str, str, list[int]]]:
    return [(spec.name, KINDS[spec.dtype], list(spec.shape)) for spec in specs]


@BY_NAME
@pytest.mark.parametrize("file", ["config.pbtxt", "configs/gpu.pbtxt"])
def test_the_configuration_is_the_contract(spec: ModelSpec, file: str) -> None:
    config = parsed((SOURCE / spec.name / file).read_text())
    assert (config.name, config.backend, config.max_batch_size) == (spec.name, "python", spec.batch_max)
    assert [(one.name, DataType.Name(one.data_type), list(one.dims)) for one in config.input] == tensors(spec.inputs)
    assert [(one.name, DataType.Name(one.data_type), list(one.dims)) for one in config.output] == tensors(spec.outputs)
    assert config.dynamic_batching.max_queue_delay_microseconds == spec.queue_delay_us
    assert list(config.dynamic_batching.preferred_batch_size) == [], "it stalls requests for 500 ms"
    assert not config.response_cache.enable
    assert [group.kind for group in config.instance_group] == [ModelInstanceGroup.KIND_CPU], "fronts tokenise on the CPU, whatever runs the encoder"
    assert [list(warm_up.inputs) for warm_up in config.model_warmup] == [["TEXT"]]


def test_every_model_of_the_contract_is_in_the_repository_and_no_other() -> None:
    assert sorted(path.name for path in SOURCE.iterdir() if path.is_dir()) == sorted(spec.name for spec in MODELS)


@BY_NAME
@pytest.mark.parametrize("precision", list(GPU_VARIANTS))
def test_a_plan_is_configured_as_its_graph_is(spec: ModelSpec, precision: str) -> None:
    config = parsed(config_text(spec, precision))
    (least, _, most) = profile(spec.window_tokens)["input_ids"]
    assert (config.name, config.platform) == (encoder_name(spec.name, precision), "tensorrt_plan")
    assert (config.max_batch_size, spec.window_tokens) == most
    assert least == (1, 2)
    assert [(one.name, list(one.dims)) for one in config.input] == [("input_ids", [-1]), ("attention_mask", [-1])]
    output, shape = OUTPUTS[spec.name]
    assert [(one.name, list(one.dims)) for one in config.output] == [(output, [part if isinstance(part, int) else -1 for part in shape[1:]])]
    assert [group.kind for group in config.instance_group] == [ModelInstanceGroup.KIND_GPU]
    assert (
        providers(precision, spec.window_tokens)["TensorrtExecutionProvider"]["trt_profile_max_shapes"]
        == f"input_ids:256x{spec.window_tokens},attention_mask:256x{spec.window_tokens}"
    )


def test_a_built_version_is_complete_and_its_manifest_true(built_models: Sequence[Built]) -> None:
    for built in built_models:
        manifest = json.loads((built.folder / "manifest.json").read_text())
        assert manifest == json.loads(json.dumps(built.manifest))
        files = {path.relative_to(built.folder).as_posix() for path in built.folder.rglob("*") if path.is_file()} - {"manifest.json"}
        assert manifest["files"] == {name: sha256(built.folder / name) for name in files}
        assert {"model.py", "model.onnx", "tokenizer.json", FILE, "front/fronts.py"} <= files
        assert manifest["files"]["model.onnx"] == manifest["variants"]["int8"]["sha256"]
        assert manifest["licence"] == "Apache-2.0"
        assert manifest["variants"]["int8"]["against_fp32"]["alone_or_in_a_batch"] <= 1e-3
        home = built.folder.parent
        assert sorted(path.name for path in home.iterdir()) == ["1", "config.pbtxt", "warmup"]
        assert int.from_bytes((home / "warmup" / "text").read_bytes()[:4], "little") == (home / "warmup" / "text").stat().st_size - 4
    accuracy = {built.model: built.manifest["variants"]["int8"]["against_fp32"] for built in built_models}
    assert accuracy["embedder"]["cosine_mean"] > 0.998
    assert accuracy["guard"]["injection"]["difference_most"] < 0.1
    assert accuracy["pii_tagger"]["PERSON"]["agreement_f1"] > 0.8


def test_a_model_built_twice_is_the_same_and_another_version_stands_beside_it(built_models: Sequence[Built], tmp_path: Path) -> None:
    (first,) = build(Order("cpu", tmp_path, ("embedder",), evaluation_count=EVALUATED))
    assert first.manifest == built_models[0].manifest
    (second,) = build(Order("cpu", tmp_path, ("embedder",), precision="fp32", version=2, evaluation_count=8))
    assert sorted(path.name for path in (tmp_path / "embedder").iterdir()) == ["1", "2", "config.pbtxt", "warmup"]
    assert second.manifest["files"]["model.onnx"] == first.manifest["variants"]["fp32"]["sha256"]


def test_a_variant_that_a_batch_moves_is_refused() -> None:
    refuse_leaks("guard", "int8", {ALONE: ALONE_MOST})
    with pytest.raises(FatalError, match=r"guard in int8: a batch moves a number by 0\.032, at most 0\.001 is accepted; it is not written"):
        refuse_leaks("guard", "int8", {ALONE: 0.032})
    with pytest.raises(FatalError, match="a batch moves a number by inf"):
        refuse_leaks("pii_tagger", "int8", {ALONE: float("inf")})


def test_what_is_copied_beside_a_model_imports_nothing_of_headrace(built_models: Sequence[Built]) -> None:
    """Runs in a process of its own that does not see the checkout."""
    folder = built_models[1].folder
    code = (
        "import sys, pathlib; from front.settings import read_settings; from front.rows import onnx_encoder; from front.fronts import FRONTS;"
        "from front.tokens import TextTokenizer; from front.requests import texts_of; here = pathlib.Path('.');"
        "given = read_settings(here / 'settings.json');"
        "front = FRONTS['guard'](TextTokenizer(here / 'tokenizer.json'), onnx_encoder(here, given, 1), given);"
        "print(front(['one', 'two'])['SCORES'].shape, [name for name in sys.modules if name.split('.')[0] in ('models', 'schemas', 'streams')])"
    )
    clean = {"PATH": os.defpath, "PYTHONPATH": str(folder)}
    ran = subprocess.run([sys.executable, "-P", "-c", code], cwd=folder, env=clean, capture_output=True, text=True, timeout=60, check=True)
    assert ran.stdout.strip() == "(2, 3) []"


def test_a_gpu_repository_names_the_plan_or_the_provider_that_runs_it(tmp_path: Path) -> None:
    (by_plan,) = build(Order("gpu", tmp_path / "plan", ("embedder",), precision="fp16", evaluation_count=32))
    settings = read_settings(by_plan.folder / FILE)
    assert (settings.runner.kind, settings.runner.model, settings.runner.output) == ("triton", "embedder_fp16", "mean")
    assert by_plan.manifest["variants"]["fp16"]["against_fp32"]["cosine_least"] > 0.9999
    assert by_plan.manifest["variants"]["gpu_int8"]["against_fp32"]["cosine_mean"] > 0.998
    assert {"fp16.onnx", "gpu_int8.onnx"} <= by_plan.manifest["files"].keys()
    (by_provider,) = build(Order("gpu", tmp_path / "provider", ("embedder",), precision="gpu_int8", runner="onnxruntime", evaluation_count=8))
    settings = read_settings(by_provider.folder / FILE)
    assert (settings.runner.kind, settings.runner.model) == ("onnxruntime", "gpu_int8.onnx")
    assert settings.runner.providers["TensorrtExecutionProvider"]["trt_int8_enable"] == "True"


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--target", "tpu"], "--target: must be one of cpu, gpu"),
        (["--model", "judge"], "--model: must be one of embedder, guard, pii_tagger"),
        (["--precision", "fp16"], "--precision on cpu: must be one of int8, fp32"),
        (["--target", "gpu"], "the package tensorrt is not installed"),
    ],
)
def test_a_wrong_option_is_told(options: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert status_of(["models", "build", *options]) == 2
    assert re.search(re.escape(told), capsys.readouterr().err)


def test_the_command_builds_and_shows_what_it_built(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert status_of(["models", "build", "--model", "embedder", "--output", str(tmp_path)]) == 0
    shown = capsys.readouterr()
    assert re.search(r"embedder +int8\* +58 +cosine_mean 0\.99", shown.out)
    assert "embedder: measuring activations" in shown.err
    assert (tmp_path / "embedder" / "1" / "model.onnx").is_file()
