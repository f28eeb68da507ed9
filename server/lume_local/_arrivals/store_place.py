"""A bucket, which is listed. An object exists as a whole or not at all, and its tag identifies its content.

Its queue of notifications may deliver a message twice, late, in any order, or never. So a message is only a hint. It
is deleted after its objects have been checked and settled; a server that is killed earlier receives it again.
"""

import logging
import os
import re
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from datetime import datetime
from itertools import chain
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import unquote_plus

import anyio
import orjson
from attrs import frozen

from lume_async._base.elided import elided
from lume_local._arrivals.place import (
    PAGE,
    ArrivalEntry,
    Found,
    ListedPlace,
    PlaceTrouble,
    in_thread,
    numbered,
)
from lume_local._arrivals.settings import Arrival
from lume_local._flow.urls import NotAStoreUrl, split_store_url
from lume_local._runs.sources.paths import PathRefused, Roots, stored
from lume_local._shared.identity import hash_of
from lume_local._worker.object_stores import (
    StoreTrouble,
    aws_client,
    boto_errors,
    if_there,
    obstore_errors,
    s3_copy,
    s3_listed,
    store_of,
)

if TYPE_CHECKING:
    from obstore.store import ObjectStore


_log = logging.getLogger("lume_local")

WAIT = 5
"""Seconds that a request waits for messages; stopping the server may take as long."""
RETRY = 10.0
"""Seconds before a failed queue is asked again."""
_MOST = 10
"""Messages of one answer, the maximum of SQS."""
_TEST = "s3:TestEvent"
"""The event that S3 sends once, when notifications are set up."""


@frozen
class _Message:
    handle: str
    objects: Sequence[str] | None


class EventQueue:
    """An SQS queue.

    Args:
        variable: the environment variable with its URL.

    Attributes:
        trouble: why it can't be used; empty if it can.
        has_answered: whether it has ever answered.
    """

    def __init__(self, variable: str) -> None:
        self.variable, self.trouble, self.has_answered = variable, "", False
        self._has_others = False
        self._client: Any = None

    async def follow(self, root: str, found: Found) -> None:
        """Pass the objects named in messages whose URLs begin with `root` to `found`, until cancelled."""
        while True:
            try:
                messages = await self._received()
                if not self._has_others and any(one.objects is None for one in messages):
                    self._has_others = True
                    _log.warning(
                        "the queue of %s has messages that are not notifications of S3: they stay there",
                        self.variable,
                    )
                urls = [url for one in messages for url in one.objects or () if url.startswith(root)]
                if urls:
                    await found(list(dict.fromkeys(urls)))
                await self._delete([one.handle for one in messages if one.objects is not None])
            except StoreTrouble as trouble:
                if (why := elided(str(trouble))) != self.trouble:
                    _log.error("%s; trying again", why)
                self.trouble, self._client = why, None
                await anyio.sleep(RETRY)
            else:
                if self.trouble:
                    _log.warning("the queue of %s works again", self.variable)
                self.trouble, self.has_answered = "", True

    async def _received(self) -> list[_Message]:
        def receive() -> list[_Message]:
            with _errors(self.variable):
                answer = self._connected().receive_message(
                    QueueUrl=self._url(), MaxNumberOfMessages=_MOST, WaitTimeSeconds=WAIT
                )
            return [
                _Message(one["ReceiptHandle"], objects_of(one["Body"])) for one in answer.get("Messages", [])
            ]

        return await in_thread(receive)

    async def _delete(self, handles: Sequence[str]) -> None:
        """Delete messages; one that can't be deleted is delivered again."""
        if not handles:
            return
        entries = [{"Id": str(n), "ReceiptHandle": handle} for n, handle in enumerate(handles)]

        def delete() -> None:
            with _errors(self.variable):
                self._connected().delete_message_batch(QueueUrl=self._url(), Entries=entries)

        await in_thread(delete)

    def _connected(self) -> Any:
        if self._client is None:
            self._client = aws_client("sqs")
        return self._client

    def _url(self) -> str:
        if url := os.environ.get(self.variable, "").strip():
            return url
        raise StoreTrouble(
            f"the environment variable {self.variable} is not set where the server runs: it must hold the URL of a "
            "queue of SQS"
        )


@contextmanager
def _errors(variable: str) -> Iterator[None]:
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except ClientError as error:
        why = error.response.get("Error", {})
        code = str(why.get("Code", ""))
        raise StoreTrouble(
            f"the queue of {variable} can't be used: {why.get('Message', '')} ({code})", code
        ) from None
    except (BotoCoreError, ValueError) as error:
        raise StoreTrouble(f"the queue of {variable} can't be used: {error}") from None


def objects_of(body: str) -> Sequence[str] | None:
    """Return the URLs of the objects in a message, each once; None if it is no notification of S3.

    They are S3's own, also through SNS or EventBridge.
    """
    try:
        found = _objects(orjson.loads(body))
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    return None if found is None else list(dict.fromkeys(found))


def _objects(message: Any) -> list[str] | None:
    """Return the URLs. Raises ValueError, KeyError, TypeError or AttributeError for another format."""
    if not isinstance(message, dict):
        return None
    if message.get("Type") == "Notification":
        return _objects(orjson.loads(message["Message"]))
    if message.get("Event") == _TEST:
        return []
    if message.get("source") == "aws.s3":
        # EventBridge is the only one that does not encode keys.
        return [_url(message["detail"]["bucket"]["name"], message["detail"]["object"]["key"])]
    if "Records" not in message:
        return None
    found = [one["s3"] for one in message["Records"]]
    return [_url(one["bucket"]["name"], unquote_plus(one["object"]["key"], errors="strict")) for one in found]


def _url(bucket: str, key: str) -> str:
    if not (isinstance(bucket, str) and isinstance(key, str)):
        raise TypeError
    return f"s3://{bucket}/{key}"


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
        return self._wanted(self._root + key, "") is not None  # an object may have the folder's name

    def _entry(self, one: Any) -> ArrivalEntry:
        written: datetime = one["last_modified"]
        tag = (one["e_tag"] or "").strip('"') or written.isoformat()
        url = self._root + one["path"]
        return ArrivalEntry(url, f"{one['size']}-{tag}", one["size"], written.timestamp(), _unsound(url))

    # -- objects

    async def look(self, paths: Sequence[str]) -> Sequence[ArrivalEntry | None]:
        def seen(key: str) -> ArrivalEntry | None:
            found = self._head(key) if self._matches(key) else None
            return None if found is None else self._entry(found)

        return await _in_thread(lambda: [seen(self._key(path)) for path in paths])

    def _head(self, key: str) -> Any | None:
        import obstore

        if _unsound(self._root + key):  # obstore takes no such key, but a listing of S3 begins with it
            listed = next(s3_listed(self._bucket, key), []) if self._root.startswith("s3://") else []
            return next((one for one in listed if one["path"] == key), None)
        return if_there(self._root + key, lambda: obstore.head(self._store, key))

    async def contents(self, entries: Sequence[ArrivalEntry]) -> Sequence[bytes | PlaceTrouble | None]:
        return [hash_of([entry.seen]).encode() for entry in entries]

    async def exist(self, paths: Sequence[str]) -> Sequence[float | None]:
        found = await _in_thread(lambda: [self._head(self._key(path)) for path in paths])
        return [None if one is None else one["last_modified"].timestamp() for one in found]

    async def hints(self, found: Found) -> None:
        if self._queue is not None:
            await self._queue.follow(self._root, found)

    # -- moving: copy, compare, remove the original

    async def move(self, entry: ArrivalEntry, to: str) -> str | None:
        return await _in_thread(lambda: self._move(self._key(entry.path), entry.seen, self._key(to)))

    def _move(self, key: str, seen: str, target: str) -> str | None:
        found = None if _unsound(self._root + key) else self._seen(key)
        if found is None or found != (seen or found):
            return None
        seen = found
        number = 1  # the name is free, or has the same object because of a kill after the copy
        while self._seen(name := numbered(target, number)) not in (None, seen):
            number += 1
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

    def _seen(self, key: str) -> str | None:
        found = self._head(key)
        return None if found is None else self._entry(found).seen

    def _remove(self, key: str, seen: str) -> None:
        """Remove an object: S3 does so only if it is unchanged; for other stores that was just checked."""
        import obstore

        if self._root.startswith("s3://"):
            with boto_errors(self._root + key):
                aws_client("s3").delete_object(Bucket=self._bucket, Key=key, IfMatch=_tag(seen))
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
