"""Which runs no longer need a person: their rejects were corrected by other runs, or somebody dismissed them.

Triggers keep this current in the same transaction as the runs (see `statistics` for the table `attention`).
"""

from lume_local._runs.sql.operation import Sql, reading, writing
from lume_local._runs.sql.sql_audit import add_act
from lume_local._runs.store.audit import DISMISS, Act
from lume_local._runs.store.records import FollowUp
from lume_local._runs.times import now_text

_MOST = 100


class SqlAttention:
    """What people did about the runs of one state."""

    def __init__(self, sql: Sql) -> None:
        self.sql = sql

    @writing
    async def dismiss(self, run_id: str, why: str, by: str) -> None:
        """A person needs no more reminder of this run; it is submitted again as any other."""
        await self.sql.change(
            "INSERT INTO dismissals VALUES (?, ?, ?) "
            "ON CONFLICT (run_id) DO UPDATE SET why = excluded.why, at = excluded.at",
            [run_id, why, now_text()],
        )
        await self.sql.change(
            "DELETE FROM attention WHERE seq = (SELECT seq FROM runs WHERE run_id = ?)", [run_id]
        )
        await self.sql.change("UPDATE runs SET rev = rev + 1 WHERE run_id = ?", [run_id])
        await add_act(self.sql, Act(by, DISMISS, run_id, {"why": why}))
        self.sql.must_last()

    @reading
    async def of(self, run_id: str) -> FollowUp:
        """What was done about a run, and which run it is about itself."""
        parent = await self.sql.row("SELECT parent FROM mends WHERE run_id = ?", [run_id])
        mends = await self.sql.rows(
            "SELECT run_id FROM mends JOIN runs USING (run_id) WHERE parent = ? ORDER BY seq DESC LIMIT ?",
            [run_id, _MOST],
        )
        dismissed = await self.sql.row("SELECT why, at FROM dismissals WHERE run_id = ?", [run_id])
        return FollowUp(
            None if parent is None else parent[0],
            tuple(row[0] for row in mends),
            None if dismissed is None else dict(dismissed),
        )
