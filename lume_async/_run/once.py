"""The rule by which content is processed once: which run has it, and the key that lets only one start."""

import hashlib
from collections.abc import Sequence

from lume_async._run.state import RunState, record_of
from lume_async.models import RunRecord


def holder(earlier: Sequence[RunState]) -> RunRecord | None:
    """The run that is processing the content or has processed it; one that wrote nothing may be repeated.

    Args:
        earlier: the runs on that content, newest first.
    """
    return next((record_of(run) for run in earlier if not run.is_terminal or run.has_output), None)


def key_of(kind: str, content: str, earlier: Sequence[RunState]) -> str:
    """The idempotency key of the next submission: two concurrent ones start one run."""
    return f"{kind}-{hashlib.sha256(f'{content} {len(earlier)}'.encode()).hexdigest()}"
