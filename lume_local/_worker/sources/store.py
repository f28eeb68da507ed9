"""Objects of an object store as a source: copied to this machine, then read as files of it."""

from pathlib import Path
from typing import Any

from attrs import evolve, frozen

from lume_local._flow.stores import split_store_url
from lume_local._worker.sources.files import BLOCK
from lume_local._worker.sources.local import LocalFiles
from lume_local._worker.sources.source import File, Pause, SourceError
from lume_local._worker.stores import StoreTrouble, store_of, told


@frozen
class _Seen:
    """What identifies an object's content."""

    size: int
    tag: str | None


class StoredFiles:
    """See `Source`.

    Args:
        place: `{"kind": "store", "urls": […]}`.
        flow: the compiled flow.
    """

    def __init__(self, place: dict[str, Any], flow: dict[str, Any]) -> None:
        self._urls: list[str] = place["urls"]
        self._flow = flow
        self._before: list[_Seen] = []
        self.places = list(self._urls)

    def check(self) -> None:
        """They are there."""
        self._before = [_seen(url) for url in self._urls]

    def fetch(self, folder: Path, pause: Pause) -> list[File]:
        """Copies, which are then read as local files are."""
        files = []
        for n, (url, before) in enumerate(zip(self._urls, self._before, strict=True)):
            own = folder / f"object{n}"
            own.mkdir()
            path = own / f"copy{Path(url).suffix}"  # which may tell how it is compressed
            _copy(url, before, path, pause)
            place = {"files": [{"path": str(path), "shown": url}], "looked_up": ""}
            local = LocalFiles(place, self._flow)
            local.check()
            files += [evolve(file, bytes=before.size) for file in local.fetch(own, pause)]
        return files

    def check_unchanged(self) -> None:
        """They are what they were at `check`."""
        for url, before in zip(self._urls, self._before, strict=True):
            if _seen(url) != before:
                raise SourceError(f"{url} was changed while it was read: submit the run again")


def _seen(url: str) -> _Seen:
    try:
        store = store_of(url)
        import obstore

        with told(url):
            found = obstore.head(store, split_store_url(url)[2])
    except StoreTrouble as trouble:
        raise SourceError(_words(url, trouble)) from None
    return _Seen(found["size"], found["e_tag"])


def _words(url: str, trouble: StoreTrouble) -> str:
    """A missing object and a missing bucket look alike until one looks into the bucket."""
    if not trouble.is_missing:
        return str(trouble)
    import obstore

    scheme, bucket, key = split_store_url(url)
    try:
        with told(f"{scheme}://{bucket}"):
            obstore.list_with_delimiter(store_of(url), key)
    except StoreTrouble as of_bucket:
        return str(of_bucket)
    return f"there is no object {url}: put it there, then submit the run again"


def _copy(url: str, before: _Seen, path: Path, pause: Pause) -> None:
    import obstore

    written = 0
    try:
        with told(url), path.open("wb") as file:
            found = obstore.get(store_of(url), split_store_url(url)[2])
            if (found.meta["size"], found.meta["e_tag"]) != (before.size, before.tag):
                raise SourceError(f"{url} was changed while it was read: submit the run again")
            for block in found.stream(min_chunk_size=BLOCK):
                pause()
                written += file.write(block)
    except StoreTrouble as trouble:
        raise SourceError(str(trouble)) from None
    if written != before.size:
        raise SourceError(f"{url} has {before.size:,} bytes, of which {written:,} came: submit the run again")
