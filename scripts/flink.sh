#!/usr/bin/env bash
# Makes what `headrace run --engine flink` needs: a Python environment from requirements/flink.lock, and the Kafka connector's jar. Run it as: make flink
set -euo pipefail
cd "$(dirname "$0")/.."

PLACE=.headrace/flink
export UV_SYSTEM_CERTS=true

sum=$(sha256sum <requirements/flink.lock)
if [ "$(cat $PLACE/env/stamp 2>/dev/null)" != "$sum" ]; then
    echo "flink: making $PLACE/env from requirements/flink.lock" >&2
    .venv/bin/uv venv --quiet --clear --python .venv/bin/python $PLACE/env
    .venv/bin/uv pip install --quiet --python $PLACE/env/bin/python --require-hashes -r requirements/flink.lock </dev/null
    # As in setup.sh: what is imported at every start of a worker is compiled once.
    env -u PYTHONDONTWRITEBYTECODE $PLACE/env/bin/python -W ignore -c 'import streams.engines.flink.functions, streams.engines.flink.job, apache_beam.runners, pandas
import pyflink.table, pyflink.fn_execution.beam.beam_sdk_worker_main'
    printf '%s\n' "$sum" >$PLACE/env/stamp
fi
.venv/bin/python -m streams.engines.flink.parts
