"""A person's values in the state: the record of a run whose outputs were rewritten, and texts."""

# ruff: noqa: S608 - the parts of its SQL are constants.
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from lume_async._base.words import counted
from lume_local._runs.sql.beside_runs import SqlOutputs
from lume_local._runs.sql.ledger_entries import LedgerEntries
from lume_local._runs.sql.operation import Row, Sql, statement, writing
from lume_local._runs.sql.run_rows import RUN_COLUMNS, stored_run
from lume_local._runs.sql.sql_arrivals import IS_ASIDE
from lume_local._runs.sql.sql_audit import add_act
from lume_local._runs.sql.sql_drafts import SqlDrafts
from lume_local._runs.store.arrived import ASIDE
from lume_local._runs.store.audit import FORGET, Act
from lume_local._runs.store.drafts import Reject
from lume_local._runs.store.records import ACTIVE, StoredRun
from lume_local._shared.protocol import Json
from lume_local._shared.row_set import of_text, rows_in

TEXTS = {
    "runs": ("run_id", "error_message", "metrics", "run_metadata"),
    "deliveries": ("id", "body", "error"),
    "notices": ("seq", "body"),
    "message_states": ("key", "state"),
    "notes": ("run_id", "note"),
    "dismissals": ("run_id", "why"),
    "closings": ("id", "why"),
    "arrival_refusals": ("place", "why"),
    "draft_rows": ("draft_id, run_id, number", "cells", "reasons"),
    "audit": ("seq", "subject", "detail"),
}
"""The tables with texts that may quote a value: the key of each, and its columns of texts."""
_ASIDE = f"CASE WHEN {IS_ASIDE} THEN substr(seen, {len(ASIDE) + 1}) END"
FILES = {
    "runs": ("run_id", "CASE WHEN status IN ('FAILED', 'CRASHED', 'CANCELLED') THEN source_path END"),
    "arrival_moves": ("run, place", _ASIDE),
    "arrival_refusals": ("place", _ASIDE),
}
"""The tables with files that no run has processed, or that were put aside: the key of each, and the file or NULL."""
WHY = "forgotten on a person's request"


class SqlForget:
    """See `_runs.forget`."""

    def __init__(self, sql: Sql, outputs: SqlOutputs, ledger: LedgerEntries, drafts: SqlDrafts) -> None:
        self.sql, self._outputs, self._ledger, self._drafts = sql, outputs, ledger, drafts

    @statement
    async def runs(self, after: int, limit: int) -> list[StoredRun]:
        """Return runs that have ended, in the order of their numbers."""
        query = (
            f"SELECT {RUN_COLUMNS} FROM runs WHERE seq > ? AND status NOT IN {ACTIVE} ORDER BY seq LIMIT ?"
        )
        return [stored_run(row) for row in await self.sql.rows(query, [after, limit])]

    @writing
    async def note(self, done: Json) -> None:
        """Record, once, that the outputs of a run were rewritten; for the members see `_runs.forget`."""
        await self.sql.lock_ledger(None)
        run_id, by, mapped, rejects = done["run_id"], done["by"], done["mapped"], of_text(done["rejects"])
        query = "SELECT part, identity FROM outputs WHERE run_id = ?"
        if done["outputs"].items() <= dict(map(tuple, await self.sql.rows(query, [run_id]))).items():
            return  # a process was killed after this
        seq, text = await self.sql.one("SELECT seq, metrics FROM runs WHERE run_id = ?", [run_id])
        metrics = orjson.loads(text)
        # They count as filtered: each row that was read is mapped, rejected or filtered.
        metrics["rows_mapped"] = metrics.get("rows_mapped", 0) - mapped
        metrics["rows_filtered"] = metrics.get("rows_filtered", 0) + mapped
        about = f"{counted(mapped + rejects.bit_count(), 'row was', 'rows were')} {WHY}"
        metrics["warnings"] = metrics.get("warnings", {}) | {about: 1}
        query = "UPDATE runs SET metrics = ?, rev = rev + 1 WHERE seq = ?"
        await self.sql.change(query, [orjson.dumps(metrics).decode(), seq])
        await self._outputs.note(run_id, done["outputs"])
        if rejects:
            await self._ledger.close(seq, rejects, "discarded", by, WHY)
            await self._drafts.forget([Reject(run_id, row) for row in rows_in(rejects)])
        detail = {"columns": done["columns"], "mapped": mapped, "rejects": rejects.bit_count()}
        await add_act(self.sql, Act(by, FORGET, run_id, detail))
        self.sql.must_last()

    @statement
    async def texts(
        self, table: str, after: Sequence[Any], limit: int, what: Mapping[str, tuple[str, ...]] = TEXTS
    ) -> list[Row]:
        """Return rows of one of `TEXTS`, or `FILES`, after one with this key, each as its key and its texts."""
        key, *columns = what[table]
        where = f"({key}) > ({', '.join('?' * len(after))})" if after else "true"
        query = f"SELECT {key}, {', '.join(columns)} FROM {table} WHERE {where} ORDER BY {key} LIMIT ?"
        return await self.sql.rows(query, [*after, limit])

    @writing
    async def replace(self, table: str, key: Sequence[Any], texts: Sequence[str | bytes | None]) -> None:
        """Replace the texts of a row."""
        names, *columns = TEXTS[table]
        assigned = ", ".join(f"{column} = ?" for column in columns) + ", rev = rev + 1" * (table == "runs")
        query = f"UPDATE {table} SET {assigned} WHERE ({names}) = ({', '.join('?' * len(key))})"
        before, after = self.sql.around_edits if table == "audit" else ("", "")
        for statement_, values in ((before, []), (query, [*texts, *key]), (after, [])):
            if statement_:
                await self.sql.change(statement_, values)
