"""A bucket, which is listed. An object exists as a whole or not at all, and its tag identifies its content."""

import posixpath
import re
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from itertools import chain
from typing import TYPE_CHECKING, Any, TypeVar

from lume_local._arrivals.event_queue import EventQueue
from lume_local._arrivals.place import PAGE, ArrivalEntry, Found, ListedPlace, PlaceTrouble, in_thread
from lume_local._arrivals.put_aside import numbered
from lume_local._arrivals.settings import Arrival
from lume_local._flow.store_urls import NotAStoreUrl, split_store_url
from lume_local._runs.sources.paths import PathRefused, Roots, stored
from lume_local._shared.identity import hash_of
from lume_local._worker.object_stores import (
    StoreTrouble,
    boto_errors,
    obstore_errors,
    s3_client,
    s3_copy,
    s3_listed,
    store_of,
)

if TYPE_CHECKING:
    from obstore.store import ObjectStore

T = TypeVar("T")

POLL = 10.0
"""Seconds between listings."""
CHECK = 60.0
"""Seconds between listings with a queue, whose messages may be late or lost."""
_KEY = re.compile(r'[Pp]ath "(.*?)"(?: contained|: Encountered)', re.DOTALL)
_PAUSE_RATIO = 5
"""Minimum pause after a listing, as a multiple of its duration."""


@asynccontextmanager
async def open_bucket(arrival: Arrival, roots: Roots) -> AsyncIterator["StorePlace"]:
    """Yield the bucket. Raises `PlaceTrouble`."""
    try:
        stored(roots, arrival.uri, "source", arrival.folder)
    except PathRefused as error:
        raise PlaceTrouble(str(error)) from None
    store = await _in_thread(lambda: store_of(arrival.folder))
    yield StorePlace(arrival, store)


class StorePlace(ListedPlace):
    """See `ArrivalPlace`. Create it with `open_bucket`."""

    def __init__(self, arrival: Arrival, store: "ObjectStore") -> None:
        scheme, self._bucket, prefix = split_store_url(arrival.folder)
        self._root = f"{scheme}://{self._bucket}/"
        super().__init__(arrival, f"{self._root}{prefix}/" if prefix else self._root)
        self._store, self._folder = store, self._key(self._prefix)
        self._queue = None if arrival.queue_env is None else EventQueue(arrival.queue_env)

    @property
    def watched(self) -> str:
        listing = f"a listing every {self.every:.0f} s"
        if self._queue is None:
            return listing
        return f"{listing}: {self._queue.trouble}" if self._queue.trouble else f"the queue, and {listing}"

    @property
    def every(self) -> float:
        is_notified = self._queue is not None and self._queue.has_answered and not self._queue.trouble
        return max(CHECK if is_notified else POLL, _PAUSE_RATIO * self._took)

    # -- listing

    def pages(self) -> AsyncGenerator[Sequence[ArrivalEntry], None]:
        return self._paged(self._listed(), _in_thread)

    def _listed(self) -> Generator[ArrivalEntry, None, None]:
        for one in chain.from_iterable(self._pages()):
            key = one["path"]
            # Consoles create a "folder" as an empty object whose key ends with a slash, which obstore strips.
            if self._matches(key) and (one["size"] or self._head(key) is not None):
                yield self._entry(one)

    def _pages(self) -> Iterator[Sequence[Any]]:
        import obstore
        from obstore.exceptions import InvalidPathError

        last = ""
        with obstore_errors(self._arrival.folder):
            try:
                for page in obstore.list(self._store, self._folder or None, chunk_size=PAGE):
                    yield page
                    last = page[-1]["path"] if page else last
            except InvalidPathError as error:
                if not self._root.startswith("s3://"):
                    named = _KEY.search(str(error))
                    why = f"the key {named[1]!r} is no path" if named else str(error).partition("\n")[0]
                    raise StoreTrouble(
                        f"{self._arrival.folder} can't be listed: {why}: give this object another key, or remove it"
                    ) from None
            else:
                return
        # obstore lists neither the page of a key that is no path, such as a//b, nor a later one.
        yield from s3_listed(self._bucket, self._folder, last)

    def _matches(self, key: str) -> bool:
        relative = self._relative(self._root + key)
        if relative is None or self._is_left_out(relative, ""):  # an object may have the folder's name
            return False
        return self._pattern.matches(relative)

    def _entry(self, one: Any) -> ArrivalEntry:
        written: datetime = one["last_modified"]
        tag = (one["e_tag"] or "").strip('"') or written.isoformat()
        url = self._root + one["path"]
        return ArrivalEntry(url, f"{one['size']}-{tag}", one["size"], written.timestamp(), _unsound(url))

    # -- objects

    async def look(self, paths: Sequence[str]) -> Sequence[ArrivalEntry | None]:
        return await _in_thread(lambda: [self._look(self._key(path)) for path in paths])

    def _look(self, key: str) -> ArrivalEntry | None:
        found = self._head(key) if self._matches(key) else None
        return None if found is None else self._entry(found)

    def _head(self, key: str) -> Any | None:
        import obstore

        if _unsound(self._root + key):  # obstore takes no such key, but a listing of S3 begins with it
            listed = next(s3_listed(self._bucket, key), []) if self._root.startswith("s3://") else []
            return next((one for one in listed if one["path"] == key), None)
        try:
            with obstore_errors(self._root + key):
                return obstore.head(self._store, key)
        except StoreTrouble as trouble:
            if trouble.is_missing:
                return None
            raise

    async def contents(self, entries: Sequence[ArrivalEntry]) -> Sequence[bytes | PlaceTrouble | None]:
        return [hash_of([entry.seen]).encode() for entry in entries]

    async def exist(self, paths: Sequence[str]) -> Sequence[float | None]:
        found = await _in_thread(lambda: [self._head(self._key(path)) for path in paths])
        return [None if one is None else one["last_modified"].timestamp() for one in found]

    async def hints(self, found: Found) -> None:
        if self._queue is not None:
            await self._queue.follow(self._root, found)

    # -- moving: copy, compare, remove the original

    async def move(self, entry: ArrivalEntry, folder: str) -> str | None:
        return await _in_thread(lambda: self._move(self._key(entry.path), entry.seen, folder))

    def _move(self, key: str, seen: str, folder: str) -> str | None:
        if self._seen(key) != seen:
            return None
        target = posixpath.join(self._folder, folder, key[len(self._folder) :])
        name = self._free(target, seen)
        try:
            if self._seen(name) is None:
                self._copy(key, seen, name)
            if self._seen(key) != seen:  # replaced in the meantime: both the object and the copy stay
                return None
            self._remove(key, seen)
        except StoreTrouble as trouble:
            if trouble.is_replaced or trouble.is_missing:
                return None
            raise
        return self._root + name

    def _copy(self, key: str, seen: str, name: str) -> None:
        """Copy an object: S3 does so only if it is unchanged, and copies a large one only in parts."""
        import obstore

        if self._root.startswith("s3://"):
            with boto_errors(self._root + key):
                s3_copy(self._bucket, key, name, _tag(seen))
            return
        with obstore_errors(self._root + key):
            obstore.copy(self._store, key, name)

    def _free(self, target: str, seen: str) -> str:
        """Return a key that is free, or holds the same object because of a kill after the copy."""
        number = 1
        while self._seen(name := numbered(target, number)) not in (None, seen):
            number += 1
        return name

    def _seen(self, key: str) -> str | None:
        found = self._head(key)
        return None if found is None else self._entry(found).seen

    def _remove(self, key: str, seen: str) -> None:
        """Remove an object: S3 does so only if it is unchanged; for other stores that was just checked."""
        import obstore

        if self._root.startswith("s3://"):
            with boto_errors(self._root + key):
                s3_client().delete_object(Bucket=self._bucket, Key=key, IfMatch=_tag(seen))
            return
        with obstore_errors(self._root + key):
            obstore.delete(self._store, key)

    def _key(self, path: str) -> str:
        return path.removeprefix(self._root)


def _tag(seen: str) -> str:
    """Return the tag as S3 requests spell it."""
    return f'"{seen.partition("-")[2]}"'


def _unsound(url: str) -> str:
    """Return why no run can have this object as its source; empty if one can. Messages may name anything."""
    try:
        split_store_url(url)
    except NotAStoreUrl as error:
        return str(error)
    return ""


async def _in_thread(call: Callable[[], T]) -> T:
    """Return the result of a call in a thread. Raises `PlaceTrouble`."""
    try:
        return await in_thread(call)
    except StoreTrouble as trouble:
        raise PlaceTrouble(str(trouble), may_pass=trouble.may_pass) from None
