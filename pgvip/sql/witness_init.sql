-- The witness of pgvip's pairs: one small table, and one role that may do nothing but call three functions.
-- Run as one transaction by whoever may create roles, in a database of its own, on a primary. Repeatable.
-- Settings: pgvip_witness.role (the role that pgvip connects as), pgvip_witness.id (a new id, kept only where there is
-- none yet), pgvip_witness.again (on: the new id takes the place of the old one, after a restore).
DO $$
DECLARE
    asked name := current_setting('pgvip_witness.role');
    strangers text;
BEGIN
    IF current_setting('server_version_num')::int < 120000 THEN
        RAISE EXCEPTION 'PostgreSQL % is too old', current_setting('server_version')
            USING HINT = 'A witness needs PostgreSQL 12 or newer.';
    END IF;
    IF current_database() IN ('postgres', 'template1') THEN
        RAISE EXCEPTION 'database "%" is not the witness''s own', current_database()
            USING HINT = 'Make one: createdb pgvip_witness.';
    END IF;
    SELECT string_agg(format('%I.%I', n.nspname, c.relname), ', ') INTO strangers
      FROM (SELECT * FROM pg_class WHERE relkind IN ('r', 'p', 'v', 'm', 'S', 'f') ORDER BY oid LIMIT 1000) c
      JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE n.nspname NOT IN ('information_schema', 'pgvip_witness') AND n.nspname !~ '^pg_'
       AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e');
    IF strangers IS NOT NULL THEN
        RAISE EXCEPTION 'database "%" is used by others: %', current_database(), left(strangers, 100)
            USING HINT = 'Make one of its own: createdb pgvip_witness.';
    END IF;
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'pgvip_witness_owner') THEN
        CREATE ROLE pgvip_witness_owner NOLOGIN;
    END IF;
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = asked) THEN
        EXECUTE format('CREATE ROLE %I LOGIN NOINHERIT CONNECTION LIMIT 100', asked);
    END IF;
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = asked
                  AND (rolsuper OR rolcreaterole OR rolcreatedb OR rolreplication OR rolbypassrls)) THEN
        RAISE EXCEPTION 'role "%" may do more than the role of a witness', asked
            USING HINT = 'Name another one: user=... in witness.postgresql.';
    END IF;
    -- Whoever is no superuser gives things only to a role that it is a member of.
    IF NOT (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) THEN
        EXECUTE format('GRANT pgvip_witness_owner TO %I', current_user);
    END IF;
    -- A claim that was begun and never ended would hold the others of its term.
    EXECUTE format('ALTER ROLE %I SET idle_in_transaction_session_timeout = ''10s''', asked);
    EXECUTE format('REVOKE ALL ON DATABASE %I FROM PUBLIC', current_database());
    EXECUTE format('REVOKE ALL ON DATABASE %I FROM %I', current_database(), asked);
    EXECUTE format('GRANT CONNECT ON DATABASE %I TO %I', current_database(), asked);
    IF to_regnamespace('public') IS NOT NULL THEN
        REVOKE ALL ON SCHEMA public FROM PUBLIC;
    END IF;
    IF (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) THEN
        -- Large objects are the one thing that everybody may store.
        REVOKE EXECUTE ON FUNCTION pg_catalog.lo_creat(integer), pg_catalog.lo_create(oid),
            pg_catalog.lo_from_bytea(oid, bytea) FROM PUBLIC;
        -- Every server has this small library, which does nothing when it is loaded; no dump can restore an empty list.
        EXECUTE format('ALTER ROLE %I SET session_preload_libraries = ''pgoutput''', asked);
    END IF;
END $$;

DO $$
BEGIN
    IF to_regnamespace('pgvip_witness') IS NULL THEN
        CREATE SCHEMA pgvip_witness AUTHORIZATION pgvip_witness_owner;
    END IF;
END $$;

CREATE TABLE IF NOT EXISTS pgvip_witness.identity (
    one     boolean PRIMARY KEY DEFAULT true CHECK (one),
    id      text NOT NULL CHECK (id ~ '^[0-9a-f]{32}$'),
    made_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE TABLE IF NOT EXISTS pgvip_witness.claims (
    pair       text NOT NULL CHECK (length(pair) BETWEEN 1 AND 100),
    term       bigint NOT NULL CHECK (term >= 0),
    host       text NOT NULL CHECK (length(host) BETWEEN 1 AND 40),
    claimed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (pair, term)
);
ALTER TABLE pgvip_witness.identity OWNER TO pgvip_witness_owner;
ALTER TABLE pgvip_witness.claims OWNER TO pgvip_witness_owner;

-- What is no witness, or not this one, answers nothing.
CREATE OR REPLACE FUNCTION pgvip_witness.known(asked text) RETURNS text
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    own text;
BEGIN
    IF pg_is_in_recovery() THEN
        RAISE EXCEPTION 'this server is a standby' USING ERRCODE = 'PW001';
    END IF;
    IF current_setting('fsync') <> 'on' THEN
        RAISE EXCEPTION 'fsync is off' USING ERRCODE = 'PW004';
    END IF;
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'the transaction is %', current_setting('transaction_isolation') USING ERRCODE = 'PW005';
    END IF;
    SELECT id INTO STRICT own FROM pgvip_witness.identity;
    IF asked <> '' AND asked <> own THEN
        RAISE EXCEPTION 'this is witness %, not %', own, asked USING ERRCODE = 'PW003';
    END IF;
    RETURN own;
END $$;

CREATE OR REPLACE FUNCTION pgvip_witness.claim(
    asked_pair text, asked_term bigint, asked_host text, asked_witness text, known_serial bigint,
    OUT winner text, OUT serial bigint, OUT witness_id text)
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    witness_id := pgvip_witness.known(asked_witness);
    -- The answer comes after the commit, and the commit after the disk, whatever the caller has set.
    PERFORM set_config('synchronous_commit', 'on', true);
    SELECT count(*) INTO serial FROM pgvip_witness.claims AS c WHERE c.pair = asked_pair;
    IF serial < known_serial THEN
        RAISE EXCEPTION 'there are % claims of this pair, and % have been reported', serial, known_serial
            USING ERRCODE = 'PW002';
    END IF;
    -- Waits for whoever is claiming this very term at the same time.
    INSERT INTO pgvip_witness.claims (pair, term, host) VALUES (asked_pair, asked_term, asked_host)
        ON CONFLICT (pair, term) DO NOTHING;
    SELECT c.host INTO STRICT winner FROM pgvip_witness.claims AS c WHERE c.pair = asked_pair AND c.term = asked_term;
    SELECT count(*) INTO serial FROM pgvip_witness.claims AS c WHERE c.pair = asked_pair;
END $$;

CREATE OR REPLACE FUNCTION pgvip_witness.status(asked_pair text, OUT witness_id text, OUT serial bigint)
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    witness_id := pgvip_witness.known('');
    SELECT count(*) INTO serial FROM pgvip_witness.claims AS c WHERE c.pair = asked_pair;
END $$;

CREATE OR REPLACE FUNCTION pgvip_witness.claims(asked_pair text)
    RETURNS TABLE (term bigint, host text, claimed_at timestamptz)
    LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT c.term, c.host, c.claimed_at FROM pgvip_witness.claims AS c WHERE c.pair = asked_pair
     ORDER BY c.term DESC LIMIT 100
$$;

ALTER FUNCTION pgvip_witness.known(text) OWNER TO pgvip_witness_owner;
ALTER FUNCTION pgvip_witness.claim(text, bigint, text, text, bigint) OWNER TO pgvip_witness_owner;
ALTER FUNCTION pgvip_witness.status(text) OWNER TO pgvip_witness_owner;
ALTER FUNCTION pgvip_witness.claims(text) OWNER TO pgvip_witness_owner;

DO $$
DECLARE
    asked name := current_setting('pgvip_witness.role');
BEGIN
    REVOKE ALL ON ALL FUNCTIONS IN SCHEMA pgvip_witness FROM PUBLIC;
    EXECUTE format('REVOKE ALL ON ALL TABLES IN SCHEMA pgvip_witness FROM PUBLIC, %I', asked);
    EXECUTE format('REVOKE ALL ON SCHEMA pgvip_witness FROM PUBLIC, %I', asked);
    EXECUTE format('GRANT USAGE ON SCHEMA pgvip_witness TO %I', asked);
    EXECUTE format('GRANT EXECUTE ON FUNCTION pgvip_witness.claim(text, bigint, text, text, bigint), '
                   'pgvip_witness.status(text), pgvip_witness.claims(text) TO %I', asked);
    INSERT INTO pgvip_witness.identity (id) VALUES (current_setting('pgvip_witness.id')) ON CONFLICT (one) DO NOTHING;
    IF current_setting('pgvip_witness.again') = 'on' THEN
        UPDATE pgvip_witness.identity SET id = current_setting('pgvip_witness.id'), made_at = clock_timestamp();
    END IF;
END $$;
SELECT id FROM pgvip_witness.identity;
