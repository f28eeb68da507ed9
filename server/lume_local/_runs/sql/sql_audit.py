"""The audit in the state: a table that refuses changes (see `_runs.store.audit`)."""

# ruff: noqa: S608 - the parts of its SQL are constants.
from itertools import takewhile

import orjson

from lume_local._runs.sql.operation import Sql, SqlPart, given, statement, writing
from lume_local._runs.store.audit import KEPT_AT_LEAST, Act, ActFilter, NotedAct
from lume_local._runs.times import ago_text, now_text

ADD_ACT = "INSERT INTO audit (at, by, what, subject, detail) VALUES (?, ?, ?, ?, ?)"


class SqlAudit(SqlPart):
    """The acts of a state. Other operations of the store record acts that belong to their transactions."""

    @writing
    async def note(self, act: Act) -> None:
        """Record an act that changes nothing in the state."""
        await add_act(self.sql, act)
        self.sql.must_last()

    @statement
    async def acts(self, wanted: ActFilter, before: int | None, limit: int) -> list[NotedAct]:
        """Return a page of acts, newest first, older than the one with number `before`."""
        # `at` normally follows `seq`, but a clock may have been set back: one number decides.
        since = "seq >= coalesce((SELECT seq FROM audit WHERE at >= ? ORDER BY at, seq LIMIT 1), 1e18)"
        where, values = given(
            ("by = ?", wanted.by), ("what = ?", wanted.what), (since, wanted.since), ("seq < ?", before)
        )
        query = f"SELECT * FROM audit WHERE {' AND '.join(['true', *where])} ORDER BY seq DESC LIMIT ?"
        rows = await self.sql.rows(query, [*values, limit])
        return [
            NotedAct(seq, at, Act(by, what, subject, orjson.loads(detail)))
            for seq, at, by, what, subject, detail in map(tuple, rows)
        ]

    @writing
    async def forget(self, before: str, limit: int) -> int:
        """Delete at most `limit` of the oldest acts from before a time; return how many."""
        found = await self.sql.rows("SELECT seq, at FROM audit ORDER BY seq LIMIT ?", [limit])
        bound = min(before, ago_text(KEPT_AT_LEAST))
        gone = [row["seq"] for row in takewhile(lambda row: row["at"] < bound, found)]
        if gone:
            await self.sql.change("DELETE FROM audit WHERE seq <= ?", [gone[-1]])
        return len(gone)


def act_values(act: Act) -> list[str]:
    """Return the values for `ADD_ACT`."""
    return [now_text(), act.by, act.what, act.subject, orjson.dumps(act.detail).decode()]


async def add_act(sql: Sql, act: Act | None) -> None:
    """Record an act, if there is one, in an open transaction."""
    if act is not None:
        await sql.change(ADD_ACT, act_values(act))
