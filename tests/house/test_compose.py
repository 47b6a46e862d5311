"""docker-compose.yml is a valid compose file that publishes on the loopback interface only and holds no secret."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from streams.config import load_config
from streams.model_client import configured_endpoint

from source_tree import ROOT, read

#: The JSON schema of github.com/compose-spec/compose-spec at 170098ba (Apache-2.0).
SPEC = json.loads((Path(__file__).parent / "data" / "compose-spec.json").read_text())
ONE_SHOT = {"migrate"}
Compose = dict[str, Any]


@pytest.fixture
def compose() -> Compose:
    loaded = yaml.safe_load(read("docker-compose.yml"))
    assert isinstance(loaded, dict)
    return loaded


def problems(compose: Compose) -> Iterator[str]:
    """Finds everything that the house does not want in a compose file."""
    yield from (error.message for error in jsonschema.Draft7Validator(SPEC).iter_errors(compose))
    for name, service in compose["services"].items():
        image = service.get("image", "")
        if "build" not in service and not re.search(r":v?\d+\.\d+(\.\d+)?(-[a-z0-9]+)?$", image):
            yield f"{name}: image {image} is not pinned to a version"
        yield from (f"{name}: port {port} is not on 127.0.0.1" for port in service.get("ports", []) if not str(port).startswith("127.0.0.1:"))
        if name in ONE_SHOT:
            if service.get("restart") != "no":
                yield f"{name}: runs once, yet is restarted"
        elif "healthcheck" not in service:
            yield f"{name}: has no health check"
        for variable, value in service.get("environment", {}).items():
            if re.search(r"PASSWORD|API_KEY|HASH_KEY|SECRET", variable) and not re.fullmatch(r"\$\{[A-Z_]+:\?[^}]+\}", str(value)):
                yield f"{name}: {variable} is not required from .env"
        for other, how in service.get("depends_on", {}).items():
            wanted = "service_completed_successfully" if other in ONE_SHOT else "service_healthy"
            if other not in compose["services"] or how["condition"] != wanted:
                yield f"{name}: waits for {other} by {how['condition']}"
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            if source.startswith("./") and not (ROOT / source).exists():
                yield f"{name}: mounts {source}, which does not exist"


def test_the_compose_file_is_sound(compose: Compose) -> None:
    assert list(problems(compose)) == []


@pytest.mark.parametrize(
    "spoil",
    [
        lambda c: c["services"]["kafka"].update(port=[1]),
        lambda c: c["services"]["kafka"].update(image="apache/kafka:latest"),
        lambda c: c["services"]["kafka"].update(ports=["9094:9094"]),
        lambda c: c["services"]["grafana"].pop("healthcheck"),
        lambda c: c["services"]["timescaledb"]["environment"].update(POSTGRES_PASSWORD="headrace"),
        lambda c: c["services"]["timescaledb"]["environment"].update(POSTGRES_PASSWORD="${P:-headrace}"),
        lambda c: c["services"]["headrace"]["depends_on"].update(migrate={"condition": "service_started"}),
        lambda c: c["services"]["prometheus"]["volumes"].append("./deploy/nothing.yml:/x:ro"),
    ],
)
def test_a_spoilt_compose_file_is_caught(compose: Compose, spoil: Callable[[Compose], object]) -> None:
    spoilt = copy.deepcopy(compose)
    spoil(spoilt)
    assert list(problems(spoilt)) != []


def test_every_part_that_the_pipeline_lives_among_is_there(compose: Compose) -> None:
    wanted = {"kafka", "schema-registry", "timescaledb", "qdrant", "triton", "prometheus", "grafana", "headrace"}
    assert wanted - compose["services"].keys() == set()


def test_the_example_environment_names_every_secret_and_holds_none(compose: Compose) -> None:
    required = set(re.findall(r"\$\{([A-Z_]+):\?", read("docker-compose.yml")))
    example = dict(re.findall(r"^([A-Z_]+)=(.*)$", read(".env.example"), flags=re.MULTILINE))
    assert example.keys() == required
    assert set(example.values()) == {""}


def test_the_broker_is_the_one_that_the_tests_run(compose: Compose) -> None:
    pom = read("streams/embedded/kafka_jars/pom.xml")
    version = re.search(r"<kafka.version>(.*)</kafka.version>", pom)
    assert version is not None
    assert compose["services"]["kafka"]["image"] == f"apache/kafka:{version[1]}"


def test_the_environment_of_the_pipeline_is_a_valid_configuration(compose: Compose) -> None:
    given = {name: value for name, value in compose["services"]["headrace"]["environment"].items() if name.startswith("HEADRACE_")}
    config = load_config(ROOT / "tests/house/data/empty.yaml", given | {"HEADRACE_PRIVACY__HASH_KEY": "x" * 32})
    assert config.require_kafka().bootstrap == "kafka:9092"
    assert config.http is not None
    assert f"127.0.0.1:{config.http.port}:{config.http.port}" in compose["services"]["headrace"]["ports"]


def test_laid_over_it_the_models_are_a_valid_configuration_and_may_be_shown_raw_text(compose: Compose) -> None:
    over = yaml.safe_load(read("deploy/with-models.yml"))["services"]["headrace"]["environment"]
    models = load_config(ROOT / "tests/house/data/empty.yaml", {**over, "HEADRACE_PRIVACY__HASH_KEY": "x" * 32}).models
    assert models is not None
    host, _, port = models.url.rpartition(":")
    assert any(published.endswith(f":{port}") for published in compose["services"][host]["ports"])
    assert configured_endpoint(models).may_carry_raw


def test_both_model_servers_differ_in_hardware_and_repository_only(compose: Compose) -> None:
    cpu, gpu = (copy.deepcopy(compose["services"][name]) for name in ("triton", "triton-gpu"))
    assert (cpu.pop("profiles"), gpu.pop("profiles")) == (["models"], ["gpu"])
    assert [mount.replace("/cpu:", "/gpu:") for mount in cpu.pop("volumes")] == gpu.pop("volumes")
    assert gpu.pop("networks") == {"default": {"aliases": ["triton"]}}
    assert gpu.pop("deploy")["resources"]["reservations"]["devices"][0]["capabilities"] == ["gpu"]
    assert cpu == gpu


def test_the_model_server_keeps_requests_out_of_its_log(compose: Compose) -> None:
    assert {"--log-verbose=0", "--log-error=false", "--log-warning=false"} <= set(compose["services"]["triton"]["command"])
