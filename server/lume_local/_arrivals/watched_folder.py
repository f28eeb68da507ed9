"""Notifications of a folder through watchfiles, and whether those of its file system are reliable."""

import errno
import os
import threading
from collections.abc import AsyncGenerator, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
from anyio.to_thread import run_sync

from lume_local._arrivals.place import PlaceTrouble
from lume_local._shared.mounts import REMOTE, file_system

if TYPE_CHECKING:
    from watchfiles._rust_notify import RustNotify

_REMOVED = 3
"""The numeric value of `watchfiles.Change.deleted`."""
_STEP, _GROUPED, _LONGEST = 100, 500, 5_000
"""Milliseconds: to the next change of a burst, for the whole burst, and between checks whether to stop."""


def watch_folder(folder: Path, is_deep: bool) -> "WatchedFolder":
    """Start watching a folder, and its subfolders if `is_deep`. Raises `PlaceTrouble`."""
    kind = file_system(folder)
    if kind in REMOTE or kind.startswith("fuse"):
        return WatchedFolder(folder, None, f"{kind} has no notifications of what others write")
    from watchfiles._rust_notify import RustNotify

    try:
        # The documented backend itself, because `awatch` would occupy a thread of the shared pool.
        return WatchedFolder(folder, partial(RustNotify, [str(folder)], False, False, 0, is_deep, True), "")
    except (OSError, RuntimeError) as error:
        is_full = f"os error {errno.EMFILE}" in str(error)  # the backend reports the number only in its text
        limit = "max_user_instances, or ulimit -n" if is_full else "max_user_watches"
        return WatchedFolder(folder, None, f"it can't be watched ({error}); raise fs.inotify.{limit}")


class WatchedFolder:
    """A watched folder. Close it after use.

    Attributes:
        why_not: why there are no notifications; empty if there are.
    """

    def __init__(self, folder: Path, notify: "Callable[[], RustNotify] | None", why_not: str) -> None:
        self._folder, self._begin, self.why_not = folder, notify, why_not
        self._thread = anyio.CapacityLimiter(1)
        self._notify: RustNotify | None = None
        self._watched: os.stat_result | None = None
        self._start()

    def _start(self) -> None:
        """Start the notifications. Raises `PlaceTrouble`, OSError or RuntimeError."""
        self.close()
        if self._begin is None:
            return
        try:
            self._watched = os.stat(self._folder)
            self._notify = self._begin()
        except FileNotFoundError:
            raise PlaceTrouble(f"there is no folder {self._folder}: make it") from None

    async def changes(self, stopped: threading.Event) -> AsyncGenerator[Sequence[str], None]:
        """Yield changed paths in groups, each once; end at once if there are no notifications.

        The folder itself stands for everything in it. Raises `PlaceTrouble`.
        """
        while self._notify is not None and not stopped.is_set():
            changes = await run_sync(
                self._next, self._notify, stopped, limiter=self._thread, abandon_on_cancel=True
            )
            if changes is None:
                yield [str(self._folder)]
            elif isinstance(changes, set):
                yield sorted({path for _, path in changes})
            elif changes != "timeout":
                return

    def _next(self, notify: "RustNotify", stopped: threading.Event) -> set[tuple[int, str]] | str | None:
        """Return the next changes; None if they are unknown and watching has restarted."""
        try:
            changes = notify.watch(_GROUPED, _STEP, _LONGEST, stopped)
        except RuntimeError:  # a name that is not UTF-8, which would block all later changes
            if stopped.is_set():
                return "stop"
            self._start()
            return None
        removed = isinstance(changes, set) and (_REMOVED, str(self._folder)) in changes
        if changes == "stop" or (not removed and self._is_same()):
            return changes
        self._start()
        return None

    def _is_same(self) -> bool:
        """Return whether the folder is still the watched one; after a removal, a new folder may have its inode."""
        try:
            found = os.stat(self._folder)
        except OSError:
            return False
        return self._watched is not None and os.path.samestat(found, self._watched)

    def close(self) -> None:
        if self._notify is not None:
            self._notify.close()
