"""The open journals of this process. A program that leaves a `run_many` early and starts it again at once opens the
journal while the first call is still closing it, so opening waits for the close.
"""

import threading

from lume_async._base.immortal import immortal
from lume_async._base.platform import at_fork


class HeldPaths:
    """Paths in use, each with one owner at a time."""

    def __init__(self) -> None:
        self._reset()
        at_fork(after_in_child=self._leave_to_parent)

    def take(self, path: str, patience: float) -> bool:
        """Take the path, waiting at most `patience` seconds; return whether it was free."""
        with self._changed:
            free = self._changed.wait_for(lambda: path not in self._held, patience)
            if free:
                self._held[path] = None
            return free

    def keep(self, path: str, connection: object) -> None:
        """Store the connection that holds the path."""
        with self._changed:
            self._held[path] = connection

    def release(self, path: str) -> None:
        """Release the path."""
        with self._changed:
            del self._held[path]
            self._changed.notify_all()

    def _reset(self) -> None:
        self._changed = threading.Condition()
        self._held: dict[str, object] = {}

    def _leave_to_parent(self) -> None:
        """Keep the parent's connections from being finalized in a forked child: SQLite would clean up its files."""
        for connection in self._held.values():
            immortal(connection)
        self._reset()


held_paths = HeldPaths()
