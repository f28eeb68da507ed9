BEGIN TRANSACTION;
CREATE TABLE attention (
    flow_version TEXT NOT NULL,
    source_key TEXT NOT NULL,
    seq INTEGER NOT NULL,
    ratio REAL NOT NULL,
    PRIMARY KEY (flow_version, source_key)
) STRICT, WITHOUT ROWID;
INSERT INTO "attention" VALUES('people:v1','/srv/lume/bad.csv',2,0.6);
INSERT INTO "attention" VALUES('people:v1','/srv/lume/worse.csv',3,2.0);
CREATE TABLE changes (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    run_id TEXT NOT NULL,
    status TEXT NOT NULL,
    finished_at TEXT,
    at TEXT NOT NULL
) STRICT;
INSERT INTO "changes" VALUES(1,'run_264b673275ec44dfa7daa3ff62fe641b','CREATED',NULL,'2026-12-01T00:22:55.398935Z');
INSERT INTO "changes" VALUES(2,'run_264b673275ec44dfa7daa3ff62fe641b','SYNCING_SOURCE',NULL,'2026-12-01T00:22:55.407018Z');
INSERT INTO "changes" VALUES(3,'run_264b673275ec44dfa7daa3ff62fe641b','TRANSFORMING',NULL,'2026-12-01T00:22:55.408762Z');
INSERT INTO "changes" VALUES(4,'run_264b673275ec44dfa7daa3ff62fe641b','SYNCING_TARGET',NULL,'2026-12-01T00:22:55.416173Z');
INSERT INTO "changes" VALUES(5,'run_264b673275ec44dfa7daa3ff62fe641b','SUCCEEDED','2026-12-01T00:22:55.421494Z','2026-12-01T00:22:55.421865Z');
INSERT INTO "changes" VALUES(6,'run_fd67ea0d658840868268706e5b06e448','CREATED',NULL,'2026-12-01T00:22:55.455784Z');
INSERT INTO "changes" VALUES(7,'run_fd67ea0d658840868268706e5b06e448','SYNCING_SOURCE',NULL,'2026-12-01T00:22:55.459438Z');
INSERT INTO "changes" VALUES(8,'run_fd67ea0d658840868268706e5b06e448','TRANSFORMING',NULL,'2026-12-01T00:22:55.460964Z');
INSERT INTO "changes" VALUES(9,'run_fd67ea0d658840868268706e5b06e448','SYNCING_TARGET',NULL,'2026-12-01T00:22:55.465274Z');
INSERT INTO "changes" VALUES(10,'run_fd67ea0d658840868268706e5b06e448','PARTIAL_FAILED','2026-12-01T00:22:55.471710Z','2026-12-01T00:22:55.471888Z');
INSERT INTO "changes" VALUES(11,'run_8263830ceddc4d398b5e8c12e9b9bd31','CREATED',NULL,'2026-12-01T00:22:55.510202Z');
INSERT INTO "changes" VALUES(12,'run_8263830ceddc4d398b5e8c12e9b9bd31','SYNCING_SOURCE',NULL,'2026-12-01T00:22:55.513670Z');
INSERT INTO "changes" VALUES(13,'run_8263830ceddc4d398b5e8c12e9b9bd31','TRANSFORMING',NULL,'2026-12-01T00:22:55.514614Z');
INSERT INTO "changes" VALUES(14,'run_8263830ceddc4d398b5e8c12e9b9bd31','FAILED','2026-12-01T00:22:55.521585Z','2026-12-01T00:22:55.521758Z');
INSERT INTO "changes" VALUES(15,'run_623ef092d31b4f0f89b307d7c817913a','CREATED',NULL,'2026-12-01T00:22:55.565544Z');
INSERT INTO "changes" VALUES(16,'run_4480855a084e41239612c284ac6d1f1e','CREATED',NULL,'2026-12-01T00:22:55.568986Z');
INSERT INTO "changes" VALUES(17,'run_623ef092d31b4f0f89b307d7c817913a','SYNCING_SOURCE',NULL,'2026-12-01T00:22:55.570561Z');
INSERT INTO "changes" VALUES(18,'run_623ef092d31b4f0f89b307d7c817913a','TRANSFORMING',NULL,'2026-12-01T00:22:55.572097Z');
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
INSERT INTO "deliveries" VALUES('dlv_bfd6fb1a4d644b7e81eacc127ca327f0','run_fd67ea0d658840868268706e5b06e448','http://127.0.0.1:9/hook',X'7B226576656E74223A2272756E2E66696E6973686564222C2272756E5F6964223A2272756E5F6664363765613064363538383430383638323638373036653562303665343438222C22737461747573223A225041525449414C5F4641494C4544222C22666C6F775F76657273696F6E223A2270656F706C653A7631222C22736F757263655F70617468223A226261642E637376222C2272756E5F6D65746164617461223A7B2261223A317D2C2266696E69736865645F6174223A22323032362D31322D30315430303A32323A35352E3437313731305A227D',1,1.79608457747385478e+09,NULL,'ClientConnectorError: Cannot connect to host 127.0.0.1:9 ssl:default [Connect call failed (''127.0.0.1'', 9)]','2026-12-01T00:22:55.471922Z');
INSERT INTO "deliveries" VALUES('dlv_c1c5186348714a6eaf15c6bd4110f627','run_264b673275ec44dfa7daa3ff62fe641b','http://127.0.0.1:9/hook',X'7B226576656E74223A2272756E2E66696E6973686564222C2272756E5F6964223A2272756E5F3236346236373332373565633434646661376461613366663632666536343162222C22737461747573223A22535543434545444544222C22666C6F775F76657273696F6E223A2270656F706C653A7631222C22736F757263655F70617468223A22676F6F642E637376222C2272756E5F6D65746164617461223A6E756C6C2C2266696E69736865645F6174223A22323032362D31322D30315430303A32323A35352E3432313439345A227D',1,1.79608457742429685e+09,NULL,'ClientConnectorError: Cannot connect to host 127.0.0.1:9 ssl:default [Connect call failed (''127.0.0.1'', 9)]','2026-12-01T00:22:55.421902Z');
CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
INSERT INTO "facts" VALUES('store_id','230fcb9f');
INSERT INTO "facts" VALUES('opened','2026-12-01T00:22:55.060022Z');
CREATE TABLE flow_versions (
    ref TEXT PRIMARY KEY,
    content_hash TEXT NOT NULL,
    definition TEXT NOT NULL,
    compiled TEXT NOT NULL,
    compiled_by TEXT NOT NULL,
    created_at TEXT NOT NULL
) STRICT, WITHOUT ROWID
;
INSERT INTO "flow_versions" VALUES('people:v1','e311485d28b40aa284d803cc731ed8ad7a1d623bef30266845275f10fe9630d6','{"flow":"people","version":"v1","columns":{"id":{"type":"integer","required":true},"name":{"sql":"Name"}}}','{"ref":"people:v1","format":"csv","csv":{"delim":",","quote":"\"","escape":""},"encoding":"utf-8","max_line_bytes":2000000,"sheet":"","on_unknown_columns":"ignore","compression":"auto","max_unpacked_bytes":10737418240,"max_ratio":null,"sources":{"id":"columns.id.sql","Name":"columns.name.sql"},"seeds":{},"lookups":[],"columns":[{"name":"id","inner":"(\n\"id\"\n) AS _lume_t0","value":"_lume_t0","threw":"false","made":"TRY_CAST(_lume_t0 AS BIGINT)","kept":"CASE WHEN _lume_made0::VARCHAR = _lume_t0 THEN _lume_made0 WHEN regexp_full_match(_lume_t0, ''\\s*[+-]?[0-9]+\\s*'') THEN _lume_made0 END","ordered":true},{"name":"name","inner":"(\nName\n) AS _lume_t1","value":"_lume_t1","threw":"false","made":"CAST(_lume_t1 AS VARCHAR)","kept":"_lume_made1","ordered":false}],"rules":[],"expect":[],"checks":[{"sql":"_lume_bad0","reason":"id: is not a valid integer","on_fail":"reject"},{"sql":"\"id\" IS NULL AND NOT _lume_bad0","reason":"id: is required","on_fail":"reject"},{"sql":"_lume_bad1","reason":"name: is not a valid string","on_fail":"reject"}],"cleaners":[],"unique":[]}','5/duckdb 2.0.1','2026-12-01T00:22:55.349625Z');
INSERT INTO "flow_versions" VALUES('slow:v1','3b067e2911a6e51852656c9d6b2069b7e0bee2b191ac8fc8855fc6e7799d5764','{"flow":"slow","version":"v1","columns":{"id":{"type":"integer"},"burnt":{"sql":"levenshtein(repeat(''ab'', 550), repeat(lpad(id, 5, ''0''), 550))","type":"integer"}}}','{"ref":"slow:v1","format":"csv","csv":{"delim":",","quote":"\"","escape":""},"encoding":"utf-8","max_line_bytes":2000000,"sheet":"","on_unknown_columns":"ignore","compression":"auto","max_unpacked_bytes":10737418240,"max_ratio":null,"sources":{"id":"columns.id.sql"},"seeds":{},"lookups":[],"columns":[{"name":"id","inner":"(\n\"id\"\n) AS _lume_t0","value":"_lume_t0","threw":"false","made":"TRY_CAST(_lume_t0 AS BIGINT)","kept":"CASE WHEN _lume_made0::VARCHAR = _lume_t0 THEN _lume_made0 WHEN regexp_full_match(_lume_t0, ''\\s*[+-]?[0-9]+\\s*'') THEN _lume_made0 END","ordered":true},{"name":"burnt","inner":"TRY({''v'': (\nlevenshtein(repeat(''ab'', 550), repeat(lpad(id, 5, ''0''), 550))\n)}) AS _lume_t1","value":"struct_extract(_lume_t1, ''v'')","threw":"_lume_t1 IS NULL","made":"struct_extract(_lume_t1, ''v'')","kept":"_lume_made1","ordered":true}],"rules":[],"expect":[],"checks":[{"sql":"_lume_bad0","reason":"id: is not a valid integer","on_fail":"reject"},{"sql":"_lume_bad1","reason":"burnt: is not a valid integer","on_fail":"reject"}],"cleaners":[],"unique":[]}','5/duckdb 2.0.1','2026-12-01T00:22:55.392130Z');
CREATE TABLE idempotency_keys (
    key TEXT PRIMARY KEY,
    fingerprint TEXT NOT NULL,
    run_id TEXT NOT NULL,
    at TEXT NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO "idempotency_keys" VALUES('order-1','e2b954119edb044e22f8f12da0418f8effa4154c1fb7c0f0689e1d922ba91c86','run_264b673275ec44dfa7daa3ff62fe641b','2026-12-01T00:22:55.398623Z');
INSERT INTO "idempotency_keys" VALUES('order-2','ceead28d735e49ee6d150d6bfcc4291da592f230763bbd6b43e3783837df7bdb','run_fd67ea0d658840868268706e5b06e448','2026-12-01T00:22:55.455626Z');
INSERT INTO "idempotency_keys" VALUES('order-3','e36c7439cf03aa830149051515d91f81d5cc8e08675ec3f623b73a4d03bcbaa1','run_623ef092d31b4f0f89b307d7c817913a','2026-12-01T00:22:55.565453Z');
INSERT INTO "idempotency_keys" VALUES('order-4','9197f5609c97a99f2000e07e2c7aef044ce3a74036dbe5377494d90e928041f6','run_4480855a084e41239612c284ac6d1f1e','2026-12-01T00:22:55.568930Z');
CREATE TABLE notes (run_id TEXT PRIMARY KEY, note TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE outputs (
    run_id TEXT NOT NULL,
    part TEXT NOT NULL,
    identity TEXT NOT NULL,
    PRIMARY KEY (run_id, part)
) STRICT, WITHOUT ROWID
;
INSERT INTO "outputs" VALUES('run_264b673275ec44dfa7daa3ff62fe641b','mapped','536-1796084575417170177');
INSERT INTO "outputs" VALUES('run_fd67ea0d658840868268706e5b06e448','mapped','542-1796084575468601773');
INSERT INTO "outputs" VALUES('run_fd67ea0d658840868268706e5b06e448','rejects','146-1796084575466718536');
CREATE TABLE run_counts (
    hour TEXT NOT NULL,
    flow_version TEXT NOT NULL,
    status TEXT NOT NULL,
    runs INTEGER NOT NULL,
    rows_read INTEGER NOT NULL,
    rows_rejected INTEGER NOT NULL,
    PRIMARY KEY (hour, flow_version, status)
) STRICT, WITHOUT ROWID;
INSERT INTO "run_counts" VALUES('2026-12-01T00','people:v1','CREATED',1,0,0);
INSERT INTO "run_counts" VALUES('2026-12-01T00','people:v1','FAILED',1,1,1);
INSERT INTO "run_counts" VALUES('2026-12-01T00','people:v1','PARTIAL_FAILED',1,5,3);
INSERT INTO "run_counts" VALUES('2026-12-01T00','people:v1','SUCCEEDED',1,2,0);
INSERT INTO "run_counts" VALUES('2026-12-01T00','people:v1','SYNCING_SOURCE',0,0,0);
INSERT INTO "run_counts" VALUES('2026-12-01T00','people:v1','SYNCING_TARGET',0,0,0);
INSERT INTO "run_counts" VALUES('2026-12-01T00','people:v1','TRANSFORMING',0,0,0);
INSERT INTO "run_counts" VALUES('2026-12-01T00','slow:v1','CREATED',0,0,0);
INSERT INTO "run_counts" VALUES('2026-12-01T00','slow:v1','SYNCING_SOURCE',0,0,0);
INSERT INTO "run_counts" VALUES('2026-12-01T00','slow:v1','TRANSFORMING',1,0,0);
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
INSERT INTO "runs" VALUES(1,'run_264b673275ec44dfa7daa3ff62fe641b',5,'people:v1','good.csv','/srv/lume/good.csv','null',0,'SUCCEEDED','2026-12-01T00:22:55.398623Z','2026-12-01T00:22:55.406656Z','2026-12-01T00:22:55.421494Z','[{"name":"SYNCING_SOURCE","started_at":"2026-12-01T00:22:55.406656Z","finished_at":"2026-12-01T00:22:55.408499Z","rows":null},{"name":"TRANSFORMING","started_at":"2026-12-01T00:22:55.408499Z","finished_at":"2026-12-01T00:22:55.416074Z","rows":2},{"name":"SYNCING_TARGET","started_at":"2026-12-01T00:22:55.416074Z","finished_at":"2026-12-01T00:22:55.421494Z","rows":2}]','{"rows_read":2,"rows_mapped":2,"rows_rejected":0,"reject_reasons":{},"warnings":{},"source":{"bytes":16,"lines":3,"records":2},"columns":{"id":{"nulls":0,"min":"1","max":"2","distinct":2},"name":{"nulls":0,"min":null,"max":null,"distinct":2}}}','{"mapped":"/srv/lume/.lume/out/people/v1/run_264b673275ec44dfa7daa3ff62fe641b/mapped.parquet","rejects":null}',NULL,'http://127.0.0.1:9/hook');
INSERT INTO "runs" VALUES(2,'run_fd67ea0d658840868268706e5b06e448',5,'people:v1','bad.csv','/srv/lume/bad.csv','{"a":1}',0,'PARTIAL_FAILED','2026-12-01T00:22:55.455626Z','2026-12-01T00:22:55.459324Z','2026-12-01T00:22:55.471710Z','[{"name":"SYNCING_SOURCE","started_at":"2026-12-01T00:22:55.459324Z","finished_at":"2026-12-01T00:22:55.460880Z","rows":null},{"name":"TRANSFORMING","started_at":"2026-12-01T00:22:55.460880Z","finished_at":"2026-12-01T00:22:55.465186Z","rows":5},{"name":"SYNCING_TARGET","started_at":"2026-12-01T00:22:55.465186Z","finished_at":"2026-12-01T00:22:55.471710Z","rows":5}]','{"rows_read":5,"rows_mapped":2,"rows_rejected":3,"reject_reasons":{"id: is not a valid integer":2,"id: is required":1},"warnings":{},"source":{"bytes":27,"lines":6,"records":5},"columns":{"id":{"nulls":0,"min":"1","max":"4","distinct":2},"name":{"nulls":0,"min":null,"max":null,"distinct":2}}}','{"mapped":"/srv/lume/.lume/out/people/v1/run_fd67ea0d658840868268706e5b06e448/mapped.parquet","rejects":"/srv/lume/.lume/out/people/v1/run_fd67ea0d658840868268706e5b06e448/rejects.csv"}',NULL,'http://127.0.0.1:9/hook');
INSERT INTO "runs" VALUES(3,'run_8263830ceddc4d398b5e8c12e9b9bd31',4,'people:v1','worse.csv','/srv/lume/worse.csv','null',0,'FAILED','2026-12-01T00:22:55.510110Z','2026-12-01T00:22:55.513570Z','2026-12-01T00:22:55.521585Z','[{"name":"SYNCING_SOURCE","started_at":"2026-12-01T00:22:55.513570Z","finished_at":"2026-12-01T00:22:55.514533Z","rows":null},{"name":"TRANSFORMING","started_at":"2026-12-01T00:22:55.514533Z","finished_at":"2026-12-01T00:22:55.521585Z","rows":null}]','{"rows_read":1,"rows_mapped":0,"rows_rejected":1,"reject_reasons":{"id: is not a valid integer":1},"warnings":{},"source":{"bytes":12,"lines":2,"records":1},"columns":{"id":{"nulls":0,"min":null,"max":null,"distinct":0},"name":{"nulls":0,"min":null,"max":null,"distinct":0}}}','{}','the only row was rejected: id: is not a valid integer (1). Nothing was written',NULL);
INSERT INTO "runs" VALUES(4,'run_623ef092d31b4f0f89b307d7c817913a',3,'slow:v1','slow.csv','/srv/lume/slow.csv','null',0,'TRANSFORMING','2026-12-01T00:22:55.565453Z','2026-12-01T00:22:55.570462Z',NULL,'[{"name":"SYNCING_SOURCE","started_at":"2026-12-01T00:22:55.570462Z","finished_at":"2026-12-01T00:22:55.572012Z","rows":null},{"name":"TRANSFORMING","started_at":"2026-12-01T00:22:55.572012Z","finished_at":null,"rows":null}]','{}','{}',NULL,NULL);
INSERT INTO "runs" VALUES(5,'run_4480855a084e41239612c284ac6d1f1e',1,'people:v1','waits.csv','/srv/lume/waits.csv','null',0,'CREATED','2026-12-01T00:22:55.568930Z',NULL,NULL,'[]','{}','{}',NULL,'http://127.0.0.1:9/hook');
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
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('runs',5);
INSERT INTO "sqlite_sequence" VALUES('changes',18);
COMMIT;
PRAGMA user_version = 2;
