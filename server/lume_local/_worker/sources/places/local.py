"""Files on this machine as a source, and copies of remote ones that are read like them."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from attrs import evolve, frozen

from lume_local._shared.identity import SourceContent, hash_of, is_open
from lume_local._worker.sources.files import Snapshot, digest, opened, snapshot
from lume_local._worker.sources.places.held import Held, changed, make_room
from lume_local._worker.sources.places.unpack import Packed, compression_of
from lume_local._worker.sources.source import (
    File,
    Pause,
    Single,
    SourceError,
    check_number,
    no_pause,
    place_to_read,
)


@frozen
class _Named:
    """One file: its path, its name in messages, where it is read (see `place_to_read`), and its path for layouts."""

    path: Path
    shown: str
    at: Path
    below: str


class LocalFiles:
    """See `Source`. Files that need no unpacking are read in place, and held meanwhile.

    Args:
        place: `{"kind": "files", "files": [{"path": …, "shown": …}, …], "looked_up": …}`; `looked_up` says in
            messages how the path was found. `at` is where a file is read, if that is another path, and `below` its
            path below the server's root, if that is not `shown`.
    """

    def __init__(self, place: dict[str, Any], flow: dict[str, Any]) -> None:
        self._named = [
            _Named(Path(file["path"]), file["shown"], place_to_read(file), file.get("below", file["shown"]))
            for file in place["files"]
        ]
        self._looked_up: str = place["looked_up"]
        self._flow = flow
        self._before: list[Snapshot] = []
        self._held = Held()
        self.places = [os.path.realpath(one.path) for one in self._named]

    def check(self, pause: Pause = no_pause) -> None:
        self._before = [snapshot(one.at, self._looked_up) for one in self._named]

    def content(
        self, known: SourceContent | None, most: int, pause: Pause = no_pause
    ) -> SourceContent | None:
        """Identify by sizes and times, and by the names of several files, as a pattern may match others later."""
        both = list(zip(self._named, self._before, strict=True))
        size = sum(before.size for _, before in both)
        seen = hash_of([str(one.path), before.size, before.modified_ns] for one, before in both)
        found = SourceContent(size, seen)
        if size > most or (known is not None and not is_open(known, found)):
            return found
        digests = list[tuple[str, str]]()
        for one, before in both:
            handle, now = opened(one.at)
            with os.fdopen(handle, "rb") as file:
                if now != before:
                    raise changed(one.path)
                try:
                    digests.append(("" if len(both) == 1 else one.shown, digest(file, pause)))
                except OSError as error:
                    raise SourceError(f"{one.path} can't be read: {error.strerror or error}") from None
        return evolve(found, digest=hash_of(digests))

    def each(self) -> list[Single]:
        found = []
        for one, before in zip(self._named, self._before, strict=True):
            file = {"path": str(one.path), "shown": one.shown, "at": str(one.at), "below": one.below}
            place: dict[str, Any] = {"kind": "files", "files": [file]}
            place["looked_up"] = self._looked_up
            found.append(Single(place, one.shown, before.size, before.tag))
        return found

    def fetch(self, folder: Path, pause: Pause) -> list[File]:
        left: int = self._flow["max_unpacked_bytes"]
        files = list[File]()
        make_room(len(self._named))
        for n, (one, before) in enumerate(zip(self._named, self._before, strict=True)):
            handle, seen = opened(one.at)
            held = self._held.hold(handle, one.path, folder / f"held{n}")
            if seen != before:
                raise changed(one.path)
            flow = self._flow | {"max_unpacked_bytes": left}
            found = files_in(one.path, one.shown, held, flow, folder / f"unpacked{n}", pause)
            found = [evolve(file, paths=_paths_of(one, file)) for file in found]
            left -= sum(file.path.stat().st_size for file in found if file.is_unpacked)
            files += found
            check_number(len(files))
        return files

    def check_unchanged(self, pause: Pause = no_pause) -> None:
        for one, before in zip(self._named, self._before, strict=True):
            if snapshot(one.at) != before:
                raise changed(one.path)

    def close(self) -> None:
        self._held.close()


def _paths_of(named: _Named, file: File) -> tuple[str, ...]:
    """Return the file's own path; of a member of an archive also the archive's."""
    within = file.shown.removeprefix(named.shown)
    return (named.below + within, named.below) if within else (named.below,)


def files_in(
    path: Path, shown: str, held: Path, flow: dict[str, Any], target: Path, pause: Pause
) -> list[File]:
    """Return the file itself, or its contents unpacked to `target`. Raises `SourceError`.

    Args:
        path: its own path, whose suffix may show the compression.
        held: the path to read it by.
    """
    kind = compression_of(path, flow["compression"], held)
    if kind is None:
        return [File(held, shown, flow["format"], held.stat().st_size)]
    parts = Packed(held, shown, kind, flow["members"]).unpack(target, flow["max_unpacked_bytes"], pause)
    return [File(part.path, part.shown, flow["format"], part.packed, is_unpacked=True) for part in parts]


class Copies:
    """Opens copies; a compressed one is unpacked beside itself and removed."""

    def __init__(self, flow: dict[str, Any]) -> None:
        self._flow = flow
        self._open: list[LocalFiles] = []

    def files(self, copies: Iterable[tuple[str, Path]], pause: Pause) -> list[File]:
        """Return the files of a source from each one's name and copy, in its own folder. Raises `SourceError`."""
        files = list[File]()
        left: int = self._flow["max_unpacked_bytes"]
        for shown, path in copies:
            place = {"files": [{"path": str(path), "shown": shown}], "looked_up": ""}
            local = LocalFiles(place, self._flow | {"max_unpacked_bytes": left})
            self._open.append(local)
            local.check()
            fetched = local.fetch(path.parent, pause)
            if fetched[0].is_unpacked:
                left -= sum(file.path.stat().st_size for file in fetched)
                path.unlink()
            files += fetched
            check_number(len(files))
        return files

    def close(self) -> None:
        for local in self._open:
            local.close()


def copy_path(folder: Path, number: int, url: str) -> Path:
    """Create a folder for the copy of a file; return its path, whose suffix may show the compression."""
    own = folder / f"object{number}"
    own.mkdir()
    return own / f"copy{Path(url).suffix}"
