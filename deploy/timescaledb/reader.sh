#!/usr/bin/env bash
# Makes the role that Grafana reads with. The image runs it once, when it makes the database.
set -euo pipefail
psql --set ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" --set password="$HEADRACE_READER_PASSWORD" <<'SQL'
CREATE ROLE headrace_reader LOGIN PASSWORD :'password';
GRANT pg_read_all_data TO headrace_reader;
SQL
