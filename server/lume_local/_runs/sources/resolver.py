"""Resolves what a submission names: its flow version, the place and content of its source, its own seeds."""

import hashlib
import logging
import os
from collections.abc import Mapping
from typing import Any, NamedTuple

import anyio
import orjson
from anyio.to_thread import run_sync

from lume_local._flow.definition import SEED_BYTES, Flow
from lume_local._flow.source_settings import CONTENT
from lume_local._runs.flow_registry import FlowRegistry
from lume_local._runs.sources.paths import REPLAY, UPLOAD, PathRefused, Roots
from lume_local._runs.sources.run_paths import source_place
from lume_local._runs.sources.source_files import source_key, with_content, with_seeds
from lume_local._runs.sql.beside_runs import SqlSources
from lume_local._runs.workers.worker import WorkerDied
from lume_local._runs.workers.worker_pool import WorkerPool
from lume_local._shared import no_links
from lume_local._shared.failing import Obstacle
from lume_local._shared.identity import SourceContent, is_other
from lume_local._shared.protocol import Look, Looked

_log = logging.getLogger("lume_local")

LOOK_LIMIT = 10.0
"""Seconds to find out whether a source has changed."""
DIGEST_LIMIT = 40.0
"""Seconds to compute the digest of a source, while a submission waits."""
NOTHING = "0" * 64
"""The digest of a nonexistent source, whose run reports that it is missing."""
LOOKERS = 2
_BLOCK = 1024 * 1024

RunSeeds = dict[str, dict[str, Any]]
"""By the seed's name, its `source_path` and the `sha256` of its content."""


class SeedRefused(Exception):
    """A run can't bring this seed. The message says why and what to do; `is_place` if its path is the reason."""

    def __init__(self, message: str, *, is_place: bool = False) -> None:
        super().__init__(message)
        self.is_place = is_place


class CantTell(Obstacle):
    """The content of a source can't be determined."""


class Resolved(NamedTuple):
    """A submission whose names have been looked up.

    Attributes:
        source_key: equal for all submissions that process the same source in the same way.
        note: a note on the flow version for the run.
        alike: the versions that process it in the same way, see `FlowRegistry.alike`.
    """

    flow: Flow
    source_path: str
    source_key: str
    seeds: RunSeeds
    note: str | None
    alike: tuple[str, ...]


class SourceResolver:
    """Resolves submissions; workers of `pool` look at the content of sources."""

    def __init__(self, flows: FlowRegistry, roots: Roots, sources: SqlSources, pool: WorkerPool) -> None:
        self._flows, self._roots = flows, roots
        self._sources, self._pool = sources, pool
        self._turns = anyio.Semaphore(LOOKERS)

    async def requested(
        self, ref: str, source_path: str, seeds: Mapping[str, str], layout: str | None, *, is_dry: bool
    ) -> Resolved:
        """Resolve a request. Raises `UnknownFlow`, and like `resolved`.

        Args:
            is_dry: whether the content is left out, since a dry run claims no source.
        """
        flow, note = await self._flows.runnable(ref)
        if source_path.startswith(UPLOAD + REPLAY):
            raise PathRefused("it has the rows of a replay: start another replay of what is still open")
        return await self.resolved(flow, source_path, note, seeds, layout, is_dry=is_dry)

    async def resolved(
        self,
        flow: Flow,
        source_path: str,
        note: str | None = None,
        given: Mapping[str, str] | None = None,
        layout: str | None = None,
        *,
        is_dry: bool = False,
    ) -> Resolved:
        """Resolve a run of a known flow version. Raises `PathRefused`, `SeedRefused`, `LayoutRefused`, `CantTell`."""
        if layout:
            flow.check_layout(layout)
        key = source_key(flow.source, source_path, self._roots)
        seeds = await _found_seeds(flow, given, self._roots) if given else {}
        if flow.source.identity == CONTENT and not is_dry:
            key = with_content(key, await self._digest(flow, source_path))
        if seeds or layout:
            content = {name: seed["sha256"] for name, seed in seeds.items()}
            if layout:
                content[""] = layout  # a seed has a name
            digest = hashlib.sha256(orjson.dumps(content, option=orjson.OPT_SORT_KEYS)).hexdigest()
            key = with_seeds(key, digest)
        key = self._flows.source_key(flow, key)
        return Resolved(flow, source_path, key, seeds, note, self._flows.alike(flow.ref))

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
            place, _ = await source_place(self._roots.for_one_job(), source_path, flow)
            try:
                async with self._turns:
                    return await self._pool.look(Look(place, known))
            except WorkerDied as error:
                raise CantTell(f"the source can't be read: {error}", may_pass=True) from None
        raise CantTell(f"reading the source took longer than {limit:g} s", may_pass=False)


async def _found_seeds(flow: Flow, given: Mapping[str, str], roots: Roots) -> RunSeeds:
    """Read the seeds of a submission. Raises `SeedRefused`."""
    declared = {seed.name: seed for seed in flow.seeds}
    for name in given:
        if name not in declared:
            known = ", ".join(sorted(declared)) or "none"
            raise SeedRefused(f"{flow.ref} has no seed {name!r}; it has {known}")
        if not declared[name].per_run:
            raise SeedRefused(
                f"the seed {name!r} of {flow.ref} is the same for all runs: write per_run = true below "
                f"[seeds.{name}] in a new version"
            )
    return {
        name: {"source_path": path, "sha256": await run_sync(_sha256, roots, path)}
        for name, path in given.items()
    }


def _sha256(roots: Roots, path: str) -> str:
    try:
        place = roots.source(path)
        with os.fdopen(no_links.open(place, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
            digest, size = hashlib.sha256(), 0
            while block := file.read(_BLOCK):
                digest.update(block)
                size += len(block)
                if size > SEED_BYTES:
                    raise SeedRefused(f"{path!r} is larger than {SEED_BYTES:,} bytes: use it as a source")
            return digest.hexdigest()
    except PathRefused as error:
        raise SeedRefused(str(error), is_place=True) from None
    except FileNotFoundError:
        reason = "there is no such file"
    except OSError as error:
        reason = error.strerror or str(error)
    raise SeedRefused(f"the seed {path!r}{roots.looked_up(path)} can't be read: {reason}", is_place=True)
