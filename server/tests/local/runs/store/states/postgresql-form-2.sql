SET statement_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET client_min_messages = warning;
CREATE SCHEMA lume;
CREATE FUNCTION lume.as_json(document text) RETURNS json
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE WHEN (strpos(document, '\u0000'::text) > 0) THEN (regexp_replace(document, '(?<!\\)((?:\\\\)*)\\u0000'::text, '\1\\ufffd'::text, 'g'::text))::json ELSE (document)::json END;
CREATE FUNCTION lume.audit_is_kept() RETURNS trigger
    LANGUAGE plpgsql
    AS $$ BEGIN
    IF old.at >= to_char(now() AT TIME ZONE 'UTC' - interval '7776000 s', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') THEN
        RAISE EXCEPTION 'the audit loses only its oldest entries, and no young one';
    END IF;
    RETURN old;
END $$;
CREATE FUNCTION lume.audit_is_never_changed() RETURNS trigger
    LANGUAGE plpgsql
    AS $$ BEGIN
    RAISE EXCEPTION 'the audit is never changed';
END $$;
CREATE TABLE lume.runs (
    seq bigint NOT NULL,
    run_id text NOT NULL COLLATE pg_catalog."C",
    rev bigint NOT NULL,
    flow_version text NOT NULL COLLATE pg_catalog."C",
    source_path text NOT NULL COLLATE pg_catalog."C",
    source_key text NOT NULL COLLATE pg_catalog."C",
    run_metadata text NOT NULL COLLATE pg_catalog."C",
    force_rerun bigint NOT NULL,
    status text NOT NULL COLLATE pg_catalog."C",
    created_at text NOT NULL COLLATE pg_catalog."C",
    started_at text COLLATE pg_catalog."C",
    finished_at text COLLATE pg_catalog."C",
    stages text NOT NULL COLLATE pg_catalog."C",
    metrics text NOT NULL COLLATE pg_catalog."C",
    target_locations text NOT NULL COLLATE pg_catalog."C",
    error_message text COLLATE pg_catalog."C",
    webhook_url text COLLATE pg_catalog."C",
    submitted_by text COLLATE pg_catalog."C",
    priority bigint DEFAULT 0 NOT NULL,
    turn bigint DEFAULT 0 NOT NULL,
    purged bigint DEFAULT 0 NOT NULL,
    arrival text COLLATE pg_catalog."C",
    is_published boolean DEFAULT false NOT NULL,
    CONSTRAINT runs_status_check CHECK ((status = ANY (ARRAY['CREATED'::text, 'SYNCING_SOURCE'::text, 'TRANSFORMING'::text, 'SYNCING_TARGET'::text, 'SUCCEEDED'::text, 'PARTIAL_FAILED'::text, 'FAILED'::text, 'CRASHED'::text, 'CANCELLED'::text])))
);
ALTER TABLE ONLY lume.runs ALTER COLUMN flow_version SET STATISTICS 0;
ALTER TABLE ONLY lume.runs ALTER COLUMN source_path SET STATISTICS 0;
ALTER TABLE ONLY lume.runs ALTER COLUMN submitted_by SET STATISTICS 0;
ALTER TABLE ONLY lume.runs ALTER COLUMN arrival SET STATISTICS 0;
CREATE FUNCTION lume.count_run(run lume.runs, sign integer) RETURNS void
    LANGUAGE sql
    AS $_$
    INSERT INTO run_counts VALUES (
        substr(run.created_at, 1, 13), run.flow_version, run.status, sign, sign * json_number(run.metrics, '$.rows_read'), sign * json_number(run.metrics, '$.rows_rejected')
    ) ON CONFLICT (hour, flow_version, status, slot) DO UPDATE SET
        runs = run_counts.runs + excluded.runs,
        rows_read = run_counts.rows_read + excluded.rows_read,
        rows_rejected = run_counts.rows_rejected + excluded.rows_rejected
$_$;
CREATE FUNCTION lume.fence(number bigint) RETURNS void
    LANGUAGE plpgsql
    AS $$ BEGIN
    PERFORM pg_advisory_xact_lock_shared(1819635045);
    IF NOT EXISTS (SELECT 1 FROM lease WHERE fence = number) THEN
        RAISE EXCEPTION 'another server has the state' USING ERRCODE = 'LM001';
    END IF;
END $$;
CREATE FUNCTION lume.instr(text, text) RETURNS integer
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN strpos($1, $2);
CREATE FUNCTION lume.json_extract(document text, path text) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN (lume.as_json(document) #>> string_to_array(substr(path, 3), '.'::text));
CREATE FUNCTION lume.json_number(document text, path text) RETURNS bigint
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN COALESCE(((lume.json_extract(document, path))::numeric)::bigint, (0)::bigint);
CREATE FUNCTION lume.json_type(document text, path text) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN replace(json_typeof((lume.as_json(document) #> string_to_array(substr(path, 3), '.'::text))), 'string'::text, 'text'::text);
CREATE FUNCTION lume.mend_created() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
DECLARE
    metadata json := as_json(new.run_metadata);
    mended text := metadata ->> 'resubmit_of';
BEGIN
    IF json_typeof(metadata -> 'resubmit_of') = 'string' AND length(mended) <= 128 THEN
        -- A failed attempt is settled by the next one.
        DELETE FROM attention WHERE seq IN (
            SELECT seq FROM mends JOIN runs USING (run_id) WHERE parent = mended AND NOT status IN ('SUCCEEDED', 'PARTIAL_FAILED')
        );
        INSERT INTO mends VALUES (new.run_id, mended) ON CONFLICT DO NOTHING;
        UPDATE runs SET rev = rev + 1 WHERE run_id = mended;
    END IF;
    RETURN NULL;
END $$;
CREATE FUNCTION lume.mend_ended() RETURNS trigger
    LANGUAGE plpgsql
    AS $_$ BEGIN
    -- What they rejected again is among their own rejects.
    DELETE FROM attention WHERE seq IN (
        SELECT seq FROM runs AS run WHERE run_id = (SELECT parent FROM mends WHERE run_id = new.run_id)
        AND status IN ('SUCCEEDED', 'PARTIAL_FAILED') AND json_number(run.metrics, '$.rows_rejected') <= (
            SELECT sum(json_number(mend.metrics, '$.rows_read')) FROM mends JOIN runs AS mend USING (run_id)
            WHERE parent = run.run_id AND mend.status IN ('SUCCEEDED', 'PARTIAL_FAILED')
        )
    );
    RETURN NULL;
END $_$;
CREATE FUNCTION lume.note_attention(run lume.runs) RETURNS void
    LANGUAGE sql
    AS $_$
    INSERT INTO attention SELECT run.flow_version, run.source_key, run.seq,
        CASE run.status WHEN 'PARTIAL_FAILED' THEN 1.0 * json_number(run.metrics, '$.rows_rejected') / greatest(json_number(run.metrics, '$.rows_read'), 1) ELSE 2.0 END
    WHERE run.status IN ('FAILED', 'CRASHED', 'PARTIAL_FAILED')
    ON CONFLICT (flow_version, source_key) DO UPDATE SET seq = excluded.seq, ratio = excluded.ratio
$_$;
CREATE FUNCTION lume.run_changed() RETURNS trigger
    LANGUAGE plpgsql
    AS $$ BEGIN
    PERFORM count_run(old, -1);
    PERFORM count_run(new, 1);
    RETURN NULL;
END $$;
CREATE FUNCTION lume.run_created() RETURNS trigger
    LANGUAGE plpgsql
    AS $$ BEGIN
    PERFORM count_run(new, 1);
    DELETE FROM attention WHERE flow_version = new.flow_version AND source_key = new.source_key;
    PERFORM note_attention(new);
    RETURN NULL;
END $$;
CREATE FUNCTION lume.run_ended() RETURNS trigger
    LANGUAGE plpgsql
    AS $$ BEGIN
    PERFORM note_attention(new);
    RETURN NULL;
END $$;
CREATE TABLE lume.arrival_moves (
    run bigint NOT NULL,
    place bytea NOT NULL,
    arrival text NOT NULL COLLATE pg_catalog."C",
    path text NOT NULL COLLATE pg_catalog."C",
    seen text NOT NULL COLLATE pg_catalog."C",
    stays bigint DEFAULT 0 NOT NULL,
    content bytea NOT NULL
);
CREATE TABLE lume.arrival_refusals (
    place bytea NOT NULL,
    arrival text NOT NULL COLLATE pg_catalog."C",
    path text NOT NULL COLLATE pg_catalog."C",
    seen text NOT NULL COLLATE pg_catalog."C",
    why text NOT NULL COLLATE pg_catalog."C",
    at text NOT NULL COLLATE pg_catalog."C"
);
CREATE TABLE lume.arrivals (
    name text NOT NULL COLLATE pg_catalog."C",
    files bigint NOT NULL
);
CREATE TABLE lume.arrived (
    place bytea NOT NULL,
    content bytea NOT NULL,
    run bigint
);
CREATE TABLE lume.arrived_paths (
    place bytea NOT NULL,
    mark bytea NOT NULL,
    run bigint
);
CREATE TABLE lume.attention (
    flow_version text NOT NULL COLLATE pg_catalog."C",
    source_key text NOT NULL COLLATE pg_catalog."C",
    seq bigint NOT NULL,
    ratio double precision NOT NULL
);
CREATE TABLE lume.audit (
    seq bigint NOT NULL,
    at text NOT NULL COLLATE pg_catalog."C",
    by text NOT NULL COLLATE pg_catalog."C",
    what text NOT NULL COLLATE pg_catalog."C",
    subject text NOT NULL COLLATE pg_catalog."C",
    detail text NOT NULL COLLATE pg_catalog."C"
);
ALTER TABLE ONLY lume.audit ALTER COLUMN by SET STATISTICS 0;
ALTER TABLE ONLY lume.audit ALTER COLUMN what SET STATISTICS 0;
ALTER TABLE lume.audit ALTER COLUMN seq ADD GENERATED BY DEFAULT AS IDENTITY (
    SEQUENCE NAME lume.audit_seq_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE lume.changes (
    xid bigint NOT NULL,
    seq bigint NOT NULL,
    run_id text NOT NULL COLLATE pg_catalog."C",
    status text NOT NULL COLLATE pg_catalog."C",
    finished_at text COLLATE pg_catalog."C",
    at text NOT NULL COLLATE pg_catalog."C"
);
ALTER TABLE lume.changes ALTER COLUMN seq ADD GENERATED BY DEFAULT AS IDENTITY (
    SEQUENCE NAME lume.changes_seq_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE lume.claims (
    run_id text NOT NULL COLLATE pg_catalog."C",
    start bigint NOT NULL,
    seq bigint NOT NULL,
    rows bytea NOT NULL,
    is_edited bigint DEFAULT 0 NOT NULL
);
CREATE TABLE lume.closings (
    id bigint NOT NULL,
    seq bigint NOT NULL,
    state text NOT NULL COLLATE pg_catalog."C",
    count bigint NOT NULL,
    rows bytea NOT NULL,
    by text NOT NULL COLLATE pg_catalog."C",
    why text COLLATE pg_catalog."C",
    at text NOT NULL COLLATE pg_catalog."C"
);
ALTER TABLE ONLY lume.closings ALTER COLUMN state SET STATISTICS 0;
ALTER TABLE lume.closings ALTER COLUMN id ADD GENERATED BY DEFAULT AS IDENTITY (
    SEQUENCE NAME lume.closings_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE lume.deliveries (
    id text NOT NULL COLLATE pg_catalog."C",
    run_id text NOT NULL COLLATE pg_catalog."C",
    url text NOT NULL COLLATE pg_catalog."C",
    body bytea NOT NULL,
    attempts bigint NOT NULL,
    due double precision,
    delivered_at text COLLATE pg_catalog."C",
    error text COLLATE pg_catalog."C",
    at text NOT NULL COLLATE pg_catalog."C"
);
CREATE TABLE lume.dismissals (
    run_id text NOT NULL COLLATE pg_catalog."C",
    why text NOT NULL COLLATE pg_catalog."C",
    at text NOT NULL COLLATE pg_catalog."C"
);
CREATE TABLE lume.draft_rows (
    draft_id text NOT NULL COLLATE pg_catalog."C",
    run_id text NOT NULL COLLATE pg_catalog."C",
    number bigint NOT NULL,
    rev bigint NOT NULL,
    cells text NOT NULL COLLATE pg_catalog."C",
    at text NOT NULL COLLATE pg_catalog."C",
    judged_by text COLLATE pg_catalog."C",
    reasons text COLLATE pg_catalog."C"
);
CREATE TABLE lume.drafts (
    flow text NOT NULL COLLATE pg_catalog."C",
    owner text NOT NULL COLLATE pg_catalog."C",
    draft_id text NOT NULL COLLATE pg_catalog."C",
    rev bigint NOT NULL,
    row_count bigint NOT NULL,
    bytes bigint NOT NULL,
    changed_at text NOT NULL COLLATE pg_catalog."C"
);
CREATE TABLE lume.facts (
    name text NOT NULL COLLATE pg_catalog."C",
    value text NOT NULL COLLATE pg_catalog."C"
);
CREATE TABLE lume.flow_versions (
    ref text NOT NULL COLLATE pg_catalog."C",
    content_hash text NOT NULL COLLATE pg_catalog."C",
    definition text NOT NULL COLLATE pg_catalog."C",
    compiled text NOT NULL COLLATE pg_catalog."C",
    compiled_by text NOT NULL COLLATE pg_catalog."C",
    created_at text NOT NULL COLLATE pg_catalog."C"
);
CREATE TABLE lume.idempotency_keys (
    key text NOT NULL COLLATE pg_catalog."C",
    fingerprint text NOT NULL COLLATE pg_catalog."C",
    run_id text NOT NULL COLLATE pg_catalog."C",
    at text NOT NULL COLLATE pg_catalog."C"
);
CREATE TABLE lume.inbox (
    id bigint NOT NULL,
    flow text NOT NULL COLLATE pg_catalog."C",
    reason text NOT NULL COLLATE pg_catalog."C",
    open bigint DEFAULT 0 NOT NULL
);
CREATE TABLE lume.inbox_days (
    inbox bigint NOT NULL,
    day text NOT NULL COLLATE pg_catalog."C",
    opened bigint NOT NULL,
    closed bigint NOT NULL
);
ALTER TABLE lume.inbox ALTER COLUMN id ADD GENERATED BY DEFAULT AS IDENTITY (
    SEQUENCE NAME lume.inbox_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE lume.lease (
    one boolean DEFAULT true NOT NULL,
    fence bigint NOT NULL,
    holder text NOT NULL,
    until timestamp with time zone NOT NULL,
    CONSTRAINT lease_one_check CHECK (one)
);
CREATE TABLE lume.mends (
    run_id text NOT NULL COLLATE pg_catalog."C",
    parent text NOT NULL COLLATE pg_catalog."C"
);
CREATE TABLE lume.message_states (
    key text NOT NULL COLLATE pg_catalog."C",
    rev bigint NOT NULL,
    state text NOT NULL COLLATE pg_catalog."C",
    due double precision
);
CREATE TABLE lume.notes (
    run_id text NOT NULL COLLATE pg_catalog."C",
    note text NOT NULL COLLATE pg_catalog."C"
);
CREATE TABLE lume.notices (
    seq bigint NOT NULL,
    body bytea NOT NULL
);
ALTER TABLE lume.notices ALTER COLUMN seq ADD GENERATED BY DEFAULT AS IDENTITY (
    SEQUENCE NAME lume.notices_seq_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE lume.outputs (
    run_id text NOT NULL COLLATE pg_catalog."C",
    part text NOT NULL COLLATE pg_catalog."C",
    identity text NOT NULL COLLATE pg_catalog."C"
);
CREATE TABLE lume.rejected (
    seq bigint NOT NULL,
    run_id text NOT NULL COLLATE pg_catalog."C",
    flow text NOT NULL COLLATE pg_catalog."C",
    source_key text NOT NULL COLLATE pg_catalog."C",
    at text NOT NULL COLLATE pg_catalog."C",
    count bigint NOT NULL,
    open bigint DEFAULT 0 NOT NULL,
    lost bigint DEFAULT 0 NOT NULL,
    is_lost bigint DEFAULT 0 NOT NULL,
    closed bytea
);
ALTER TABLE ONLY lume.rejected ALTER COLUMN flow SET STATISTICS 0;
CREATE TABLE lume.rejected_for (
    inbox bigint NOT NULL,
    seq bigint NOT NULL,
    open bigint DEFAULT 0 NOT NULL,
    rows bytea
);
ALTER TABLE ONLY lume.rejected_for ALTER COLUMN inbox SET STATISTICS 0;
ALTER TABLE lume.rejected ALTER COLUMN seq ADD GENERATED BY DEFAULT AS IDENTITY (
    SEQUENCE NAME lume.rejected_seq_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE lume.replay_rejects (
    run_id text NOT NULL COLLATE pg_catalog."C",
    start bigint NOT NULL,
    seq bigint NOT NULL,
    rows bytea NOT NULL
);
CREATE TABLE lume.row_accounts (
    flow text NOT NULL COLLATE pg_catalog."C",
    source_key text NOT NULL COLLATE pg_catalog."C",
    newest bigint DEFAULT 0 NOT NULL,
    read bigint DEFAULT 0 NOT NULL,
    added bigint DEFAULT 0 NOT NULL,
    again bigint DEFAULT 0 NOT NULL,
    accepted bigint DEFAULT 0 NOT NULL,
    filtered bigint DEFAULT 0 NOT NULL,
    open bigint DEFAULT 0 NOT NULL,
    lost bigint DEFAULT 0 NOT NULL,
    discarded bigint DEFAULT 0 NOT NULL,
    superseded bigint DEFAULT 0 NOT NULL,
    mended bigint DEFAULT 0 NOT NULL,
    replayed bigint DEFAULT 0 NOT NULL
);
CREATE TABLE lume.run_counts (
    hour text NOT NULL COLLATE pg_catalog."C",
    flow_version text NOT NULL COLLATE pg_catalog."C",
    status text NOT NULL COLLATE pg_catalog."C",
    runs bigint NOT NULL,
    rows_read bigint NOT NULL,
    rows_rejected bigint NOT NULL,
    slot integer DEFAULT (pg_backend_pid() % 16) NOT NULL
);
ALTER TABLE lume.runs ALTER COLUMN seq ADD GENERATED BY DEFAULT AS IDENTITY (
    SEQUENCE NAME lume.runs_seq_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE lume.seeds (
    run_id text NOT NULL COLLATE pg_catalog."C",
    seeds text NOT NULL COLLATE pg_catalog."C"
);
CREATE TABLE lume.sources (
    run_id text NOT NULL COLLATE pg_catalog."C",
    bytes bigint NOT NULL,
    seen text NOT NULL COLLATE pg_catalog."C",
    digest text COLLATE pg_catalog."C"
);
CREATE TABLE lume.traces (
    run_id text NOT NULL COLLATE pg_catalog."C",
    traceparent text NOT NULL COLLATE pg_catalog."C"
);
INSERT INTO lume.arrivals VALUES ('acme', 2);
INSERT INTO lume.arrived VALUES ('\xfafcff75f5f99919a3f333e18444fe6d', '\xb6e610b113391510adacc4265f8b5ff4', 4);
INSERT INTO lume.arrived VALUES ('\x02b915eb3b981d4f06e3b291f7018405', '\x03bf0025c365351f63221eef5079daee', 5);
INSERT INTO lume.arrived_paths VALUES ('\xfafcff75f5f99919a3f333e18444fe6d', '\x', 4);
INSERT INTO lume.arrived_paths VALUES ('\x02b915eb3b981d4f06e3b291f7018405', '\x', 5);
INSERT INTO lume.attention VALUES ('people:v1', '/srv/lume/bad.csv', 2, 0.6);
INSERT INTO lume.attention VALUES ('people:v1', '/srv/lume/worse.csv', 3, 2);
INSERT INTO lume.attention VALUES ('people:v1', '/srv/lume/in/b.csv', 5, 0.5);
INSERT INTO lume.attention VALUES ('people:v1', '/srv/lume/.lume/uploads/lume-replay-b468ae807e7d4c97a82eb44fb42f5eeb.csv', 6, 1);
INSERT INTO lume.audit VALUES (1, '2026-12-01T00:26:36.977242Z', 'server', 'register_flow', 'people:v1', '{"content":"e311485d28b40aa284d803cc731ed8ad7a1d623bef30266845275f10fe9630d6"}');
INSERT INTO lume.audit VALUES (2, '2026-12-01T00:26:37.032439Z', 'server', 'register_flow', 'slow:v1', '{"content":"3b067e2911a6e51852656c9d6b2069b7e0bee2b191ac8fc8855fc6e7799d5764"}');
INSERT INTO lume.audit VALUES (3, '2026-12-01T00:26:37.897777Z', 'server', 'discard', 'people', '{"rows":1,"runs":["run_da3ddd153d394260b4155e2871d8b13d"],"why":"test rows"}');
INSERT INTO lume.audit VALUES (4, '2026-12-01T00:26:39.256617Z', 'server', 'replay', 'run_a2c1c521ae924b4e9c86ce57bad474bf', '{"flow_version":"people:v1","rows":3}');
INSERT INTO lume.changes VALUES (735, 1, 'run_207d3b2255ea4dd48396275265a4cae9', 'CREATED', NULL, '2026-12-01T00:26:37.078347Z');
INSERT INTO lume.changes VALUES (736, 2, 'run_207d3b2255ea4dd48396275265a4cae9', 'SYNCING_SOURCE', NULL, '2026-12-01T00:26:37.111178Z');
INSERT INTO lume.changes VALUES (737, 3, 'run_207d3b2255ea4dd48396275265a4cae9', 'TRANSFORMING', NULL, '2026-12-01T00:26:37.121624Z');
INSERT INTO lume.changes VALUES (738, 4, 'run_207d3b2255ea4dd48396275265a4cae9', 'SYNCING_TARGET', NULL, '2026-12-01T00:26:37.129481Z');
INSERT INTO lume.changes VALUES (740, 5, 'run_207d3b2255ea4dd48396275265a4cae9', 'SUCCEEDED', '2026-12-01T00:26:37.139651Z', '2026-12-01T00:26:37.144380Z');
INSERT INTO lume.changes VALUES (743, 6, 'run_da3ddd153d394260b4155e2871d8b13d', 'CREATED', NULL, '2026-12-01T00:26:37.232360Z');
INSERT INTO lume.changes VALUES (744, 7, 'run_da3ddd153d394260b4155e2871d8b13d', 'SYNCING_SOURCE', NULL, '2026-12-01T00:26:37.250880Z');
INSERT INTO lume.changes VALUES (745, 8, 'run_da3ddd153d394260b4155e2871d8b13d', 'TRANSFORMING', NULL, '2026-12-01T00:26:37.255689Z');
INSERT INTO lume.changes VALUES (746, 9, 'run_da3ddd153d394260b4155e2871d8b13d', 'SYNCING_TARGET', NULL, '2026-12-01T00:26:37.263875Z');
INSERT INTO lume.changes VALUES (748, 10, 'run_da3ddd153d394260b4155e2871d8b13d', 'PARTIAL_FAILED', '2026-12-01T00:26:37.275622Z', '2026-12-01T00:26:37.278310Z');
INSERT INTO lume.changes VALUES (751, 11, 'run_8cd65f8ee6fe460ba50b7fa9cdc4ec84', 'CREATED', NULL, '2026-12-01T00:26:37.378775Z');
INSERT INTO lume.changes VALUES (752, 12, 'run_8cd65f8ee6fe460ba50b7fa9cdc4ec84', 'SYNCING_SOURCE', NULL, '2026-12-01T00:26:37.400975Z');
INSERT INTO lume.changes VALUES (753, 13, 'run_8cd65f8ee6fe460ba50b7fa9cdc4ec84', 'TRANSFORMING', NULL, '2026-12-01T00:26:37.406885Z');
INSERT INTO lume.changes VALUES (754, 14, 'run_8cd65f8ee6fe460ba50b7fa9cdc4ec84', 'FAILED', '2026-12-01T00:26:37.413259Z', '2026-12-01T00:26:37.415383Z');
INSERT INTO lume.changes VALUES (759, 15, 'run_00a54f546c8a4711ba8d7d61ccc74d68', 'CREATED', NULL, '2026-12-01T00:26:38.077397Z');
INSERT INTO lume.changes VALUES (760, 16, 'run_f7d827c0468b43d899151af6535ae540', 'CREATED', NULL, '2026-12-01T00:26:38.086042Z');
INSERT INTO lume.changes VALUES (761, 17, 'run_00a54f546c8a4711ba8d7d61ccc74d68', 'SYNCING_SOURCE', NULL, '2026-12-01T00:26:38.096051Z');
INSERT INTO lume.changes VALUES (762, 18, 'run_00a54f546c8a4711ba8d7d61ccc74d68', 'TRANSFORMING', NULL, '2026-12-01T00:26:38.100203Z');
INSERT INTO lume.changes VALUES (763, 19, 'run_00a54f546c8a4711ba8d7d61ccc74d68', 'SYNCING_TARGET', NULL, '2026-12-01T00:26:38.106126Z');
INSERT INTO lume.changes VALUES (765, 20, 'run_00a54f546c8a4711ba8d7d61ccc74d68', 'SUCCEEDED', '2026-12-01T00:26:38.114169Z', '2026-12-01T00:26:38.116573Z');
INSERT INTO lume.changes VALUES (768, 21, 'run_f7d827c0468b43d899151af6535ae540', 'SYNCING_SOURCE', NULL, '2026-12-01T00:26:38.140936Z');
INSERT INTO lume.changes VALUES (769, 22, 'run_f7d827c0468b43d899151af6535ae540', 'TRANSFORMING', NULL, '2026-12-01T00:26:38.146292Z');
INSERT INTO lume.changes VALUES (770, 23, 'run_f7d827c0468b43d899151af6535ae540', 'SYNCING_TARGET', NULL, '2026-12-01T00:26:38.152087Z');
INSERT INTO lume.changes VALUES (772, 24, 'run_f7d827c0468b43d899151af6535ae540', 'PARTIAL_FAILED', '2026-12-01T00:26:38.163578Z', '2026-12-01T00:26:38.167156Z');
INSERT INTO lume.changes VALUES (777, 25, 'run_a2c1c521ae924b4e9c86ce57bad474bf', 'CREATED', NULL, '2026-12-01T00:26:39.254674Z');
INSERT INTO lume.changes VALUES (778, 26, 'run_a2c1c521ae924b4e9c86ce57bad474bf', 'SYNCING_SOURCE', NULL, '2026-12-01T00:26:39.265176Z');
INSERT INTO lume.changes VALUES (779, 27, 'run_a2c1c521ae924b4e9c86ce57bad474bf', 'TRANSFORMING', NULL, '2026-12-01T00:26:39.272575Z');
INSERT INTO lume.changes VALUES (780, 28, 'run_a2c1c521ae924b4e9c86ce57bad474bf', 'SYNCING_TARGET', NULL, '2026-12-01T00:26:39.278788Z');
INSERT INTO lume.changes VALUES (782, 29, 'run_a2c1c521ae924b4e9c86ce57bad474bf', 'PARTIAL_FAILED', '2026-12-01T00:26:39.293672Z', '2026-12-01T00:26:39.298771Z');
INSERT INTO lume.changes VALUES (786, 30, 'run_a4dcdd9ed36b4c3ca9bf53c1b88d8857', 'CREATED', NULL, '2026-12-01T00:26:40.267197Z');
INSERT INTO lume.changes VALUES (787, 31, 'run_a4dcdd9ed36b4c3ca9bf53c1b88d8857', 'SYNCING_SOURCE', NULL, '2026-12-01T00:26:40.279713Z');
INSERT INTO lume.changes VALUES (788, 32, 'run_d8183e0cdd9a47c3af145a4fc836784b', 'CREATED', NULL, '2026-12-01T00:26:40.283224Z');
INSERT INTO lume.changes VALUES (789, 33, 'run_a4dcdd9ed36b4c3ca9bf53c1b88d8857', 'TRANSFORMING', NULL, '2026-12-01T00:26:40.289650Z');
INSERT INTO lume.closings VALUES (1, 2, 'discarded', 1, '\x780163010000050005', 'server', 'test rows', '2026-12-01T00:26:37.893810Z');
INSERT INTO lume.deliveries VALUES ('dlv_12acacbaea0f4d5aa7254106af7c2c54', 'run_207d3b2255ea4dd48396275265a4cae9', 'http://127.0.0.1:9/hook', '\x7b226576656e74223a2272756e2e66696e6973686564222c2272756e5f6964223a2272756e5f3230376433623232353565613464643438333936323735323635613463616539222c22737461747573223a22535543434545444544222c22666c6f775f76657273696f6e223a2270656f706c653a7631222c22736f757263655f70617468223a22676f6f642e637376222c2272756e5f6d65746164617461223a6e756c6c2c227375626d69747465645f6279223a22736572766572222c2266696e69736865645f6174223a22323032362d31322d30315430303a32363a33372e3133393635315a227d', 2, 1796084803.165079, NULL, 'ClientConnectorError: Cannot connect to host 127.0.0.1:9 ssl:default [Connect call failed (''127.0.0.1'', 9)]', '2026-12-01T00:26:37.144428Z');
INSERT INTO lume.deliveries VALUES ('dlv_b79f7cb00246470a94485a17e027a4fc', 'run_da3ddd153d394260b4155e2871d8b13d', 'http://127.0.0.1:9/hook', '\x7b226576656e74223a2272756e2e66696e6973686564222c2272756e5f6964223a2272756e5f6461336464643135336433393432363062343135356532383731643862313364222c22737461747573223a225041525449414c5f4641494c4544222c22666c6f775f76657273696f6e223a2270656f706c653a7631222c22736f757263655f70617468223a226261642e637376222c2272756e5f6d65746164617461223a7b2261223a317d2c227375626d69747465645f6279223a22736572766572222c2266696e69736865645f6174223a22323032362d31322d30315430303a32363a33372e3237353632325a227d', 2, 1796084803.3200996, NULL, 'ClientConnectorError: Cannot connect to host 127.0.0.1:9 ssl:default [Connect call failed (''127.0.0.1'', 9)]', '2026-12-01T00:26:37.278356Z');
INSERT INTO lume.draft_rows VALUES ('85038957aa4d4f3493832bcdfe5c8104', 'run_da3ddd153d394260b4155e2871d8b13d', 0, 1, '{"id":"7"}', '2026-12-01T00:26:37.901503Z', NULL, NULL);
INSERT INTO lume.drafts VALUES ('people', 'server', '85038957aa4d4f3493832bcdfe5c8104', 1, 1, 110, '2026-12-01T00:26:37.901503Z');
INSERT INTO lume.facts VALUES ('store_id', 'c5e3c36c');
INSERT INTO lume.facts VALUES ('form', '2');
INSERT INTO lume.facts VALUES ('written_by', '0.1.0');
INSERT INTO lume.flow_versions VALUES ('people:v1', 'e311485d28b40aa284d803cc731ed8ad7a1d623bef30266845275f10fe9630d6', '{"flow":"people","version":"v1","columns":{"id":{"type":"integer","required":true},"name":{"sql":"Name"}}}', '{"ref":"people:v1","format":"csv","csv":{"delim":",","quote":"\"","escape":""},"encoding":"utf-8","max_line_bytes":2000000,"header":{"row":1,"contains":[],"lines":1,"names":[]},"comment":"","footer":null,"excel":{"sheet":"","range":null,"merged":"first","of_all":false},"fixed":null,"records":[],"on_unknown_columns":"ignore","compression":"auto","members":[],"max_unpacked_bytes":10737418240,"null":[],"max_ratio":null,"sources":{"id":"columns.id","Name":"columns.name.sql"},"respelled":[],"aliases":{},"seeds":{},"lookups":[],"columns":[{"name":"id","inner":"(\n\"id\"\n) AS _lume_t0","value":"_lume_t0","threw":"false","made":"TRY_CAST(_lume_t0 AS BIGINT)","kept":"CASE WHEN _lume_made0::VARCHAR = _lume_t0 THEN _lume_made0 WHEN regexp_full_match(_lume_t0, ''\\s*[+-]?[0-9]+\\s*'') THEN _lume_made0 END","ordered":true},{"name":"name","inner":"(\nName\n) AS _lume_t1","value":"_lume_t1","threw":"false","made":"CAST(_lume_t1 AS VARCHAR)","kept":"_lume_made1","ordered":false}],"rules":[],"expect":[],"checks":[{"sql":"_lume_bad0","reason":"id: is not a valid integer","on_fail":"reject"},{"sql":"\"id\" IS NULL AND NOT _lume_bad0","reason":"id: is required","on_fail":"reject"},{"sql":"_lume_bad1","reason":"name: is not a valid string","on_fail":"reject"}],"where":null,"cleaners":[],"siblings":{},"unique":[],"references":[],"judged_by_table":false}', '7/duckdb 2.0.1', '2026-12-01T00:26:36.977031Z');
INSERT INTO lume.flow_versions VALUES ('slow:v1', '3b067e2911a6e51852656c9d6b2069b7e0bee2b191ac8fc8855fc6e7799d5764', '{"flow":"slow","version":"v1","columns":{"id":{"type":"integer"},"burnt":{"sql":"levenshtein(repeat(''ab'', 550), repeat(lpad(id, 5, ''0''), 550))","type":"integer"}}}', '{"ref":"slow:v1","format":"csv","csv":{"delim":",","quote":"\"","escape":""},"encoding":"utf-8","max_line_bytes":2000000,"header":{"row":1,"contains":[],"lines":1,"names":[]},"comment":"","footer":null,"excel":{"sheet":"","range":null,"merged":"first","of_all":false},"fixed":null,"records":[],"on_unknown_columns":"ignore","compression":"auto","members":[],"max_unpacked_bytes":10737418240,"null":[],"max_ratio":null,"sources":{"id":"columns.id"},"respelled":[],"aliases":{},"seeds":{},"lookups":[],"columns":[{"name":"id","inner":"(\n\"id\"\n) AS _lume_t0","value":"_lume_t0","threw":"false","made":"TRY_CAST(_lume_t0 AS BIGINT)","kept":"CASE WHEN _lume_made0::VARCHAR = _lume_t0 THEN _lume_made0 WHEN regexp_full_match(_lume_t0, ''\\s*[+-]?[0-9]+\\s*'') THEN _lume_made0 END","ordered":true},{"name":"burnt","inner":"TRY({''v'': (\nlevenshtein(repeat(''ab'', 550), repeat(lpad(id, 5, ''0''), 550))\n)}) AS _lume_t1","value":"struct_extract(_lume_t1, ''v'')","threw":"_lume_t1 IS NULL","made":"struct_extract(_lume_t1, ''v'')","kept":"_lume_made1","ordered":true}],"rules":[],"expect":[],"checks":[{"sql":"_lume_bad0","reason":"id: is not a valid integer","on_fail":"reject"},{"sql":"_lume_bad1","reason":"burnt: is not a valid integer","on_fail":"reject"}],"where":null,"cleaners":[],"siblings":{},"unique":[],"references":[],"judged_by_table":false}', '7/duckdb 2.0.1', '2026-12-01T00:26:37.032227Z');
INSERT INTO lume.idempotency_keys VALUES ('order-1', 'e2b954119edb044e22f8f12da0418f8effa4154c1fb7c0f0689e1d922ba91c86', 'run_207d3b2255ea4dd48396275265a4cae9', '2026-12-01T00:26:37.073721Z');
INSERT INTO lume.idempotency_keys VALUES ('order-2', 'ceead28d735e49ee6d150d6bfcc4291da592f230763bbd6b43e3783837df7bdb', 'run_da3ddd153d394260b4155e2871d8b13d', '2026-12-01T00:26:37.227845Z');
INSERT INTO lume.idempotency_keys VALUES ('order-3', 'e36c7439cf03aa830149051515d91f81d5cc8e08675ec3f623b73a4d03bcbaa1', 'run_a4dcdd9ed36b4c3ca9bf53c1b88d8857', '2026-12-01T00:26:40.263536Z');
INSERT INTO lume.idempotency_keys VALUES ('order-4', '9197f5609c97a99f2000e07e2c7aef044ce3a74036dbe5377494d90e928041f6', 'run_d8183e0cdd9a47c3af145a4fc836784b', '2026-12-01T00:26:40.280797Z');
INSERT INTO lume.inbox VALUES (2, 'people', 'id: is required', 0);
INSERT INTO lume.inbox VALUES (3, 'people', '', 3);
INSERT INTO lume.inbox VALUES (1, 'people', 'id: is not a valid integer', 3);
INSERT INTO lume.inbox_days VALUES (2, '2026-12-01', 1, 1);
INSERT INTO lume.inbox_days VALUES (1, '2026-12-01', 3, 0);
INSERT INTO lume.inbox_days VALUES (3, '2026-12-01', 4, 1);
INSERT INTO lume.lease VALUES (true, 1, 'vm, pid 30583', '2026-12-01 00:26:44.460449+00');
INSERT INTO lume.outputs VALUES ('run_207d3b2255ea4dd48396275265a4cae9', 'mapped', '536-1796084797124080546');
INSERT INTO lume.outputs VALUES ('run_da3ddd153d394260b4155e2871d8b13d', 'rejects', '146-1796084797258725924');
INSERT INTO lume.outputs VALUES ('run_da3ddd153d394260b4155e2871d8b13d', 'mapped', '542-1796084797261987301');
INSERT INTO lume.outputs VALUES ('run_00a54f546c8a4711ba8d7d61ccc74d68', 'mapped', '504-1796084798108038112');
INSERT INTO lume.outputs VALUES ('run_f7d827c0468b43d899151af6535ae540', 'rejects', '88-1796084798154059777');
INSERT INTO lume.outputs VALUES ('run_f7d827c0468b43d899151af6535ae540', 'mapped', '512-1796084798156790318');
INSERT INTO lume.outputs VALUES ('run_a2c1c521ae924b4e9c86ce57bad474bf', 'rejects', '158-1796084799282540826');
INSERT INTO lume.outputs VALUES ('run_a2c1c521ae924b4e9c86ce57bad474bf', 'mapped', '115-1796084799284351245');
INSERT INTO lume.rejected VALUES (2, 'run_da3ddd153d394260b4155e2871d8b13d', 'people', '/srv/lume/bad.csv', '2026-12-01T00:26:37.275622Z', 3, 2, 0, 0, '\x780163010000050005');
INSERT INTO lume.rejected VALUES (5, 'run_f7d827c0468b43d899151af6535ae540', 'people', '/srv/lume/in/b.csv', '2026-12-01T00:26:38.163578Z', 1, 1, 0, 0, NULL);
INSERT INTO lume.rejected_for VALUES (2, 2, 0, '\x780163010000050005');
INSERT INTO lume.rejected_for VALUES (1, 2, 2, '\x780163060000040004');
INSERT INTO lume.rejected_for VALUES (1, 5, 1, '\x780163040000020002');
INSERT INTO lume.replay_rejects VALUES ('run_a2c1c521ae924b4e9c86ce57bad474bf', 0, 2, '\x780163060000040004');
INSERT INTO lume.replay_rejects VALUES ('run_a2c1c521ae924b4e9c86ce57bad474bf', 2, 5, '\x780163040000020002');
INSERT INTO lume.row_accounts VALUES ('people', '/srv/lume/good.csv', 1, 2, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0);
INSERT INTO lume.row_accounts VALUES ('people', '/srv/lume/in/a.csv', 4, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0);
INSERT INTO lume.row_accounts VALUES ('people', '/srv/lume/bad.csv', 2, 5, 0, 0, 2, 0, 2, 0, 1, 0, 0, 0);
INSERT INTO lume.row_accounts VALUES ('people', '/srv/lume/in/b.csv', 5, 2, 0, 0, 1, 0, 1, 0, 0, 0, 0, 0);
INSERT INTO lume.row_accounts VALUES ('people', '', 0, 10, 0, 0, 6, 0, 3, 0, 1, 0, 0, 0);
INSERT INTO lume.run_counts VALUES ('2026-12-01T00', 'people:v1', 'SUCCEEDED', 1, 2, 0, 10);
INSERT INTO lume.run_counts VALUES ('2026-12-01T00', 'people:v1', 'SYNCING_TARGET', 0, 0, 0, 10);
INSERT INTO lume.run_counts VALUES ('2026-12-01T00', 'people:v1', 'CREATED', 0, 0, 0, 4);
INSERT INTO lume.run_counts VALUES ('2026-12-01T00', 'people:v1', 'SYNCING_SOURCE', 1, 0, 0, 4);
INSERT INTO lume.run_counts VALUES ('2026-12-01T00', 'people:v1', 'TRANSFORMING', 1, 0, 0, 5);
INSERT INTO lume.run_counts VALUES ('2026-12-01T00', 'people:v1', 'FAILED', 1, 1, 1, 7);
INSERT INTO lume.run_counts VALUES ('2026-12-01T00', 'people:v1', 'CREATED', 0, 0, 0, 5);
INSERT INTO lume.run_counts VALUES ('2026-12-01T00', 'people:v1', 'SYNCING_SOURCE', 0, 0, 0, 5);
INSERT INTO lume.run_counts VALUES ('2026-12-01T00', 'people:v1', 'SYNCING_SOURCE', 1, 0, 0, 10);
INSERT INTO lume.run_counts VALUES ('2026-12-01T00', 'people:v1', 'TRANSFORMING', 0, 0, 0, 10);
INSERT INTO lume.run_counts VALUES ('2026-12-01T00', 'people:v1', 'SUCCEEDED', 1, 1, 0, 6);
INSERT INTO lume.run_counts VALUES ('2026-12-01T00', 'people:v1', 'SYNCING_TARGET', 0, 0, 0, 6);
INSERT INTO lume.run_counts VALUES ('2026-12-01T00', 'people:v1', 'PARTIAL_FAILED', 1, 2, 1, 7);
INSERT INTO lume.run_counts VALUES ('2026-12-01T00', 'people:v1', 'CREATED', 0, 0, 0, 6);
INSERT INTO lume.run_counts VALUES ('2026-12-01T00', 'people:v1', 'CREATED', 2, 0, 0, 7);
INSERT INTO lume.run_counts VALUES ('2026-12-01T00', 'people:v1', 'SYNCING_SOURCE', -1, 0, 0, 7);
INSERT INTO lume.run_counts VALUES ('2026-12-01T00', 'people:v1', 'SYNCING_SOURCE', -1, 0, 0, 6);
INSERT INTO lume.run_counts VALUES ('2026-12-01T00', 'people:v1', 'TRANSFORMING', 1, 0, 0, 6);
INSERT INTO lume.run_counts VALUES ('2026-12-01T00', 'people:v1', 'TRANSFORMING', -2, 0, 0, 7);
INSERT INTO lume.run_counts VALUES ('2026-12-01T00', 'people:v1', 'SYNCING_TARGET', 2, 0, 0, 7);
INSERT INTO lume.run_counts VALUES ('2026-12-01T00', 'people:v1', 'SYNCING_TARGET', -2, 0, 0, 4);
INSERT INTO lume.run_counts VALUES ('2026-12-01T00', 'people:v1', 'PARTIAL_FAILED', 2, 8, 6, 4);
INSERT INTO lume.run_counts VALUES ('2026-12-01T00', 'slow:v1', 'CREATED', 1, 0, 0, 10);
INSERT INTO lume.run_counts VALUES ('2026-12-01T00', 'slow:v1', 'CREATED', -1, 0, 0, 4);
INSERT INTO lume.run_counts VALUES ('2026-12-01T00', 'people:v1', 'CREATED', -1, 0, 0, 10);
INSERT INTO lume.run_counts VALUES ('2026-12-01T00', 'slow:v1', 'SYNCING_SOURCE', 0, 0, 0, 4);
INSERT INTO lume.run_counts VALUES ('2026-12-01T00', 'slow:v1', 'TRANSFORMING', 1, 0, 0, 4);
INSERT INTO lume.runs VALUES (1, 'run_207d3b2255ea4dd48396275265a4cae9', 5, 'people:v1', 'good.csv', '/srv/lume/good.csv', 'null', 0, 'SUCCEEDED', '2026-12-01T00:26:37.073721Z', '2026-12-01T00:26:37.101960Z', '2026-12-01T00:26:37.139651Z', '[{"name":"SYNCING_SOURCE","started_at":"2026-12-01T00:26:37.101960Z","finished_at":"2026-12-01T00:26:37.116901Z","rows":null},{"name":"TRANSFORMING","started_at":"2026-12-01T00:26:37.116901Z","finished_at":"2026-12-01T00:26:37.127739Z","rows":2},{"name":"SYNCING_TARGET","started_at":"2026-12-01T00:26:37.127739Z","finished_at":"2026-12-01T00:26:37.139651Z","rows":2}]', '{"rows_read":2,"rows_mapped":2,"rows_rejected":0,"reject_reasons":{},"warnings":{},"source":{"bytes":16,"lines":3,"records":2},"columns":{"id":{"nulls":0,"min":"1","max":"2","distinct":2},"name":{"nulls":0,"min":null,"max":null,"distinct":2}}}', '{"mapped":"/srv/lume/.lume/out/people/v1/run_207d3b2255ea4dd48396275265a4cae9/mapped.parquet","rejects":null}', NULL, 'http://127.0.0.1:9/hook', 'server', 0, 0, 0, NULL, true);
INSERT INTO lume.runs VALUES (2, 'run_da3ddd153d394260b4155e2871d8b13d', 5, 'people:v1', 'bad.csv', '/srv/lume/bad.csv', '{"a":1}', 0, 'PARTIAL_FAILED', '2026-12-01T00:26:37.227845Z', '2026-12-01T00:26:37.245160Z', '2026-12-01T00:26:37.275622Z', '[{"name":"SYNCING_SOURCE","started_at":"2026-12-01T00:26:37.245160Z","finished_at":"2026-12-01T00:26:37.253078Z","rows":null},{"name":"TRANSFORMING","started_at":"2026-12-01T00:26:37.253078Z","finished_at":"2026-12-01T00:26:37.260258Z","rows":5},{"name":"SYNCING_TARGET","started_at":"2026-12-01T00:26:37.260258Z","finished_at":"2026-12-01T00:26:37.275622Z","rows":5}]', '{"rows_read":5,"rows_mapped":2,"rows_rejected":3,"reject_reasons":{"id: is not a valid integer":2,"id: is required":1},"warnings":{},"source":{"bytes":27,"lines":6,"records":5},"columns":{"id":{"nulls":0,"min":"1","max":"4","distinct":2},"name":{"nulls":0,"min":null,"max":null,"distinct":2}}}', '{"mapped":"/srv/lume/.lume/out/people/v1/run_da3ddd153d394260b4155e2871d8b13d/mapped.parquet","rejects":"/srv/lume/.lume/out/people/v1/run_da3ddd153d394260b4155e2871d8b13d/rejects.csv"}', NULL, 'http://127.0.0.1:9/hook', 'server', 0, 0, 0, NULL, true);
INSERT INTO lume.runs VALUES (3, 'run_8cd65f8ee6fe460ba50b7fa9cdc4ec84', 4, 'people:v1', 'worse.csv', '/srv/lume/worse.csv', 'null', 0, 'FAILED', '2026-12-01T00:26:37.375497Z', '2026-12-01T00:26:37.397074Z', '2026-12-01T00:26:37.413259Z', '[{"name":"SYNCING_SOURCE","started_at":"2026-12-01T00:26:37.397074Z","finished_at":"2026-12-01T00:26:37.404689Z","rows":null},{"name":"TRANSFORMING","started_at":"2026-12-01T00:26:37.404689Z","finished_at":"2026-12-01T00:26:37.413259Z","rows":null}]', '{"rows_read":1,"rows_mapped":0,"rows_rejected":1,"reject_reasons":{"id: is not a valid integer":1},"warnings":{},"source":{"bytes":12,"lines":2,"records":1},"columns":{"id":{"nulls":0,"min":null,"max":null,"distinct":0},"name":{"nulls":0,"min":null,"max":null,"distinct":0}}}', '{}', 'the only row was rejected: id: is not a valid integer (1). Nothing was written', NULL, 'server', 0, 0, 0, NULL, false);
INSERT INTO lume.runs VALUES (4, 'run_00a54f546c8a4711ba8d7d61ccc74d68', 5, 'people:v1', 'in/a.csv', '/srv/lume/in/a.csv', '{"arrival":"acme"}', 0, 'SUCCEEDED', '2026-12-01T00:26:38.073228Z', '2026-12-01T00:26:38.094853Z', '2026-12-01T00:26:38.114169Z', '[{"name":"SYNCING_SOURCE","started_at":"2026-12-01T00:26:38.094853Z","finished_at":"2026-12-01T00:26:38.099011Z","rows":null},{"name":"TRANSFORMING","started_at":"2026-12-01T00:26:38.099011Z","finished_at":"2026-12-01T00:26:38.104708Z","rows":1},{"name":"SYNCING_TARGET","started_at":"2026-12-01T00:26:38.104708Z","finished_at":"2026-12-01T00:26:38.114169Z","rows":1}]', '{"rows_read":1,"rows_mapped":1,"rows_rejected":0,"reject_reasons":{},"warnings":{},"source":{"bytes":12,"lines":2,"records":1},"columns":{"id":{"nulls":0,"min":"5","max":"5","distinct":1},"name":{"nulls":0,"min":null,"max":null,"distinct":1}}}', '{"mapped":"/srv/lume/.lume/out/people/v1/run_00a54f546c8a4711ba8d7d61ccc74d68/mapped.parquet","rejects":null}', NULL, NULL, 'arrival:acme', -1, 0, 0, 'acme', true);
INSERT INTO lume.runs VALUES (5, 'run_f7d827c0468b43d899151af6535ae540', 5, 'people:v1', 'in/b.csv', '/srv/lume/in/b.csv', '{"arrival":"acme"}', 0, 'PARTIAL_FAILED', '2026-12-01T00:26:38.084055Z', '2026-12-01T00:26:38.139608Z', '2026-12-01T00:26:38.163578Z', '[{"name":"SYNCING_SOURCE","started_at":"2026-12-01T00:26:38.139608Z","finished_at":"2026-12-01T00:26:38.143120Z","rows":null},{"name":"TRANSFORMING","started_at":"2026-12-01T00:26:38.143120Z","finished_at":"2026-12-01T00:26:38.150954Z","rows":2},{"name":"SYNCING_TARGET","started_at":"2026-12-01T00:26:38.150954Z","finished_at":"2026-12-01T00:26:38.163578Z","rows":2}]', '{"rows_read":2,"rows_mapped":1,"rows_rejected":1,"reject_reasons":{"id: is not a valid integer":1},"warnings":{},"source":{"bytes":16,"lines":3,"records":2},"columns":{"id":{"nulls":0,"min":"5","max":"5","distinct":1},"name":{"nulls":0,"min":null,"max":null,"distinct":1}}}', '{"mapped":"/srv/lume/.lume/out/people/v1/run_f7d827c0468b43d899151af6535ae540/mapped.parquet","rejects":"/srv/lume/.lume/out/people/v1/run_f7d827c0468b43d899151af6535ae540/rejects.csv"}', NULL, NULL, 'arrival:acme', -1, 1, 0, 'acme', true);
INSERT INTO lume.runs VALUES (6, 'run_a2c1c521ae924b4e9c86ce57bad474bf', 5, 'people:v1', 'upload://lume-replay-b468ae807e7d4c97a82eb44fb42f5eeb.csv', '/srv/lume/.lume/uploads/lume-replay-b468ae807e7d4c97a82eb44fb42f5eeb.csv', '{"replay":{"flow":"people","rows":3,"reasons":["id: is not a valid integer"]}}', 0, 'PARTIAL_FAILED', '2026-12-01T00:26:39.250353Z', '2026-12-01T00:26:39.264024Z', '2026-12-01T00:26:39.293672Z', '[{"name":"SYNCING_SOURCE","started_at":"2026-12-01T00:26:39.264024Z","finished_at":"2026-12-01T00:26:39.268988Z","rows":null},{"name":"TRANSFORMING","started_at":"2026-12-01T00:26:39.268988Z","finished_at":"2026-12-01T00:26:39.277014Z","rows":3},{"name":"SYNCING_TARGET","started_at":"2026-12-01T00:26:39.277014Z","finished_at":"2026-12-01T00:26:39.293672Z","rows":3}]', '{"rows_read":3,"rows_mapped":0,"rows_rejected":3,"reject_reasons":{"id: is not a valid integer":3},"warnings":{},"source":{"bytes":145,"lines":4,"records":3},"columns":{"id":{"nulls":0,"min":null,"max":null,"distinct":0},"name":{"nulls":0,"min":null,"max":null,"distinct":0}}}', '{"mapped":"/srv/lume/.lume/out/people/v1/run_a2c1c521ae924b4e9c86ce57bad474bf/mapped.parquet","rejects":"/srv/lume/.lume/out/people/v1/run_a2c1c521ae924b4e9c86ce57bad474bf/rejects.csv"}', NULL, NULL, 'server', 0, 0, 0, NULL, true);
INSERT INTO lume.runs VALUES (8, 'run_d8183e0cdd9a47c3af145a4fc836784b', 1, 'people:v1', 'waits.csv', '/srv/lume/waits.csv', 'null', 0, 'CREATED', '2026-12-01T00:26:40.280797Z', NULL, NULL, '[]', '{}', '{}', NULL, 'http://127.0.0.1:9/hook', 'server', 0, 0, 0, NULL, false);
INSERT INTO lume.runs VALUES (7, 'run_a4dcdd9ed36b4c3ca9bf53c1b88d8857', 3, 'slow:v1', 'slow.csv', '/srv/lume/slow.csv', 'null', 0, 'TRANSFORMING', '2026-12-01T00:26:40.263536Z', '2026-12-01T00:26:40.275510Z', NULL, '[{"name":"SYNCING_SOURCE","started_at":"2026-12-01T00:26:40.275510Z","finished_at":"2026-12-01T00:26:40.288324Z","rows":null},{"name":"TRANSFORMING","started_at":"2026-12-01T00:26:40.288324Z","finished_at":null,"rows":null}]', '{}', '{}', NULL, NULL, 'server', 0, 0, 0, NULL, false);
INSERT INTO lume.sources VALUES ('run_207d3b2255ea4dd48396275265a4cae9', 16, 'a29719d0d55fc9608ba99f3b740f862e1aa03cd98c9b95c77560599f69fdeec4', '4220a1fa1a5d6df4f1ac4b5b1e58ffb1f6d22deeca1492bc8613ba309d3e8cae');
INSERT INTO lume.sources VALUES ('run_da3ddd153d394260b4155e2871d8b13d', 27, '95ff59da3322f31dffdef35c41470ba2de9e19b75a89280f5cc2bad6668151de', 'a038dede9d5cb3897cc59c102aa1917c04a8be1bfb790a3db39d154f95c06655');
INSERT INTO lume.sources VALUES ('run_00a54f546c8a4711ba8d7d61ccc74d68', 12, 'a8e19b7d6ba8cb426fdfe54d800ff8445c50eca2151d259648cc545f95472e36', '74a546f62ad648e85bd8f08db071dad498749e1353e2220f0fb16b8ddbc139b3');
INSERT INTO lume.sources VALUES ('run_f7d827c0468b43d899151af6535ae540', 16, '26b69e9c1eefd4a478584522cf1e2116bb72323714fd855e695a05a34c91accb', '5a965714e4f84f5cdee9a48b4c28341a06445a7563e749643909fd3d69e8b62c');
INSERT INTO lume.sources VALUES ('run_a2c1c521ae924b4e9c86ce57bad474bf', 145, 'e1b7f51dd1b710499bde28cd71c1397a2e9969f99151b689a10f03630be34a32', 'e18c9bad9fa65784bdf4750728cd2ad13e5618cc1b4710f45784300f13744233');
SELECT pg_catalog.setval('lume.audit_seq_seq', 4, true);
SELECT pg_catalog.setval('lume.changes_seq_seq', 33, true);
SELECT pg_catalog.setval('lume.closings_id_seq', 1, true);
SELECT pg_catalog.setval('lume.inbox_id_seq', 8, true);
SELECT pg_catalog.setval('lume.notices_seq_seq', 6, true);
SELECT pg_catalog.setval('lume.rejected_seq_seq', 1, false);
SELECT pg_catalog.setval('lume.runs_seq_seq', 8, true);
ALTER TABLE ONLY lume.arrival_moves
    ADD CONSTRAINT arrival_moves_pkey PRIMARY KEY (run, place);
ALTER TABLE ONLY lume.arrival_refusals
    ADD CONSTRAINT arrival_refusals_pkey PRIMARY KEY (place);
ALTER TABLE ONLY lume.arrivals
    ADD CONSTRAINT arrivals_pkey PRIMARY KEY (name);
ALTER TABLE ONLY lume.arrived_paths
    ADD CONSTRAINT arrived_paths_pkey PRIMARY KEY (place);
ALTER TABLE ONLY lume.arrived
    ADD CONSTRAINT arrived_pkey PRIMARY KEY (place, content);
ALTER TABLE ONLY lume.attention
    ADD CONSTRAINT attention_pkey PRIMARY KEY (flow_version, source_key);
ALTER TABLE ONLY lume.audit
    ADD CONSTRAINT audit_pkey PRIMARY KEY (seq);
ALTER TABLE ONLY lume.changes
    ADD CONSTRAINT changes_pkey PRIMARY KEY (xid, seq);
ALTER TABLE ONLY lume.claims
    ADD CONSTRAINT claims_run_id_start_key UNIQUE (run_id, start);
ALTER TABLE ONLY lume.closings
    ADD CONSTRAINT closings_pkey PRIMARY KEY (id);
ALTER TABLE ONLY lume.deliveries
    ADD CONSTRAINT deliveries_pkey PRIMARY KEY (id);
ALTER TABLE ONLY lume.dismissals
    ADD CONSTRAINT dismissals_pkey PRIMARY KEY (run_id);
ALTER TABLE ONLY lume.draft_rows
    ADD CONSTRAINT draft_rows_pkey PRIMARY KEY (draft_id, run_id, number);
ALTER TABLE ONLY lume.drafts
    ADD CONSTRAINT drafts_pkey PRIMARY KEY (flow, owner);
ALTER TABLE ONLY lume.facts
    ADD CONSTRAINT facts_pkey PRIMARY KEY (name);
ALTER TABLE ONLY lume.flow_versions
    ADD CONSTRAINT flow_versions_pkey PRIMARY KEY (ref);
ALTER TABLE ONLY lume.idempotency_keys
    ADD CONSTRAINT idempotency_keys_pkey PRIMARY KEY (key);
ALTER TABLE ONLY lume.inbox_days
    ADD CONSTRAINT inbox_days_pkey PRIMARY KEY (inbox, day);
ALTER TABLE ONLY lume.inbox
    ADD CONSTRAINT inbox_flow_reason_key UNIQUE (flow, reason);
ALTER TABLE ONLY lume.inbox
    ADD CONSTRAINT inbox_pkey PRIMARY KEY (id);
ALTER TABLE ONLY lume.lease
    ADD CONSTRAINT lease_pkey PRIMARY KEY (one);
ALTER TABLE ONLY lume.mends
    ADD CONSTRAINT mends_pkey PRIMARY KEY (run_id);
ALTER TABLE ONLY lume.message_states
    ADD CONSTRAINT message_states_pkey PRIMARY KEY (key);
ALTER TABLE ONLY lume.notes
    ADD CONSTRAINT notes_pkey PRIMARY KEY (run_id);
ALTER TABLE ONLY lume.notices
    ADD CONSTRAINT notices_pkey PRIMARY KEY (seq);
ALTER TABLE ONLY lume.outputs
    ADD CONSTRAINT outputs_pkey PRIMARY KEY (run_id, part);
ALTER TABLE ONLY lume.rejected_for
    ADD CONSTRAINT rejected_for_inbox_seq_key UNIQUE (inbox, seq);
ALTER TABLE ONLY lume.rejected
    ADD CONSTRAINT rejected_pkey PRIMARY KEY (seq);
ALTER TABLE ONLY lume.rejected
    ADD CONSTRAINT rejected_run_id_key UNIQUE (run_id);
ALTER TABLE ONLY lume.replay_rejects
    ADD CONSTRAINT replay_rejects_run_id_start_key UNIQUE (run_id, start);
ALTER TABLE ONLY lume.row_accounts
    ADD CONSTRAINT row_accounts_pkey PRIMARY KEY (flow, source_key);
ALTER TABLE ONLY lume.run_counts
    ADD CONSTRAINT run_counts_pkey PRIMARY KEY (hour, flow_version, status, slot);
ALTER TABLE ONLY lume.runs
    ADD CONSTRAINT runs_pkey PRIMARY KEY (seq);
ALTER TABLE ONLY lume.runs
    ADD CONSTRAINT runs_run_id_key UNIQUE (run_id);
ALTER TABLE ONLY lume.seeds
    ADD CONSTRAINT seeds_pkey PRIMARY KEY (run_id);
ALTER TABLE ONLY lume.sources
    ADD CONSTRAINT sources_pkey PRIMARY KEY (run_id);
ALTER TABLE ONLY lume.traces
    ADD CONSTRAINT traces_pkey PRIMARY KEY (run_id);
CREATE INDEX all_open_rows ON lume.rejected USING btree (seq) WHERE (open > 0);
CREATE INDEX attention_by_seq ON lume.attention USING btree (seq, ratio);
CREATE INDEX audit_by_act ON lume.audit USING btree (what, seq);
CREATE INDEX audit_by_age ON lume.audit USING btree (at, seq);
CREATE INDEX audit_by_both ON lume.audit USING btree (by, what, seq);
CREATE INDEX audit_by_key ON lume.audit USING btree (by, seq);
CREATE INDEX by_arrival ON lume.runs USING btree (arrival, seq) WHERE (arrival IS NOT NULL);
CREATE INDEX by_flow ON lume.runs USING btree (flow_version, seq);
CREATE INDEX by_flow_and_status ON lume.runs USING btree (flow_version, status, seq);
CREATE INDEX by_key ON lume.runs USING btree (submitted_by, seq, status, flow_version);
CREATE INDEX by_source ON lume.runs USING btree (source_path, seq);
CREATE INDEX claims_on ON lume.claims USING btree (seq);
CREATE INDEX closings_by_state ON lume.closings USING btree (state, seq);
CREATE INDEX closings_of_run ON lume.closings USING btree (seq, state);
CREATE INDEX counts_by_flow ON lume.run_counts USING btree (flow_version, hour);
CREATE INDEX deliveries_by_due ON lume.deliveries USING btree (due) WHERE (due IS NOT NULL);
CREATE INDEX deliveries_by_run ON lume.deliveries USING btree (run_id);
CREATE INDEX done_by_flow ON lume.runs USING btree (flow_version, seq) WHERE (status = ANY (ARRAY['SUCCEEDED'::text, 'PARTIAL_FAILED'::text]));
CREATE INDEX done_by_source ON lume.runs USING btree (flow_version, source_key, seq) WHERE (status = ANY (ARRAY['SUCCEEDED'::text, 'PARTIAL_FAILED'::text]));
CREATE INDEX draft_rows_by_change ON lume.draft_rows USING btree (draft_id, rev);
CREATE INDEX drafts_by_age ON lume.drafts USING btree (changed_at);
CREATE INDEX due_by_receiver ON lume.deliveries USING btree (substr(url, 1, (7 + lume.instr((substr(url, 9) || '/'::text), '/'::text))), due) WHERE (due IS NOT NULL);
ALTER INDEX lume.due_by_receiver ALTER COLUMN 1 SET STATISTICS 0;
CREATE INDEX figures_by_flow ON lume.runs USING btree (substr(flow_version, 1, (lume.instr(flow_version, ':'::text) - 1)), seq) WHERE ((status = ANY (ARRAY['SUCCEEDED'::text, 'PARTIAL_FAILED'::text])) AND (COALESCE(lume.json_type(run_metadata, '$.resubmit_of'::text), ''::text) <> 'text'::text) AND (COALESCE(lume.json_type(run_metadata, '$.replay'::text), ''::text) <> 'object'::text));
ALTER INDEX lume.figures_by_flow ALTER COLUMN 1 SET STATISTICS 0;
CREATE INDEX keys_by_age ON lume.idempotency_keys USING btree (at);
CREATE INDEX keys_of_run ON lume.idempotency_keys USING btree (run_id);
CREATE INDEX listing ON lume.runs USING btree (status, created_at, seq, source_path, flow_version);
CREATE INDEX lost_rows ON lume.rejected USING btree (seq) WHERE (lost > 0);
CREATE INDEX mends_of ON lume.mends USING btree (parent);
CREATE INDEX message_states_by_due ON lume.message_states USING btree (due) WHERE (due IS NOT NULL);
CREATE INDEX moves_of ON lume.arrival_moves USING btree (arrival) WHERE (stays = 0);
CREATE INDEX old_runs ON lume.runs USING btree (finished_at, seq) WHERE ((purged <> 1) AND (finished_at IS NOT NULL));
CREATE UNIQUE INDEX one_active ON lume.runs USING btree (flow_version, source_key) WHERE (status = ANY (ARRAY['CREATED'::text, 'SYNCING_SOURCE'::text, 'TRANSFORMING'::text, 'SYNCING_TARGET'::text]));
CREATE UNIQUE INDEX one_success ON lume.runs USING btree (flow_version, source_key) WHERE ((status = ANY (ARRAY['SUCCEEDED'::text, 'PARTIAL_FAILED'::text])) AND (force_rerun = 0));
CREATE INDEX open_for ON lume.rejected_for USING btree (inbox, seq) WHERE (open > 0);
CREATE INDEX open_rows ON lume.rejected USING btree (flow, seq) WHERE (open > 0);
CREATE INDEX outputs_kept ON lume.outputs USING btree (run_id) WHERE (identity <> ''::text);
CREATE INDEX queue ON lume.runs USING btree (priority DESC, turn, seq, submitted_by) WHERE (status = 'CREATED'::text);
CREATE INDEX queue_of ON lume.runs USING btree (submitted_by, substr(flow_version, 1, (lume.instr(flow_version, ':'::text) - 1)), priority, turn) WHERE (status = 'CREATED'::text);
ALTER INDEX lume.queue_of ALTER COLUMN 2 SET STATISTICS 0;
CREATE INDEX reasons_of_run ON lume.rejected_for USING btree (seq);
CREATE INDEX refusals_by_age ON lume.arrival_refusals USING btree (arrival, at);
CREATE INDEX rejected_of_source ON lume.rejected USING btree (flow, source_key, seq) WHERE ((open > 0) OR (lost > 0));
CREATE INDEX replay_rejects_on ON lume.replay_rejects USING btree (seq);
CREATE INDEX settled_by_age ON lume.deliveries USING btree (at) WHERE (due IS NULL);
CREATE INDEX unended_rows ON lume.rejected USING btree (seq) WHERE ((open > 0) OR (lost > 0));
CREATE INDEX unread ON lume.runs USING btree (substr(flow_version, 1, (lume.instr(flow_version, ':'::text) - 1)), source_key) WHERE ((arrival IS NOT NULL) AND (status = ANY (ARRAY['FAILED'::text, 'CRASHED'::text, 'CANCELLED'::text])));
CREATE TRIGGER audit_is_kept BEFORE DELETE ON lume.audit FOR EACH ROW EXECUTE FUNCTION lume.audit_is_kept();
CREATE TRIGGER audit_is_never_changed BEFORE UPDATE ON lume.audit FOR EACH ROW EXECUTE FUNCTION lume.audit_is_never_changed();
CREATE TRIGGER audit_is_not_emptied BEFORE TRUNCATE ON lume.audit FOR EACH STATEMENT EXECUTE FUNCTION lume.audit_is_never_changed();
CREATE TRIGGER mend_created AFTER INSERT ON lume.runs FOR EACH ROW EXECUTE FUNCTION lume.mend_created();
CREATE TRIGGER mend_ended AFTER UPDATE OF status ON lume.runs FOR EACH ROW WHEN ((new.status = ANY (ARRAY['SUCCEEDED'::text, 'PARTIAL_FAILED'::text]))) EXECUTE FUNCTION lume.mend_ended();
CREATE TRIGGER run_changed AFTER UPDATE OF status, metrics ON lume.runs FOR EACH ROW EXECUTE FUNCTION lume.run_changed();
CREATE TRIGGER run_created AFTER INSERT ON lume.runs FOR EACH ROW EXECUTE FUNCTION lume.run_created();
CREATE TRIGGER run_ended AFTER UPDATE OF status ON lume.runs FOR EACH ROW WHEN ((new.status = ANY (ARRAY['FAILED'::text, 'CRASHED'::text, 'PARTIAL_FAILED'::text]))) EXECUTE FUNCTION lume.run_ended();
