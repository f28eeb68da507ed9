"""Which journals this process holds: a new opening waits for the closing of an earlier one.

Who leaves a `run_many` early and begins it again at once meets the first one while that still closes its file.
"""

import os
import threading

from lume_async._base.immortal import immortal


class HeldPaths:
    """Paths in use, each by one owner at a time."""

    def __init__(self) -> None:
        self._reset()
        os.register_at_fork(after_in_child=self._leave_to_parent)

    def take(self, path: str, patience: float) -> bool:
        """Take the path, after waiting for at most so many seconds; whether it could be had."""
        with self._changed:
            free = self._changed.wait_for(lambda: path not in self._held, patience)
            if free:
                self._held[path] = None
            return free

    def keep(self, path: str, connection: object) -> None:
        """Remember what the path is held by."""
        with self._changed:
            self._held[path] = connection

    def release(self, path: str) -> None:
        """Give the path back."""
        with self._changed:
            del self._held[path]
            self._changed.notify_all()

    def _reset(self) -> None:
        self._changed = threading.Condition()
        self._held: dict[str, object] = {}

    def _leave_to_parent(self) -> None:
        """In a forked child: what is open is the parent's, and SQLite tidies up its files at the last reference."""
        for connection in self._held.values():
            immortal(connection)
        self._reset()


held_paths = HeldPaths()
