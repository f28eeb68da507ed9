"""The tables of the ledger of rejected rows (see `_runs.store.ledger`)."""

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
