"""Files of SFTP servers as a source: copied to this machine, then read as local files."""

import hashlib
import sys
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, TypeVar

import anyio
from attrs import evolve, frozen

from lume_async._base.tasks import task_group
from lume_local._sftp.root import Cause, SftpRoot, SftpTrouble
from lume_local._sftp.session import FileChanged, RemoteFile, SftpServer, file_at, files_matching, read_file
from lume_local._shared.identity import SourceContent, hash_of, is_open
from lume_local._worker.sources.places.held import changed
from lume_local._worker.sources.places.local import Copies, copy_path
from lume_local._worker.sources.source import File, Pause, Single, SourceError, check_number, no_pause

T = TypeVar("T")
_LOOK = 0.2
"""Seconds between checks whether the run is to stop."""


@frozen
class _Found:
    root: SftpRoot
    file: RemoteFile


class SftpFiles:
    """See `Source`. Each step has its own connections, which are closed with it.

    Args:
        place: `{"kind": "sftp", "wanted": [{"url": …, "pattern": …, "root": {…}}, …]}`: a file, or a folder and the
            pattern to match in it, each with its root (see `SftpRoot`).
    """

    def __init__(self, place: dict[str, Any], flow: dict[str, Any]) -> None:
        self._wanted: list[dict[str, Any]] = place["wanted"]
        self._copies = Copies(flow)
        self._before: list[_Found] = []
        self.places: list[str] = []

    def check(self, pause: Pause = no_pause) -> None:
        async def found(servers: "_Servers") -> list[_Found]:
            files_by_url: dict[str, _Found] = {}
            for one in self._wanted:
                root = SftpRoot(**one["root"])
                server, url, pattern = await servers.of(root), one["url"], one["pattern"]
                if not pattern:
                    files = [await file_at(server, url)]
                elif not (files := await files_matching(server, url, pattern)):
                    raise SourceError(
                        f"no file matches {url}/{pattern}: put files there, then submit the run again"
                    )
                for file in files:
                    files_by_url.setdefault(file.url, _Found(root, file))
            return list(files_by_url.values())

        self._before = _done(found, pause)
        self.places = [one.file.url for one in self._before]
        check_number(len(self.places))

    def content(
        self, known: SourceContent | None, most: int, pause: Pause = no_pause
    ) -> SourceContent | None:
        """Identify by sizes and times; by the bytes only where these decide, as they have to be fetched."""
        files = [one.file for one in self._before]
        named = [("" if len(files) == 1 else one.url, one) for one in files]
        seen = hash_of([name, one.version.size, one.version.modified_ns] for name, one in named)
        content = SourceContent(sum(one.version.size for one in files), seen)
        if most < sys.maxsize or (known is not None and not is_open(known, content)):
            return content

        async def digests(servers: "_Servers") -> list[tuple[str, str]]:
            found = list[tuple[str, str]]()
            for (name, _), one in zip(named, self._before, strict=True):
                digest = hashlib.sha256()
                await _read(servers, one, digest.update)
                found.append((name, digest.hexdigest()))
            return found

        return evolve(content, digest=hash_of(_done(digests, pause)))

    def each(self) -> list[Single]:
        """Return nothing: one worker reads all files, as a server may allow few connections at a time."""
        return []

    def fetch(self, folder: Path, pause: Pause) -> list[File]:
        paths = [copy_path(folder, n, one.file.url) for n, one in enumerate(self._before)]

        async def copied(servers: "_Servers") -> None:
            for one, path in zip(self._before, paths, strict=True):
                with path.open("wb") as copy:
                    await _read(servers, one, copy.write)

        _done(copied, pause)
        return self._copies.files(zip(self.places, paths, strict=True), pause)

    def check_unchanged(self, pause: Pause = no_pause) -> None:
        async def checked(servers: "_Servers") -> None:
            for one in self._before:
                try:
                    now = await file_at(await servers.of(one.root), one.file.url)
                except SftpTrouble as trouble:
                    if trouble.state == Cause.MISSING:
                        raise changed(one.file.url) from None
                    raise
                if now != one.file:
                    raise changed(one.file.url)

        _done(checked, pause)

    def close(self) -> None:
        self._copies.close()


async def _read(servers: "_Servers", one: _Found, take: Callable[[bytes], Any]) -> None:
    file = one.file
    try:
        await read_file(await servers.of(one.root), file.path, file.url, file.version, take)
    except FileChanged:
        raise changed(file.url) from None


class _Servers:
    """Connects to each server once, for all files of a step."""

    def __init__(self, stack: AsyncExitStack) -> None:
        self._stack = stack
        self._open: dict[SftpRoot, SftpServer] = {}

    async def of(self, root: SftpRoot) -> SftpServer:
        if root not in self._open:
            self._open[root] = await self._stack.enter_async_context(SftpServer(root))
        return self._open[root]


def _done(step: Callable[[_Servers], Awaitable[T]], pause: Pause) -> T:
    """Do a step, unless the run must stop meanwhile. Raises `SourceError`, and errors of `pause`."""

    async def watch() -> None:
        while True:
            pause()
            await anyio.sleep(_LOOK)

    async def stepped() -> T:
        async with task_group() as tasks:
            tasks.start_soon(watch)
            async with AsyncExitStack() as stack:
                result = await step(_Servers(stack))
            tasks.cancel_scope.cancel()
        return result

    try:
        return anyio.run(stepped)
    except SftpTrouble as trouble:
        more = ": put it there, then submit the run again" if trouble.state == Cause.MISSING else ""
        raise SourceError(f"{trouble}{more}", may_pass=trouble.may_pass) from None
