"""Determines the present content of sources and whether it has changed since runs read it, in worker processes."""

import logging

import anyio

from lume_local._flow.definition import Flow
from lume_local._flow.source_settings import CONTENT
from lume_local._runs.sources.paths import PathRefused
from lume_local._runs.sources.run_paths import RunPaths
from lume_local._runs.sources.source_key import with_content
from lume_local._runs.sql.beside_runs import SqlSources
from lume_local._runs.workers.worker import WorkerDied
from lume_local._runs.workers.worker_pool import WorkerPool
from lume_local._shared.identity import SourceContent, is_other
from lume_local._shared.obstacle import Obstacle
from lume_local._shared.protocol import Look, Looked

_log = logging.getLogger("lume_local")

LOOK_LIMIT = 10.0
"""Seconds to find out whether a source has changed."""
DIGEST_LIMIT = 40.0
"""Seconds to compute the digest of a source, while a submission waits."""
NOTHING = "0" * 64
"""The digest of a nonexistent source, whose run reports that it is missing."""
LOOKERS = 2


class CantTell(Obstacle):
    """The content of a source can't be determined."""


class Contents:
    """Compares and identifies the contents of sources."""

    def __init__(self, sources: SqlSources, paths: RunPaths, pool: WorkerPool) -> None:
        self._sources, self._paths, self._pool = sources, paths, pool
        self._turns = anyio.Semaphore(LOOKERS)

    async def is_other(self, run_id: str, flow: Flow, source_path: str) -> bool | None:
        """Return whether a source has changed since that run read it; None if unknown."""
        before = await self._sources.read_by(run_id)
        if before is None:
            return None
        try:
            now = (await self._look(flow, source_path, before, LOOK_LIMIT)).content
        except (CantTell, PathRefused) as error:
            _log.info("run %s: can't determine whether its source was changed: %s", run_id, error)
            return None
        return None if now is None else is_other(before, now)

    async def key(self, flow: Flow, source_path: str, located: str) -> str:
        """Return the source's place, with its content if the flow takes each content once. Raises `CantTell`."""
        if flow.source.identity != CONTENT:
            return located
        return with_content(located, await self._digest(flow, source_path))

    async def _digest(self, flow: Flow, source_path: str) -> str:
        """Return the digest of a source, as in `Execute.content`. Raises `CantTell`."""
        try:
            looked = await self._look(flow, source_path, None, DIGEST_LIMIT)
        except PathRefused:
            return NOTHING
        if looked.problem:
            return NOTHING
        if looked.content is None or looked.content.digest is None:
            raise CantTell(
                "the flow takes each content of a source once, and this store has no tags that identify it: "
                'use identity = "path"',
                may_pass=False,
            )
        return looked.content.digest

    async def _look(self, flow: Flow, source_path: str, known: SourceContent | None, limit: float) -> Looked:
        """Have a worker examine the source. Raises `CantTell`, `PathRefused`."""
        with anyio.move_on_after(limit):
            place, _ = await self._paths.source(source_path, flow)
            try:
                async with self._turns:
                    return await self._pool.look(Look(place, known))
            except WorkerDied as error:
                raise CantTell(f"the source can't be read: {error}", may_pass=True) from None
        raise CantTell(f"reading the source took longer than {limit:g} s", may_pass=False)
