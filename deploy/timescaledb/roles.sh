#!/usr/bin/env bash
# Makes the logins of Grafana and of the pipeline. The image runs it once, when it makes the database; what their roles may do, the migrations grant.
set -euo pipefail
psql --set ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" \
    --set reader="$HEADRACE_READER_PASSWORD" --set pipeline="$HEADRACE_PIPELINE_PASSWORD" <<'SQL'
CREATE ROLE headrace_viewer NOLOGIN;
CREATE ROLE headrace_writer NOLOGIN;
CREATE ROLE headrace_revealer NOLOGIN;
CREATE ROLE headrace_reader LOGIN PASSWORD :'reader' IN ROLE headrace_viewer;
CREATE ROLE headrace_pipeline LOGIN PASSWORD :'pipeline' IN ROLE headrace_writer;
SQL
