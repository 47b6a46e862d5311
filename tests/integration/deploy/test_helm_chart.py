"""The Helm chart gives manifests that Kubernetes accepts, a configuration that headrace accepts, and pods that a break-in could do little with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import kubernetes_validate  # type: ignore[import-untyped]
import pytest
import yaml
from helm_python import Chart, HelmError

from streams.config import Config, load_config
from tests.fixtures.deployment import ROOT

Manifest = dict[str, Any]
#: The oldest that the chart accepts and a new one.
KUBERNETES = ("1.27", "1.33")
#: Of operators: Kubernetes knows no schema of them. Their definitions accepted them by hand (docs/unverified.md).
FOREIGN = {"FlinkDeployment", "ScaledObject", "PodMonitor"}
KEY = "x" * 32
BYTEWAX: Mapping[str, Any] = {}
EVERYTHING: Mapping[str, Any] = {
    "config": {"kafka": {"bootstrap": "kafka-1:9093,kafka-2:9093", "topic_prefix": "prod."}, "pipeline": {"lanes": 4}},
    "policy": "id: ours\nversion: 7\n",
    "secretFiles": {"/certificates": "kafka-tls"},
    "imagePullSecrets": [{"name": "ours"}],
    "nodeSelector": {"disk": "ssd"},
    "podMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
    "networkPolicy": {"to": [{"to": [{"ipBlock": {"cidr": "10.0.0.0/8"}}], "ports": [{"port": 9093}]}]},
}
FLINK: Mapping[str, Any] = {
    "engine": "flink",
    "config": {"kafka": {"bootstrap": "kafka:9092", "topic_prefix": "prod."}, "pipeline": {"name": "fleet"}},
    "flink": {"resume": "s3://headrace/savepoints/savepoint-1", "autoscaling": {"enabled": True, "max": 8}},
}


def rendered(values: Mapping[str, Any]) -> list[Manifest]:
    with Chart.load(ROOT / "deploy/helm/headrace") as chart:
        files = chart.render(values=dict(values), name="prod", namespace="streams")
    return [manifest for text in files.values() for manifest in yaml.safe_load_all(text) if manifest]


def one(manifests: list[Manifest], kind: str) -> Manifest:
    (found,) = [manifest for manifest in manifests if manifest["kind"] == kind]
    return found


def pods(manifests: list[Manifest]) -> Iterator[Manifest]:
    """Gives each pod as Kubernetes would make it, those of Flink's operator too."""
    for manifest in manifests:
        template = manifest.get("spec", {}).get("template") or manifest.get("spec", {}).get("podTemplate")
        if template is not None:
            yield {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "one"}, **template}


def problems(manifest: Manifest) -> list[str]:
    found = []
    for version in KUBERNETES:
        try:
            kubernetes_validate.validate(manifest, version, strict=True)
        except (kubernetes_validate.ValidationError, kubernetes_validate.SchemaNotFoundError) as error:
            found.append(f"{manifest['kind']} {version}: {error}")
    return found


@pytest.mark.parametrize("values", [BYTEWAX, EVERYTHING, FLINK], ids=["bytewax", "everything", "flink"])
def test_kubernetes_accepts_what_the_chart_gives(values: Mapping[str, Any]) -> None:
    manifests = rendered(values)
    assert [problem for manifest in manifests if manifest["kind"] not in FOREIGN for problem in problems(manifest)] == []
    assert [problem for pod in pods(manifests) if "image" in pod["spec"]["containers"][0] for problem in problems(pod)] == []
    assert len(manifests) >= 6


def test_a_field_that_kubernetes_does_not_know_is_caught() -> None:
    spoilt = one(rendered(BYTEWAX), "StatefulSet")
    spoilt["spec"]["template"]["spec"]["containers"][0]["portz"] = []
    assert len(problems(spoilt)) == len(KUBERNETES)


@pytest.mark.parametrize("values", [BYTEWAX, EVERYTHING, FLINK], ids=["bytewax", "everything", "flink"])
def test_headrace_accepts_the_configuration_in_it(values: Mapping[str, Any], tmp_path: Any) -> None:
    manifests = rendered(values)
    path = tmp_path / "headrace.yaml"
    path.write_text(one(manifests, "ConfigMap")["data"]["headrace.yaml"])
    (first, *_) = pods(manifests)
    environment = {variable["name"]: KEY for variable in first["spec"]["containers"][0]["env"] if "valueFrom" in variable}
    config = load_config(path, environment)
    assert isinstance(config, Config)
    wanted = values.get("config", {}).get("kafka", {}).get("bootstrap", "kafka:9092")
    assert config.require_kafka().bootstrap == wanted
    assert str(config.recovery.dir) == "/var/lib/headrace/recovery"
    assert (config.http is None) is (values.get("engine") == "flink"), "Flink has pages of its own"


@pytest.mark.parametrize("values", [BYTEWAX, EVERYTHING, FLINK], ids=["bytewax", "everything", "flink"])
def test_no_pod_runs_as_root_or_with_capabilities(values: Mapping[str, Any]) -> None:
    for pod in pods(rendered(values)):
        spec = pod["spec"]
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in spec["containers"]:
            assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
            assert container["securityContext"]["allowPrivilegeEscalation"] is False
            assert container["name"] == "flink-main-container" or container["securityContext"]["readOnlyRootFilesystem"] is True


def test_a_recovery_directory_has_one_pod() -> None:
    stateful = one(rendered(EVERYTHING), "StatefulSet")
    assert stateful["spec"]["replicas"] == 1
    assert stateful["spec"]["volumeClaimTemplates"][0]["spec"]["accessModes"] == ["ReadWriteOnce"]


def test_secrets_are_references() -> None:
    for values in (EVERYTHING, FLINK):
        manifests = rendered(values)
        assert [manifest for manifest in manifests if manifest["kind"] == "Secret"] == []
        for pod in pods(manifests):
            for variable in pod["spec"]["containers"][0]["env"]:
                assert variable["name"] == "HEADRACE_CONFIG" or set(variable["valueFrom"]) == {"secretKeyRef"}


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"config": {"kafka": {"bootstrap": "kafka:9092"}, "privacy": {"hash_key": KEY}}}, "privacy"),
        ({"config": {"kafka": {"bootstrap": "kafka"}}}, "bootstrap"),
        ({"engine": "spark"}, "engine"),
        ({"replicas": 3}, "replicas"),
        ({"secrets": {"HEADRACE_PRIVACY__HASH_KEY": KEY}}, "HASH_KEY"),
    ],
)
def test_wrong_values_are_refused(values: Mapping[str, Any], said: str) -> None:
    with pytest.raises(HelmError, match=said):
        rendered(values)


def test_the_lag_of_every_input_topic_moves_the_number_of_task_managers() -> None:
    manifests = rendered(FLINK)
    scaled, cluster = one(manifests, "ScaledObject")["spec"], one(manifests, "FlinkDeployment")
    assert scaled["scaleTargetRef"]["name"] == cluster["metadata"]["name"]
    assert cluster["spec"]["mode"] == "standalone", "only there is the number of TaskManagers a scale"
    assert "replicas" not in cluster["spec"]["taskManager"], "an upgrade would set the number back"
    topics = [trigger["metadata"]["topic"] for trigger in scaled["triggers"]]
    assert topics == [f"prod.{topic}" for topic in Config().input_topics]
    assert {trigger["metadata"]["consumerGroup"] for trigger in scaled["triggers"]} == {"fleet"}


def test_the_job_goes_on_from_the_savepoint_that_is_named() -> None:
    (container,) = one(rendered(FLINK), "Job")["spec"]["template"]["spec"]["containers"]
    assert container["args"] == ["run", "--engine=flink", "--cluster=http://prod-rest:8081", "--resume=s3://headrace/savepoints/savepoint-1"]
