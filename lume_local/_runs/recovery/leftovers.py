"""What ended runs began elsewhere and could not undo, such as an upload to a store that was unreachable.

Each of them has a folder below the server's state; it is undone as soon as possible, by this server or a later one.
"""

import logging
import os
import shutil
from contextlib import suppress
from pathlib import Path

from anyio.to_thread import run_sync

from lume_local._runs.health import Health, why
from lume_local._runs.recovery.settle import finished
from lume_local._runs.sources.run_paths import RunPaths
from lume_local._runs.upkeep import retry_rounds
from lume_local._runs.workers.worker_pool import WorkerPool
from lume_local._shared.commit import begun, explain

_log = logging.getLogger("lume_local")

FIRST, LONGEST = 5.0, 900.0
"""Seconds between two rounds, see `retry_rounds`."""
_MOST_TROUBLES = 10
"""After which a round ends, since each may take a minute. Runs that were just tried come last in the next round."""
_WHERE = "undoing what ended runs have begun"


class Leftovers:
    """Undoes it, one run after the other.

    Args:
        paths: of the runs.
        pool: whose workers do it.
        health: where it is reported that something can't be undone.
    """

    def __init__(self, paths: RunPaths, pool: WorkerPool, health: Health) -> None:
        self._paths, self._pool, self._health = paths, pool, health

    async def undo_all(self) -> None:
        """Retry until cancelled."""
        await retry_rounds(self._round, _WHERE, self._health, FIRST, LONGEST)

    async def _round(self) -> tuple[int, str]:
        """Try each once; how many runs still have leftovers, and what is in the way, if anything."""
        troubles: list[str] = []
        not_noted = await run_sync(self._paths.give_up_again)
        try:
            waiting = await run_sync(self._waiting)
        except OSError as error:
            return max(1, len(not_noted)), explain(error)
        left = len(not_noted) + len(waiting)
        for folder in waiting:
            if trouble := await self._try(folder):
                troubles.append(trouble)
                if len(troubles) == _MOST_TROUBLES:
                    break
            else:
                left -= 1
        troubles += not_noted
        return left, troubles[0] if troubles else ""

    async def _try(self, folder: Path) -> str:
        """What is in the way of one run; an error does not affect the others."""
        try:
            trouble = await finished(folder, await run_sync(begun, folder), self._pool)
            if trouble is None:
                await run_sync(shutil.rmtree, folder)
                _log.info("run %s: what it had begun has been undone", folder.name)
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
