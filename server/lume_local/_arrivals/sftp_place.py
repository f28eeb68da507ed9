"""A folder on an SFTP server. It is listed, as there are no notifications; links must not lead out of the root."""

import hashlib
import posixpath
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import TypeVar

from lume_async._base.controls import control_in
from lume_async._base.elided import elided
from lume_async._base.tasks import task_group
from lume_local._arrivals.place import PAGE, ArrivalEntry, Found, ListedPlace, PlaceTrouble, put_aside
from lume_local._arrivals.settings import Arrival
from lume_local._flow.urls import SftpUrl
from lume_local._runs.sources.paths import PathRefused, Roots, remote
from lume_local._sftp.root import Cause, SftpTrouble
from lume_local._sftp.session import (
    FileChanged,
    RemoteEntry,
    RemoteVersion,
    SftpServer,
    SftpSession,
    read_file,
)
from lume_local._shared.identity import hash_of

S = TypeVar("S")
T = TypeVar("T")

POLL = 10.0
"""Seconds between listings."""
MOST_READ = 64 * 1024 * 1024
"""Bytes up to which a file is read for its digest, so fetched twice; size and time identify a larger one."""
_PAUSE_RATIO = 5
"""Minimum pause after a listing, as a multiple of its duration."""
_AT_ONCE = 8
"""Concurrent requests."""
_READS = 2
_TIMES = 2
"""Attempts at a request, as the connection may have been cut while idle; the next listing comes soon."""


@asynccontextmanager
async def open_site(arrival: Arrival, roots: Roots) -> AsyncIterator["SftpPlace"]:
    """Yield the folder. Raises `PlaceTrouble`."""
    try:
        _, root = remote(roots, arrival.uri, arrival.folder)
    except PathRefused as error:
        raise PlaceTrouble(str(error)) from None
    async with SftpServer(root, _TIMES) as server:
        yield SftpPlace(arrival, server)


class SftpPlace(ListedPlace):
    """See `ArrivalPlace`. Create it with `open_site`."""

    def __init__(self, arrival: Arrival, server: SftpServer) -> None:
        super().__init__(arrival, f"{arrival.folder}/")
        self._server, self._folder = server, SftpUrl.of(arrival.folder).remote

    @property
    def watched(self) -> str:
        return f"a listing every {self.every:.0f} s"

    @property
    def every(self) -> float:
        return max(POLL, _PAUSE_RATIO * self._took)

    # -- listing

    async def pages(self) -> AsyncGenerator[Sequence[ArrivalEntry], None]:
        began, page = time.monotonic(), list[ArrivalEntry]()
        folders = [(self._folder, "")]
        while folders:
            folder, below = folders.pop()
            # Once more after a cut: a file listed twice is still submitted once.
            for is_last in (False, True):
                inner = list[tuple[str, str]]()
                try:
                    async for one in self._listed(folder, below, inner):
                        page.append(one)
                        if len(page) == PAGE:
                            yield page
                            page = []
                    folders += inner
                    break
                except SftpTrouble as trouble:
                    if is_last or not trouble.may_pass:
                        raise PlaceTrouble(str(trouble)) from None
        if page:
            yield page
        self._took = time.monotonic() - began

    async def _listed(
        self, folder: str, below: str, folders: list[tuple[str, str]]
    ) -> AsyncIterator[ArrivalEntry]:
        """Yield the matching files in a folder; add subfolders that may contain matches to `folders`."""
        session = await self._server.connected()
        try:
            if not below:
                await session.check_inside(folder, self._arrival.folder)
            async for one in session.entries(folder, f"{self._prefix}{below}".rstrip("/")):
                relative = f"{below}{one.name}"
                if self._is_left_out(relative):
                    continue
                found, problem = await self._followed(session, one, relative)
                if found is not None and found.is_folder:
                    if self._pattern.leads_on(relative) and not (
                        one.is_link and "**" in self._arrival.pattern
                    ):
                        folders.append((found.path, f"{relative}/"))
                elif found is not None and self._pattern.matches(relative):
                    yield self._entry(found, relative, problem)
        except SftpTrouble as trouble:
            if trouble.state == Cause.MISSING and below:
                return  # removed in the meantime
            if trouble.state == Cause.MISSING:
                raise PlaceTrouble(f"there is no folder {self._arrival.folder}: create it") from None
            if trouble.may_pass:
                await self._server.lost(session)
            if trouble.may_pass or not below:
                raise
            path = f"{self._prefix}{below}".rstrip("/")
            yield ArrivalEntry(elided(path) if control_in(path) else path, "folder", 0, 0.0, str(trouble))

    async def _followed(
        self, session: SftpSession, one: RemoteEntry, relative: str
    ) -> tuple[RemoteEntry | None, str]:
        """Return the target of an entry, and why it can't be read. Links that can't matter are not followed."""
        if not one.is_link or not (self._pattern.matches(relative) or self._pattern.leads_on(relative)):
            return one, ""
        try:
            return await session.followed(one, f"{self._prefix}{relative}"), ""
        except SftpTrouble as trouble:
            if trouble.may_pass:
                raise
            return one, f"it is a link: {trouble}"

    def _entry(self, found: RemoteEntry, relative: str, problem: str = "") -> ArrivalEntry:
        path, version = f"{self._prefix}{relative}", found.version
        if control_in(path):
            path, problem = elided(path), "its name is not UTF-8, or has a control character: rename it"
        elif not (found.is_file or problem):
            problem = "it is not a regular file: put a file there that can be read twice"
        return ArrivalEntry(path, _seen(version), version.size, version.modified_ns / 1e9, problem)

    # -- files

    async def look(self, paths: Sequence[str]) -> Sequence[ArrivalEntry | None]:
        return await self._asked(paths, self._look)

    async def _look(self, session: SftpSession, path: str) -> ArrivalEntry | None:
        if (relative := self._wanted(path)) is None:
            return None
        try:
            found = await session.entry(self._remote(relative), path)
            await session.check_inside(found.path, path)
        except SftpTrouble as trouble:
            if trouble.state == Cause.MISSING:
                return None
            if trouble.may_pass:
                raise
            what = "it is a link: " if trouble.state == Cause.OUTSIDE else ""
            return ArrivalEntry(path, "link", 0, 0.0, f"{what}{trouble}")
        return None if found.is_folder else self._entry(found, relative)

    async def contents(self, entries: Sequence[ArrivalEntry]) -> Sequence[bytes | PlaceTrouble | None]:
        with _place_trouble():
            return await _side_by_side(entries, self._content, _READS)

    async def _content(self, entry: ArrivalEntry) -> bytes | PlaceTrouble | None:
        if entry.bytes > MOST_READ:
            return hash_of([entry.seen]).encode()
        digest, relative = hashlib.sha256(), self._relative(entry.path)
        assert relative is not None
        try:
            version = RemoteVersion(*map(int, entry.seen.split("-")))
            await read_file(self._server, self._remote(relative), entry.path, version, digest.update)
        except FileChanged:
            return None
        except SftpTrouble as trouble:
            if trouble.may_pass:
                raise
            return None if trouble.state == Cause.MISSING else PlaceTrouble(str(trouble))
        return digest.digest()

    async def exist(self, paths: Sequence[str]) -> Sequence[float | None]:
        async def written(session: SftpSession, path: str) -> float | None:
            try:
                url = SftpUrl.of(path)
                found = await session.entry(url.remote, path)
                await session.check_inside(url.remote, path)
            except SftpTrouble as trouble:
                if trouble.may_pass:
                    raise
                return None
            return found.version.modified_ns / 1e9

        return await self._asked(paths, written)

    async def hints(self, found: Found) -> None:
        """Return at once: SFTP has no notifications."""

    async def move(self, entry: ArrivalEntry, to: str) -> str | None:
        relative, target = self._relative(entry.path), self._relative(to)
        if relative is None or target is None:
            return None

        async def moved(session: SftpSession) -> str | None:
            paths = self._remote(relative), self._remote(target)
            return await put_aside(
                RemoteMoves(session, entry.path), *paths, entry.seen, (entry.path, entry.seen)
            )

        with _place_trouble():
            name = await self._server.ask(moved)
        return None if name is None else f"{posixpath.dirname(to)}/{name}"

    # -- names, and the server

    def _remote(self, relative: str) -> str:
        return posixpath.join(self._folder, relative)

    async def _asked(self, items: Sequence[str], work: Callable[[SftpSession, str], Awaitable[T]]) -> list[T]:
        async def asked(session: SftpSession) -> list[T]:
            return await _side_by_side(items, lambda one: work(session, one), _AT_ONCE)

        with _place_trouble():
            return await self._server.ask(asked)


class RemoteMoves:
    """See `Moves`. All raise `SftpTrouble`.

    Args:
        url: the file, for messages.
    """

    def __init__(self, session: SftpSession, url: str) -> None:
        self._session, self._url = session, url

    async def seen(self, path: str) -> str | None:
        try:
            return _seen((await self._session.entry(path, self._url)).version)
        except SftpTrouble as trouble:
            if trouble.state == Cause.MISSING:
                return None
            raise

    async def take(self, path: str, own: str) -> bool:
        await self._session.make_folders(posixpath.dirname(own), self._url)
        try:
            await self._session.rename(path, own, self._url)
        except SftpTrouble as trouble:
            if trouble.state == Cause.MISSING:
                return False
            raise
        return True

    async def name(self, own: str, path: str) -> bool:
        return await self._session.rename(own, path, self._url)

    async def remove(self, own: str) -> None:
        await self._session.remove(own, self._url)


async def _side_by_side(items: Sequence[S], work: Callable[[S], Awaitable[T]], at_once: int) -> list[T]:
    """Return the results in the order of the items."""
    results, left = dict[int, T](), iter(enumerate(items))

    async def some() -> None:
        for n, item in left:
            results[n] = await work(item)

    async with task_group() as tasks:
        for _ in range(at_once):
            tasks.start_soon(some)
    return [results[n] for n in range(len(items))]


@contextmanager
def _place_trouble() -> Iterator[None]:
    try:
        yield
    except SftpTrouble as trouble:
        raise PlaceTrouble(str(trouble), may_pass=trouble.may_pass) from None


def _seen(version: RemoteVersion) -> str:
    return f"{version.size}-{version.modified_ns}"
