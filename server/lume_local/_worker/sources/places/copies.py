"""Copies of remote files, read as files of this machine."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from lume_local._worker.sources.places.local import LocalFiles
from lume_local._worker.sources.source import File, Pause, check_number


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
