"""Notifications of a folder, through watchfiles, and whether its file system has any that can be relied on."""

import os
import threading
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
from anyio.to_thread import run_sync

from lume_async._base.extras import require
from lume_local._arrivals.place import PlaceTrouble

if TYPE_CHECKING:
    from watchfiles._rust_notify import RustNotify

_SILENT = (
    "nfs",
    "nfs4",
    "cifs",
    "smb3",
    "smbfs",
    "9p",
    "afs",
    "ceph",
    "glusterfs",
    "lustre",
    "beegfs",
    "vboxsf",
)
"""File systems that other machines write to: inotify tells only of what this one does. FUSE, too."""
_STEP, _GROUPED, _LONGEST = 100, 500, 5_000
"""Milliseconds: for the next change of a burst, for all of it, and until the thread looks whether it should end."""


def watch_folder(folder: Path, is_deep: bool) -> "WatchedFolder":
    """Begin to watch a folder, with those below it or not. Raises `PlaceTrouble`."""
    kind = file_system(folder)
    if kind in _SILENT or kind.startswith("fuse"):
        return WatchedFolder(None, f"{kind} has no notifications of what others write")
    try:
        require("watchfiles", "arrivals", "an arrival")
        from watchfiles._rust_notify import RustNotify
    except ImportError as error:
        raise PlaceTrouble(str(error)) from None
    try:
        # The documented backend itself: `awatch` takes a thread of the pool that everybody shares.
        return WatchedFolder(RustNotify([str(folder)], False, False, 0, is_deep, True), "")
    except FileNotFoundError:
        raise PlaceTrouble(f"there is no folder {folder}: make it") from None
    except (OSError, RuntimeError) as error:
        return WatchedFolder(None, f"it can't be watched ({error}); raise fs.inotify.max_user_watches")


class WatchedFolder:
    """A folder that is watched. Close it.

    Attributes:
        why_not: why there are no notifications; empty if there are.
    """

    def __init__(self, notify: "RustNotify | None", why_not: str) -> None:
        self._notify, self.why_not = notify, why_not
        self._thread = anyio.CapacityLimiter(1)

    async def changes(self, stopped: threading.Event) -> AsyncGenerator[Sequence[str], None]:
        """The paths of changes in groups, each once; ends at once if there are no notifications."""
        notify = self._notify
        while notify is not None and not stopped.is_set():
            changes = await run_sync(
                notify.watch, _GROUPED, _STEP, _LONGEST, stopped, limiter=self._thread, abandon_on_cancel=True
            )
            if isinstance(changes, set):
                yield sorted({path for _, path in changes})
            elif changes != "timeout":
                return

    def close(self) -> None:
        if self._notify is not None:
            self._notify.close()


def file_system(folder: Path) -> str:
    """The type of the file system that a folder is in, such as `nfs4`; empty where the system does not say."""
    try:
        mounts = Path("/proc/self/mountinfo").read_text("utf-8", "surrogateescape")
    except OSError:
        return ""
    found, longest = "", -1
    for line in mounts.splitlines():
        before, _, after = line.partition(" - ")
        point = before.split(" ")[4].replace("\\040", " ")
        is_above = point == "/" or str(folder) == point or str(folder).startswith(f"{point}{os.sep}")
        if is_above and len(point) >= longest:
            found, longest = after.split(" ")[0], len(point)
    return found
