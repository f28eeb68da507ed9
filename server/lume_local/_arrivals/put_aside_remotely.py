"""Moves a processed file on an SFTP server, like `put_aside`, but by renames, which never replace a file there.

First the file gets a unique name in the new folder, so that it can be checked undisturbed. Then it gets its final
name. An interrupted move is found by the unique name.
"""

import posixpath
from collections.abc import Callable

from lume_local._arrivals.names import numbered
from lume_local._arrivals.place import ArrivalEntry
from lume_local._sftp.session import RemoteVersion, SftpSession
from lume_local._sftp.trouble import Cause, SftpTrouble
from lume_local._shared.identity import hash_of


async def put_aside_remotely(
    session: SftpSession,
    path: str,
    target: str,
    entry: ArrivalEntry,
    seen_of: Callable[[RemoteVersion], str],
) -> str | None:
    """Move a file if it still matches `entry`; return its name in the target's folder. Raises `SftpTrouble`.

    None if it is gone or has been replaced; a replacement stays.
    """
    url, folder = entry.path, posixpath.dirname(target)

    async def seen(name: str) -> str | None:
        try:
            return seen_of((await session.entry(name, url)).version)
        except SftpTrouble as trouble:
            if trouble.state == Cause.MISSING:
                return None
            raise

    own = f"{folder}/.{hash_of([entry.path, entry.seen])[:32]}.lume"
    if await seen(own) is None:
        if await seen(path) != entry.seen:
            return None
        await session.make_folders(folder, url)
        try:
            await session.rename(path, own, url)
        except SftpTrouble as trouble:
            if trouble.state == Cause.MISSING:
                return None
            raise
    if await seen(own) != entry.seen:  # replaced between the two requests above
        if not await session.rename(own, path, url):
            await session.remove(own, url)  # replaced again: the file taken is no longer the latest
        return None
    number = 1
    while not await session.rename(own, name := numbered(target, number), url):
        number += 1
    return posixpath.basename(name)
