"""What a run's source is when it is read: noted, and refused where the run was submitted for something else."""

import sys

from attrs import asdict

from lume_local._shared.protocol import Execute, Json
from lume_local._worker.sources.source import Pause, Source, SourceError

MOST_DIGESTED = 64 * 1024 * 1024
"""Bytes of a source whose digest is made: of so many it takes less than a tenth of a second."""


def checked(source: Source, job: Execute, pause: Pause) -> Json | None:
    """What a source has, after its own check; None where nobody can tell. Raises `SourceError`."""
    source.check(pause)
    found = source.content(None, MOST_DIGESTED if job.content is None else sys.maxsize, pause)
    if job.content is not None and (found is None or found.digest != job.content):
        raise SourceError(
            "the source was changed after this run was submitted, and its flow takes each content once: submit the "
            "run again"
        )
    return None if found is None else asdict(found)
