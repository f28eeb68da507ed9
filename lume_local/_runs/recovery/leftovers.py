"""What ended runs have begun elsewhere and could not undo, such as an upload to a store that was away then.

Each is kept in a folder of its own below the server's state, and undone as soon as that can be done, by this
server or a later one.
"""

import logging
import os
import shutil
from contextlib import suppress
from pathlib import Path

import anyio
from anyio.to_thread import run_sync

from lume_local._runs.health import Health, why
from lume_local._runs.recovery.recovery import finished
from lume_local._runs.sources.run_paths import RunPaths
from lume_local._runs.workers.worker_pool import Pool
from lume_local._shared.commit import begun, explain

_log = logging.getLogger("lume_local")

FIRST, LONGEST = 5.0, 900.0
"""Seconds between two rounds: they double as long as something can't be undone."""
_MOST_TROUBLES = 10
"""In one round, which then ends: each may take a minute. Those that were tried last come last."""
_WHERE = "undoing what ended runs have begun"


class Leftovers:
    """Undoes them one after the other.

    Args:
        paths: of the runs.
        pool: whose workers do it.
        health: where it is reported that something can't be undone.
    """

    def __init__(self, paths: RunPaths, pool: Pool, health: Health) -> None:
        self._paths, self._pool, self._health = paths, pool, health

    async def undo_all(self) -> None:
        """Try again and again until cancelled."""
        pause = FIRST
        while True:
            left, reason = await self._round()
            if reason:
                self._health.waits(_WHERE, left, reason)
                pause = min(2 * pause, LONGEST)
            else:
                self._health.works(_WHERE)
                pause = FIRST
            await anyio.sleep(pause)

    async def _round(self) -> tuple[int, str]:
        """How many runs have left something, and what is in the way, if anything."""
        troubles: list[str] = []
        not_noted = await run_sync(self._paths.give_up_again)
        try:
            waiting = await run_sync(self._waiting)
        except OSError as error:
            return max(1, len(not_noted)), explain(error)
        left = len(not_noted) + len(waiting)
        for folder in waiting:
            if trouble := await self._tried(folder):
                troubles.append(trouble)
                if len(troubles) == _MOST_TROUBLES:
                    break
            else:
                left -= 1
        troubles += not_noted
        return left, troubles[0] if troubles else ""

    async def _tried(self, folder: Path) -> str:
        """What is in the way of one; whatever it is, it is in the way of no other."""
        try:
            trouble = await finished(folder, await run_sync(begun, folder), self._pool)
            if trouble is None:
                await run_sync(shutil.rmtree, folder)
                _log.info("run %s: what it had begun is undone by now", folder.name)
                return ""
            text = trouble.text
        except Exception as error:
            text = f"{folder} can't be used: {why(error)}"
        with suppress(OSError):
            os.utime(folder)
        return text

    def _waiting(self) -> list[Path]:
        try:
            folders = [one for one in self._paths.begun.iterdir() if one.is_dir()]
        except FileNotFoundError:
            return []
        return sorted(folders, key=lambda folder: folder.stat().st_mtime)
