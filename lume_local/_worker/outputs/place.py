"""Where the rows of an output are read: its file, or a copy of an object that is not too large for one."""

import hashlib
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from attrs import frozen

from lume_local._flow.stores import is_store_url, split_store_url
from lume_local._shared.identity import identity
from lume_local._worker.stores import StoreTrouble, store_of, told

MOST_COPIED = 64 * 1024 * 1024
"""Bytes of an object: it is copied for each page."""


class TooLarge(Exception):
    """The message says how large the object is."""


@frozen
class Place:
    """An output as a file on this machine; `identity` tells of the output itself, each time that it is asked."""

    path: Path
    identity: Callable[[], str]


@contextmanager
def opened_place(location: str) -> Iterator[Place]:
    """The place of an output. Raises OSError, `StoreTrouble`, `TooLarge`."""
    if not is_store_url(location):
        yield Place(Path(location), lambda: identity(Path(location)))
        return
    size, seen = _seen(location)
    if size > MOST_COPIED:
        raise TooLarge(
            f"the object has {size:,} bytes, and rows of up to {MOST_COPIED:,} are read through the server"
        )
    with tempfile.TemporaryDirectory(prefix="lume-rows-") as folder:
        path = Path(folder) / f"copy{Path(location).suffix}"
        _copy(location, path)
        if path.stat().st_size != size:
            raise StoreTrouble(f"{location} was changed while it was read")
        yield Place(path, lambda: seen if _seen(location) == (size, seen) else "")


def _seen(url: str) -> tuple[int, str]:
    """Its size, and what it is: in the form of a file's identity."""
    store = store_of(url)
    import obstore

    with told(url):
        found = obstore.head(store, split_store_url(url)[2])
    tag = hashlib.sha256((found["e_tag"] or "").encode()).hexdigest()
    return found["size"], f"{found['size']}-{int(tag[:15], 16)}"


def _copy(url: str, path: Path) -> None:
    store = store_of(url)
    import obstore

    with told(url), path.open("wb") as file:
        for block in obstore.get(store, split_store_url(url)[2]).stream():
            file.write(block)
