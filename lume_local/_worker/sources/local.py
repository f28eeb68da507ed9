"""Files on this machine as a source."""

import os
from pathlib import Path
from typing import Any

from attrs import frozen

from lume_local._worker.sources.files import Snapshot, snapshot
from lume_local._worker.sources.source import File, Pause, Single, SourceError, go_on
from lume_local._worker.sources.unpack import compression_of, unpack


@frozen
class _Named:
    path: Path
    shown: str


class LocalFiles:
    """See `Source`. The files are read where they are, if they need not be unpacked.

    Args:
        place: `{"kind": "files", "files": [{"path": …, "shown": …}, …], "looked_up": …}`; `looked_up` is for
            messages: how the path came about.
        flow: the compiled flow.
    """

    def __init__(self, place: dict[str, Any], flow: dict[str, Any]) -> None:
        self._named = [_Named(Path(file["path"]), file["shown"]) for file in place["files"]]
        self._looked_up: str = place["looked_up"]
        self._flow = flow
        self._before: list[Snapshot] = []
        self.places = [os.path.realpath(one.path) for one in self._named]

    def check(self, pause: Pause = go_on) -> None:
        """They are there, and regular files."""
        self._before = [snapshot(one.path, self._looked_up) for one in self._named]

    def each(self) -> list[Single]:
        """After `check`: every file as a source of its own."""
        return [
            Single(
                {
                    "kind": "files",
                    "files": [{"path": str(one.path), "shown": one.shown}],
                    "looked_up": self._looked_up,
                },
                one.shown,
                before.size,
            )
            for one, before in zip(self._named, self._before, strict=True)
        ]

    def fetch(self, folder: Path, pause: Pause) -> list[File]:
        """They are here already; compressed ones are unpacked."""
        left: int = self._flow["max_unpacked_bytes"]
        files = []
        for n, (one, before) in enumerate(zip(self._named, self._before, strict=True)):
            path, packed = one.path, compression_of(one.path, self._flow["compression"])
            if packed is not None:
                path = folder / f"unpacked{n}"
                left -= unpack(one.path, one.shown, packed, path, left, pause)
            files.append(
                File(path, one.shown, self._flow["format"], before.size, is_unpacked=packed is not None)
            )
        return files

    def check_unchanged(self, pause: Pause = go_on) -> None:
        """They are what they were at `check`."""
        for one, before in zip(self._named, self._before, strict=True):
            if snapshot(one.path) != before:
                raise SourceError(f"{one.path} was changed while it was read: submit the run again")
