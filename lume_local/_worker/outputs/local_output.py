"""The file from which the rows of an output are read: its own, or a copy of an object of limited size."""

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from attrs import frozen

from lume_local._flow.store_urls import is_store_url, split_store_url
from lume_local._shared import no_links
from lume_local._shared.identity import LARGEST_COPY, identity, identity_of_copies
from lume_local._worker.object_stores import StoreTrouble, obstore_errors, store_of
from lume_local._worker.sources.places.held import Held


class TooLarge(Exception):
    """The message says how large the object is."""


@frozen
class LocalOutput:
    """An output as a file on this machine; `identity` gives that of the output itself at each call."""

    path: Path
    identity: Callable[[], str]


@contextmanager
def open_output(location: str, folder: str = "") -> Iterator[LocalOutput]:
    """The place of an output; a copy goes into `folder`. Raises OSError, `StoreTrouble`, `TooLarge`."""
    if not is_store_url(location):
        with closing(Held()) as held:
            file = no_links.open(Path(location), os.O_RDONLY | os.O_NONBLOCK)
            path = held.hold(file, Path(location), Path(folder or tempfile.gettempdir()) / "held")
            yield LocalOutput(path, lambda: identity(file))
        return
    size, tag = _seen(location)
    if size > LARGEST_COPY:
        raise TooLarge(
            f"the object has {size:,} bytes, and rows of up to {LARGEST_COPY:,} are read through the server"
        )
    if folder:
        Path(folder).mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="lume-rows-", dir=folder or None) as own:
        path = Path(own) / f"copy{Path(location).suffix}"
        _copy(location, path)
        if path.stat().st_size != size:
            raise StoreTrouble(f"{location} was changed while it was read")
        content = identity_of_copies(path)
        yield LocalOutput(path, lambda: content if _seen(location) == (size, tag) else "")


def _seen(url: str) -> tuple[int, str | None]:
    """Its size, and what its store calls its content."""
    store = store_of(url)
    import obstore

    with obstore_errors(url):
        found = obstore.head(store, split_store_url(url)[2])
    return found["size"], found["e_tag"]


def _copy(url: str, path: Path) -> None:
    store = store_of(url)
    import obstore

    with obstore_errors(url), path.open("wb") as file:
        for block in obstore.get(store, split_store_url(url)[2]).stream():
            file.write(block)
