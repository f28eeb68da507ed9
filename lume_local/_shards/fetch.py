"""A range of an object of a store, brought to storage that all tasks reach: one request."""

import os
from pathlib import Path
from typing import BinaryIO

from lume_local._flow.store_urls import split_store_url
from lume_local._worker.object_stores import StoreTrouble, obstore_errors, store_of
from lume_local._worker.sources.files import opened
from lume_local._worker.sources.places.held import changed
from lume_local._worker.sources.places.objects import ObjectVersion
from lume_local._worker.sources.source import Single, SourceError


def local_path(single: Single) -> Path | None:
    """Where it is on this machine, or on storage that all machines have; None for an object of a store."""
    return Path(single.place["files"][0]["path"]) if single.place["kind"] == "files" else None


def opened_part(path: Path, tag: str, shown: str) -> BinaryIO:
    """A file of which a task reads a part: one of the source, as it was when the run began, or a copy without `tag`.

    Raises `SourceError`.
    """
    handle, found = opened(path)
    if tag and found.tag != tag:
        os.close(handle)
        raise changed(shown)
    return os.fdopen(handle, "rb")


def fetched(single: Single, start: int, end: int, path: Path) -> Path:
    """Write the bytes from `start` to `end` to `path`. Raises `SourceError`."""
    url: str = single.place["objects"][0]["url"]
    try:
        store = store_of(url)
        import obstore

        with obstore_errors(url), path.open("wb") as file:
            got = obstore.get(store, split_store_url(url)[2], options={"range": (start, end)})
            if ObjectVersion.of(got.meta["size"], got.meta["e_tag"]) != ObjectVersion(
                single.bytes, single.tag
            ):
                raise SourceError(f"{url} was changed while it was read: submit the run again")
            written = sum(file.write(block) for block in got.stream())
    except StoreTrouble as trouble:
        raise SourceError(str(trouble)) from None
    if written != end - start:
        raise SourceError(f"{url} gave {written:,} of {end - start:,} bytes: submit the run again")
    return path
