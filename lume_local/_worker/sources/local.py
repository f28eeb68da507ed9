"""Files on this machine as a source."""

import os
from pathlib import Path
from typing import Any

from lume_local._worker.sources.files import Snapshot, snapshot
from lume_local._worker.sources.source import File, Pause, SourceError


class LocalFiles:
    """See `Source`. The files are read where they are.

    Args:
        place: `{"kind": "files", "files": [{"path": …, "shown": …}, …], "looked_up": …}`; `looked_up` is for
            messages: how the path came about.
        flow: the compiled flow.
    """

    def __init__(self, place: dict[str, Any], flow: dict[str, Any]) -> None:
        self._files = [File(Path(file["path"]), file["shown"], flow["format"]) for file in place["files"]]
        self._looked_up: str = place["looked_up"]
        self._before: list[Snapshot] = []
        self.places = [os.path.realpath(file.path) for file in self._files]

    def check(self) -> None:
        """They are there, and regular files."""
        self._before = [snapshot(file.path, self._looked_up) for file in self._files]

    def fetch(self, folder: Path, pause: Pause) -> list[File]:
        """They are here already."""
        return self._files

    def check_unchanged(self) -> None:
        """They are what they were at `check`."""
        for file, before in zip(self._files, self._before, strict=True):
            if snapshot(file.path) != before:
                raise SourceError(f"{file.path} was changed while it was read: submit the run again")
