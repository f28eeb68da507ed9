"""Removes old runs, archiving them first if there is an archive folder.

A run is removed with everything that belongs to it: its ledger rows, its records of what it read and wrote, its
webhooks. It stays in a compact form, without stages and column statistics, as long as something depends on it:

- the rule "one success for each source": the last run with output of a flow version and source;
- an idempotency key, whose repetition is answered with the run;
- a replay of its rows that is kept;
- an arrived file that was not read: the list of arrivals shows it until another run of it takes its place;
- a file that is still to be moved;
- an output that the server is to remove when it expires.

It stays unchanged while it is active, has open, lost or replayed rows or a pending webhook, while its rejects are
being corrected, and if it is the last one with output of its flow version. Counts of runs and rows, the account of
each source, and the change feed don't change.
"""

import logging
import os
import uuid
from collections.abc import Sequence
from pathlib import Path

import anyio.lowlevel
import orjson
from anyio.to_thread import run_sync
from attrs import asdict

from lume_local._runs.sql.sql_purge import SqlPurge
from lume_local._runs.store.records import LookedAt, Purged, StoredRun
from lume_local._runs.times import ago_text
from lume_local._runs.workers.worker import WorkerDied
from lume_local._runs.workers.worker_pool import WorkerPool
from lume_local._shared.commit import sync_folder, write_durably
from lume_local._shared.protocol import ArchiveRuns

_log = logging.getLogger("lume_local")

LEAST = 86400.0
"""Minimum seconds that a run is kept: output that could not be put in place waits that long."""
_AT_ONCE = 100
"""Runs per transaction: requests are answered in between."""
_FILE = 5000
"""Runs per archive file."""
_START = ("", 0)


class Purger:
    """Purges the runs that ended more than `keep` seconds ago.

    Args:
        archive: the folder for Parquet files of removed runs; None for no archive.
        pool: writes these files.
        outputs: see `SqlPurge`.
    """

    def __init__(
        self, purge: SqlPurge, keep: float, archive: Path | None, pool: WorkerPool, *, outputs: bool
    ) -> None:
        self._purge, self._keep, self._archive = purge, keep, archive
        self._pool, self._outputs = pool, outputs
        self._after: LookedAt = _START

    async def step(self) -> int:
        """Examine some runs; return 0 once all have been examined. Raises OSError, `StoreFailed`."""
        if self._after is None:
            self._after = _START
            return 0
        before, found = ago_text(self._keep), list[StoredRun]()
        after: LookedAt = self._after
        looked = 0
        while after is not None and len(found) < (_FILE if self._archive else _AT_ONCE):
            page, following = await self._purge.old(before, after, _AT_ONCE, outputs=self._outputs)
            found, after, looked = found + page, following, looked + 1
            await anyio.lowlevel.checkpoint()
        file = await self._archived([run for run in found if not run.is_compact])
        detail, purged = {} if file is None else {"archive": file.name}, Purged()
        for start in range(0, len(found), _AT_ONCE):
            some = found[start : start + _AT_ONCE]
            purged += await self._purge.remove(some, before, outputs=self._outputs, detail=detail)
            await anyio.lowlevel.checkpoint()
        if purged.runs:
            _log.info("purged: %d old runs were removed, %d made compact", purged.removed, purged.compact)
        self._after = after
        return looked

    async def _archived(self, runs: Sequence[StoredRun]) -> Path | None:
        """Write these runs to a durable file and return it. After a crash some may be in two files."""
        if self._archive is None or not runs:
            return None
        ends = [run.finished_at or "" for run in runs]
        name = f"runs-{min(ends)[:10]}-{max(ends)[:10]}-{uuid.uuid4().hex[:12]}"
        draft, file = self._archive / f".{name}.ndjson", self._archive / f"{name}.parquet"
        try:
            await run_sync(_write, draft, runs)
            try:
                await self._pool.archive(ArchiveRuns(str(draft), str(file)))
            except WorkerDied as error:
                raise OSError(f"the archive could not be written: {error}") from None
            await run_sync(sync_folder, file.parent)
        finally:
            await run_sync(lambda: draft.unlink(missing_ok=True))
        return file


def _write(draft: Path, runs: Sequence[StoredRun]) -> None:
    """Write rows of the archive, with nested values as JSON text and the counts of rows as columns."""
    lines = list[bytes]()
    for run in runs:
        plain = {
            name: value
            for name, value in asdict(run).items()
            if name not in ("seq", "rev", "is_compact", "is_plain")
        }
        nested = {
            name: orjson.dumps(value).decode()
            for name, value in plain.items()
            if isinstance(value, dict | list)
        }
        counts = {name: run.metrics.get(name) for name in ("rows_read", "rows_mapped", "rows_rejected")}
        lines.append(orjson.dumps(plain | nested | counts) + b"\n")
    draft.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    write_durably(draft, b"".join(lines))
    os.chmod(draft, 0o600)
