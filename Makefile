# What one can do with this checkout. Every target that needs the environment makes it first (scripts/setup.sh, nothing to do when it is there).
SHELL := /bin/bash
.DEFAULT_GOAL := help
BIN := .venv/bin
# Options passed on to the command of a target, for example: make demo ARGS="--seconds 30"
ARGS ?=
# How tests run beside one another: a file stays together, so that what it starts is started once. Three on two cores, for many of them wait.
BESIDE := --numprocesses 3 --dist loadfile
# Packages that are installed without what they ask for.
ALONE := encoder triton-server train-data train-test
LOCKS := core dev $(filter-out core dev $(ALONE),$(basename $(notdir $(wildcard requirements/*.in))))
UV_COMPILE := $(BIN)/uv pip compile --quiet --generate-hashes --no-emit-index-url --no-emit-find-links --python-version 3.11 --custom-compile-command "make lock"

.PHONY: help setup flink demo test test-all simulate chaos bench bench-full models-report lint format lock

help: ## show this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{ printf "  make %-10s %s\n", $$1, $$2 }'

setup: ## make .venv from the lock files; as root on Debian also install Java and Maven for the embedded broker
	@scripts/setup.sh

flink: setup ## make the environment of the Flink engine (.headrace/flink, about 1.5 GB)
	@scripts/flink.sh

demo: setup ## start broker, database, a simulated fleet and the pipeline, and show what flows; ARGS="--seconds 30" ends it
	$(BIN)/headrace demo $(ARGS)

test: lint ## lint, then every test that takes seconds, three files at a time: the answer in under 15 minutes
	$(BIN)/pytest -m "not slow" $(BESIDE) $(ARGS)

test-all: lint flink ## lint, then every test, the long ones too
	$(BIN)/pytest $(BESIDE) $(ARGS)

chaos: setup ## end 100 lives of a pipeline under load, and look at all that came out; ARGS="--seed 7 --kills 20" for others
	$(BIN)/pytest tests/chaos -rA -s --kills 100 --full-rate 10000 $(ARGS)

simulate: setup ## seeded crashes through real lanes and sinks on a simulated broker; ARGS="--schedules 10000 --seed 1"
	POLARS_MAX_THREADS=1 $(BIN)/python -m tests.simulation $(ARGS)

bench: setup ## measure in short runs (about 15 minutes): end to end, peers, each stage; writes benchmarks/results.md
	$(BIN)/python -m benchmarks.end_to_end capacity latency costs memory --quick
	$(BIN)/python -m benchmarks.profiler
	$(BIN)/python -m benchmarks.peer_runs --quick
	$(BIN)/python -m benchmarks.stages --quick
	$(BIN)/python -m benchmarks.stage_models --quick
	$(BIN)/headrace models build --target cpu
	$(BIN)/python -m benchmarks.end_to_end_models --quick
	$(BIN)/python -m benchmarks.vectors
	$(BIN)/python -m benchmarks.triton --quick
	$(BIN)/python -m benchmarks.report

bench-full: setup ## measure in long runs (about two hours, on a quiet machine); writes benchmarks/results.md
	$(BIN)/python -m benchmarks.end_to_end capacity latency costs memory
	$(BIN)/python -m benchmarks.profiler
	$(BIN)/python -m benchmarks.peer_runs
	$(BIN)/python -m benchmarks.stages
	$(BIN)/python -m benchmarks.stage_models
	$(BIN)/headrace models build --target cpu
	$(BIN)/python -m benchmarks.end_to_end_models
	$(BIN)/python -m benchmarks.vectors
	$(BIN)/python -m benchmarks.triton
	$(BIN)/python -m benchmarks.report

models-report: setup ## measure the committed weights of the models on sources kept for tests (about ten minutes); writes docs/models-training.md
	$(BIN)/python -c 'import pathlib, models.train.environment as e; e.make(pathlib.Path.cwd(), print, with_tests=True)'
	.headrace/train/env/bin/python -m models.train evaluate

lint: setup ## check style, format, types and the direction of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

format: setup ## rewrite the code in the format that lint checks
	$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/ruff format .

lock: setup ## resolve the lock files anew after a change of requirements/*.in
	export VIRTUAL_ENV=$(CURDIR)/.venv UV_SYSTEM_CERTS=true; \
	for name in $(LOCKS); do $(UV_COMPILE) requirements/$$name.in -o requirements/$$name.lock || exit 1; done; \
	for name in $(ALONE); do $(UV_COMPILE) --no-deps requirements/$$name.in -o requirements/$$name.lock || exit 1; done
