"""The kinds of sources."""

from typing import Any

from lume_local._worker.sources.places.local import LocalFiles
from lume_local._worker.sources.places.query import QuerySource
from lume_local._worker.sources.places.store import StoredFiles
from lume_local._worker.sources.source import Source

KINDS: dict[str, type[Source]] = {"files": LocalFiles, "query": QuerySource, "store": StoredFiles}


def source_of(place: dict[str, Any], flow: dict[str, Any]) -> Source:
    """The source that is meant by a place such as `{"kind": "files", "files": [{"path": …, "shown": …}], …}`."""
    return KINDS[place["kind"]](place, flow)
