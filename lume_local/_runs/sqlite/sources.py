"""What the sources of runs had when the runs read them: whether they have something else is asked later."""

import sqlite3

from lume_local._runs.sqlite.operation import operation
from lume_local._shared.content import Content


class SqliteSources:
    """The table `sources`: for each run with output what identifies the content that it read."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def note(self, run_id: str, content: Content) -> None:
        """Keep what a run has read; part of the transaction that ends the run."""
        values = [run_id, content.bytes, content.seen, content.digest]
        self._db.execute("INSERT OR REPLACE INTO sources VALUES (?, ?, ?, ?)", values)

    @operation
    def read_by(self, run_id: str) -> Content | None:
        """What a run has read; None for a run of an older version, or of a source that can't be told by anything."""
        query = "SELECT bytes, seen, digest FROM sources WHERE run_id = ?"
        row = self._db.execute(query, [run_id]).fetchone()
        return None if row is None else Content(*row)
