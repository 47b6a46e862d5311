"""The configuration: every problem at once, by its place; secrets never shown; the last word to the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from schemas.errors import ConfigError
from streams.config import Config, ConfluentRegistryConfig, FileRegistryConfig, QdrantEdgeConfig, QdrantServerConfig, StartTimestamp, load_config


def written(folder: Path, text: str) -> Path:
    path = folder / "headrace.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def problems(path: Path | None, environ: dict[str, str] | None = None, **overrides: object) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        load_config(path, environ or {}, {key.replace("__", "."): value for key, value in overrides.items()})
    return caught.value.problems


def test_all_problems_come_at_once_each_with_its_line_and_fix(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        "pipeline:\n  nmae: x\n  lanes: many\nkafka:\n  inputs: [agent_event]\nsource:\n  lingr_ms: 3\nregistry:\n  type: confluent\n",
    )
    assert problems(path) == (
        f"{path}, line 3: pipeline.lanes: input should be a valid integer, unable to parse string as an integer",
        f"{path}, line 2: pipeline.nmae is not a key (did you mean name?); known here: name, lanes, workers, stop_grace_ms, policy, "
        "window_s, lateness_s, dedup_ttl_s",
        f"{path}, line 4: kafka.bootstrap is required and absent; add it or set HEADRACE_KAFKA__BOOTSTRAP",
        f"{path}, line 5: kafka.inputs: each must be one of agent_events, tool_executions, reasoning_traces, workflow_events, system_events "
        "(did you mean agent_events?)",
        f"{path}, line 7: source.lingr_ms is not a key (did you mean linger_ms?); known here: batch_rows_max, linger_ms, start, idle_ms, "
        "batch_target_ms, rows_in_flight_max, source_lanes, front_processes",
        f"{path}, line 8: registry.url is required and absent; add it or set HEADRACE_REGISTRY__URL",
    )


def test_a_key_that_stands_twice_is_a_problem(tmp_path: Path) -> None:
    path = written(tmp_path, "pipeline:\n  lanes: 2\n  lanes: 3\n")
    assert problems(path) == (f"{path}, line 3: pipeline.lanes stands twice, first in line 2; remove one",)


@pytest.mark.parametrize(("text", "says"), [("a: [", "line 1"), ("- 1", "must be a mapping"), ("a: 'x", "is not YAML")])
def test_a_file_that_is_no_mapping_is_refused_without_quoting_it(tmp_path: Path, text: str, says: str) -> None:
    (problem,) = problems(written(tmp_path, text))
    assert says in problem


def test_a_missing_file_names_itself(tmp_path: Path) -> None:
    (problem,) = problems(tmp_path / "absent.yaml")
    assert str(tmp_path / "absent.yaml") in problem
    assert "--config" in problem


def test_the_command_line_overrides_the_environment_which_overrides_the_file(tmp_path: Path) -> None:
    path = written(tmp_path, "pipeline:\n  lanes: 3\n  workers: 3\n  window_s: 3\n")
    environ = {"HEADRACE_PIPELINE__WORKERS": "4", "HEADRACE_PIPELINE__WINDOW_S": "4"}
    pipeline = load_config(path, environ, {"pipeline.window_s": 5}).pipeline
    assert (pipeline.lanes, pipeline.workers, pipeline.window_s) == (3, 4, 5)


def test_lists_come_from_the_environment_in_brackets() -> None:
    config = load_config(None, {"HEADRACE_KAFKA__BOOTSTRAP": "127.0.0.1:9092", "HEADRACE_KAFKA__INPUTS": "[agent_events, tool_executions]"})
    assert config.require_kafka().inputs == ("agent_events", "tool_executions")


def test_a_problem_in_the_environment_names_the_variable() -> None:
    assert problems(None, {"HEADRACE_PIPELINE__LANES": "0"}) == (
        "environment HEADRACE_PIPELINE__LANES: pipeline.lanes: input should be greater than or equal to 1",
    )
    (problem,) = problems(None, {"HEADRACE_KAFKKA__BOOTSTRAP": "x:1"})
    assert "did you mean kafka?" in problem


def test_ids_must_outlive_windows(tmp_path: Path) -> None:
    assert load_config(written(tmp_path, "pipeline: {dedup_ttl_s: 71}"), {}).pipeline.dedup_ttl_s == 71
    (problem,) = problems(written(tmp_path, "pipeline: {dedup_ttl_s: 70}"))
    assert "must be more than window_s + lateness_s = 70, came 70" in problem


def test_settings_that_delivery_depends_on_are_refused(tmp_path: Path) -> None:
    (problem,) = problems(written(tmp_path, "kafka:\n  bootstrap: a:1\n  security:\n    acks: '1'\n    enable.idempotence: 'false'\n"))
    assert "acks, enable.idempotence is set by headrace" in problem


def test_a_secret_in_the_clear_is_refused_and_not_repeated(tmp_path: Path) -> None:
    path = written(
        tmp_path, "kafka:\n  bootstrap: a:1\n  security:\n    sasl.password: hunter2hunter2\nprivacy:\n  hash_key: hunter2hunter2hunter2\n"
    )
    found = problems(path)
    assert [problem.split(" is ")[0] for problem in found] == [f"{path}, line 4: kafka.security.sasl.password", f"{path}, line 6: privacy.hash_key"]
    assert "hunter2" not in "".join(found)


def test_secrets_come_from_the_environment_and_print_masked(tmp_path: Path) -> None:
    path = written(tmp_path, "kafka:\n  bootstrap: a:1\n  security:\n    sasl.password: ${PASSWORD}\ntimescale:\n  dsn: ${DSN}\n")
    config = load_config(path, {"PASSWORD": "hunter2", "DSN": "postgresql://u:hunter2@h/d"})
    assert config.require_kafka().client_settings()["sasl.password"] == "hunter2"
    assert "hunter2" not in repr(config) + str(config) + config.model_dump_json()


def test_a_variable_that_is_not_set_is_a_problem(tmp_path: Path) -> None:
    path = written(tmp_path, "timescale:\n  dsn: ${ABSENT}\n")
    assert problems(path)[0] == f"{path}, line 2: timescale.dsn names the environment variable ABSENT, which is not set; set it"


def test_alternatives_are_told_by_their_type(tmp_path: Path) -> None:
    config = load_config(written(tmp_path, "registry: {type: confluent, url: 'http://r:8081'}\nsource: {start: {type: timestamp, at_ms: 5}}"), {})
    assert isinstance(config.registry, ConfluentRegistryConfig)
    assert config.source.start == StartTimestamp(at_ms=5)
    assert isinstance(Config().registry, FileRegistryConfig)
    assert load_config(None, {}, {"source.start": "latest"}).source.start.type == "latest"


def test_paths_in_the_file_are_relative_to_the_file(tmp_path: Path) -> None:
    config = load_config(written(tmp_path, "pipeline: {policy: p.yaml}\nrecovery: {dir: r}\n"), {})
    assert config.pipeline.policy == tmp_path / "p.yaml"
    assert config.recovery.dir == tmp_path / "r"


def test_absent_parts_are_absent() -> None:
    config = load_config(None, {})
    assert (config.kafka, config.timescale, config.http, config.testing.failpoint) == (None, None, None, None)
    with pytest.raises(ConfigError, match="HEADRACE_KAFKA__BOOTSTRAP"):
        config.require_kafka()


def test_a_vector_store_is_told_by_its_type_and_knows_kinds_and_columns(tmp_path: Path) -> None:
    config = load_config(written(tmp_path, "qdrant: {type: edge, path: vectors}\n"), {})
    assert config.qdrant == QdrantEdgeConfig(path=tmp_path / "vectors")
    server = load_config(written(tmp_path, "qdrant: {type: server, url: 'http://q:6333', grpc_port: null, api_key: '${KEY}'}\n"), {"KEY": "hunter2"})
    assert isinstance(server.qdrant, QdrantServerConfig)
    assert server.qdrant.grpc_port is None
    assert "hunter2" not in repr(server)
    path = written(tmp_path, "qdrant:\n  type: server\n  url: q:6333\n  api_key: hunter2\n  texts:\n    tools: [output]\n")
    assert problems(path) == (
        f"{path}, line 4: qdrant.api_key is a secret in the clear; write ${{NAME}} and set NAME in the environment",
        f"{path}, line 5: qdrant.texts: each must be one of agent, tool, reasoning, workflow, system (did you mean tool?)",
        f"{path}, line 3: qdrant.url: string should match pattern '^https?://[^\\s/]+(/\\S*)?$'",
    )
    assert "input, output, error, attributes" in problems(written(tmp_path, "qdrant: {type: local, texts: {tool: [outputs]}}\n"))[0]
    assert "collection, texts" in problems(written(tmp_path, "qdrant: {type: edge, url: x}\n"))[0]
