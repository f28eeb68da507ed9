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
from lume_local._runs.recovery import finished
from lume_local._runs.worker_pool import Pool
from lume_local._shared.commit import begun

_log = logging.getLogger("lume_local")

FIRST, LONGEST = 5.0, 900.0
"""Seconds between two rounds: they double as long as something can't be undone."""
_MOST_TROUBLES = 10
"""In one round, which then ends: each may take a minute. Those that were tried last come last."""
_WHERE = "undoing what ended runs have begun"


class Leftovers:
    """Undoes them one after the other.

    Args:
        folder: where `RunPaths.give_up` keeps them.
        pool: whose workers do it.
        health: where it is reported that something can't be undone.
    """

    def __init__(self, folder: Path, pool: Pool, health: Health) -> None:
        self._folder, self._pool, self._health = folder, pool, health

    async def undo_all(self) -> None:
        """Try again and again until cancelled."""
        pause = FIRST
        while True:
            try:
                trouble = await self._round()
            except OSError as error:
                trouble = why(error)
            if trouble:
                self._health.trouble(_WHERE, trouble)
                pause = min(2 * pause, LONGEST)
            else:
                self._health.works(_WHERE)
                pause = FIRST
            await anyio.sleep(pause)

    async def _round(self) -> str:
        """What is in the way, if anything. Raises OSError where the folder can't be read."""
        troubles: list[str] = []
        for folder in await run_sync(self._waiting):
            if trouble := await self._undo(folder):
                troubles.append(trouble)
                if len(troubles) == _MOST_TROUBLES:
                    break
        if not troubles:
            return ""
        number = len(await run_sync(self._waiting))
        return f"of {'1 run' if number == 1 else f'{number:,} runs'}: {troubles[0]}"

    async def _undo(self, folder: Path) -> str:
        """What is in the way of one, if anything: it keeps nobody else waiting."""
        try:
            trouble = await finished(folder, begun(folder), self._pool)
            if trouble is None:
                await run_sync(shutil.rmtree, folder)
                _log.info("run %s: what it had begun is undone by now", folder.name)
                return ""
            text = trouble.text
        except Exception as error:
            text = f"{folder}: {why(error)}"
        with suppress(OSError):
            os.utime(folder)
        return text

    def _waiting(self) -> list[Path]:
        if not self._folder.exists():
            return []
        folders = [path for path in self._folder.iterdir() if path.is_dir()]
        return sorted(folders, key=lambda folder: folder.stat().st_mtime)
