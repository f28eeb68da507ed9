"""Reads a file of an SFTP server block by block; after a cut connection, from where it was."""

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
"""Bytes that are asked for at once: one answer's way there and back costs little."""
_REQUEST = 256 * 1024
"""Bytes of a request, if the server takes that many."""
_LEAST = 16 * 1024
_MOST_REQUESTS = 64


class FileChanged(Exception):
    """The file is no longer the one that was to be read."""


async def read_file(
    server: SftpServer, path: str, url: str, before: RemoteVersion, take: Callable[[bytes], Any]
) -> None:
    """Give all bytes of a file to `take`, in order.

    Raises `SftpTrouble`, and `FileChanged` if it is no longer as it was `before`.
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
    """The next bytes of the file, asked for side by side; fewer where it ends too early."""
    length = min(_REQUEST, max(_LEAST, session.client.limits.max_read_len))
    end = min(size, start + min(WINDOW, length * _MOST_REQUESTS))
    pieces: dict[int, bytes] = {}

    async def piece(at: int, until: int) -> None:
        found = bytearray()
        while at + len(found) < until:
            more = cast(bytes, await file.read(until - at - len(found), at + len(found)))
            if not more:
                break
            # Whatever arrives shows that it answers.
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
