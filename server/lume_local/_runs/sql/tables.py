"""The tables of the state, in SQLite's dialect. Some are filled by triggers, which each database defines."""

from lume_local._runs.store.records import ACTIVE, WITH_OUTPUT

RECEIVER = "substr(url, 1, 7 + instr(substr(url, 9) || '/', '/'))"
"""Scheme, host and port of a delivery's URL; empty for lineage events, which have none. It is indexed."""

VERSION = 4
"""The form of the state: earlier ones are migrated (`migrations`), later ones refused.

A different schema is a new form: add its fingerprints (`schemas`) and a step to it.
"""

FLOW = "substr(flow_version, 1, instr(flow_version, ':') - 1)"
"""The flow of a run's flow version, which is indexed."""

UNREAD = "arrival IS NOT NULL AND status IN ('FAILED', 'CRASHED', 'CANCELLED')"
"""The last runs of arrived files that have ended without output."""

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
    arrival TEXT,
    layout TEXT
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

LAYOUTS = """
CREATE TABLE layout_counts (
    hour TEXT NOT NULL,
    flow_version TEXT NOT NULL,
    status TEXT NOT NULL,
    layout TEXT NOT NULL,
    runs INTEGER NOT NULL,
    files INTEGER NOT NULL,
    rows_read INTEGER NOT NULL,
    rows_rejected INTEGER NOT NULL,
    PRIMARY KEY (hour, flow_version, status, layout)
) STRICT, WITHOUT ROWID;
CREATE INDEX layouts_by_flow ON layout_counts (flow_version, hour);
"""
"""Counts by the hour of the runs whose files have a layout: one of a run with two layouts counts for both."""

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

LEDGER = """
-- A run with rejected rows. `closed` is the set of those that are not open; NULL: none is closed.
CREATE TABLE IF NOT EXISTS rejected (
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
CREATE INDEX IF NOT EXISTS open_rows ON rejected (flow, seq) WHERE open > 0;
CREATE INDEX IF NOT EXISTS rejected_of_source ON rejected (flow, source_key, seq) WHERE open > 0 OR lost > 0;
CREATE INDEX IF NOT EXISTS unended_rows ON rejected (seq) WHERE open > 0 OR lost > 0;
CREATE INDEX IF NOT EXISTS all_open_rows ON rejected (seq) WHERE open > 0;
CREATE INDEX IF NOT EXISTS lost_rows ON rejected (seq) WHERE lost > 0;

-- The open rows of a flow with a reason; those of all reasons under the empty one.
CREATE TABLE IF NOT EXISTS inbox (
    id INTEGER PRIMARY KEY,
    flow TEXT NOT NULL,
    reason TEXT NOT NULL,
    open INTEGER NOT NULL DEFAULT 0,
    UNIQUE (flow, reason)
) STRICT;
CREATE TABLE IF NOT EXISTS inbox_days (
    inbox INTEGER NOT NULL,
    day TEXT NOT NULL,
    opened INTEGER NOT NULL,
    closed INTEGER NOT NULL,
    PRIMARY KEY (inbox, day)
) STRICT, WITHOUT ROWID;

-- The rows of a run with a reason; NULL: all its rejects have it.
CREATE TABLE IF NOT EXISTS rejected_for (
    inbox INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    open INTEGER NOT NULL DEFAULT 0,
    rows BLOB,
    UNIQUE (inbox, seq)
) STRICT;  -- with rowids: else a set of more than 1,000 bytes takes a page of its own
CREATE INDEX IF NOT EXISTS reasons_of_run ON rejected_for (seq);
CREATE INDEX IF NOT EXISTS open_for ON rejected_for (inbox, seq) WHERE open > 0;

-- How rows were closed: by which run or person, when, why. A row is in one of them at most.
CREATE TABLE IF NOT EXISTS closings (
    id INTEGER PRIMARY KEY,
    seq INTEGER NOT NULL,
    state TEXT NOT NULL,
    count INTEGER NOT NULL,
    rows BLOB NOT NULL,
    by TEXT NOT NULL,
    why TEXT,
    at TEXT NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS closings_of_run ON closings (seq, state);
CREATE INDEX IF NOT EXISTS closings_by_state ON closings (state, seq);

-- The rows that a run has, which has not ended: as they were, or edited.
CREATE TABLE IF NOT EXISTS claims (
    run_id TEXT NOT NULL,
    start INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    rows BLOB NOT NULL,
    is_edited INTEGER NOT NULL DEFAULT 0,
    UNIQUE (run_id, start)
) STRICT;
CREATE INDEX IF NOT EXISTS claims_on ON claims (seq);

-- The rows that a replay has rejected again, in the order of its rejects; `start` is the first reject's number.
CREATE TABLE IF NOT EXISTS replay_rejects (
    run_id TEXT NOT NULL,
    start INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    rows BLOB NOT NULL,
    UNIQUE (run_id, start)
) STRICT;

-- What became of all rows of a source; of a flow under the empty one. `newest` is the last run that read it whole.
CREATE TABLE IF NOT EXISTS row_accounts (
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
"""
"""The tables of the ledger of rejected rows (see `_runs.store.ledger`)."""
