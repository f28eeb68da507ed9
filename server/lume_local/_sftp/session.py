"""A session with one SFTP server, which reconnects after a lost connection, and the search for files there.

Patterns are those of local files.
"""

import glob
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, suppress
from posixpath import join
from stat import S_ISDIR, S_ISLNK, S_ISREG
from typing import TYPE_CHECKING, Any, TypeVar, cast

import anyio
from attrs import evolve, frozen

from lume_async._base.controls import control_in
from lume_async._base.elided import elided
from lume_async._base.tasks import task_group
from lume_local._flow.patterns import ANY_DEPTH, MOST_ENTRIES, Part, parts_of
from lume_local._flow.urls import SftpUrl
from lume_local._sftp import root as sftp_root
from lume_local._sftp.connection import PARTING, connected
from lume_local._sftp.root import Cause, SftpRoot, SftpTrouble, sftp_errors

if TYPE_CHECKING:
    from asyncssh import SFTPAttrs, SFTPClient, SFTPClientFile, SFTPName


T = TypeVar("T")
TIMES = 5
"""Attempts at a request if the server is unreachable or drops the connection without progress."""
PAUSE = 0.2
"""Seconds before the second attempt; doubled for each further one."""


@frozen(order=True)
class RemoteVersion:
    """Size and time, the cheapest identification that SFTP allows; most servers store whole seconds.

    Attributes:
        modified_ns: nanoseconds since 1970.
    """

    size: int
    modified_ns: int


@frozen
class RemoteEntry:
    """An entry of a folder.

    Attributes:
        path: the path in requests to the server.
        mode: see `stat.st_mode`; for a link, that of the link itself.
    """

    name: str
    path: str
    version: RemoteVersion
    mode: int

    @property
    def is_file(self) -> bool:
        return S_ISREG(self.mode)

    @property
    def is_folder(self) -> bool:
        return S_ISDIR(self.mode)

    @property
    def is_link(self) -> bool:
        return S_ISLNK(self.mode)


def entry_of(name: str, path: str, attributes: "SFTPAttrs") -> RemoteEntry:
    modified = (attributes.mtime or 0) * 10**9 + (attributes.mtime_ns or 0)
    version = RemoteVersion(attributes.size or 0, modified)
    return RemoteEntry(name, path, version, attributes.permissions or 0)


async def part(ending: Awaitable[None]) -> None:
    """Close a resource of a server that may no longer answer."""
    with anyio.move_on_after(PARTING, shield=True), suppress(Exception):
        await ending


class SftpSession:
    """Requests to a server, each with a deadline; `url` is for messages. All raise `SftpTrouble`."""

    def __init__(self, client: "SFTPClient", root: SftpRoot) -> None:
        self.client, self._root = client, root
        self._within = ""

    async def entry(self, path: str, url: str) -> RemoteEntry:
        with sftp_errors(url), anyio.fail_after(sftp_root.ANSWER):
            return entry_of(path.rpartition("/")[2], path, await self.client.stat(path))

    async def entries(self, folder: str, url: str) -> AsyncIterator[RemoteEntry]:
        """Yield all entries of a folder; links are not followed."""
        # asyncssh returns a generator, but its annotation only promises an iterator.
        names = cast("AsyncGenerator[SFTPName]", self.client.scandir(folder))
        try:
            while True:
                with sftp_errors(url), anyio.fail_after(sftp_root.ANSWER):
                    one = await anext(names, None)
                if one is None:
                    return
                name = str(one.filename)
                if name not in (".", ".."):
                    yield entry_of(name, join(folder, name), one.attrs)
        finally:
            await part(names.aclose())

    async def followed(self, one: RemoteEntry, url: str) -> RemoteEntry | None:
        """Return the target of a link, which must lie in the root; None if it does not exist."""
        if not one.is_link:
            return one
        try:
            found = await self.entry(one.path, url)
        except SftpTrouble as trouble:
            if trouble.state == Cause.MISSING:
                return None
            raise
        await self.check_inside(one.path, url)
        return evolve(found, name=one.name)

    async def check_inside(self, path: str, url: str) -> None:
        """Check that no link in a path leads out of the root."""
        self._within = self._within or await self._real_path(self._root.place.remote, self._root.url)
        real = await self._real_path(path, url)
        if not join(real, "").startswith(join(self._within, "")):
            raise SftpTrouble(f"{url} is a link that leads out of {self._root.url}", Cause.OUTSIDE)

    async def _real_path(self, path: str, url: str) -> str:
        with sftp_errors(url), anyio.fail_after(sftp_root.ANSWER):
            return str(await self.client.realpath(path))

    async def make_folders(self, path: str, url: str) -> None:
        """Make a folder and its missing parents."""
        with sftp_errors(url), anyio.fail_after(sftp_root.ANSWER):
            await self.client.makedirs(path, exist_ok=True)

    async def rename(self, path: str, new: str, url: str) -> bool:
        """Rename a file; return False, without a change, if the name is taken."""
        import asyncssh

        with sftp_errors(url), anyio.fail_after(sftp_root.ANSWER):
            if await self.client.lexists(new):
                return False
            try:
                await self.client.rename(path, new)  # fails if the name was taken in the meantime
            except asyncssh.SFTPFailure:
                if await self.client.lexists(new):
                    return False
                raise
        return True

    async def remove(self, path: str, url: str) -> None:
        with sftp_errors(url), anyio.fail_after(sftp_root.ANSWER):
            await self.client.remove(path)


class SftpServer(AbstractAsyncContextManager["SftpServer"]):
    """A server with one connection, opened at the first request and again after a loss.

    Any number of tasks of one event loop may use it concurrently.

    Args:
        times: attempts if the server can't be reached or drops the connection.

    Attributes:
        root: how to sign in.
    """

    def __init__(self, root: SftpRoot, times: int | None = None) -> None:
        self.root = root
        self._times = times
        self._connecting = anyio.Lock()
        self._session: SftpSession | None = None
        self._open = AsyncExitStack()

    async def __aexit__(self, *_: object) -> None:
        await self._hang_up()

    async def ask(
        self, work: Callable[[SftpSession], Awaitable[T]], done: Callable[[], int] = lambda: 0
    ) -> T:
        """Return the result of `work`, repeated if the server may only be away. Raises `SftpTrouble`.

        Args:
            done: how far the work is; progress resets the number of attempts.
        """
        times, before = 0, done()
        while True:
            session = None
            try:
                session = await self.connected()
                return await work(session)
            except SftpTrouble as error:
                if not error.may_pass:
                    raise
                await self.lost(session)
                times, before = (times if done() == before else 0) + 1, done()
                if times == (self._times or TIMES):
                    raise
            await anyio.sleep(PAUSE * 2 ** (times - 1))

    async def connected(self) -> SftpSession:
        """Return the present session, or a new one. Raises `SftpTrouble`."""
        async with self._connecting:
            if self._session is None:
                self._session = SftpSession(
                    await self._open.enter_async_context(connected(self.root)), self.root
                )
            return self._session

    async def lost(self, session: SftpSession | None) -> None:
        """Drop a lost session, unless that was done already; the next request connects again."""
        if session is not None and session is self._session:
            await self._hang_up()

    async def _hang_up(self) -> None:
        stack, self._open, self._session = self._open, AsyncExitStack(), None
        await stack.aclose()


WINDOW = 4 * 1024 * 1024
"""Bytes requested at once, so that the round trip of one request costs little."""
_REQUEST = 256 * 1024
"""Bytes of a request, if the server accepts that many."""
_LEAST = 16 * 1024
_MOST_REQUESTS = 64


class FileChanged(Exception):
    """The file is not, or no longer, the version to be read."""


async def read_file(
    server: SftpServer, path: str, url: str, before: RemoteVersion, take: Callable[[bytes], Any]
) -> None:
    """Pass all bytes of a file to `take`, in order.

    Raises `SftpTrouble`, and `FileChanged` if the file no longer matches `before`.
    """
    at = 0

    async def rest(session: SftpSession) -> None:
        nonlocal at
        with sftp_errors(url):
            with anyio.fail_after(sftp_root.ANSWER):
                file = await session.client.open(path, "rb", block_size=0)
            try:
                await _check(file, before)
                while block := await _window(session, file, at, before.size):
                    take(block)
                    at += len(block)
                await _check(file, before)
            finally:
                await part(file.close())

    await server.ask(rest, lambda: at // WINDOW)
    if at != before.size:
        raise FileChanged


async def _check(file: "SFTPClientFile", before: RemoteVersion) -> None:
    with anyio.fail_after(sftp_root.ANSWER):
        if entry_of("", "", await file.stat()).version != before:
            raise FileChanged


async def _window(session: SftpSession, file: "SFTPClientFile", start: int, size: int) -> bytes:
    """Return the next bytes, requested concurrently; fewer if the file ends early."""
    length = min(_REQUEST, max(_LEAST, session.client.limits.max_read_len))
    end = min(size, start + min(WINDOW, length * _MOST_REQUESTS))
    pieces: dict[int, bytes] = {}

    async def piece(at: int, until: int) -> None:
        found = bytearray()
        while at + len(found) < until:
            more = cast(bytes, await file.read(until - at - len(found), at + len(found)))
            if not more:
                break
            # Any bytes prove that the server still answers.
            deadline.deadline = anyio.current_time() + sftp_root.ANSWER
            found += more
        pieces[at] = bytes(found)

    with anyio.fail_after(sftp_root.ANSWER) as deadline:
        async with task_group() as tasks:
            for at in range(start, end, length):
                tasks.start_soon(piece, at, min(at + length, end))
    whole = bytearray()
    for at in sorted(pieces):
        if at != start + len(whole):
            raise FileChanged
        whole += pieces[at]
    return bytes(whole)


@frozen
class RemoteFile:
    """A file as it was found.

    Attributes:
        path: the path in requests to the server.
    """

    url: str
    path: str
    version: RemoteVersion


async def file_at(server: SftpServer, url: str) -> RemoteFile:
    """Return one file. Raises `SftpTrouble`."""
    return await server.ask(lambda session: _Search(session, server.root).file(url))


async def files_matching(server: SftpServer, folder: str, pattern: str) -> list[RemoteFile]:
    """Return the files below a folder's URL, sorted by name, without hidden ones. Raises `SftpTrouble`."""
    return await server.ask(lambda session: _Search(session, server.root).matching(folder, pattern))


class _Search:
    """One search. It follows no link out of the root."""

    def __init__(self, session: SftpSession, root: SftpRoot) -> None:
        self._session, self._root = session, root
        self._looked_at = 0

    async def file(self, url: str) -> RemoteFile:
        path = SftpUrl.of(url).remote
        found = await self._session.entry(path, url)
        await self._session.check_inside(path, url)
        if not found.is_file:
            what = "is a folder: name one file in it" if found.is_folder else "is not a regular file"
            raise SftpTrouble(f"{url} {what}", Cause.REFUSED)
        return RemoteFile(url, path, found.version)

    async def matching(self, folder: str, pattern: str) -> list[RemoteFile]:
        if pattern.endswith("/"):
            return []
        start, parts = SftpUrl.of(folder).remote, parts_of(pattern)
        try:
            await self._session.entry(start, folder)
        except SftpTrouble as trouble:
            if trouble.state == Cause.MISSING:
                return []
            raise
        await self._session.check_inside(start, folder)
        folders = [start]
        for part in parts[:-1]:
            below = [one for above in folders async for one in self._folders(above, part)]
            folders = list(dict.fromkeys(below))
        found = {one.path: one for above in folders async for one in self._named(above, parts[-1])}
        before = "" if start == "/" else start
        return [
            RemoteFile(folder + path.removeprefix(before), path, one.version)
            for path, one in sorted(found.items())
            if one.is_file
        ]

    async def _folders(self, folder: str, part: str) -> AsyncIterator[str]:
        if part != ANY_DEPTH:
            async for one in self._named(folder, part):
                if one.is_folder:
                    yield one.path
            return
        waiting = [folder]
        while waiting:
            above = waiting.pop()
            yield above
            async for one in self._entries(above):
                if one.is_folder and not one.name.startswith("."):
                    waiting.append(one.path)

    async def _named(self, folder: str, part: str) -> AsyncIterator[RemoteEntry]:
        """Yield the entries of a folder that match one part of a pattern; links are followed."""
        matches = Part(part).matches if glob.has_magic(part) else part.__eq__
        async for one in self._entries(folder):
            if not matches(one.name):
                continue
            if control_in(one.name):
                shown = self._url(elided(one.path))
                raise SftpTrouble(
                    f"the name of {shown} is not UTF-8, or has a control character: rename it", Cause.REFUSED
                )
            if (found := await self._session.followed(one, self._url(one.path))) is not None:
                yield found

    async def _entries(self, folder: str) -> AsyncIterator[RemoteEntry]:
        try:
            async for one in self._session.entries(folder, self._url(folder)):
                self._looked_at += 1
                if self._looked_at > MOST_ENTRIES:
                    raise SftpTrouble(
                        f"there are more than {MOST_ENTRIES:,} files and folders to search below {self._root.url}: "
                        "write more of the path before its first wildcard",
                        Cause.REFUSED,
                    )
                yield one
        except SftpTrouble as trouble:
            if trouble.state != Cause.MISSING:  # MISSING: removed in the meantime
                raise

    def _url(self, path: str) -> str:
        return self._root.place.site + (path if path.startswith("/") else f"/~/{path}")
