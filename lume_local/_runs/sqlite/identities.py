"""What identifies the sources and outputs of runs when they were read and written, so that changes are noticed."""

import json
import sqlite3

from lume_local._runs.sqlite.operation import operation
from lume_local._shared.content import SourceContent


class SqliteOutputs:
    """The table `outputs`: for each run and part (`mapped`, `rejects`) the identity of its file."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def note(self, run_id: str, identities: dict[str, str]) -> None:
        """Store what a run has written; part of the transaction that ends the run."""
        rows = [(run_id, part, identity) for part, identity in identities.items()]
        self._db.executemany("INSERT OR REPLACE INTO outputs VALUES (?, ?, ?)", rows)

    @operation
    def written_before(self, before: str, limit: int) -> list[tuple[str, str, str, str]]:
        """Files of runs that ended before a time: run, part, identity, and the run's locations as JSON."""
        query = (
            "SELECT run_id, part, identity, target_locations FROM outputs JOIN runs USING (run_id) "
            "WHERE identity != '' AND finished_at < ? "
            "AND coalesce(json_extract(target_locations, '$.' || part), '') NOT LIKE '__://%' LIMIT ?"
        )
        return [tuple(row) for row in self._db.execute(query, [before, limit])]

    @operation
    def forget(self, run_id: str, part: str) -> None:
        """The output is removed: a file at its location is another one."""
        self._db.execute("UPDATE outputs SET identity = '' WHERE run_id = ? AND part = ?", [run_id, part])

    @operation
    def identity(self, run_id: str, part: str) -> str | None:
        """The identity of an output, empty once it is removed; None if it is not a file, such as rows of a table."""
        query = "SELECT identity FROM outputs WHERE run_id = ? AND part = ?"
        row = self._db.execute(query, [run_id, part]).fetchone()
        return None if row is None else str(row[0])


class SqliteSources:
    """The table `sources`: for each run with output, what identifies the content that it read."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def note(self, run_id: str, content: SourceContent) -> None:
        """Store what a run has read; part of the transaction that ends the run."""
        values = [run_id, content.bytes, content.seen, content.digest]
        self._db.execute("INSERT OR REPLACE INTO sources VALUES (?, ?, ?, ?)", values)

    @operation
    def read_by(self, run_id: str) -> SourceContent | None:
        """What identifies the content that a run has read; None for a source whose content can't be identified."""
        query = "SELECT bytes, seen, digest FROM sources WHERE run_id = ?"
        row = self._db.execute(query, [run_id]).fetchone()
        return None if row is None else SourceContent(*row)


class SqliteHeaders:
    """The columns of the sources of flow versions, from the metrics of their runs."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    @operation
    def last(self, flow_version: str) -> list[str] | None:
        """Those of its latest run with output; None if there is no such run or it recorded none."""
        query = (
            "SELECT metrics FROM runs WHERE flow_version = ? AND status IN ('SUCCEEDED', 'PARTIAL_FAILED') "
            "ORDER BY seq DESC LIMIT 1"
        )
        row = self._db.execute(query, [flow_version]).fetchone()
        found: list[str] | None = None if row is None else json.loads(row[0])["source"].get("header")
        return found
