"""The kinds of sources, and the check of one before it is read."""

import sys
from typing import Any

from attrs import asdict

from lume_local._shared.protocol import Execute, Json
from lume_local._worker.sources.places.local import LocalFiles
from lume_local._worker.sources.source import Pause, Source, SourceError

MOST_DIGESTED = 64 * 1024 * 1024
"""Bytes up to which the digest of a source is computed, which takes less than a tenth of a second."""


def source_of(place: dict[str, Any], flow: dict[str, Any]) -> Source:
    """Return the source for a place such as `{"kind": "files", "files": [{"path": …, "shown": …}], …}`."""
    match place["kind"]:  # few workers read anything but local files
        case "files":
            return LocalFiles(place, flow)
        case "query":
            from lume_local._worker.sources.places.query_source import QuerySource

            return QuerySource(place, flow)
        case "store":
            from lume_local._worker.sources.places.store_source import StoredFiles

            return StoredFiles(place, flow)
        case "sftp":
            from lume_local._worker.sources.places.sftp_source import SftpFiles

            return SftpFiles(place, flow)
        case kind:
            raise KeyError(kind)


def check_source(source: Source, job: Execute, pause: Pause) -> Json | None:
    """Run the source's own check, and return its content; None if that is unknown. Raises `SourceError`."""
    source.check(pause)
    found = source.content(None, MOST_DIGESTED if job.content is None else sys.maxsize, pause)
    if job.content is not None and (found is None or found.digest != job.content):
        raise SourceError(
            "the source was changed after this run was submitted, and its flow takes each content once: submit the "
            "run again"
        )
    return None if found is None else asdict(found)
