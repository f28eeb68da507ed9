"""The audit in the state file: a table that refuses to be changed (see `_runs.audit`)."""

# ruff: noqa: S608 - the parts of its SQL are constants.
import sqlite3
from itertools import takewhile
from typing import Any

import orjson

from lume_local._runs.audit import KEPT_AT_LEAST, Act, ActFilter, NotedAct
from lume_local._runs.sqlite.durability import Durability
from lume_local._runs.sqlite.operation import operation, transaction
from lume_local._runs.times import now_text

_YOUNG = f"strftime('%Y-%m-%dT%H:%M:%fZ', 'now', '-{KEPT_AT_LEAST:.0f} seconds')"

AUDIT = f"""
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
CREATE TRIGGER audit_is_never_changed BEFORE UPDATE ON audit BEGIN
    SELECT raise(ABORT, 'the audit is never changed');
END;
-- INSERT OR REPLACE would delete an entry without a trigger.
CREATE TRIGGER audit_is_never_replaced BEFORE INSERT ON audit
WHEN EXISTS (SELECT 1 FROM audit WHERE seq = new.seq) BEGIN
    SELECT raise(ABORT, 'the audit is never changed');
END;
CREATE TRIGGER audit_is_kept BEFORE DELETE ON audit
WHEN old.at >= {_YOUNG} OR old.seq > (SELECT min(seq) FROM audit) BEGIN
    SELECT raise(ABORT, 'the audit loses only its oldest entries, and no young one');
END;
"""
"""This part of the schema."""


class SqliteAudit:
    """The acts of one state file."""

    def __init__(self, db: sqlite3.Connection, durability: Durability) -> None:
        self._db, self._durability = db, durability

    def add(self, act: Act | None) -> None:
        """Note an act, if there is one, as part of its transaction."""
        if act is not None:
            add_act(self._db, act)

    @operation
    def note(self, act: Act) -> None:
        with transaction(self._db):
            self.add(act)
        self._durability.wanted()

    @operation
    def acts(self, wanted: ActFilter, before: int | None, limit: int) -> list[NotedAct]:
        where, values = ["1"], list[Any]()
        for condition, value in (
            ("by = ?", wanted.by),
            ("what = ?", wanted.what),
            # `at` follows `seq`, but a clock may have been set back: one number decides.
            (
                "seq >= coalesce((SELECT seq FROM audit WHERE at >= ? ORDER BY at, seq LIMIT 1), 1e18)",
                wanted.since,
            ),
            ("seq < ?", before),
        ):
            if value is not None:
                where.append(condition)
                values.append(value)
        query = f"SELECT * FROM audit WHERE {' AND '.join(where)} ORDER BY seq DESC LIMIT ?"
        rows = self._db.execute(query, [*values, limit])
        return [
            NotedAct(seq, at, Act(by, what, subject, orjson.loads(detail)))
            for seq, at, by, what, subject, detail in map(tuple, rows)
        ]

    @operation
    def forget(self, before: str, limit: int) -> int:
        oldest = f"SELECT seq, at < min(?, {_YOUNG}) AS is_old FROM audit ORDER BY seq LIMIT ?"
        with transaction(self._db):
            found = self._db.execute(oldest, [before, limit]).fetchall()
            gone = [row["seq"] for row in takewhile(lambda row: row["is_old"], found)]
            if gone:
                self._db.execute("DELETE FROM audit WHERE seq <= ?", [gone[-1]])
        return len(gone)


def add_act(db: sqlite3.Connection, act: Act) -> None:
    """Note an act in an open transaction."""
    values = [now_text(), act.by, act.what, act.subject, orjson.dumps(act.detail).decode()]
    db.execute("INSERT INTO audit (at, by, what, subject, detail) VALUES (?, ?, ?, ?, ?)", values)
