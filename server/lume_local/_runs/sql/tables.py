"""The tables of the state, in SQLite's dialect. Some are filled by triggers, which each database defines."""

from lume_local._runs.store.records import ACTIVE, WITH_OUTPUT

RECEIVER = "substr(url, 1, 7 + instr(substr(url, 9) || '/', '/'))"
"""Scheme, host and port of a delivery's URL; empty for lineage events, which have none. It is indexed."""

VERSION = 3
"""The form of the state: earlier ones are migrated (`migrations`), later ones refused.

A different schema is a new form: add its fingerprints (`schemas`) and a step to it.
"""

FLOW = "substr(flow_version, 1, instr(flow_version, ':') - 1)"
"""The flow of a run's flow version, which is indexed."""

DONE = f"status IN {WITH_OUTPUT}"
"""Runs with output."""

SERIOUS = "('FAILED', 'CRASHED', 'PARTIAL_FAILED')"
"""The statuses of runs that need attention."""

USUAL = (
    f"{DONE} AND coalesce(json_type(run_metadata, '$.resubmit_of'), '') != 'text' "
    "AND coalesce(json_type(run_metadata, '$.replay'), '') != 'object'"
)
"""The runs that represent their flow's usual figures: those with output that process no rejects of others."""

LISTING = "CREATE INDEX listing ON runs (status, created_at, seq, source_path, flow_version);"
"""Runs by status, latest first, with the columns searched in many runs."""

QUEUE = f"""
CREATE INDEX by_key ON runs (submitted_by, seq, status, flow_version);
CREATE INDEX queue ON runs (priority DESC, turn, seq, submitted_by) WHERE status = 'CREATED';
CREATE INDEX queue_of ON runs (submitted_by, {FLOW}, priority, turn) WHERE status = 'CREATED';
"""
"""Runs by submitter; and waiting runs in starting order, and by submitter and flow, who take turns."""

SEEDS = """
CREATE TABLE seeds (run_id TEXT PRIMARY KEY, seeds TEXT NOT NULL) STRICT, WITHOUT ROWID;
"""
"""The seeds that runs bring; most bring none."""

MESSAGES = f"""
CREATE TABLE notices (seq INTEGER PRIMARY KEY AUTOINCREMENT, body BLOB NOT NULL) STRICT;
CREATE TABLE message_states (
    key TEXT PRIMARY KEY,
    rev INTEGER NOT NULL,
    state TEXT NOT NULL,
    due REAL
) STRICT, WITHOUT ROWID;
CREATE INDEX message_states_by_due ON message_states (due) WHERE due IS NOT NULL;
CREATE INDEX figures_by_flow ON runs ({FLOW}, seq) WHERE {USUAL};
"""
"""The basis of messages, and the runs that represent a flow's usual figures."""

SOURCES = f"""
CREATE TABLE IF NOT EXISTS sources (
    run_id TEXT PRIMARY KEY,
    bytes INTEGER NOT NULL,
    seen TEXT NOT NULL,
    digest TEXT
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS due_by_receiver ON deliveries ({RECEIVER}, due) WHERE due IS NOT NULL;
CREATE INDEX IF NOT EXISTS outputs_kept ON outputs (run_id) WHERE identity != '';
CREATE INDEX IF NOT EXISTS by_flow_and_status ON runs (flow_version, status, seq);
CREATE INDEX IF NOT EXISTS done_by_source ON runs (flow_version, source_key, seq)
    WHERE {DONE};
CREATE INDEX IF NOT EXISTS done_by_flow ON runs (flow_version, seq)
    WHERE {DONE};
"""
"""The contents of sources, and indexes: the first releases lack all of these."""

SCHEMA = f"""{SEEDS}
CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;

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

CREATE UNIQUE INDEX one_active ON runs (flow_version, source_key)
    WHERE status IN {ACTIVE};
CREATE UNIQUE INDEX one_success ON runs (flow_version, source_key)
    WHERE {DONE} AND force_rerun = 0;
CREATE INDEX by_source ON runs (source_path, seq);
CREATE INDEX by_flow ON runs (flow_version, seq);

CREATE TABLE idempotency_keys (
    key TEXT PRIMARY KEY,
    fingerprint TEXT NOT NULL,
    run_id TEXT NOT NULL,
    at TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX keys_by_age ON idempotency_keys (at);

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

CREATE INDEX deliveries_by_due ON deliveries (due) WHERE due IS NOT NULL;
CREATE INDEX settled_by_age ON deliveries (at) WHERE due IS NULL;

CREATE TABLE flow_versions (
    ref TEXT PRIMARY KEY,
    content_hash TEXT NOT NULL,
    definition TEXT NOT NULL,
    compiled TEXT NOT NULL,
    compiled_by TEXT NOT NULL,
    created_at TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE traces (run_id TEXT PRIMARY KEY, traceparent TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE notes (run_id TEXT PRIMARY KEY, note TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE outputs (
    run_id TEXT NOT NULL,
    part TEXT NOT NULL,
    identity TEXT NOT NULL,
    PRIMARY KEY (run_id, part)
) STRICT, WITHOUT ROWID;
{SOURCES}
{LISTING}
{QUEUE}
{MESSAGES}
"""

MENDS = """
CREATE TABLE IF NOT EXISTS mends (run_id TEXT PRIMARY KEY, parent TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS mends_of ON mends (parent);
CREATE TABLE IF NOT EXISTS dismissals (
    run_id TEXT PRIMARY KEY, why TEXT NOT NULL, at TEXT NOT NULL
) STRICT, WITHOUT ROWID;
"""
"""The runs that process the rejects of another one, and the runs that a person has dismissed."""

LONGEST_ID = 128
"""The maximum length of a run's id: a longer value in a run's metadata names no run."""

COUNTS = """
CREATE TABLE run_counts (
    hour TEXT NOT NULL,
    flow_version TEXT NOT NULL,
    status TEXT NOT NULL,
    runs INTEGER NOT NULL,
    rows_read INTEGER NOT NULL,
    rows_rejected INTEGER NOT NULL,
    PRIMARY KEY (hour, flow_version, status)
) STRICT, WITHOUT ROWID;
CREATE INDEX counts_by_flow ON run_counts (flow_version, hour);

CREATE TABLE attention (
    flow_version TEXT NOT NULL,
    source_key TEXT NOT NULL,
    seq INTEGER NOT NULL,
    ratio REAL NOT NULL,
    PRIMARY KEY (flow_version, source_key)
) STRICT, WITHOUT ROWID;
CREATE INDEX attention_by_seq ON attention (seq, ratio);
CREATE INDEX deliveries_by_run ON deliveries (run_id);
"""
"""Counts by the hour and the runs that need attention, both filled by triggers."""

AUDIT = """
CREATE TABLE audit (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    at TEXT NOT NULL,
    by TEXT NOT NULL,
    what TEXT NOT NULL,
    subject TEXT NOT NULL,
    detail TEXT NOT NULL
) STRICT;
CREATE INDEX audit_by_key ON audit (by, seq);
CREATE INDEX audit_by_act ON audit (what, seq);
CREATE INDEX audit_by_both ON audit (by, what, seq);
CREATE INDEX audit_by_age ON audit (at, seq);
"""
"""The audit of acts: triggers refuse to change it."""

OLD_RUNS = """
CREATE INDEX old_runs ON runs (finished_at, seq) WHERE purged != 1 AND finished_at IS NOT NULL;
CREATE INDEX keys_of_run ON idempotency_keys (run_id);
CREATE INDEX replay_rejects_on ON replay_rejects (seq);
"""
"""Indexes for a purge: the old runs, and the rows that depend on them."""
