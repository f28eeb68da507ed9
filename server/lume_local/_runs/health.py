"""The present obstacles to the server's work, for its log and for `GET /healthz`."""

import errno
import logging
import math
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from lume_async._base.elided import elided
from lume_async._base.words import counted
from lume_local._runs.store.records import StoreFailed, StoreUnavailable
from lume_local._shared.commit import explain

_log = logging.getLogger("lume_local")

LEAST_FREE = 1024 * 1024
"""Bytes of free space below which the disk counts as full."""
MOST_NAMED = 5
"""The maximum number of waiting runs that are listed by id."""


class Health:
    """The current failures and waits, each with its place.

    Args:
        folder: the data folder; its disk must have free space.
        state: the folder of the state, if it is elsewhere; its disk must have free space, too.
        backup_age: returns the age of the state's copy in seconds, or None before the first copy.
    """

    def __init__(
        self,
        folder: Path,
        backup_age: Callable[[], float | None] = lambda: None,
        state: Path | None = None,
    ) -> None:
        self._folders, self.backup_age = {folder, state or folder}, backup_age
        self._troubles: dict[str, str] = {}
        self._waits: dict[str, tuple[int, str, list[str]]] = {}
        self._certain: dict[str, float] = {}

    def trouble(self, where: str, reason: str) -> None:
        """Report a failure; repeated reports of the same one are logged once."""
        if self._troubles.get(where) != reason:
            self._troubles[where] = reason
            _log.error("%s: %s; trying again", where, reason)

    def waits(self, where: str, runs: int, reason: str, run_ids: Sequence[str] = ()) -> None:
        """Report that some runs wait for something outside the server; other runs are not affected.

        The reason appears in the log only: it may name hosts, users and paths, and `GET /healthz` needs no key.
        The first of `run_ids` are listed.
        """
        before = self._waits.get(where)
        if before is None or before[1] != reason:
            _log.error("%s: %s: %s; trying again", where, counted(runs, "run waits", "runs wait"), reason)
        self._waits[where] = (runs, reason, list(run_ids[:MOST_NAMED]))

    def works(self, where: str, until: float = math.inf) -> None:
        """Report success, which ends an earlier failure or wait.

        Args:
            until: the monotonic time until which the success is certain without another report. A suspended process
                reports nothing until somebody asks.
        """
        if until < math.inf:
            self._certain[where] = until
        if self._troubles.pop(where, None) or self._waits.pop(where, None):
            _log.warning("%s: works again", where)

    def reasons(self) -> list[str]:
        """Return why the server can't work now; empty if it can."""
        now = time.monotonic()
        late = {
            where: "is not certain at the moment" for where, until in self._certain.items() if now > until
        }
        found = [f"{where}: {reason}" for where, reason in (late | self._troubles).items()]
        if not found and any(map(is_full, self._folders)):
            found.append("the disk is full")
        return found

    def runs_waiting(self) -> int:
        """Return how many runs wait for something outside the server."""
        return sum(runs for runs, _, _ in self._waits.values())

    def waiting(self) -> list[str]:
        """Return where runs wait for something outside the server, and how many; the log has the reasons."""
        return [
            f"{where}: {counted(runs, 'run waits', 'runs wait')}"
            + (f" ({', '.join(named)})" if named else "")
            for where, (runs, _, named) in self._waits.items()
        ]


def is_full(folder: Path) -> bool:
    try:
        disk = os.statvfs(folder)
    except OSError:
        return False
    return disk.f_bavail * disk.f_frsize < LEAST_FREE


def is_storage_full(error: BaseException) -> bool:
    """Return whether an error of the state or of a file is due to a full disk or a quota."""
    if isinstance(error, StoreUnavailable):
        return error.is_full
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)


def why(error: Exception) -> str:
    """Return the message for users of an error of I/O or of the state."""
    if is_storage_full(error):
        return "the disk is full"
    if isinstance(error, StoreFailed):
        return elided(str(error))
    return elided(explain(error) if isinstance(error, OSError) else f"{type(error).__name__}: {error}")
