BEGIN TRANSACTION;
CREATE TABLE arrival_moves (
    run INTEGER NOT NULL,
    place BLOB NOT NULL,
    arrival TEXT NOT NULL,
    path TEXT NOT NULL,
    seen TEXT NOT NULL,
    stays INTEGER NOT NULL DEFAULT 0,
    content BLOB NOT NULL,
    PRIMARY KEY (run, place)
) STRICT, WITHOUT ROWID;
CREATE TABLE arrival_refusals (
    place BLOB PRIMARY KEY,
    arrival TEXT NOT NULL,
    path TEXT NOT NULL,
    seen TEXT NOT NULL,
    why TEXT NOT NULL,
    at TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE arrivals (name TEXT PRIMARY KEY, files INTEGER NOT NULL) STRICT, WITHOUT ROWID;
INSERT INTO "arrivals" VALUES('acme',2);
CREATE TABLE arrived (
    place BLOB NOT NULL,
    content BLOB NOT NULL,
    run INTEGER,
    PRIMARY KEY (place, content)
) STRICT, WITHOUT ROWID;
INSERT INTO "arrived" VALUES(X'02B915EB3B981D4F06E3B291F7018405',X'03BF0025C365351F63221EEF5079DAEE',5);
INSERT INTO "arrived" VALUES(X'FAFCFF75F5F99919A3F333E18444FE6D',X'B6E610B113391510ADACC4265F8B5FF4',4);
CREATE TABLE arrived_paths (place BLOB PRIMARY KEY, mark BLOB NOT NULL, run INTEGER) STRICT, WITHOUT ROWID;
INSERT INTO "arrived_paths" VALUES(X'02B915EB3B981D4F06E3B291F7018405',X'',5);
INSERT INTO "arrived_paths" VALUES(X'FAFCFF75F5F99919A3F333E18444FE6D',X'',4);
CREATE TABLE attention (
    flow_version TEXT NOT NULL,
    source_key TEXT NOT NULL,
    seq INTEGER NOT NULL,
    ratio REAL NOT NULL,
    PRIMARY KEY (flow_version, source_key)
) STRICT, WITHOUT ROWID;
INSERT INTO "attention" VALUES('people:v1','/srv/lume/bad.csv',2,0.6);
INSERT INTO "attention" VALUES('people:v1','/srv/lume/worse.csv',3,2.0);
INSERT INTO "attention" VALUES('people:v1','/srv/lume/in/b.csv',5,0.5);
INSERT INTO "attention" VALUES('people:v1','/srv/lume/.lume/uploads/lume-replay-7e28568d882d473ba5ab8ae567b925e8.csv',6,1.0);
CREATE TABLE audit (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    at TEXT NOT NULL,
    by TEXT NOT NULL,
    what TEXT NOT NULL,
    subject TEXT NOT NULL,
    detail TEXT NOT NULL
) STRICT;
INSERT INTO "audit" VALUES(1,'2026-12-01T00:23:01.964746Z','server','register_flow','people:v1','{"content":"e311485d28b40aa284d803cc731ed8ad7a1d623bef30266845275f10fe9630d6"}');
INSERT INTO "audit" VALUES(2,'2026-12-01T00:23:02.003436Z','server','register_flow','slow:v1','{"content":"3b067e2911a6e51852656c9d6b2069b7e0bee2b191ac8fc8855fc6e7799d5764"}');
INSERT INTO "audit" VALUES(3,'2026-12-01T00:23:02.515882Z','server','discard','people','{"rows":1,"runs":["run_fd3d858768b04b6cbfc2552d68813fef"],"why":"test rows"}');
INSERT INTO "audit" VALUES(4,'2026-12-01T00:23:03.837551Z','server','replay','run_ccbeeabb8acd49418bfeab56cdbb29ff','{"flow_version":"people:v1","rows":3}');
CREATE TABLE changes (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    run_id TEXT NOT NULL,
    status TEXT NOT NULL,
    finished_at TEXT,
    at TEXT NOT NULL
) STRICT;
INSERT INTO "changes" VALUES(1,'run_287b2fd3b7b64eacb654fac3cf8dd812','CREATED',NULL,'2026-12-01T00:23:02.013103Z');
INSERT INTO "changes" VALUES(2,'run_287b2fd3b7b64eacb654fac3cf8dd812','SYNCING_SOURCE',NULL,'2026-12-01T00:23:02.023821Z');
INSERT INTO "changes" VALUES(3,'run_287b2fd3b7b64eacb654fac3cf8dd812','TRANSFORMING',NULL,'2026-12-01T00:23:02.025593Z');
INSERT INTO "changes" VALUES(4,'run_287b2fd3b7b64eacb654fac3cf8dd812','SYNCING_TARGET',NULL,'2026-12-01T00:23:02.032127Z');
INSERT INTO "changes" VALUES(5,'run_287b2fd3b7b64eacb654fac3cf8dd812','SUCCEEDED','2026-12-01T00:23:02.036193Z','2026-12-01T00:23:02.036639Z');
INSERT INTO "changes" VALUES(6,'run_fd3d858768b04b6cbfc2552d68813fef','CREATED',NULL,'2026-12-01T00:23:02.072386Z');
INSERT INTO "changes" VALUES(7,'run_fd3d858768b04b6cbfc2552d68813fef','SYNCING_SOURCE',NULL,'2026-12-01T00:23:02.076670Z');
INSERT INTO "changes" VALUES(8,'run_fd3d858768b04b6cbfc2552d68813fef','TRANSFORMING',NULL,'2026-12-01T00:23:02.077620Z');
INSERT INTO "changes" VALUES(9,'run_fd3d858768b04b6cbfc2552d68813fef','SYNCING_TARGET',NULL,'2026-12-01T00:23:02.082996Z');
INSERT INTO "changes" VALUES(10,'run_fd3d858768b04b6cbfc2552d68813fef','PARTIAL_FAILED','2026-12-01T00:23:02.090537Z','2026-12-01T00:23:02.090895Z');
INSERT INTO "changes" VALUES(11,'run_c4941e8571644153bb693cb08c5e5b7f','CREATED',NULL,'2026-12-01T00:23:02.128433Z');
INSERT INTO "changes" VALUES(12,'run_c4941e8571644153bb693cb08c5e5b7f','SYNCING_SOURCE',NULL,'2026-12-01T00:23:02.132147Z');
INSERT INTO "changes" VALUES(13,'run_c4941e8571644153bb693cb08c5e5b7f','TRANSFORMING',NULL,'2026-12-01T00:23:02.133050Z');
INSERT INTO "changes" VALUES(14,'run_c4941e8571644153bb693cb08c5e5b7f','FAILED','2026-12-01T00:23:02.140221Z','2026-12-01T00:23:02.140445Z');
INSERT INTO "changes" VALUES(15,'run_0d8ac4471c574e81b3079ef0cdf5ddea','CREATED',NULL,'2026-12-01T00:23:02.719281Z');
INSERT INTO "changes" VALUES(16,'run_a9adde1f3d044e53a3ea729a473dca33','CREATED',NULL,'2026-12-01T00:23:02.720183Z');
INSERT INTO "changes" VALUES(17,'run_0d8ac4471c574e81b3079ef0cdf5ddea','SYNCING_SOURCE',NULL,'2026-12-01T00:23:02.727785Z');
INSERT INTO "changes" VALUES(18,'run_0d8ac4471c574e81b3079ef0cdf5ddea','TRANSFORMING',NULL,'2026-12-01T00:23:02.728050Z');
INSERT INTO "changes" VALUES(19,'run_0d8ac4471c574e81b3079ef0cdf5ddea','SYNCING_TARGET',NULL,'2026-12-01T00:23:02.731344Z');
INSERT INTO "changes" VALUES(20,'run_0d8ac4471c574e81b3079ef0cdf5ddea','SUCCEEDED','2026-12-01T00:23:02.735441Z','2026-12-01T00:23:02.735672Z');
INSERT INTO "changes" VALUES(21,'run_a9adde1f3d044e53a3ea729a473dca33','SYNCING_SOURCE',NULL,'2026-12-01T00:23:02.740834Z');
INSERT INTO "changes" VALUES(22,'run_a9adde1f3d044e53a3ea729a473dca33','TRANSFORMING',NULL,'2026-12-01T00:23:02.741801Z');
INSERT INTO "changes" VALUES(23,'run_a9adde1f3d044e53a3ea729a473dca33','SYNCING_TARGET',NULL,'2026-12-01T00:23:02.746844Z');
INSERT INTO "changes" VALUES(24,'run_a9adde1f3d044e53a3ea729a473dca33','PARTIAL_FAILED','2026-12-01T00:23:02.752257Z','2026-12-01T00:23:02.752512Z');
INSERT INTO "changes" VALUES(25,'run_ccbeeabb8acd49418bfeab56cdbb29ff','CREATED',NULL,'2026-12-01T00:23:03.837399Z');
INSERT INTO "changes" VALUES(26,'run_ccbeeabb8acd49418bfeab56cdbb29ff','SYNCING_SOURCE',NULL,'2026-12-01T00:23:03.841465Z');
INSERT INTO "changes" VALUES(27,'run_ccbeeabb8acd49418bfeab56cdbb29ff','TRANSFORMING',NULL,'2026-12-01T00:23:03.843085Z');
INSERT INTO "changes" VALUES(28,'run_ccbeeabb8acd49418bfeab56cdbb29ff','SYNCING_TARGET',NULL,'2026-12-01T00:23:03.849983Z');
INSERT INTO "changes" VALUES(29,'run_ccbeeabb8acd49418bfeab56cdbb29ff','PARTIAL_FAILED','2026-12-01T00:23:03.856970Z','2026-12-01T00:23:03.857212Z');
INSERT INTO "changes" VALUES(30,'run_73cf5dbdacfc44858aa15af21bf5bf5d','CREATED',NULL,'2026-12-01T00:23:04.843053Z');
INSERT INTO "changes" VALUES(31,'run_57539d7f0bdd4267b08895c210b50fc2','CREATED',NULL,'2026-12-01T00:23:04.845900Z');
INSERT INTO "changes" VALUES(32,'run_73cf5dbdacfc44858aa15af21bf5bf5d','SYNCING_SOURCE',NULL,'2026-12-01T00:23:04.847813Z');
INSERT INTO "changes" VALUES(33,'run_73cf5dbdacfc44858aa15af21bf5bf5d','TRANSFORMING',NULL,'2026-12-01T00:23:04.851567Z');
CREATE TABLE claims (
    run_id TEXT NOT NULL,
    start INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    rows BLOB NOT NULL,
    is_edited INTEGER NOT NULL DEFAULT 0,
    UNIQUE (run_id, start)
) STRICT;
CREATE TABLE closings (
    id INTEGER PRIMARY KEY,
    seq INTEGER NOT NULL,
    state TEXT NOT NULL,
    count INTEGER NOT NULL,
    rows BLOB NOT NULL,
    by TEXT NOT NULL,
    why TEXT,
    at TEXT NOT NULL
) STRICT;
INSERT INTO "closings" VALUES(1,2,'discarded',1,X'780163010000050005','server','test rows','2026-12-01T00:23:02.515638Z');
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
INSERT INTO "deliveries" VALUES('dlv_89704d7be27a4aa9945502fcfc37ae64','run_fd3d858768b04b6cbfc2552d68813fef','http://127.0.0.1:9/hook',X'7B226576656E74223A2272756E2E66696E6973686564222C2272756E5F6964223A2272756E5F6664336438353837363862303462366362666332353532643638383133666566222C22737461747573223A225041525449414C5F4641494C4544222C22666C6F775F76657273696F6E223A2270656F706C653A7631222C22736F757263655F70617468223A226261642E637376222C2272756E5F6D65746164617461223A7B2261223A317D2C227375626D69747465645F6279223A22736572766572222C2266696E69736865645F6174223A22323032362D31322D30315430303A32333A30322E3039303533375A227D',2,1.79608458809549283e+09,NULL,'ClientConnectorError: Cannot connect to host 127.0.0.1:9 ssl:default [Connect call failed (''127.0.0.1'', 9)]','2026-12-01T00:23:02.090960Z');
INSERT INTO "deliveries" VALUES('dlv_bc74c2ba4682492f8d2bb524316e092c','run_287b2fd3b7b64eacb654fac3cf8dd812','http://127.0.0.1:9/hook',X'7B226576656E74223A2272756E2E66696E6973686564222C2272756E5F6964223A2272756E5F3238376232666433623762363465616362363534666163336366386464383132222C22737461747573223A22535543434545444544222C22666C6F775F76657273696F6E223A2270656F706C653A7631222C22736F757263655F70617468223A22676F6F642E637376222C2272756E5F6D65746164617461223A6E756C6C2C227375626D69747465645F6279223A22736572766572222C2266696E69736865645F6174223A22323032362D31322D30315430303A32333A30322E3033363139335A227D',2,1.79608458804111504e+09,NULL,'ClientConnectorError: Cannot connect to host 127.0.0.1:9 ssl:default [Connect call failed (''127.0.0.1'', 9)]','2026-12-01T00:23:02.036678Z');
CREATE TABLE dismissals (
    run_id TEXT PRIMARY KEY, why TEXT NOT NULL, at TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE draft_rows (
    draft_id TEXT NOT NULL,
    run_id TEXT NOT NULL,
    number INTEGER NOT NULL,
    rev INTEGER NOT NULL,
    cells TEXT NOT NULL,
    at TEXT NOT NULL,
    judged_by TEXT,
    reasons TEXT,
    PRIMARY KEY (draft_id, run_id, number)
) STRICT, WITHOUT ROWID;
INSERT INTO "draft_rows" VALUES('cf6d381a4a454749919ebcbcf0c6f9c6','run_fd3d858768b04b6cbfc2552d68813fef',0,1,'{"id":"7"}','2026-12-01T00:23:02.517283Z',NULL,NULL);
CREATE TABLE drafts (
    flow TEXT NOT NULL,
    owner TEXT NOT NULL,
    draft_id TEXT NOT NULL,
    rev INTEGER NOT NULL,
    row_count INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    changed_at TEXT NOT NULL,
    PRIMARY KEY (flow, owner)
) STRICT, WITHOUT ROWID;
INSERT INTO "drafts" VALUES('people','server','cf6d381a4a454749919ebcbcf0c6f9c6',1,1,110,'2026-12-01T00:23:02.517283Z');
CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
INSERT INTO "facts" VALUES('store_id','01277af0');
INSERT INTO "facts" VALUES('schema','{"index all_open_rows":"12640267fd","index attention_by_seq":"2d916b2ded","index audit_by_act":"f3850dfddb","index audit_by_age":"b6da9446a3","index audit_by_both":"bd17485931","index audit_by_key":"8f842d660e","index by_arrival":"674aa609e3","index by_flow":"4be4635b5b","index by_flow_and_status":"4fecf7fc80","index by_key":"9e87c0b6bd","index by_source":"f5183f0902","index claims_on":"5dcaafa25d","index closings_by_state":"61ba33915d","index closings_of_run":"8f49bc8c58","index counts_by_flow":"540cb40ae2","index deliveries_by_due":"9d34a5b753","index deliveries_by_run":"9117618478","index done_by_flow":"a070285b81","index done_by_source":"6996be3904","index draft_rows_by_change":"0a77425000","index drafts_by_age":"3e50e152e8","index due_by_receiver":"9ce8d211c2","index figures_by_flow":"c5480d813c","index keys_by_age":"2e82e0ef32","index keys_of_run":"c2650f165c","index listing":"b7150a353b","index lost_rows":"82de225f72","index mends_of":"fb92abdb7b","index message_states_by_due":"8361bd4a00","index moves_of":"6a2ed5186f","index old_runs":"8c8484bb2c","index one_active":"6f10a02fec","index one_success":"987b36e5ad","index open_for":"bae9f1dd0c","index open_rows":"09f03e2ec2","index outputs_kept":"92a7baa9ee","index queue":"63507db312","index queue_of":"4e6d2b9138","index reasons_of_run":"aed8644ae9","index refusals_by_age":"a91cafb83f","index rejected_of_source":"41d07cf249","index replay_rejects_on":"81ec42592f","index settled_by_age":"abe723c938","index unended_rows":"98a857e2ce","index unread":"9b2826e46f","table arrival_moves":"838db90194","table arrival_refusals":"80f22d3ed7","table arrivals":"adc722b94e","table arrived":"7e4aa49dda","table arrived_paths":"9eb8a4dde3","table attention":"a06b8e74f3","table audit":"734b9f94d8","table changes":"0a30d6ffed","table claims":"9be9771871","table closings":"5dcb229605","table deliveries":"3a6b30fe23","table dismissals":"d83bfa09d3","table draft_rows":"b8832eae43","table drafts":"b71b51fb98","table facts":"c5a801bbf9","table flow_versions":"d96dbf5633","table idempotency_keys":"d6f21ae2a6","table inbox":"fdca39af3f","table inbox_days":"884bd80759","table mends":"f2b1ed34c6","table message_states":"61b53c7cd9","table notes":"3e546972be","table notices":"6f13f5af31","table outputs":"ee41f57835","table rejected":"ce7483587f","table rejected_for":"0c6f7dcee0","table replay_rejects":"8933246550","table row_accounts":"01a2b8add1","table run_counts":"1991cee93f","table runs":"3bd1218886","table seeds":"beb0ebb64f","table sources":"7f41b35cf6","table traces":"835b67b0c8","trigger audit_is_kept":"389486b955","trigger audit_is_never_changed":"ab6ba28259","trigger audit_is_never_replaced":"5c476b56d0","trigger mend_created":"64a0c0b76e","trigger mend_ended":"4743fac91c","trigger run_changed":"aa85ef1b6a","trigger run_created":"458721d841","trigger run_ended":"646feba5fa"}');
INSERT INTO "facts" VALUES('opened','2026-12-01T10:51:10.129614Z');
INSERT INTO "facts" VALUES('written_by','0.1.0');
CREATE TABLE flow_versions (
    ref TEXT PRIMARY KEY,
    content_hash TEXT NOT NULL,
    definition TEXT NOT NULL,
    compiled TEXT NOT NULL,
    compiled_by TEXT NOT NULL,
    created_at TEXT NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO "flow_versions" VALUES('people:v1','e311485d28b40aa284d803cc731ed8ad7a1d623bef30266845275f10fe9630d6','{"flow":"people","version":"v1","columns":{"id":{"type":"integer","required":true},"name":{"sql":"Name"}}}','{"ref":"people:v1","format":"csv","csv":{"delim":",","quote":"\"","escape":""},"encoding":"utf-8","max_line_bytes":2000000,"header":{"row":1,"contains":[],"lines":1,"names":[]},"comment":"","footer":null,"excel":{"sheet":"","range":null,"merged":"first","of_all":false},"fixed":null,"records":[],"on_unknown_columns":"ignore","compression":"auto","members":[],"max_unpacked_bytes":10737418240,"null":[],"max_ratio":null,"sources":{"id":"columns.id","Name":"columns.name.sql"},"respelled":[],"aliases":{},"seeds":{},"lookups":[],"columns":[{"name":"id","inner":"(\n\"id\"\n) AS _lume_t0","value":"_lume_t0","threw":"false","made":"TRY_CAST(_lume_t0 AS BIGINT)","kept":"CASE WHEN _lume_made0::VARCHAR = _lume_t0 THEN _lume_made0 WHEN regexp_full_match(_lume_t0, ''\\s*[+-]?[0-9]+\\s*'') THEN _lume_made0 END","ordered":true},{"name":"name","inner":"(\nName\n) AS _lume_t1","value":"_lume_t1","threw":"false","made":"CAST(_lume_t1 AS VARCHAR)","kept":"_lume_made1","ordered":false}],"rules":[],"expect":[],"checks":[{"sql":"_lume_bad0","reason":"id: is not a valid integer","on_fail":"reject"},{"sql":"\"id\" IS NULL AND NOT _lume_bad0","reason":"id: is required","on_fail":"reject"},{"sql":"_lume_bad1","reason":"name: is not a valid string","on_fail":"reject"}],"where":null,"cleaners":[],"siblings":{},"unique":[],"references":[],"judged_by_table":false}','7/duckdb 2.0.1','2026-12-01T00:23:01.964492Z');
INSERT INTO "flow_versions" VALUES('slow:v1','3b067e2911a6e51852656c9d6b2069b7e0bee2b191ac8fc8855fc6e7799d5764','{"flow":"slow","version":"v1","columns":{"id":{"type":"integer"},"burnt":{"sql":"levenshtein(repeat(''ab'', 550), repeat(lpad(id, 5, ''0''), 550))","type":"integer"}}}','{"ref":"slow:v1","format":"csv","csv":{"delim":",","quote":"\"","escape":""},"encoding":"utf-8","max_line_bytes":2000000,"header":{"row":1,"contains":[],"lines":1,"names":[]},"comment":"","footer":null,"excel":{"sheet":"","range":null,"merged":"first","of_all":false},"fixed":null,"records":[],"on_unknown_columns":"ignore","compression":"auto","members":[],"max_unpacked_bytes":10737418240,"null":[],"max_ratio":null,"sources":{"id":"columns.id"},"respelled":[],"aliases":{},"seeds":{},"lookups":[],"columns":[{"name":"id","inner":"(\n\"id\"\n) AS _lume_t0","value":"_lume_t0","threw":"false","made":"TRY_CAST(_lume_t0 AS BIGINT)","kept":"CASE WHEN _lume_made0::VARCHAR = _lume_t0 THEN _lume_made0 WHEN regexp_full_match(_lume_t0, ''\\s*[+-]?[0-9]+\\s*'') THEN _lume_made0 END","ordered":true},{"name":"burnt","inner":"TRY({''v'': (\nlevenshtein(repeat(''ab'', 550), repeat(lpad(id, 5, ''0''), 550))\n)}) AS _lume_t1","value":"struct_extract(_lume_t1, ''v'')","threw":"_lume_t1 IS NULL","made":"struct_extract(_lume_t1, ''v'')","kept":"_lume_made1","ordered":true}],"rules":[],"expect":[],"checks":[{"sql":"_lume_bad0","reason":"id: is not a valid integer","on_fail":"reject"},{"sql":"_lume_bad1","reason":"burnt: is not a valid integer","on_fail":"reject"}],"where":null,"cleaners":[],"siblings":{},"unique":[],"references":[],"judged_by_table":false}','7/duckdb 2.0.1','2026-12-01T00:23:02.003206Z');
CREATE TABLE idempotency_keys (
    key TEXT PRIMARY KEY,
    fingerprint TEXT NOT NULL,
    run_id TEXT NOT NULL,
    at TEXT NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO "idempotency_keys" VALUES('order-1','e2b954119edb044e22f8f12da0418f8effa4154c1fb7c0f0689e1d922ba91c86','run_287b2fd3b7b64eacb654fac3cf8dd812','2026-12-01T00:23:02.011175Z');
INSERT INTO "idempotency_keys" VALUES('order-2','ceead28d735e49ee6d150d6bfcc4291da592f230763bbd6b43e3783837df7bdb','run_fd3d858768b04b6cbfc2552d68813fef','2026-12-01T00:23:02.072262Z');
INSERT INTO "idempotency_keys" VALUES('order-3','e36c7439cf03aa830149051515d91f81d5cc8e08675ec3f623b73a4d03bcbaa1','run_73cf5dbdacfc44858aa15af21bf5bf5d','2026-12-01T00:23:04.842901Z');
INSERT INTO "idempotency_keys" VALUES('order-4','9197f5609c97a99f2000e07e2c7aef044ce3a74036dbe5377494d90e928041f6','run_57539d7f0bdd4267b08895c210b50fc2','2026-12-01T00:23:04.845811Z');
CREATE TABLE inbox (
    id INTEGER PRIMARY KEY,
    flow TEXT NOT NULL,
    reason TEXT NOT NULL,
    open INTEGER NOT NULL DEFAULT 0,
    UNIQUE (flow, reason)
) STRICT;
INSERT INTO "inbox" VALUES(1,'people','id: is not a valid integer',3);
INSERT INTO "inbox" VALUES(2,'people','id: is required',0);
INSERT INTO "inbox" VALUES(3,'people','',3);
CREATE TABLE inbox_days (
    inbox INTEGER NOT NULL,
    day TEXT NOT NULL,
    opened INTEGER NOT NULL,
    closed INTEGER NOT NULL,
    PRIMARY KEY (inbox, day)
) STRICT, WITHOUT ROWID;
INSERT INTO "inbox_days" VALUES(1,'2026-12-01',3,0);
INSERT INTO "inbox_days" VALUES(2,'2026-12-01',1,1);
INSERT INTO "inbox_days" VALUES(3,'2026-12-01',4,1);
CREATE TABLE mends (run_id TEXT PRIMARY KEY, parent TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE message_states (
    key TEXT PRIMARY KEY,
    rev INTEGER NOT NULL,
    state TEXT NOT NULL,
    due REAL
) STRICT, WITHOUT ROWID;
CREATE TABLE notes (run_id TEXT PRIMARY KEY, note TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE notices (seq INTEGER PRIMARY KEY AUTOINCREMENT, body BLOB NOT NULL) STRICT;
CREATE TABLE outputs (
    run_id TEXT NOT NULL,
    part TEXT NOT NULL,
    identity TEXT NOT NULL,
    PRIMARY KEY (run_id, part)
) STRICT, WITHOUT ROWID;
INSERT INTO "outputs" VALUES('run_0d8ac4471c574e81b3079ef0cdf5ddea','mapped','504-1796084582732649675');
INSERT INTO "outputs" VALUES('run_287b2fd3b7b64eacb654fac3cf8dd812','mapped','536-1796084582033024632');
INSERT INTO "outputs" VALUES('run_a9adde1f3d044e53a3ea729a473dca33','mapped','512-1796084582749678839');
INSERT INTO "outputs" VALUES('run_a9adde1f3d044e53a3ea729a473dca33','rejects','88-1796084582748007791');
INSERT INTO "outputs" VALUES('run_ccbeeabb8acd49418bfeab56cdbb29ff','mapped','115-1796084583854263284');
INSERT INTO "outputs" VALUES('run_ccbeeabb8acd49418bfeab56cdbb29ff','rejects','158-1796084583852776564');
INSERT INTO "outputs" VALUES('run_fd3d858768b04b6cbfc2552d68813fef','mapped','542-1796084582087715146');
INSERT INTO "outputs" VALUES('run_fd3d858768b04b6cbfc2552d68813fef','rejects','146-1796084582085855224');
CREATE TABLE rejected (
    seq INTEGER PRIMARY KEY,
    run_id TEXT NOT NULL UNIQUE,
    flow TEXT NOT NULL,
    source_key TEXT NOT NULL,
    at TEXT NOT NULL,
    count INTEGER NOT NULL,
    open INTEGER NOT NULL DEFAULT 0,
    lost INTEGER NOT NULL DEFAULT 0,
    is_lost INTEGER NOT NULL DEFAULT 0,
    closed BLOB
) STRICT;
INSERT INTO "rejected" VALUES(2,'run_fd3d858768b04b6cbfc2552d68813fef','people','/srv/lume/bad.csv','2026-12-01T00:23:02.090537Z',3,2,0,0,X'780163010000050005');
INSERT INTO "rejected" VALUES(5,'run_a9adde1f3d044e53a3ea729a473dca33','people','/srv/lume/in/b.csv','2026-12-01T00:23:02.752257Z',1,1,0,0,NULL);
CREATE TABLE rejected_for (
    inbox INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    open INTEGER NOT NULL DEFAULT 0,
    rows BLOB,
    UNIQUE (inbox, seq)
) STRICT;
INSERT INTO "rejected_for" VALUES(1,2,2,X'780163060000040004');
INSERT INTO "rejected_for" VALUES(2,2,0,X'780163010000050005');
INSERT INTO "rejected_for" VALUES(1,5,1,X'780163040000020002');
CREATE TABLE replay_rejects (
    run_id TEXT NOT NULL,
    start INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    rows BLOB NOT NULL,
    UNIQUE (run_id, start)
) STRICT;
INSERT INTO "replay_rejects" VALUES('run_ccbeeabb8acd49418bfeab56cdbb29ff',0,2,X'780163060000040004');
INSERT INTO "replay_rejects" VALUES('run_ccbeeabb8acd49418bfeab56cdbb29ff',2,5,X'780163040000020002');
CREATE TABLE row_accounts (
    flow TEXT NOT NULL,
    source_key TEXT NOT NULL,
    newest INTEGER NOT NULL DEFAULT 0,
    read INTEGER NOT NULL DEFAULT 0,
    added INTEGER NOT NULL DEFAULT 0,
    again INTEGER NOT NULL DEFAULT 0,
    accepted INTEGER NOT NULL DEFAULT 0,
    filtered INTEGER NOT NULL DEFAULT 0,
    open INTEGER NOT NULL DEFAULT 0,
    lost INTEGER NOT NULL DEFAULT 0,
    discarded INTEGER NOT NULL DEFAULT 0,
    superseded INTEGER NOT NULL DEFAULT 0,
    mended INTEGER NOT NULL DEFAULT 0,
    replayed INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (flow, source_key)
) STRICT, WITHOUT ROWID;
INSERT INTO "row_accounts" VALUES('people','',0,10,0,0,6,0,3,0,1,0,0,0);
INSERT INTO "row_accounts" VALUES('people','/srv/lume/bad.csv',2,5,0,0,2,0,2,0,1,0,0,0);
INSERT INTO "row_accounts" VALUES('people','/srv/lume/good.csv',1,2,0,0,2,0,0,0,0,0,0,0);
INSERT INTO "row_accounts" VALUES('people','/srv/lume/in/a.csv',4,1,0,0,1,0,0,0,0,0,0,0);
INSERT INTO "row_accounts" VALUES('people','/srv/lume/in/b.csv',5,2,0,0,1,0,1,0,0,0,0,0);
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
INSERT INTO "run_counts" VALUES('2026-12-01T00','people:v1','PARTIAL_FAILED',3,10,7);
INSERT INTO "run_counts" VALUES('2026-12-01T00','people:v1','SUCCEEDED',2,3,0);
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
    webhook_url TEXT,
    submitted_by TEXT,
    priority INTEGER NOT NULL DEFAULT 0,
    turn INTEGER NOT NULL DEFAULT 0,
    purged INTEGER NOT NULL DEFAULT 0,
    arrival TEXT
) STRICT;
INSERT INTO "runs" VALUES(1,'run_287b2fd3b7b64eacb654fac3cf8dd812',5,'people:v1','good.csv','/srv/lume/good.csv','null',0,'SUCCEEDED','2026-12-01T00:23:02.011175Z','2026-12-01T00:23:02.023232Z','2026-12-01T00:23:02.036193Z','[{"name":"SYNCING_SOURCE","started_at":"2026-12-01T00:23:02.023232Z","finished_at":"2026-12-01T00:23:02.025204Z","rows":null},{"name":"TRANSFORMING","started_at":"2026-12-01T00:23:02.025204Z","finished_at":"2026-12-01T00:23:02.032013Z","rows":2},{"name":"SYNCING_TARGET","started_at":"2026-12-01T00:23:02.032013Z","finished_at":"2026-12-01T00:23:02.036193Z","rows":2}]','{"rows_read":2,"rows_mapped":2,"rows_rejected":0,"reject_reasons":{},"warnings":{},"source":{"bytes":16,"lines":3,"records":2},"columns":{"id":{"nulls":0,"min":"1","max":"2","distinct":2},"name":{"nulls":0,"min":null,"max":null,"distinct":2}}}','{"mapped":"/srv/lume/.lume/out/people/v1/run_287b2fd3b7b64eacb654fac3cf8dd812/mapped.parquet","rejects":null}',NULL,'http://127.0.0.1:9/hook','server',0,0,0,NULL);
INSERT INTO "runs" VALUES(2,'run_fd3d858768b04b6cbfc2552d68813fef',5,'people:v1','bad.csv','/srv/lume/bad.csv','{"a":1}',0,'PARTIAL_FAILED','2026-12-01T00:23:02.072262Z','2026-12-01T00:23:02.076479Z','2026-12-01T00:23:02.090537Z','[{"name":"SYNCING_SOURCE","started_at":"2026-12-01T00:23:02.076479Z","finished_at":"2026-12-01T00:23:02.077488Z","rows":null},{"name":"TRANSFORMING","started_at":"2026-12-01T00:23:02.077488Z","finished_at":"2026-12-01T00:23:02.082880Z","rows":5},{"name":"SYNCING_TARGET","started_at":"2026-12-01T00:23:02.082880Z","finished_at":"2026-12-01T00:23:02.090537Z","rows":5}]','{"rows_read":5,"rows_mapped":2,"rows_rejected":3,"reject_reasons":{"id: is not a valid integer":2,"id: is required":1},"warnings":{},"source":{"bytes":27,"lines":6,"records":5},"columns":{"id":{"nulls":0,"min":"1","max":"4","distinct":2},"name":{"nulls":0,"min":null,"max":null,"distinct":2}}}','{"mapped":"/srv/lume/.lume/out/people/v1/run_fd3d858768b04b6cbfc2552d68813fef/mapped.parquet","rejects":"/srv/lume/.lume/out/people/v1/run_fd3d858768b04b6cbfc2552d68813fef/rejects.csv"}',NULL,'http://127.0.0.1:9/hook','server',0,0,0,NULL);
INSERT INTO "runs" VALUES(3,'run_c4941e8571644153bb693cb08c5e5b7f',4,'people:v1','worse.csv','/srv/lume/worse.csv','null',0,'FAILED','2026-12-01T00:23:02.128301Z','2026-12-01T00:23:02.132032Z','2026-12-01T00:23:02.140221Z','[{"name":"SYNCING_SOURCE","started_at":"2026-12-01T00:23:02.132032Z","finished_at":"2026-12-01T00:23:02.132950Z","rows":null},{"name":"TRANSFORMING","started_at":"2026-12-01T00:23:02.132950Z","finished_at":"2026-12-01T00:23:02.140221Z","rows":null}]','{"rows_read":1,"rows_mapped":0,"rows_rejected":1,"reject_reasons":{"id: is not a valid integer":1},"warnings":{},"source":{"bytes":12,"lines":2,"records":1},"columns":{"id":{"nulls":0,"min":null,"max":null,"distinct":0},"name":{"nulls":0,"min":null,"max":null,"distinct":0}}}','{}','the only row was rejected: id: is not a valid integer (1). Nothing was written',NULL,'server',0,0,0,NULL);
INSERT INTO "runs" VALUES(4,'run_0d8ac4471c574e81b3079ef0cdf5ddea',5,'people:v1','in/a.csv','/srv/lume/in/a.csv','{"arrival":"acme"}',0,'SUCCEEDED','2026-12-01T00:23:02.719134Z','2026-12-01T00:23:02.727490Z','2026-12-01T00:23:02.735441Z','[{"name":"SYNCING_SOURCE","started_at":"2026-12-01T00:23:02.727490Z","finished_at":"2026-12-01T00:23:02.727961Z","rows":null},{"name":"TRANSFORMING","started_at":"2026-12-01T00:23:02.727961Z","finished_at":"2026-12-01T00:23:02.731191Z","rows":1},{"name":"SYNCING_TARGET","started_at":"2026-12-01T00:23:02.731191Z","finished_at":"2026-12-01T00:23:02.735441Z","rows":1}]','{"rows_read":1,"rows_mapped":1,"rows_rejected":0,"reject_reasons":{},"warnings":{},"source":{"bytes":12,"lines":2,"records":1},"columns":{"id":{"nulls":0,"min":"5","max":"5","distinct":1},"name":{"nulls":0,"min":null,"max":null,"distinct":1}}}','{"mapped":"/srv/lume/.lume/out/people/v1/run_0d8ac4471c574e81b3079ef0cdf5ddea/mapped.parquet","rejects":null}',NULL,NULL,'arrival:acme',-1,0,0,'acme');
INSERT INTO "runs" VALUES(5,'run_a9adde1f3d044e53a3ea729a473dca33',5,'people:v1','in/b.csv','/srv/lume/in/b.csv','{"arrival":"acme"}',0,'PARTIAL_FAILED','2026-12-01T00:23:02.720085Z','2026-12-01T00:23:02.740712Z','2026-12-01T00:23:02.752257Z','[{"name":"SYNCING_SOURCE","started_at":"2026-12-01T00:23:02.740712Z","finished_at":"2026-12-01T00:23:02.741700Z","rows":null},{"name":"TRANSFORMING","started_at":"2026-12-01T00:23:02.741700Z","finished_at":"2026-12-01T00:23:02.746732Z","rows":2},{"name":"SYNCING_TARGET","started_at":"2026-12-01T00:23:02.746732Z","finished_at":"2026-12-01T00:23:02.752257Z","rows":2}]','{"rows_read":2,"rows_mapped":1,"rows_rejected":1,"reject_reasons":{"id: is not a valid integer":1},"warnings":{},"source":{"bytes":16,"lines":3,"records":2},"columns":{"id":{"nulls":0,"min":"5","max":"5","distinct":1},"name":{"nulls":0,"min":null,"max":null,"distinct":1}}}','{"mapped":"/srv/lume/.lume/out/people/v1/run_a9adde1f3d044e53a3ea729a473dca33/mapped.parquet","rejects":"/srv/lume/.lume/out/people/v1/run_a9adde1f3d044e53a3ea729a473dca33/rejects.csv"}',NULL,NULL,'arrival:acme',-1,1,0,'acme');
INSERT INTO "runs" VALUES(6,'run_ccbeeabb8acd49418bfeab56cdbb29ff',5,'people:v1','upload://lume-replay-7e28568d882d473ba5ab8ae567b925e8.csv','/srv/lume/.lume/uploads/lume-replay-7e28568d882d473ba5ab8ae567b925e8.csv','{"replay":{"flow":"people","rows":3,"reasons":["id: is not a valid integer"]}}',0,'PARTIAL_FAILED','2026-12-01T00:23:03.837237Z','2026-12-01T00:23:03.841306Z','2026-12-01T00:23:03.856970Z','[{"name":"SYNCING_SOURCE","started_at":"2026-12-01T00:23:03.841306Z","finished_at":"2026-12-01T00:23:03.842955Z","rows":null},{"name":"TRANSFORMING","started_at":"2026-12-01T00:23:03.842955Z","finished_at":"2026-12-01T00:23:03.849808Z","rows":3},{"name":"SYNCING_TARGET","started_at":"2026-12-01T00:23:03.849808Z","finished_at":"2026-12-01T00:23:03.856970Z","rows":3}]','{"rows_read":3,"rows_mapped":0,"rows_rejected":3,"reject_reasons":{"id: is not a valid integer":3},"warnings":{},"source":{"bytes":145,"lines":4,"records":3},"columns":{"id":{"nulls":0,"min":null,"max":null,"distinct":0},"name":{"nulls":0,"min":null,"max":null,"distinct":0}}}','{"mapped":"/srv/lume/.lume/out/people/v1/run_ccbeeabb8acd49418bfeab56cdbb29ff/mapped.parquet","rejects":"/srv/lume/.lume/out/people/v1/run_ccbeeabb8acd49418bfeab56cdbb29ff/rejects.csv"}',NULL,NULL,'server',0,0,0,NULL);
INSERT INTO "runs" VALUES(7,'run_73cf5dbdacfc44858aa15af21bf5bf5d',1000003,'slow:v1','slow.csv','/srv/lume/slow.csv','null',0,'TRANSFORMING','2026-12-01T00:23:04.842901Z','2026-12-01T00:23:04.847708Z',NULL,'[{"name":"SYNCING_SOURCE","started_at":"2026-12-01T00:23:04.847708Z","finished_at":"2026-12-01T00:23:04.851465Z","rows":null},{"name":"TRANSFORMING","started_at":"2026-12-01T00:23:04.851465Z","finished_at":null,"rows":null}]','{}','{}',NULL,NULL,'server',0,0,0,NULL);
INSERT INTO "runs" VALUES(8,'run_57539d7f0bdd4267b08895c210b50fc2',1000001,'people:v1','waits.csv','/srv/lume/waits.csv','null',0,'CREATED','2026-12-01T00:23:04.845811Z',NULL,NULL,'[]','{}','{}',NULL,'http://127.0.0.1:9/hook','server',0,0,0,NULL);
CREATE TABLE seeds (run_id TEXT PRIMARY KEY, seeds TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE sources (
    run_id TEXT PRIMARY KEY,
    bytes INTEGER NOT NULL,
    seen TEXT NOT NULL,
    digest TEXT
) STRICT, WITHOUT ROWID;
INSERT INTO "sources" VALUES('run_0d8ac4471c574e81b3079ef0cdf5ddea',12,'0409a3a42c394eb4d7e104f200eccaae570f9d687711bf2f5ad603856eeae18a','74a546f62ad648e85bd8f08db071dad498749e1353e2220f0fb16b8ddbc139b3');
INSERT INTO "sources" VALUES('run_287b2fd3b7b64eacb654fac3cf8dd812',16,'218eedb5342fcfb2341468b2b2e5ea62f5ad1aca0f39b96fa6a4d415140bcf9b','4220a1fa1a5d6df4f1ac4b5b1e58ffb1f6d22deeca1492bc8613ba309d3e8cae');
INSERT INTO "sources" VALUES('run_a9adde1f3d044e53a3ea729a473dca33',16,'fa4d8d3c3709aa38392d4a1f0ea6b2399fc0d4d4b6717deb657d37f0e7f771e3','5a965714e4f84f5cdee9a48b4c28341a06445a7563e749643909fd3d69e8b62c');
INSERT INTO "sources" VALUES('run_ccbeeabb8acd49418bfeab56cdbb29ff',145,'d654cf1d762e621ba864eb642d656af09b36b202f32766b599d7d6962e9f4be3','e18c9bad9fa65784bdf4750728cd2ad13e5618cc1b4710f45784300f13744233');
INSERT INTO "sources" VALUES('run_fd3d858768b04b6cbfc2552d68813fef',27,'75f46892545f80ec0e68e9e9372b5743237e095f57673e1471073d29b95099d8','a038dede9d5cb3897cc59c102aa1917c04a8be1bfb790a3db39d154f95c06655');
CREATE TABLE traces (run_id TEXT PRIMARY KEY, traceparent TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX one_active ON runs (flow_version, source_key)
    WHERE status IN ('CREATED', 'SYNCING_SOURCE', 'TRANSFORMING', 'SYNCING_TARGET');
CREATE UNIQUE INDEX one_success ON runs (flow_version, source_key)
    WHERE status IN ('SUCCEEDED', 'PARTIAL_FAILED') AND force_rerun = 0;
CREATE INDEX by_source ON runs (source_path, seq);
CREATE INDEX by_flow ON runs (flow_version, seq);
CREATE INDEX keys_by_age ON idempotency_keys (at);
CREATE INDEX deliveries_by_due ON deliveries (due) WHERE due IS NOT NULL;
CREATE INDEX settled_by_age ON deliveries (at) WHERE due IS NULL;
CREATE INDEX due_by_receiver ON deliveries (substr(url, 1, 7 + instr(substr(url, 9) || '/', '/')), due) WHERE due IS NOT NULL;
CREATE INDEX outputs_kept ON outputs (run_id) WHERE identity != '';
CREATE INDEX by_flow_and_status ON runs (flow_version, status, seq);
CREATE INDEX done_by_source ON runs (flow_version, source_key, seq)
    WHERE status IN ('SUCCEEDED', 'PARTIAL_FAILED');
CREATE INDEX done_by_flow ON runs (flow_version, seq)
    WHERE status IN ('SUCCEEDED', 'PARTIAL_FAILED');
CREATE INDEX listing ON runs (status, created_at, seq, source_path, flow_version);
CREATE INDEX by_key ON runs (submitted_by, seq, status, flow_version);
CREATE INDEX queue ON runs (priority DESC, turn, seq, submitted_by) WHERE status = 'CREATED';
CREATE INDEX queue_of ON runs (submitted_by, substr(flow_version, 1, instr(flow_version, ':') - 1), priority, turn) WHERE status = 'CREATED';
CREATE INDEX message_states_by_due ON message_states (due) WHERE due IS NOT NULL;
CREATE INDEX figures_by_flow ON runs (substr(flow_version, 1, instr(flow_version, ':') - 1), seq) WHERE status IN ('SUCCEEDED', 'PARTIAL_FAILED') AND coalesce(json_type(run_metadata, '$.resubmit_of'), '') != 'text' AND coalesce(json_type(run_metadata, '$.replay'), '') != 'object';
CREATE INDEX counts_by_flow ON run_counts (flow_version, hour);
CREATE INDEX attention_by_seq ON attention (seq, ratio);
CREATE INDEX deliveries_by_run ON deliveries (run_id);
CREATE INDEX mends_of ON mends (parent);
CREATE INDEX open_rows ON rejected (flow, seq) WHERE open > 0;
CREATE INDEX rejected_of_source ON rejected (flow, source_key, seq) WHERE open > 0 OR lost > 0;
CREATE INDEX unended_rows ON rejected (seq) WHERE open > 0 OR lost > 0;
CREATE INDEX all_open_rows ON rejected (seq) WHERE open > 0;
CREATE INDEX lost_rows ON rejected (seq) WHERE lost > 0;
CREATE INDEX reasons_of_run ON rejected_for (seq);
CREATE INDEX open_for ON rejected_for (inbox, seq) WHERE open > 0;
CREATE INDEX closings_of_run ON closings (seq, state);
CREATE INDEX closings_by_state ON closings (state, seq);
CREATE INDEX claims_on ON claims (seq);
CREATE INDEX drafts_by_age ON drafts (changed_at);
CREATE INDEX draft_rows_by_change ON draft_rows (draft_id, rev);
CREATE INDEX audit_by_key ON audit (by, seq);
CREATE INDEX audit_by_act ON audit (what, seq);
CREATE INDEX audit_by_both ON audit (by, what, seq);
CREATE INDEX audit_by_age ON audit (at, seq);
CREATE INDEX old_runs ON runs (finished_at, seq) WHERE purged != 1 AND finished_at IS NOT NULL;
CREATE INDEX keys_of_run ON idempotency_keys (run_id);
CREATE INDEX replay_rejects_on ON replay_rejects (seq);
CREATE INDEX refusals_by_age ON arrival_refusals (arrival, at);
CREATE INDEX moves_of ON arrival_moves (arrival) WHERE stays = 0;
CREATE INDEX by_arrival ON runs (arrival, seq) WHERE arrival IS NOT NULL;
CREATE INDEX unread ON runs (substr(flow_version, 1, instr(flow_version, ':') - 1), source_key) WHERE arrival IS NOT NULL AND status IN ('FAILED', 'CRASHED', 'CANCELLED');
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
CREATE TRIGGER audit_is_never_changed BEFORE UPDATE ON audit BEGIN
    SELECT raise(ABORT, 'the audit is never changed');
END;
CREATE TRIGGER audit_is_never_replaced BEFORE INSERT ON audit
WHEN EXISTS (SELECT 1 FROM audit WHERE seq = new.seq) BEGIN
    SELECT raise(ABORT, 'the audit is never changed');
END;
CREATE TRIGGER audit_is_kept BEFORE DELETE ON audit
WHEN old.at >= strftime('%Y-%m-%dT%H:%M:%fZ', 'now', '-7776000 seconds') OR old.seq > (SELECT min(seq) FROM audit) BEGIN
    SELECT raise(ABORT, 'the audit loses only its oldest entries, and no young one');
END;
CREATE TRIGGER mend_created AFTER INSERT ON runs
WHEN json_type(new.run_metadata, '$.resubmit_of') = 'text' AND length(json_extract(new.run_metadata, '$.resubmit_of')) <= 128 BEGIN
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
INSERT INTO "sqlite_sequence" VALUES('audit',4);
INSERT INTO "sqlite_sequence" VALUES('runs',8);
INSERT INTO "sqlite_sequence" VALUES('changes',1000033);
INSERT INTO "sqlite_sequence" VALUES('notices',6);
COMMIT;
PRAGMA user_version = 3;
