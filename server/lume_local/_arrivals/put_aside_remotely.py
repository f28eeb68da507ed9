"""Moves a processed file on an SFTP server, as `put_aside` does here, by renames, which there replace nothing.

First the file gets a name of its own in the new folder, which no other file can have, and what was taken away can be
looked at in peace. Then it gets its final name. A move that was interrupted is found by the file's own name.
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
    """Move a file if it is still the `entry`; its name in the target's folder. Raises `SftpTrouble`.

    None if it is gone or another one, which stays where it is.
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
            await session.remove(own, url)  # and once more since: what was taken is no longer the latest
        return None
    number = 1
    while not await session.rename(own, name := numbered(target, number), url):
        number += 1
    return posixpath.basename(name)
