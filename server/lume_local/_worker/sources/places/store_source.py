"""Objects of an object store as a source: copied to this machine, then read as local files."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lume_local._shared.identity import SourceContent, hash_of
from lume_local._worker.object_stores import Buckets, ObjectVersion
from lume_local._worker.sources.places.copies import Copies, copy_path
from lume_local._worker.sources.places.held import changed
from lume_local._worker.sources.places.objects import Objects, copy_object
from lume_local._worker.sources.source import File, Pause, Single, check_number, no_pause


class StoredFiles:
    """See `Source`.

    Args:
        place: `{"kind": "store", "objects": [{"url": …, "pattern": …}, …]}` (see `Objects`).
    """

    def __init__(self, place: dict[str, Any], flow: dict[str, Any]) -> None:
        self._buckets = Buckets()
        self._objects = Objects(place["objects"], self._buckets)
        self._before: dict[str, ObjectVersion] = {}
        self._copies = Copies(flow)
        self.places: list[str] = []

    def check(self, pause: Pause = no_pause) -> None:
        self._before = self._objects.found(pause)
        self.places = list(self._before)
        check_number(len(self.places), "objects")

    def content(
        self, known: SourceContent | None, most: int, pause: Pause = no_pause
    ) -> SourceContent | None:
        """Identify by tags; return None for a store without tags."""
        if not all(seen.tag for seen in self._before.values()):
            return None
        found = self._before.items()
        tags = hash_of(["" if len(found) == 1 else url, seen.size, seen.tag] for url, seen in found)
        return SourceContent(sum(seen.size for _, seen in found), tags, tags)

    def each(self) -> list[Single]:
        return [
            Single({"kind": "store", "objects": [{"url": url, "pattern": ""}]}, url, seen.size, seen.tag)
            for url, seen in self._before.items()
        ]

    def fetch(self, folder: Path, pause: Pause) -> list[File]:
        return self._copies.files(self._copied(folder, pause), pause)

    def _copied(self, folder: Path, pause: Pause) -> Iterator[tuple[str, Path]]:
        for n, (url, before) in enumerate(self._before.items()):
            path = copy_path(folder, n, url)
            copy_object(self._buckets.of(url), url, before, path, pause=pause)
            yield url, path

    def close(self) -> None:
        self._copies.close()

    def check_unchanged(self, pause: Pause = no_pause) -> None:
        now = self._objects.found(pause)  # one request for a thousand objects of a pattern
        for url, before in self._before.items():
            if now.get(url) != before:
                raise changed(url)
