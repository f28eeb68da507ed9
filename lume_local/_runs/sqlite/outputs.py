"""What the outputs of runs were when they were written: whoever reads one later sees whether it was changed."""

import sqlite3

from lume_local._runs.sqlite.operation import operation


class SqliteOutputs:
    """The table `outputs`: for each run and part (`mapped`, `rejects`) the identity of its file."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def note(self, run_id: str, identities: dict[str, str]) -> None:
        """Keep what a run has written; part of the transaction that ends the run."""
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
        """The output is gone: whatever lies at its place is not it."""
        self._db.execute("UPDATE outputs SET identity = '' WHERE run_id = ? AND part = ?", [run_id, part])

    @operation
    def identity(self, run_id: str, part: str) -> str | None:
        """The identity of an output, empty when it is gone; None where it is no file: rows of a table have none."""
        query = "SELECT identity FROM outputs WHERE run_id = ? AND part = ?"
        row = self._db.execute(query, [run_id, part]).fetchone()
        return None if row is None else str(row[0])
