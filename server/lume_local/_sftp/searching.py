"""Finds files on an SFTP server, with the same patterns as for local files."""

import glob
from collections.abc import AsyncIterator

from attrs import frozen

from lume_async._base.controls import control_in
from lume_async._base.elided import elided
from lume_local._flow.patterns import ANY_DEPTH, MOST_ENTRIES, Part, parts_of
from lume_local._flow.sftp_urls import SftpUrl
from lume_local._sftp.root import SftpRoot
from lume_local._sftp.session import RemoteEntry, RemoteVersion, SftpServer, SftpSession
from lume_local._sftp.trouble import Cause, SftpTrouble


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
