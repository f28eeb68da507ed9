"""Reads a file of an SFTP server block by block; after a lost connection it resumes where it was."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

import anyio

from lume_async._base.tasks import task_group
from lume_local._sftp import trouble
from lume_local._sftp.session import RemoteVersion, SftpServer, SftpSession, entry_of, part
from lume_local._sftp.trouble import sftp_errors

if TYPE_CHECKING:
    from asyncssh import SFTPClientFile

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
            with anyio.fail_after(trouble.ANSWER):
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
    with anyio.fail_after(trouble.ANSWER):
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
            deadline.deadline = anyio.current_time() + trouble.ANSWER
            found += more
        pieces[at] = bytes(found)

    with anyio.fail_after(trouble.ANSWER) as deadline:
        async with task_group() as tasks:
            for at in range(start, end, length):
                tasks.start_soon(piece, at, min(at + length, end))
    whole = bytearray()
    for at in sorted(pieces):
        if at != start + len(whole):
            raise FileChanged
        whole += pieces[at]
    return bytes(whole)
