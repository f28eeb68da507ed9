"""Notifications of a folder through watchfiles, and whether its file system sends them reliably."""

import errno
import os
import threading
from collections.abc import AsyncGenerator, Generator, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
from anyio.to_thread import run_sync

from lume_local._arrivals.place import PlaceTrouble
from lume_local._shared.folders import REMOTE, file_system

if TYPE_CHECKING:
    from watchfiles.main import FileChange

_STEP, _GROUPED = 100, 500
"""Milliseconds: to the next change of a burst, and for the whole burst."""
_CHECKED = 50
"""Steps without a change between two checks whether the folder is still the same."""
_STARTS = 50
"""Attempts to start; each takes one step further, unless it fails for good."""


class WatchedFolder:
    """A watched folder, with its subfolders if `is_deep`. Close it after `stopped` is set.

    Attributes:
        why_not: why there are no notifications; empty if there are.

    Raises:
        PlaceTrouble: there is no such folder.
    """

    def __init__(self, folder: Path, is_deep: bool, stopped: threading.Event) -> None:
        self._folder, self._is_deep, self._stopped = folder, is_deep, stopped
        # A thread of its own: `awatch` would occupy one of the pool that all arrivals share.
        self._thread = anyio.CapacityLimiter(1)
        self._groups: Generator[set[FileChange], None, None] | None = None
        self._early: set[FileChange] = set()
        self._watched: os.stat_result | None = None
        self.why_not = ""
        kind = file_system(folder)
        if kind in REMOTE or kind.startswith("fuse"):
            self.why_not = f"{kind} has no notifications of what others write"
            return
        try:
            self._start()
        except (OSError, RuntimeError) as error:
            is_full = f"os error {errno.EMFILE}" in str(
                error
            )  # watchfiles reports the number only in its text
            limit = "max_user_instances, or ulimit -n" if is_full else "max_user_watches"
            self.why_not, self._groups = f"it can't be watched ({error}); raise fs.inotify.{limit}", None

    def _start(self) -> None:
        """Start the notifications; nothing is missed afterwards. Raises `PlaceTrouble`, OSError or RuntimeError."""
        for left in reversed(range(_STARTS)):
            self.close()
            try:
                self._watched = os.stat(self._folder)
                self._groups = self._watch()
                self._early = next(self._groups, set())
            except FileNotFoundError:
                raise PlaceTrouble(f"there is no folder {self._folder}: create it") from None
            except RuntimeError:  # perhaps a name that is not UTF-8, which ends them
                if not left:
                    raise
            else:
                return

    def _watch(self) -> "Generator[set[FileChange], None, None]":
        from watchfiles import watch

        return watch(
            self._folder,
            watch_filter=None,
            debounce=_GROUPED,
            step=_STEP,
            stop_event=self._stopped,
            rust_timeout=1,  # an empty group after each step, so that the first one comes at once
            yield_on_timeout=True,
            debug=False,
            force_polling=False,
            recursive=self._is_deep,
            ignore_permission_denied=True,
        )

    async def changes(self) -> AsyncGenerator[Sequence[str], None]:
        """Yield changed paths in groups, each once; end at once if there are no notifications.

        The folder itself stands for everything in it. Raises `PlaceTrouble`.
        """
        while self._groups is not None and not self._stopped.is_set():
            if paths := await run_sync(
                self._next, self._groups, limiter=self._thread, abandon_on_cancel=True
            ):
                yield paths

    def _next(self, groups: "Generator[set[FileChange], None, None]") -> Sequence[str]:
        """Return the next changed paths, if there are any soon; the folder itself if watching has restarted."""
        from watchfiles import Change

        changes, self._early = self._early, set()
        try:
            changes = changes or next(filter(None, islice(groups, _CHECKED)), set())
            is_same = (Change.deleted, str(self._folder)) not in changes and self._is_same()
        except RuntimeError:  # a name that is not UTF-8, which would block all later changes
            is_same = False
        if is_same or self._stopped.is_set():
            return sorted({path for _, path in changes})
        self._start()
        return [str(self._folder)]

    def _is_same(self) -> bool:
        """Return whether the folder is still the watched one; after a removal, a new folder may have its inode."""
        try:
            found = os.stat(self._folder)
        except OSError:
            return False
        return self._watched is not None and os.path.samestat(found, self._watched)

    def close(self) -> None:
        if self._groups is not None:
            with suppress(ValueError):  # its thread still runs, and ends on its own
                self._groups.close()
