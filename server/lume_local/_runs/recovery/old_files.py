"""Daily sweeps over files: removes uploads and outputs that are too old, notices rejects that are missing or back.

An old file stays if an unfinished run reads it or if it is a seed of a flow; if one part of an output stays, all do.
An output is removed only if it is still the file that its run wrote, since another run may have replaced it.
Submissions are paused for each step, so that none comes between the check whether a file is used and its removal.
"""

import json
import logging
import math
import os
import re
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from fnmatch import translate
from pathlib import Path

from anyio import sleep
from anyio.to_thread import run_sync

from lume_async._base.words import counted
from lume_local._runs.sources.paths import REPLAY, UPLOAD, PathRefused, Roots
from lume_local._runs.sources.source_files import places_of
from lume_local._runs.sql.sql_store import SqlStore
from lume_local._runs.store.ledger import UnendedRows
from lume_local._runs.store.records import RunFilter
from lume_local._runs.times import ago_text
from lume_local._shared import no_links
from lume_local._shared.folders import MANIFEST, named_in
from lume_local._shared.identity import aside, is_still, remove_if

_log = logging.getLogger("lume_local")
_AT_ONCE = 100
"""Files per step; requests are answered between steps."""
_CHOICE = re.compile(r"\[!?\]?[^\]]*\]")
"""The brackets of a pattern. In a key they may also belong to a source path, which is literal."""
_MANY = 100
"""The number of files in a folder at which listing it becomes faster than checking each."""
_MAGIC = re.compile(r"[*?[]")
IsUsed = Callable[[str], bool]


class OldFiles:
    """Removes expired files.

    Args:
        remove_upload: removes an upload unless it was sent after a time; returns whether it did. Raises OSError.
    """

    def __init__(self, store: SqlStore, roots: Roots, remove_upload: Callable[[Path, float], bool]) -> None:
        self._store, self._roots, self._remove_upload = store, roots, remove_upload

    async def remove_uploads(self, keep: float) -> int:
        """Remove some uploads older than `keep` seconds; return how many. Raises OSError, `StoreFailed`."""
        removed = 0
        async with self._use() as is_used:
            for path in self._roots.uploads.iterdir():
                if path.name.startswith(".") or is_used(str(path)):
                    continue
                removed += self._remove_upload(path, time.time() - keep)
                if removed == _AT_ONCE:
                    break
        if removed:
            _log.info("removed %d uploads that were older than %.0f s", removed, keep)
        return removed

    async def remove_refused(self, source_path: str) -> None:
        """Remove the upload of a refused submission if no run and no seed uses it. Raises OSError, `StoreFailed`."""
        is_upload = source_path.startswith(UPLOAD) and not source_path.startswith(UPLOAD + REPLAY)
        path = _allowed(self._roots.located, source_path) if is_upload else None
        if path is None or await self._store.runs(RunFilter(source_path=source_path), None, 1):
            return
        async with self._use() as is_used:
            if not is_used(str(path)):
                with suppress(FileNotFoundError):  # the same request was refused before
                    self._remove_upload(path, math.inf)

    async def remove_outputs(self, keep: float) -> int:
        """Settle some outputs of runs that ended more than `keep` seconds ago; return how many.

        Raises OSError, `StoreFailed`.
        """
        settled = removed = lost = 0
        async with self._use() as is_used:
            found = await self._store.outputs.written_before(ago_text(keep), _AT_ONCE)
            for run_id, part, noted, locations in found:
                path = _allowed(self._roots.written, json.loads(locations).get(part))
                if path is not None and any(is_used(str(file)) for file in _files(path, run_id)):
                    if is_still(path, noted) or is_still(aside(path, run_id), noted):
                        continue
                else:
                    removed += path is not None and _remove(path, noted, run_id)
                lost += await self._store.outputs.forget(run_id, part)  # rows that were open
                settled += 1
        if removed:
            _log.info("removed %d outputs of runs that ended more than %.0f s ago", removed, keep)
        if lost:
            _log.warning(
                "%s lost: keep_output has removed their rejects, which were older than %.0f s. Run the sources "
                "again, or discard the rows: `lume inbox` shows their flows",
                counted(lost, "open rejected row is", "open rejected rows are"),
                keep,
            )
        return settled

    @asynccontextmanager
    async def _use(self) -> AsyncIterator[IsUsed]:
        """Provide a check whether a file is in use; no other file comes into use while the block runs."""
        keys = await self._keys()
        used = await run_sync(InUse, keys)  # slow for 100,000 runs, so done without pausing submissions
        async with self._store.submissions_paused():
            since = InUse(await self._keys() - keys)
            yield lambda path: used.has(path) or since.has(path)

    async def _keys(self) -> set[str]:
        """Return the source keys and seeds of unfinished runs, and the seeds of all flows."""
        seeds = [
            seed["path"]
            for flow in await self._store.flows()
            for seed in flow.definition.get("seeds", {}).values()
        ]
        seeds += await self._store.active_seeds()
        places = (_allowed(self._roots.source, seed) for seed in seeds)
        return {*await self._store.active_sources(), *map(str, filter(None, places))}


def _allowed(check: Callable[[str], Path], text: str | None) -> Path | None:
    """Resolve a path by the roots; return None if they refuse it."""
    try:
        return None if text is None else check(text)
    except PathRefused:
        return None


def _files(path: Path, run_id: str) -> list[Path]:
    """Return an output and the files that are removed with it. Raises OSError."""
    files = [path]
    if path.name == MANIFEST:
        for manifest in (path, aside(path, run_id)):
            with suppress(FileNotFoundError, ValueError):  # not a manifest of a run
                files += [path.with_name(name) for name in named_in(manifest)]
    return files


def _remove(path: Path, noted: str, run_id: str) -> bool:
    """Remove an output if it has the recorded identity. Raises OSError."""

    def remove_parts(manifest: Path) -> None:
        for name in named_in(manifest) if path.name == MANIFEST else ():
            no_links.unlink(path.with_name(name))

    return remove_if(path, noted, run_id, remove_parts)


class InUse:
    """The sources of runs; there may be 100,000."""

    def __init__(self, keys: Iterable[str]) -> None:
        named = {place for key in keys for place in places_of(key)}
        # Files are removed by their real path; a key keeps the symbolic links of a source path.
        self._places = named | set(_real({place for place in named if place.startswith("/")}).values())
        self._patterns: dict[str, list[str]] = {}
        for place in self._places:
            if _MAGIC.search(place):
                pattern = _CHOICE.sub("*", place)
                start = _MAGIC.split(pattern, maxsplit=1)[0].rpartition("/")[0]
                self._patterns.setdefault(start, []).append(pattern)
        self._compiled: dict[str, list[re.Pattern[str]]] = {}

    def has(self, path: str) -> bool:
        if path in self._places:
            return True
        folder = path
        while folder:
            folder = folder.rpartition("/")[0]
            if folder in self._patterns and folder not in self._compiled:
                self._compiled[folder] = [re.compile(translate(one)) for one in self._patterns[folder]]
            if any(pattern.match(path) for pattern in self._compiled.get(folder, ())):
                return True
        return False


def _real(places: set[str]) -> dict[str, str]:
    """Resolve many absolute paths like `os.path.realpath`, but common parents only once."""
    if not places:
        return {}
    inside: dict[str, list[str]] = {}
    for place in places:
        inside.setdefault(place.rpartition("/")[0], []).append(place)
    folders = {"": ""} | _real(set(inside) - {""})
    return {
        place: real
        for folder, several in inside.items()
        for place, real in _followed(folders[folder], several).items()
    }


def _followed(folder: str, places: list[str]) -> dict[str, str]:
    """Resolve several files of one folder, whose own real path is `folder`."""
    named = {place: f"{folder}/{place.rpartition('/')[2]}" for place in places}
    try:
        if len(named) < _MANY:
            links = {path for path in named.values() if os.path.islink(path)}
        else:
            with os.scandir(folder or "/") as entries:
                links = {entry.path for entry in entries if entry.is_symlink()}
    except FileNotFoundError:
        links = set()
    except OSError:
        links = set(named.values())  # each is then resolved separately
    return {place: os.path.realpath(path) if path in links else path for place, path in named.items()}


_RUNS_AT_ONCE = 200
"""Runs per step: one statement of 2 ms, and one visit to a thread."""
_PAUSE = 0.02
"""The pause in seconds after each step, for requests and runs."""


class LostRejects:
    """Checks whether rejects with open rows still exist: somebody may have removed or restored them.

    Open rows are lost while their rejects are missing. A reader notices that, too; this check covers the unread ones.
    """

    def __init__(self, store: SqlStore) -> None:
        self._store, self._after = store, 0

    async def check(self) -> int:
        """Check the rejects of some runs; return how many, 0 once all were checked. Raises OSError, `StoreFailed`.

        Objects in stores are skipped: each would take a request.
        """
        found = await self._store.ledger.unended(self._after, _RUNS_AT_ONCE)
        if not found:
            self._after = 0
            return 0

        for one in await run_sync(_changed, found):
            await self._store.ledger.set_lost(one.run_id, is_lost=not one.is_lost)
        self._after = found[-1].seq
        await sleep(_PAUSE)
        return len(found)


def _changed(found: Iterable[UnendedRows]) -> list[UnendedRows]:
    """Return the runs whose rejects have reappeared or disappeared. Raises OSError."""
    return [
        one
        for one in found
        if one.location is not None
        and "://" not in one.location
        and Path(one.location).exists() == one.is_lost
    ]
