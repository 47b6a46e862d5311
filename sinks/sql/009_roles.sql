-- Roles without a login, each with the least that its work needs; grant them to logins (docs/security.md). A role belongs to the whole server: who migrates
-- makes those that are not there, which needs CREATEROLE, or an administrator made them before.
--
-- headrace_viewer    reads every table but those of schema vault: dashboards, analysts
-- headrace_writer    what the pipeline writes with: adds rows and corrects them, deletes nothing, changes no table; of the audit log it only adds
-- headrace_revealer  reads keys and sealed values: whoever runs `headrace reveal`

DO $$
DECLARE
    wanted text;
BEGIN
    FOREACH wanted IN ARRAY ARRAY['headrace_viewer', 'headrace_writer', 'headrace_revealer'] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = wanted) THEN
            BEGIN
                EXECUTE format('CREATE ROLE %I NOLOGIN', wanted);
            EXCEPTION WHEN duplicate_object OR unique_violation THEN
                NULL;  -- another database of this server is migrated at this moment
            END;
        END IF;
    END LOOP;
    EXECUTE format('GRANT TEMPORARY ON DATABASE %I TO headrace_writer', current_database());
END
$$;

GRANT USAGE ON SCHEMA public TO headrace_viewer, headrace_writer;
GRANT SELECT ON ALL TABLES IN SCHEMA public TO headrace_viewer, headrace_writer;
GRANT INSERT, UPDATE ON ALL TABLES IN SCHEMA public TO headrace_writer;
REVOKE INSERT, UPDATE ON headrace_migrations FROM headrace_writer;
REVOKE UPDATE ON audit_records, audit_links, audit_anchors FROM headrace_writer;

-- What later migrations add is readable and writable in the same way; what is to be kept from a role they take back.
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO headrace_viewer, headrace_writer;
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT INSERT, UPDATE ON TABLES TO headrace_writer;
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT USAGE ON SEQUENCES TO headrace_writer;

GRANT USAGE ON SCHEMA vault TO headrace_writer, headrace_revealer;
GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA vault TO headrace_writer;
GRANT SELECT ON ALL TABLES IN SCHEMA vault TO headrace_revealer;
ALTER DEFAULT PRIVILEGES IN SCHEMA vault GRANT SELECT, INSERT, UPDATE ON TABLES TO headrace_writer;
ALTER DEFAULT PRIVILEGES IN SCHEMA vault GRANT SELECT ON TABLES TO headrace_revealer;
