"""The columns that the sources of a flow had the last time, so that a change of them is noticed."""

import json
import sqlite3

from lume_local._runs.sqlite.operation import operation


class SqliteHeaders:
    """What the runs of a flow version have found, as their metrics have it."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    @operation
    def last(self, flow_version: str) -> list[str] | None:
        """Those of its latest run with output; None before the first, or where that did not note them."""
        query = (
            "SELECT metrics FROM runs WHERE flow_version = ? AND status IN ('SUCCEEDED', 'PARTIAL_FAILED') "
            "ORDER BY seq DESC LIMIT 1"
        )
        row = self._db.execute(query, [flow_version]).fetchone()
        found: list[str] | None = None if row is None else json.loads(row[0])["source"].get("header")
        return found
