BEGIN TRANSACTION;
CREATE TABLE attention (
    flow_version TEXT NOT NULL,
    source_key TEXT NOT NULL,
    seq INTEGER NOT NULL,
    ratio REAL NOT NULL,
    PRIMARY KEY (flow_version, source_key)
) STRICT, WITHOUT ROWID;
INSERT INTO "attention" VALUES('people:v1','/srv/lume/bad.csv',2,0.5);
CREATE TABLE changes (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    run_id TEXT NOT NULL,
    status TEXT NOT NULL,
    finished_at TEXT,
    at TEXT NOT NULL
) STRICT;
INSERT INTO "changes" VALUES(1,'run_fa562920c2f74a6d8b7659d0201b2287','CREATED',NULL,'2026-11-28T12:55:40.765375Z');
INSERT INTO "changes" VALUES(2,'run_fa562920c2f74a6d8b7659d0201b2287','SYNCING_SOURCE',NULL,'2026-11-28T12:55:40.789636Z');
INSERT INTO "changes" VALUES(3,'run_fa562920c2f74a6d8b7659d0201b2287','TRANSFORMING',NULL,'2026-11-28T12:55:40.798155Z');
INSERT INTO "changes" VALUES(4,'run_fa562920c2f74a6d8b7659d0201b2287','SYNCING_TARGET',NULL,'2026-11-28T12:55:40.799528Z');
INSERT INTO "changes" VALUES(5,'run_fa562920c2f74a6d8b7659d0201b2287','SUCCEEDED','2026-11-28T12:55:40.890977Z','2026-11-28T12:55:40.891442Z');
INSERT INTO "changes" VALUES(6,'run_12b0682b572b4d98baae6392e96c13ad','CREATED',NULL,'2026-11-28T12:55:40.897474Z');
INSERT INTO "changes" VALUES(7,'run_12b0682b572b4d98baae6392e96c13ad','SYNCING_SOURCE',NULL,'2026-11-28T12:55:40.930965Z');
INSERT INTO "changes" VALUES(8,'run_12b0682b572b4d98baae6392e96c13ad','TRANSFORMING',NULL,'2026-11-28T12:55:40.931201Z');
INSERT INTO "changes" VALUES(9,'run_12b0682b572b4d98baae6392e96c13ad','SYNCING_TARGET',NULL,'2026-11-28T12:55:40.959145Z');
INSERT INTO "changes" VALUES(10,'run_12b0682b572b4d98baae6392e96c13ad','PARTIAL_FAILED','2026-11-28T12:55:41.014338Z','2026-11-28T12:55:41.014611Z');
INSERT INTO "changes" VALUES(11,'run_113f8d76058644368baf65f1f1934680','CREATED',NULL,'2026-11-28T12:55:41.020473Z');
INSERT INTO "changes" VALUES(12,'run_113f8d76058644368baf65f1f1934680','SYNCING_SOURCE',NULL,'2026-11-28T12:55:41.042067Z');
INSERT INTO "changes" VALUES(13,'run_113f8d76058644368baf65f1f1934680','TRANSFORMING',NULL,'2026-11-28T12:55:41.043763Z');
INSERT INTO "changes" VALUES(14,'run_113f8d76058644368baf65f1f1934680','FAILED','2026-11-28T12:55:41.086625Z','2026-11-28T12:55:41.086886Z');
CREATE TABLE deliveries (
    id TEXT PRIMARY KEY,
    run_id TEXT NOT NULL,
    url TEXT NOT NULL,
    body BLOB NOT NULL,
    attempts INTEGER NOT NULL,
    due REAL,
    delivered_at TEXT,
    error TEXT,
    at TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE dismissals (
    run_id TEXT PRIMARY KEY, why TEXT NOT NULL, at TEXT NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO "dismissals" VALUES('run_113f8d76058644368baf65f1f1934680','a test','2026-11-28T12:55:41.097376Z');
CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
INSERT INTO "facts" VALUES('store_id','e12a5dc1');
INSERT INTO "facts" VALUES('opened','2026-11-28T12:55:39.538859Z');
INSERT INTO "facts" VALUES('written_by','0.1.0');
CREATE TABLE flow_versions (
    ref TEXT PRIMARY KEY,
    content_hash TEXT NOT NULL,
    definition TEXT NOT NULL,
    compiled TEXT NOT NULL,
    compiled_by TEXT NOT NULL,
    created_at TEXT NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO "flow_versions" VALUES('people:v1','e311485d28b40aa284d803cc731ed8ad7a1d623bef30266845275f10fe9630d6','{"flow":"people","version":"v1","columns":{"id":{"type":"integer","required":true},"name":{"sql":"Name"}}}','{"ref":"people:v1","format":"csv","csv":{"delim":",","quote":"\"","escape":""},"encoding":"utf-8","max_line_bytes":2000000,"header":{"row":1,"contains":[],"lines":1,"names":[]},"comment":"","footer":null,"sheet":"","on_unknown_columns":"ignore","compression":"auto","max_unpacked_bytes":10737418240,"null":[],"max_ratio":null,"sources":{"id":"columns.id.sql","Name":"columns.name.sql"},"respelled":[],"aliases":{},"seeds":{},"lookups":[],"columns":[{"name":"id","inner":"(\n\"id\"\n) AS _lume_t0","value":"_lume_t0","threw":"false","made":"TRY_CAST(_lume_t0 AS BIGINT)","kept":"CASE WHEN _lume_made0::VARCHAR = _lume_t0 THEN _lume_made0 WHEN regexp_full_match(_lume_t0, ''\\s*[+-]?[0-9]+\\s*'') THEN _lume_made0 END","ordered":true},{"name":"name","inner":"(\nName\n) AS _lume_t1","value":"_lume_t1","threw":"false","made":"CAST(_lume_t1 AS VARCHAR)","kept":"_lume_made1","ordered":false}],"rules":[],"expect":[],"checks":[{"sql":"_lume_bad0","reason":"id: is not a valid integer","on_fail":"reject"},{"sql":"\"id\" IS NULL AND NOT _lume_bad0","reason":"id: is required","on_fail":"reject"},{"sql":"_lume_bad1","reason":"name: is not a valid string","on_fail":"reject"}],"where":null,"cleaners":[],"siblings":{},"unique":[],"references":[],"judged_by_table":false}','6/duckdb 2.0.1','2026-11-28T12:55:40.602449Z');
CREATE TABLE idempotency_keys (
    key TEXT PRIMARY KEY,
    fingerprint TEXT NOT NULL,
    run_id TEXT NOT NULL,
    at TEXT NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO "idempotency_keys" VALUES('0ad8fc4771ec40df91a6538b2c957d20','8c6d5f8521f7f565784d9d09a928d3faf0a9a9a26a54742c7c7c8ddac1ec0a3a','run_113f8d76058644368baf65f1f1934680','2026-11-28T12:55:41.020360Z');
INSERT INTO "idempotency_keys" VALUES('214acb66719540d9883bd827ec99148f','67fa86727bdc1cc874e889c7fd05d959b0651843597f606128575b1967d6a530','run_12b0682b572b4d98baae6392e96c13ad','2026-11-28T12:55:40.897375Z');
INSERT INTO "idempotency_keys" VALUES('7856e05193fc4186893d503b49d7854c','41d26a3ecd086506c6fb959a1d6f443ddb2e196847928dfabe83957470dff82c','run_fa562920c2f74a6d8b7659d0201b2287','2026-11-28T12:55:40.764974Z');
CREATE TABLE mends (run_id TEXT PRIMARY KEY, parent TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE notes (run_id TEXT PRIMARY KEY, note TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE outputs (
    run_id TEXT NOT NULL,
    part TEXT NOT NULL,
    identity TEXT NOT NULL,
    PRIMARY KEY (run_id, part)
) STRICT, WITHOUT ROWID;
INSERT INTO "outputs" VALUES('run_12b0682b572b4d98baae6392e96c13ad','mapped','512-1795870540976568863');
INSERT INTO "outputs" VALUES('run_12b0682b572b4d98baae6392e96c13ad','rejects','88-1795870540967025060');
INSERT INTO "outputs" VALUES('run_fa562920c2f74a6d8b7659d0201b2287','mapped','536-1795870540800708641');
CREATE TABLE run_counts (
    hour TEXT NOT NULL,
    flow_version TEXT NOT NULL,
    status TEXT NOT NULL,
    runs INTEGER NOT NULL,
    rows_read INTEGER NOT NULL,
    rows_rejected INTEGER NOT NULL,
    PRIMARY KEY (hour, flow_version, status)
) STRICT, WITHOUT ROWID;
INSERT INTO "run_counts" VALUES('2026-11-28T12','people:v1','CREATED',0,0,0);
INSERT INTO "run_counts" VALUES('2026-11-28T12','people:v1','FAILED',1,1,1);
INSERT INTO "run_counts" VALUES('2026-11-28T12','people:v1','PARTIAL_FAILED',1,2,1);
INSERT INTO "run_counts" VALUES('2026-11-28T12','people:v1','SUCCEEDED',1,2,0);
INSERT INTO "run_counts" VALUES('2026-11-28T12','people:v1','SYNCING_SOURCE',0,0,0);
INSERT INTO "run_counts" VALUES('2026-11-28T12','people:v1','SYNCING_TARGET',0,0,0);
INSERT INTO "run_counts" VALUES('2026-11-28T12','people:v1','TRANSFORMING',0,0,0);
CREATE TABLE runs (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    run_id TEXT NOT NULL UNIQUE,
    rev INTEGER NOT NULL,
    flow_version TEXT NOT NULL,
    source_path TEXT NOT NULL,
    source_key TEXT NOT NULL,
    run_metadata TEXT NOT NULL,
    force_rerun INTEGER NOT NULL,
    status TEXT NOT NULL CHECK (status IN (
        'CREATED', 'SYNCING_SOURCE', 'TRANSFORMING', 'SYNCING_TARGET',
        'SUCCEEDED', 'PARTIAL_FAILED', 'FAILED', 'CRASHED', 'CANCELLED'
    )),
    created_at TEXT NOT NULL,
    started_at TEXT,
    finished_at TEXT,
    stages TEXT NOT NULL,
    metrics TEXT NOT NULL,
    target_locations TEXT NOT NULL,
    error_message TEXT,
    webhook_url TEXT
) STRICT;
INSERT INTO "runs" VALUES(1,'run_fa562920c2f74a6d8b7659d0201b2287',5,'people:v1','good.csv','/srv/lume/good.csv','null',0,'SUCCEEDED','2026-11-28T12:55:40.764974Z','2026-11-28T12:55:40.789102Z','2026-11-28T12:55:40.890977Z','[{"name":"SYNCING_SOURCE","started_at":"2026-11-28T12:55:40.789102Z","finished_at":"2026-11-28T12:55:40.789934Z","rows":null},{"name":"TRANSFORMING","started_at":"2026-11-28T12:55:40.789934Z","finished_at":"2026-11-28T12:55:40.799408Z","rows":2},{"name":"SYNCING_TARGET","started_at":"2026-11-28T12:55:40.799408Z","finished_at":"2026-11-28T12:55:40.890977Z","rows":2}]','{"rows_read":2,"rows_mapped":2,"rows_rejected":0,"reject_reasons":{},"warnings":{},"source":{"bytes":16,"lines":3,"records":2},"columns":{"id":{"nulls":0,"min":"1","max":"2","distinct":2},"name":{"nulls":0,"min":null,"max":null,"distinct":2}}}','{"mapped":"/srv/lume/.lume/out/people/v1/run_fa562920c2f74a6d8b7659d0201b2287/mapped.parquet","rejects":null}',NULL,NULL);
INSERT INTO "runs" VALUES(2,'run_12b0682b572b4d98baae6392e96c13ad',5,'people:v1','bad.csv','/srv/lume/bad.csv','{"a":1}',0,'PARTIAL_FAILED','2026-11-28T12:55:40.897375Z','2026-11-28T12:55:40.930785Z','2026-11-28T12:55:41.014338Z','[{"name":"SYNCING_SOURCE","started_at":"2026-11-28T12:55:40.930785Z","finished_at":"2026-11-28T12:55:40.931130Z","rows":null},{"name":"TRANSFORMING","started_at":"2026-11-28T12:55:40.931130Z","finished_at":"2026-11-28T12:55:40.958987Z","rows":2},{"name":"SYNCING_TARGET","started_at":"2026-11-28T12:55:40.958987Z","finished_at":"2026-11-28T12:55:41.014338Z","rows":2}]','{"rows_read":2,"rows_mapped":1,"rows_rejected":1,"reject_reasons":{"id: is not a valid integer":1},"warnings":{},"source":{"bytes":16,"lines":3,"records":2},"columns":{"id":{"nulls":0,"min":"1","max":"1","distinct":1},"name":{"nulls":0,"min":null,"max":null,"distinct":1}}}','{"mapped":"/srv/lume/.lume/out/people/v1/run_12b0682b572b4d98baae6392e96c13ad/mapped.parquet","rejects":"/srv/lume/.lume/out/people/v1/run_12b0682b572b4d98baae6392e96c13ad/rejects.csv"}',NULL,NULL);
INSERT INTO "runs" VALUES(3,'run_113f8d76058644368baf65f1f1934680',5,'people:v1','worse.csv','/srv/lume/worse.csv','null',0,'FAILED','2026-11-28T12:55:41.020360Z','2026-11-28T12:55:41.041901Z','2026-11-28T12:55:41.086625Z','[{"name":"SYNCING_SOURCE","started_at":"2026-11-28T12:55:41.041901Z","finished_at":"2026-11-28T12:55:41.043643Z","rows":null},{"name":"TRANSFORMING","started_at":"2026-11-28T12:55:41.043643Z","finished_at":"2026-11-28T12:55:41.086625Z","rows":null}]','{"rows_read":1,"rows_mapped":0,"rows_rejected":1,"reject_reasons":{"id: is not a valid integer":1},"warnings":{},"source":{"bytes":12,"lines":2,"records":1},"columns":{"id":{"nulls":0,"min":null,"max":null,"distinct":0},"name":{"nulls":0,"min":null,"max":null,"distinct":0}}}','{}','the only row was rejected: id: is not a valid integer (1). Nothing was written',NULL);
CREATE TABLE sources (
    run_id TEXT PRIMARY KEY,
    bytes INTEGER NOT NULL,
    seen TEXT NOT NULL,
    digest TEXT
) STRICT, WITHOUT ROWID;
INSERT INTO "sources" VALUES('run_12b0682b572b4d98baae6392e96c13ad',16,'4c1b2bc2b1f2ede13fc0ee8613c209fe80db4b15ebc1d81b758f4f6164e406e3','4fc797495771cba25de87db9fd11ea976cff2bb75e66ac595a149b81cb468b81');
INSERT INTO "sources" VALUES('run_fa562920c2f74a6d8b7659d0201b2287',16,'3e85778389d474625f5c8bab50be4f212efd446990784730ab3e5cd4f5acab14','4220a1fa1a5d6df4f1ac4b5b1e58ffb1f6d22deeca1492bc8613ba309d3e8cae');
CREATE TABLE traces (run_id TEXT PRIMARY KEY, traceparent TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX one_active ON runs (flow_version, source_key)
    WHERE status IN ('CREATED', 'SYNCING_SOURCE', 'TRANSFORMING', 'SYNCING_TARGET');
CREATE UNIQUE INDEX one_success ON runs (flow_version, source_key)
    WHERE status IN ('SUCCEEDED', 'PARTIAL_FAILED') AND force_rerun = 0;
CREATE INDEX by_source ON runs (source_path, seq);
CREATE INDEX by_flow ON runs (flow_version, seq);
CREATE INDEX by_status ON runs (status, seq);
CREATE INDEX keys_by_age ON idempotency_keys (at);
CREATE INDEX deliveries_by_due ON deliveries (due) WHERE due IS NOT NULL;
CREATE INDEX settled_by_age ON deliveries (at) WHERE due IS NULL;
CREATE INDEX due_by_receiver ON deliveries (substr(url, 1, 7 + instr(substr(url, 9) || '/', '/')), due) WHERE due IS NOT NULL;
CREATE INDEX outputs_kept ON outputs (run_id) WHERE identity != '';
CREATE INDEX by_flow_and_status ON runs (flow_version, status, seq);
CREATE INDEX done_by_source ON runs (flow_version, source_key, seq)
    WHERE status IN ('SUCCEEDED', 'PARTIAL_FAILED');
CREATE INDEX done_by_flow ON runs (flow_version, seq)
    WHERE status IN ('SUCCEEDED', 'PARTIAL_FAILED')
;
CREATE INDEX counts_by_flow ON run_counts (flow_version, hour);
CREATE INDEX attention_by_seq ON attention (seq, ratio);
CREATE TRIGGER run_created AFTER INSERT ON runs BEGIN
    
    INSERT INTO run_counts VALUES (
        substr(new.created_at, 1, 13), new.flow_version, new.status,
        1, coalesce(json_extract(new.metrics, '$.rows_read'), 0), coalesce(json_extract(new.metrics, '$.rows_rejected'), 0)
    ) ON CONFLICT DO UPDATE SET
        runs = runs + excluded.runs,
        rows_read = rows_read + excluded.rows_read,
        rows_rejected = rows_rejected + excluded.rows_rejected;
    
    DELETE FROM attention WHERE flow_version = new.flow_version AND source_key = new.source_key;
    
    INSERT OR REPLACE INTO attention
    SELECT flow_version, source_key, seq, iif(status = 'PARTIAL_FAILED', 1.0 * coalesce(json_extract(metrics, '$.rows_rejected'), 0) / max(coalesce(json_extract(metrics, '$.rows_read'), 0), 1), 2.0) FROM runs WHERE seq = new.seq AND status IN ('FAILED', 'CRASHED', 'PARTIAL_FAILED');

END;
CREATE TRIGGER run_changed AFTER UPDATE OF status, metrics ON runs BEGIN
    
    INSERT INTO run_counts VALUES (
        substr(old.created_at, 1, 13), old.flow_version, old.status,
        -1, -coalesce(json_extract(old.metrics, '$.rows_read'), 0), -coalesce(json_extract(old.metrics, '$.rows_rejected'), 0)
    ) ON CONFLICT DO UPDATE SET
        runs = runs + excluded.runs,
        rows_read = rows_read + excluded.rows_read,
        rows_rejected = rows_rejected + excluded.rows_rejected;
     
    INSERT INTO run_counts VALUES (
        substr(new.created_at, 1, 13), new.flow_version, new.status,
        1, coalesce(json_extract(new.metrics, '$.rows_read'), 0), coalesce(json_extract(new.metrics, '$.rows_rejected'), 0)
    ) ON CONFLICT DO UPDATE SET
        runs = runs + excluded.runs,
        rows_read = rows_read + excluded.rows_read,
        rows_rejected = rows_rejected + excluded.rows_rejected;
    
END;
CREATE TRIGGER run_ended AFTER UPDATE OF status ON runs WHEN new.status IN ('FAILED', 'CRASHED', 'PARTIAL_FAILED') BEGIN
    
    INSERT OR REPLACE INTO attention
    SELECT flow_version, source_key, seq, iif(status = 'PARTIAL_FAILED', 1.0 * coalesce(json_extract(metrics, '$.rows_rejected'), 0) / max(coalesce(json_extract(metrics, '$.rows_read'), 0), 1), 2.0) FROM runs WHERE seq = new.seq AND status IN ('FAILED', 'CRASHED', 'PARTIAL_FAILED');

END;
CREATE INDEX listing ON runs (created_at, status, flow_version, source_path);
CREATE INDEX deliveries_by_run ON deliveries (run_id);
CREATE INDEX mends_of ON mends (parent);
CREATE TRIGGER mend_created AFTER INSERT ON runs
WHEN json_type(new.run_metadata, '$.resubmit_of') = 'text' BEGIN
    -- A failed attempt is settled by the next one.
    DELETE FROM attention WHERE seq IN (
        SELECT seq FROM mends JOIN runs USING (run_id) WHERE parent = json_extract(new.run_metadata, '$.resubmit_of') AND NOT status IN ('SUCCEEDED', 'PARTIAL_FAILED')
    );
    INSERT OR IGNORE INTO mends VALUES (new.run_id, json_extract(new.run_metadata, '$.resubmit_of'));
    UPDATE runs SET rev = rev + 1 WHERE run_id = json_extract(new.run_metadata, '$.resubmit_of');
END;
CREATE TRIGGER mend_ended AFTER UPDATE OF status ON runs
WHEN new.status IN ('SUCCEEDED', 'PARTIAL_FAILED') AND EXISTS (SELECT 1 FROM mends WHERE run_id = new.run_id) BEGIN
    -- What they rejected again is among their own rejects.
    DELETE FROM attention WHERE seq IN (
        SELECT seq FROM runs WHERE run_id = (SELECT parent FROM mends WHERE run_id = new.run_id) AND status IN ('SUCCEEDED', 'PARTIAL_FAILED')
        AND json_extract(metrics, '$.rows_rejected') <= (
            SELECT sum(json_extract(mend.metrics, '$.rows_read')) FROM mends JOIN runs AS mend USING (run_id)
            WHERE parent = runs.run_id AND mend.status IN ('SUCCEEDED', 'PARTIAL_FAILED')
        )
    );
END;
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('runs',3);
INSERT INTO "sqlite_sequence" VALUES('changes',14);
COMMIT;
PRAGMA user_version = 1;
