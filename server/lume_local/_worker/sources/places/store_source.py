"""Objects of an object store as a source: copied to this machine, then read as local files."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lume_local._flow.patterns import MOST_ENTRIES, Pattern
from lume_local._flow.urls import split_store_url
from lume_local._shared.identity import SourceContent, hash_of
from lume_local._worker.object_stores import (
    LOOK_CLOSER,
    Buckets,
    ObjectVersion,
    StoreTrouble,
    head,
    if_there,
    obstore_errors,
)
from lume_local._worker.sources.files import BLOCK
from lume_local._worker.sources.places.held import changed
from lume_local._worker.sources.places.local import Copies, copy_path
from lume_local._worker.sources.source import File, Pause, Single, SourceError, check_number, no_pause

if TYPE_CHECKING:
    from obstore.store import ObjectStore

_PAGE = 1000


def copy_object(
    store: "ObjectStore",
    url: str,
    before: ObjectVersion,
    path: Path,
    span: tuple[int, int] | None = None,
    pause: Pause = no_pause,
) -> None:
    """Write an object, or a span of its bytes, to a file, if it is unchanged since `before`. Raises `SourceError`."""
    import obstore

    written, (start, end) = 0, span or (0, before.size)
    try:
        with obstore_errors(url), path.open("wb") as file:
            found = obstore.get(store, split_store_url(url)[2], options={"range": span} if span else None)
            if ObjectVersion.of(found.meta["size"], found.meta["e_tag"]) != before:
                raise changed(url)
            for block in found.stream(min_chunk_size=BLOCK):
                pause()
                written += file.write(block)
    except StoreTrouble as trouble:
        raise SourceError(str(trouble), may_pass=trouble.may_pass) from None
    if written != end - start:
        raise SourceError(f"{url} gave {written:,} of {end - start:,} bytes: submit the run again")


class Objects:
    """The objects that a source wants, by URL, in the order of its rows.

    Args:
        wanted: `{"url": …, "pattern": …}` each: an object, or a folder and the pattern to match in it.
    """

    def __init__(self, wanted: list[dict[str, str]], buckets: Buckets) -> None:
        self._wanted, self._buckets = wanted, buckets

    def found(self, pause: Pause) -> dict[str, ObjectVersion]:
        """Return each object once, with its current version. Raises `SourceError`."""
        found: dict[str, ObjectVersion] = {}
        for one in self._wanted:
            url, pattern = one["url"], one["pattern"]
            pause()
            if pattern:
                matching = self._matching(url, pattern, pause)
            else:
                try:
                    matching = [(url, head(self._buckets.of(url), url))]
                except StoreTrouble as trouble:
                    raise SourceError(self._words(url, trouble), may_pass=trouble.may_pass) from None
            for match, seen in matching:
                found.setdefault(match, seen)
        return found

    def _matching(self, folder: str, pattern: str, pause: Pause) -> list[tuple[str, ObjectVersion]]:
        """Return the matching objects, sorted by key. Raises `SourceError`."""
        shown = f"{folder}/{pattern}"
        try:
            found = self._listed(folder, pattern, pause)
            # Consoles create a "folder" as an empty object whose key ends with a slash, which obstore removes.
            found = [one for one in found if one[1].size or self._is_there(one[0], pause)]
        except StoreTrouble as trouble:
            raise SourceError(f"cannot list {shown}: {trouble}", may_pass=trouble.may_pass) from None
        if not found:
            raise SourceError(f"no object matches {shown}: put objects there, then submit the run again")
        return sorted(found)

    def _listed(self, folder: str, pattern: str, pause: Pause) -> list[tuple[str, ObjectVersion]]:
        scheme, bucket, prefix = split_store_url(folder)
        store, matches = self._buckets.of(folder), Pattern(pattern).matches
        import obstore

        found, looked_at, start = list[tuple[str, ObjectVersion]](), 0, f"{prefix}/" if prefix else ""
        with obstore_errors(folder):
            for page in obstore.list(store, prefix or None, chunk_size=_PAGE):
                pause()
                looked_at += len(page)
                if looked_at > MOST_ENTRIES:
                    raise StoreTrouble(
                        f"there are more than {MOST_ENTRIES:,} objects to search: write more of the key before its "
                        "first wildcard",
                        "TooMany",
                    )
                found += [
                    (f"{scheme}://{bucket}/{one['path']}", ObjectVersion.of(one["size"], one["e_tag"]))
                    for one in page
                    if matches(one["path"].removeprefix(start))
                ]
        return found

    def _is_there(self, url: str, pause: Pause) -> bool:
        pause()
        return if_there(url, lambda: head(self._buckets.of(url), url)) is not None

    def _words(self, url: str, trouble: StoreTrouble) -> str:
        """Return the message; only listing the bucket shows whether an object is missing or refused."""
        if trouble.code not in LOOK_CLOSER:
            return str(trouble)
        import obstore

        scheme, bucket, key = split_store_url(url)
        try:
            with obstore_errors(f"{scheme}://{bucket}"):
                obstore.list_with_delimiter(self._buckets.of(url), key)
        except StoreTrouble as of_bucket:
            return str(of_bucket)
        if not trouble.is_missing:
            return str(trouble)
        return f"there is no object {url}: put it there, then submit the run again"


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
        def copied() -> Iterator[tuple[str, Path]]:
            for n, (url, before) in enumerate(self._before.items()):
                path = copy_path(folder, n, url)
                copy_object(self._buckets.of(url), url, before, path, pause=pause)
                yield url, path

        return self._copies.files(copied(), pause)

    def close(self) -> None:
        self._copies.close()

    def check_unchanged(self, pause: Pause = no_pause) -> None:
        now = self._objects.found(pause)  # one request for a thousand objects of a pattern
        for url, before in self._before.items():
            if now.get(url) != before:
                raise changed(url)
